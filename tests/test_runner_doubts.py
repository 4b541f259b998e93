"""Steps that go wrong: ceilings, numbers that are not finite, memory, collapse."""

import logging
import re

import pytest
import torch
from killed_runs import metrics_of
from tiny_runs import make_runner, settings_of, train, weights_of

from spknorm.errors import ConfigError, NonFiniteError
from spknorm.runs import checkpoint
from spknorm.runs.state import Counters


def test_the_ceiling_pauses_the_ascent(tiny_hubert, tiny_corpora, tmp_path):
    mapping = settings_of(tiny_corpora, method={"ceiling": 0.01, "speaker_warmup_steps": 0})
    train(tiny_hubert, mapping, tmp_path)
    rates = [line["speaker_lambda"] for line in metrics_of(tmp_path) if line["split"] == "train"]
    assert rates == [0.0] * 6
    lines = (tmp_path / "log.log").read_text().splitlines()
    (paused,) = [line for line in lines if line.startswith("the ascent")]
    assert re.fullmatch(
        r"the ascent pauses at step 0: the held-out speaker loss is 1\.\d+, above 0\.011 "
        r"\(a guess has 1\.1\)",
        paused,
    )


@pytest.mark.fault("not finite")
def test_non_finite_steps_leave_the_weights_alone_and_end_the_run(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    mapping = settings_of(
        tiny_corpora, max_nonfinite=3, total_steps=9,
        expert={"modelrc": {"speaker_head": {"batch_norm": True}}},
    )  # fmt: skip
    runner = make_runner(tiny_hubert, mapping, tmp_path)
    modules = (runner.upstream.model, runner.expert.heads)
    kind = type(runner.source)
    features_of, before, seen = kind.__call__, [], []

    def broken(self, batch, *, corpus):
        """Break both corpora from step 2 on."""
        features = features_of(self, batch, corpus=corpus)
        if runner.counters.step == 2 and not before:
            before.extend(v.clone() for m in modules for v in m.state_dict().values())
        if runner.counters.step < 2:
            return features
        seen.extend(batch.ids)
        return [frames * float("nan") for frames in features]

    monkeypatch.setattr(kind, "__call__", broken)
    monkeypatch.setattr(runner, "_evaluate_if_due", lambda: None)
    with pytest.raises(NonFiniteError) as ended:
        runner.train()
    assert ended.value.exit_code == 4
    assert str(ended.value).startswith(
        "3 steps in a row had a loss or gradient that is not finite, the last with the utterances "
        f"{', '.join(seen[-8:])}. The weights are as they were before."
    )
    after = [v for m in modules for v in m.state_dict().values()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert "weights untouched" in (tmp_path / "log.log").read_text()


@pytest.mark.fault("not finite")
def test_a_single_bad_batch_is_counted_and_survived(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    runner = make_runner(tiny_hubert, settings_of(tiny_corpora), tmp_path)
    kind = type(runner.source)
    features_of = kind.__call__

    def broken_once(self, batch, *, corpus):
        features = features_of(self, batch, corpus=corpus)
        bad = corpus == "emotion" and runner.counters.step == 2 and runner.expert.training
        return [frames * float("inf") for frames in features] if bad else features

    monkeypatch.setattr(kind, "__call__", broken_once)
    runner.train()
    counters = checkpoint.latest(tmp_path)[1]["Spknorm"]["counters"]
    assert counters["nonfinite_in_a_row"] == 0
    broken = [line for line in metrics_of(tmp_path) if line["emotion_loss"] is None]
    assert [line["step"] for line in broken] == [3]
    for tensor in weights_of(tmp_path).values():
        assert torch.isfinite(tensor).all()


@pytest.mark.fault("out of memory")
def test_out_of_memory_skips_batches_and_then_gives_advice(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    runner = make_runner(tiny_hubert, settings_of(tiny_corpora, max_oom=2), tmp_path)
    kind = type(runner.source)
    features_of = kind.__call__

    def too_large(self, batch, *, corpus):
        if runner.expert.training and runner.counters.step in (1, 3, 4, 5):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return features_of(self, batch, corpus=corpus)

    monkeypatch.setattr(kind, "__call__", too_large)
    with pytest.raises(ConfigError) as ended:
        runner.train()
    assert str(ended.value) == (
        "Out of memory at step 6; 2 batches in a row were skipped for that reason before. Lower "
        "datarc.train_batch_size and raise runner.gradient_accumulate_steps, set "
        "upstream.checkpoint_activations, or use runner.precision bf16."
    )
    assert "out of memory at step 2, batch skipped: Ses0" in (tmp_path / "log.log").read_text()
    assert [line["step"] for line in metrics_of(tmp_path) if line["split"] == "train"] == [
        1,
        2,
        3,
        4,
        5,
    ]


@pytest.mark.fault("runaway ascent")
def test_collapse_is_said_with_the_setting_to_try(tiny_hubert, tiny_corpora, tmp_path, caplog):
    mapping = settings_of(
        tiny_corpora, total_steps=10, eval_step=1, strategy="none",
        other={"optimizer": {"lr": 0.0, "groups": {"upstream": {"lr": 0.0}}}},
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, "spknorm.runner"):
        train(tiny_hubert, mapping, tmp_path)
    assert (
        "Collapse at step 5: dev UA has been at chance (0.25) for 5 evaluations: try a lower "
        "optimizer.groups.upstream.lr or speaker_lambda." in caplog.text
    )


@pytest.mark.parametrize(
    ("lowest", "now", "said"),
    [(19.5, 20.3, False), (None, None, False), (1.2, 4.0, False), (1.2, 30.0, True)],
    ids=["permuted labels", "nothing held out", "an overfitted head", "a runaway"],
)
def test_an_ascent_has_run_away_if_the_held_out_loss_has_risen_far(lowest, now, said):
    counters = Counters(held_out_lowest=lowest, held_out_loss=now, speaker_loss=0.05)
    found = counters.collapse(None, log_num_speakers=4.38)
    assert bool(found) == said
