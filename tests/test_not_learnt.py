"""What of a list can be learnt by no run, or is told apart though it is meant to be one thing."""

import csv

import pytest
import tiny_runs

from spknorm.batches.emotions import read_emotions
from spknorm.batches.task import read_task_data
from spknorm.corpora.doors import read_list
from spknorm.errors import DataError
from spknorm.schema import DataConfig, ExpertConfig, SpeakerCorpusConfig


@pytest.fixture
def listed(tmp_path):
    """Return a function: settings of rated tones, `changed` of whose rows are others."""
    rows = [*csv.DictReader(tiny_runs.make_rated(tmp_path).open())]

    def make(changed, **settings):
        with (tmp_path / "list.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, [*rows[0], "split"])
            table.writeheader()
            for row in rows:
                part = "test" if row["speaker"] == "s0" else "train"
                table.writerow({**row, "split": part, **changed(row)})
        place = str(tmp_path / "list.csv")
        return DataConfig(corpus="manifest", manifest=place, protocol="official", **settings)

    return make


def read(config, folder):
    return read_emotions(config, fold="fold1", seed=0, work_dir=folder)


def test_a_class_of_the_test_part_alone_is_told(listed, tmp_path, caplog):
    read(listed(lambda row: {}), tmp_path)
    assert "training part" not in caplog.text
    to_train = {"sad": "neu", "ang": "hap"}
    read(
        listed(
            lambda row: (
                {}
                if row["speaker"] == "s0"
                else {"emotion": to_train.get(row["emotion"], row["emotion"])}
            )
        ),
        tmp_path,
    )
    assert "The training part has no utterance of ang, sad." in caplog.text


def test_a_dimension_that_does_not_vary_is_told(listed, tmp_path, caplog):
    read(listed(lambda row: {"dominance": 3}, targets="dimensions"), tmp_path)
    assert "dominance does not vary in the training part: nothing is learnt of it" in caplog.text


def test_dimensions_that_no_utterance_has_together_are_refused(listed, tmp_path):
    lost = {"0": {"arousal": ""}, "1": {"valence": ""}}
    config = listed(lambda row: lost[str(int(row["path"][:2]) % 2)], targets="dimensions")
    with pytest.raises(DataError, match="No utterance has all of arousal, valence, dominance"):
        read(config, tmp_path)


def test_classes_and_speakers_that_differ_in_capitals_alone_are_told(listed, tmp_path, caplog):
    def changed(row):
        odd = int(row["path"][:2]) % 16 < 8
        word = {"hap": "Bored" if odd else "bored"}.get(row["emotion"], row["emotion"])
        return {"emotion": word, "speaker": row["speaker"].upper() if odd else row["speaker"]}

    data = listed(changed, labels="all", allow_leak=True)
    speakers = SpeakerCorpusConfig(corpus="manifest", manifest=data.manifest)
    config = ExpertConfig(datarc=data, speaker_corpus=speakers)
    read_task_data(config, fold="fold1", seed=0, work_dir=tmp_path)
    for values in (
        "emotion corpus has values of `emotion`",
        "speaker corpus has values of `speaker`",
    ):
        assert f"The {values} that differ in capitals or spaces alone" in caplog.text
    assert "(`Bored` and `bored`)" in caplog.text


def test_parts_of_a_file_without_ids_say_what_they_need(tmp_path):
    (tmp_path / "list.csv").write_text("path,start,end\na.wav,0,1\na.wav,1,2\n")
    with pytest.raises(
        DataError, match="is that of line 2: two parts of a file need a column `id`"
    ):
        read_list(tmp_path / "list.csv")
