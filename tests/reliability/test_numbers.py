"""Numbers that run away: the run stops or says so, with the utterances and the setting to try."""

import copy
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_runs
import torch

from spknorm.errors import NonFiniteError
from spknorm.runner.iteration import Iteration
from spknorm.runs import checkpoint

SCRIPT = Path(__file__).parent.parent / "tiny_runs.py"


@pytest.mark.slow
@pytest.mark.fault("not finite")
def test_a_run_without_finite_numbers_exits_4_with_the_utterances(
    tiny_hubert, tiny_corpora, tmp_path
):
    """A head whose weights overflow float32: every loss is infinite or not a number."""
    options = {
        "strategy": "none", "total_steps": 40, "eval_step": 40,
        "other": {"optimizer": {"torch_optim_name": "SGD", "lr": 1e30, "groups": None}},
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
    kind = type(runner.source)
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
    assert checkpoint.latest(tmp_path)[1]["Spknorm"]["counters"]["nonfinite_in_a_row"] == 10


UPDATES = [
    ("TAP", "literal", {}),
    ("TAP", "relative", {"speaker_lambda": 0.3, "relative_to": "step"}),
    ("TAP", "adaptive", {"ascent_lr": 1e-5}),
    ("TAP", "reversal", {"speaker_lambda": 0.3}),
    ("SNP", "literal", {}),
    ("SNP", "relative", {"speaker_lambda": 3.0, "relative_to": "loss"}),
]


def all_of(runner):
    """Every weight, statistic and optimiser state of a run, and the scale of fp16."""
    modules = [entry.model for entry in runner.all_entries]
    iteration = runner._iteration
    tensors = [v.clone() for module in modules for v in module.state_dict().values()]
    states = copy.deepcopy(iteration.update.state_dict())
    states = {name: state["state"] for name, state in states.items()}
    return tensors, states, iteration.scaler.state_dict()


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


FAILURES = {
    "fp32": [("nan", "emotion"), ("nan", "speaker"), ("memory", "speaker")],
    "bf16": [("nan", "speaker")],
    "fp16": [("nan", "speaker"), ("memory", "speaker")],
}
"""What goes wrong in the batches of which corpus; memory last, after which a step is another."""


BRIEF = (UPDATES[0], UPDATES[-1])
"""Of bf16, which has no scaler, as fp32, and of fp16, which test_transaction.py tries on a toy
under each update, these alone are not slow."""


@pytest.mark.parametrize(
    ("strategy", "update", "method", "precision"),
    [
        pytest.param(*one, precision, marks=[pytest.mark.slow] * of_many)
        for precision in FAILURES
        for one in UPDATES
        for of_many in [precision != "fp32" and one not in BRIEF]
    ],
)
@pytest.mark.fault("half an iteration")
def test_a_step_that_fails_in_either_stage_leaves_everything_as_it_was(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch, record_property,
    strategy, update, method, precision,
):  # fmt: skip
    """Every other step fails from the third on; the number of the step is all that has moved."""
    failures = dict(zip(itertools.count(2, 2), FAILURES[precision], strict=False))
    record_property("faults", len(failures))
    total = 2 + 2 * len(failures)
    mapping = tiny_runs.settings_of(
        tiny_corpora, strategy=strategy, update=update, total_steps=total, eval_step=total,
        save_step=total, precision=precision, method={"speaker_steps": 2, **method},
        expert={"modelrc": {"speaker_head": {"batch_norm": True}}},
    )  # fmt: skip
    runner = tiny_runs.make_runner(tiny_hubert, mapping, tmp_path)
    kind, found = type(runner.source), []
    features_of = kind.__call__

    def failing(self, batch, *, corpus):
        features = features_of(self, batch, corpus=corpus)
        broken, wanted = failures.get(runner.counters.step, (None, None))
        if not runner.expert.training or corpus != wanted:
            return features
        if broken == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return [frames * float("nan") for frames in features]

    step = Iteration.__call__

    def watched(self, emotion, speaker):
        before = runner.counters.step in failures and all_of(runner)
        step(self, emotion, speaker)
        if before:
            found.append((before, all_of(runner)))

    monkeypatch.setattr(kind, "__call__", failing)
    monkeypatch.setattr(Iteration, "__call__", watched)
    runner.train()
    assert len(found) == len(failures)
    assert all(equal(*pair) for pair in found)
    counters = checkpoint.latest(tmp_path)[1]["Spknorm"]["counters"]
    assert counters["out_of_memory"] == sum(what == "memory" for what, _ in failures.values())
    assert counters["step"] == total


@pytest.mark.fault("runaway ascent")
def test_an_ascent_that_runs_away_is_said_with_the_setting_to_try(
    tiny_hubert, tiny_corpora, tmp_path
):
    mapping = tiny_runs.settings_of(
        tiny_corpora, total_steps=20, eval_step=10, save_step=20,
        method={"adversary": "ascent", "speaker_lambda": 3.0, "ceiling": None},
    )  # fmt: skip
    tiny_runs.train(tiny_hubert, mapping, tmp_path)
    text = (tmp_path / "log.log").read_text()
    assert "collapse at step 20: the speaker loss is " in text
    assert "log K = 1.1: the ascent ran away; try a lower speaker_lambda and a ceiling" in text
