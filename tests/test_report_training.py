"""The picture of the training curves, drawn without a complaint of matplotlib's."""

import json

import pytest
from fake_results import make_bench

from spknorm import report


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_speaker_loss_far_below_a_guess_has_the_guess_above_it(tmp_path):
    make_bench(tmp_path, methods=(("TAP", 1e-3),), num_folds=1, features=False, probes=False)
    (log,) = tmp_path.glob("*/metrics.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "speaker_loss" in line:
            line["speaker_loss"] = 0.1
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    report.build(tmp_path)
    assert "log K is" in (tmp_path / "report.html").read_text()
