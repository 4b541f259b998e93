"""What no run can learn, what is told apart though it is one thing, what has no effect."""

import csv
import dataclasses
from collections import Counter

import pytest
import tiny_runs
from made_splits import make_split

from spknorm.batches.emotions import read_emotions
from spknorm.batches.task import read_task_data
from spknorm.corpora.doors import read_list
from spknorm.errors import CheckpointError, ConfigError, DataError
from spknorm.runs.restored import check_groups
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_turns": "improvised"}, "`train_turns` and `test_turns` have no effect"),
        ({"unseen": "sentences"}, "`unseen: sentences` has no effect under the protocol cross"),
        ({"dev": "given"}, "`dev: given` is the dev part of a list"),
        ({"test_fold": "fold2"}, "`test_fold` must be one of fold1 under the protocol cross"),
    ],
)
def test_what_has_no_effect_across_corpora_is_refused(settings, message, tmp_path):
    config = DataConfig(corpus="ravdess", protocol="cross", test_on=("emodb",), **settings)
    with pytest.raises(ConfigError, match=message):
        read_emotions(config, fold=config.test_fold or "fold1", seed=0, work_dir=tmp_path)


def test_fewer_utterances_than_low_resource_asks_for_are_told(listed, tmp_path, caplog):
    few = {"protocol": "low_resource", "base": "sd", "samples_per_label": 12}
    found = read(dataclasses.replace(listed(lambda row: {}), **few), tmp_path)
    counts = Counter(one.emotion for one in found.split.train)
    assert min(counts.values()) < 12
    assert "12 training utterances per class are asked for, but there are" in caplog.text
    assert all(f"{count} {name}" in caplog.text for name, count in counts.items() if count < 12)


def test_weights_alone_are_no_place_to_go_on_from():
    with pytest.raises(CheckpointError, match=r"holds weights alone \(config.runner.keep\)"):
        check_groups(None, {"emotion": [{"name": "upstream"}]})


def test_one_corpus_is_not_divided_across_corpora():
    with pytest.raises(ConfigError, match="The protocol cross trains on some corpora and tests on"):
        make_split([], protocol="cross", fold="fold1", dev="speaker_disjoint")
