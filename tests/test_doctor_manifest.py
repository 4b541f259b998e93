"""What `spknorm doctor` finds in a manifest: the protocols that it suits, as the run would say."""

import numpy as np
import pytest
import soundfile

from spknorm import config
from spknorm.batches.task import read_task_data
from spknorm.doctor import Check, examine
from spknorm.errors import DataError


def manifest(tmp_path, column, values, *, speakers=None):
    """A manifest of an emotion corpus: one of each emotion per value of a column."""
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    lines = [f"path,emotion,speaker,{column}"]
    for place, value in enumerate(values):
        for emotion in ("neu", "hap", "ang", "sad"):
            name = f"{place}{emotion}.wav"
            soundfile.write(tmp_path / name, noise, 16000)
            who = (speakers or values)[place]
            lines.append(f"{name},{emotion},{who},{value}")
    (tmp_path / "e.csv").write_text("\n".join(lines))
    return tmp_path / "e.csv"


def found_of(checks):
    return {check.name: check for check in checks}


def of_manifest(file, **options):
    data = {"corpus": "manifest", "manifest": str(file), **options}
    return config.parse({"downstream_expert": {"datarc": data, "spknorm": {"strategy": "none"}}})


@pytest.mark.parametrize(
    ("column", "values", "speakers", "said"),
    [
        ("gender", ["f", "m"], None, "The protocol si5 needs the session of every utterance; "),
        (
            "session",
            ["winter", "spring"],
            None,
            "No utterance is of Session1, which fold1 tests on",
        ),
        ("session", ["Session1"], None, "The train part of si5 fold1 is empty: "),
        (
            "session",
            ["Session1", "Session2"],
            ["anna", "anna"],
            "train and test share speakers, which si5 forbids: anna.",
        ),
    ],
)
def test_the_doctor_says_no_where_the_run_does(tmp_path, column, values, speakers, said):
    file = manifest(tmp_path, column, values, speakers=speakers)
    chosen = of_manifest(file)
    found = found_of(examine(chosen, folder=tmp_path / "result"))
    assert found["emotion corpus"].status == "ok"
    assert found["si5 fold1"].status == "fail"
    assert said in found["si5 fold1"].detail
    with pytest.raises(DataError) as error:
        read_task_data(chosen.downstream_expert, fold="fold1", seed=1337, work_dir=tmp_path / "w")
    assert found["si5 fold1"].detail == str(error.value)


def test_a_protocol_that_suits_the_manifest_passes(tmp_path):
    file = manifest(tmp_path, "gender", [f"p{number}" for number in range(10)])
    found = found_of(examine(of_manifest(file, protocol="si10"), folder=tmp_path / "result"))
    assert found["si10 fold1"] == Check(
        "si10 fold1",
        "ok",
        "28 train, 8 dev, 4 test utterances; 1 speaker is tested; fewer than 4 have no interval, "
        "so that a table needs further folds",
    )
    assert found["streams"] == Check("streams", "ok", "emotion batches of 4, 7 an epoch")


@pytest.mark.parametrize("who", [["ann", "bob"], ["ann", "bob", "cy"]])
def test_a_corpus_of_too_few_speakers_for_any_interval_is_a_warning(tmp_path, who):
    sessions = [f"Session{number + 1}" for number in range(len(who))]
    file = manifest(tmp_path, "session", sessions, speakers=who)
    config = of_manifest(file, dev="superb")  # of two speakers there is no other dev set
    found = found_of(examine(config, folder=tmp_path / "result"))["si5 fold1"]
    assert found.status == "warn"
    assert found.detail.endswith(
        f"1 speaker is tested; the corpus has {len(who)}, and tables no interval and no test of "
        "fewer than 4"
    )
