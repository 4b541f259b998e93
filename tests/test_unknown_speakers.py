"""Utterances whose speaker nobody knows: they train and are scored, and are nobody's."""

import csv
import json

import numpy as np
import pytest
import tiny_runs

from spknorm.errors import DataError
from spknorm.statistics.metrics import by_speaker, confusion_matrix


@pytest.fixture
def settings(tiny_corpora, tmp_path):
    """Return a function: settings of a run on rated tones, of which every third is of nobody."""
    rows = [*csv.DictReader(tiny_runs.make_rated(tmp_path).open())]
    with (tmp_path / "list.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [*rows[0]])
        table.writeheader()
        table.writerows(row | {"speaker": ""} if n % 3 else row for n, row in enumerate(rows))
    data = {"corpus": "manifest", "manifest": str(tmp_path / "list.csv"), "protocol": "sd"}

    def make(**changes):
        expert = {"datarc": {**data, "root": None, **changes.pop("datarc", {})}}
        return tiny_runs.settings_of(tiny_corpora, strategy="none", expert=expert, **changes)

    return make


def test_counts_by_speaker_are_of_those_who_are_known():
    found = by_speaker(
        lambda *both: confusion_matrix(*both, 2), [0, 1, 1], [0, 0, 1], ["b", None, "a"]
    )
    assert {name: counts.tolist() for name, counts in found.items()} == {
        "a": [[0, 0], [0, 1]], "b": [[1, 0], [0, 0]],
    }  # fmt: skip


@pytest.mark.parametrize("targets", ["classes", "dimensions"])
def test_what_nobody_said_is_scored_and_no_speakers(
    targets, settings, tiny_hubert, tmp_path, caplog
):
    tiny_runs.train(tiny_hubert, settings(datarc={"targets": targets}), tmp_path / "run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    test = result["test"] or result["dimensions"]["test"]
    assert all(name.startswith("s") for name in test["by_speaker"])
    if targets == "classes":
        known = int(np.sum([*test["by_speaker"].values()]))
    else:
        known = int(sum(sums["arousal"][0] for sums in test["by_speaker"].values()))
    assert 0 < known < test["n"]
    assert f"Of {test['n'] - known} of {test['n']} test utterances nobody knows who speaks" in (
        caplog.text
    )


def test_z_normalisation_takes_many_people_for_nobody(settings, tiny_hubert, tmp_path, monkeypatch):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    znorm = settings(method={"erasure": "znorm"}, other={"upstream": {"cache": "auto"}})
    with pytest.raises(DataError, match="z-normalisation needs the speaker of every utterance"):
        tiny_runs.train(tiny_hubert, znorm, tmp_path / "run", upstream_trainable=False)
