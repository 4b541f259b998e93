"""Numbers that run away: the run stops or says so, with the utterances and the setting to try."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_runs
import torch

from spknorm import checkpoint
from spknorm.errors import NonFiniteError

SCRIPT = Path(__file__).parent.parent / "tiny_runs.py"


@pytest.mark.slow
@pytest.mark.fault("not finite")
def test_a_run_without_finite_numbers_exits_4_with_the_utterances(
    tiny_hubert, tiny_corpora, tmp_path
):
    """A head whose weights overflow float32: every loss is infinite or not a number."""
    options = {
        "strategy": "none", "total_steps": 40, "eval_step": 40,
        "other": {"optimizer": {"torch_optim_name": "SGD", "lr": 1e38, "groups": None}},
    }  # fmt: skip
    arguments = [str(tmp_path / "run"), str(tiny_hubert), str(tiny_corpora), json.dumps(options)]
    (tmp_path / "run").mkdir()
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 4, ended.stderr
    assert "spknorm: 10 steps in a row had a loss or gradient that is not finite" in ended.stderr
    assert "Ses0" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("strategy", "update"), [("TAP", "literal"), ("SNP", "reversal")])
@pytest.mark.fault("not finite")
def test_non_finite_audio_at_the_model_never_reaches_a_weight(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch, strategy, update
):
    """One sample of each batch is broken behind the decoder, which would refuse such a file."""
    mapping = tiny_runs.settings_of(
        tiny_corpora, strategy=strategy, update=update, total_steps=12, max_nonfinite=12
    )
    runner = tiny_runs.make_runner(tiny_hubert, mapping, tmp_path)
    modules = (runner.upstream.model, runner.expert.heads)
    before = [v.clone() for module in modules for v in module.state_dict().values()]
    kind = type(runner._source)
    features_of = kind.__call__

    def broken(self, batch, *, corpus):
        for wav in batch.wavs if runner.expert.training else ():
            wav[len(wav) // 2] = float("nan")
        return features_of(self, batch, corpus=corpus)

    monkeypatch.setattr(kind, "__call__", broken)
    monkeypatch.setattr(runner, "_evaluate_if_due", lambda: None)
    with pytest.raises(NonFiniteError, match="12 steps in a row"):
        runner.train()
    after = [v for module in modules for v in module.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert checkpoint.latest(tmp_path)[1]["Spknorm"]["counters"]["nonfinite"] == 10


@pytest.mark.fault("runaway ascent")
def test_an_ascent_that_runs_away_is_said_with_the_setting_to_try(
    tiny_hubert, tiny_corpora, tmp_path
):
    mapping = tiny_runs.settings_of(
        tiny_corpora, total_steps=20, eval_step=10, save_step=20,
        method={"speaker_lambda": 3.0, "ceiling": None},
    )  # fmt: skip
    tiny_runs.train(tiny_hubert, mapping, tmp_path)
    text = (tmp_path / "log.log").read_text()
    assert "collapse at step 20: the speaker loss is " in text
    assert "log K = 1.1: the ascent ran away; try a lower speaker_lambda and a ceiling" in text
