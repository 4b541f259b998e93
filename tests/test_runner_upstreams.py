"""What is trained of which upstream."""

import json

import pytest
import tiny_upstreams
import torch
from killed_runs import (
    KilledError,
    at_step,
    kill,
    same_weights,
)
from tiny_runs import make_runner, outcome_of, settings_of, train

from spknorm.errors import CheckpointError, ConfigError
from spknorm.runs import checkpoint


def test_the_front_end_is_trained_on_request_alone(tiny_hubert, tiny_corpora, tmp_path):
    moved = {}
    for asked in (False, True):
        mapping = settings_of(
            tiny_corpora, total_steps=1, method={"train_feature_extractor": asked}
        )
        runner = make_runner(tiny_hubert, mapping, tmp_path / str(asked))
        name, weight = next(
            (n, p) for n, p in runner.upstream.model.named_parameters() if "conv_layers.0" in n
        )
        before = weight.detach().clone()
        runner.train()
        moved[asked] = not torch.equal(weight, before)
        result = json.loads((tmp_path / str(asked) / "result.json").read_text())
        assert result["train_feature_extractor"] is asked
    assert moved == {False: False, True: True}, name


def test_snp_moves_no_upstream_weight_by_the_speaker_loss(tiny_hubert, tiny_corpora, tmp_path):
    """With emotion learning at rate zero only equations (3) and (4) move anything."""
    rates = {"upstream": {"lr": 0.0}, "gate": {"lr": 0.0}, "emotion_head": {"lr": 0.0}}
    mapping = settings_of(
        tiny_corpora, strategy="SNP", total_steps=3, method={"speaker_lambda": 0.1},
        other={"optimizer": {"groups": {**rates, "speaker_head": {"lr": 0.01}}}},
    )  # fmt: skip
    runner = make_runner(tiny_hubert, mapping, tmp_path)
    parts = {"upstream": runner.upstream.model, "heads": runner.expert.heads}
    before = {
        (part, name): weight.detach().clone()
        for part, module in parts.items()
        for name, weight in module.named_parameters()
    }
    runner.train()
    runner = make_runner(
        tiny_hubert, mapping, tmp_path / "x", init_ckpt=f"{tmp_path}/states-3.ckpt"
    )
    parts = {"upstream": runner.upstream.model, "heads": runner.expert.heads}
    moved = {
        (part, name.split(".")[0])
        for part, module in parts.items()
        for name, weight in module.named_parameters()
        if not torch.equal(weight, before[part, name])
    }
    assert moved == {("heads", "gate"), ("heads", "speaker_head")}


@pytest.mark.parametrize("strategy", ["none", "SNP"])
def test_an_upstream_without_parameters_trains(tiny_corpora, tmp_path, strategy):
    mapping = settings_of(tiny_corpora, strategy=strategy, total_steps=2)
    train(None, mapping, tmp_path, upstream="fbank", upstream_feature_selection="hidden_states")
    assert "Upstream" in checkpoint.latest(tmp_path)[1]


@pytest.mark.slow
@pytest.mark.parametrize("selection", ["last_hidden_state", "hidden_states"])
@pytest.mark.parametrize("strategy", ["SNP", "TAP"])
@pytest.mark.parametrize(
    ("upstream", "make"),
    [
        ("wav2vec2_local", lambda folder: tiny_upstreams.make_wav2vec2(folder / "wav2vec2.pt")),
        ("wavlm_local", lambda folder: tiny_upstreams.make_wavlm(folder / "wavlm.pt")),
        ("hf_hubert_custom", lambda folder: tiny_upstreams.make_hugging_face(folder, "hubert")),
        ("hf_wav2vec2_custom", lambda folder: tiny_upstreams.make_hugging_face(folder, "wav2vec2")),
    ],
)
def test_any_upstream_trains_and_goes_on_bit_for_bit(
    tiny_corpora, tmp_path, monkeypatch, upstream, make, strategy, selection
):
    (tmp_path / "upstream").mkdir()
    ckpt = make(tmp_path / "upstream")
    flags = {"upstream": upstream, "upstream_feature_selection": selection}
    mapping = settings_of(tiny_corpora, strategy=strategy, total_steps=4)
    whole = train(ckpt, mapping, tmp_path / "whole", **flags)
    assert hasattr(whole.featurizer.model, "weights") == (selection == "hidden_states")
    with at_step(monkeypatch, 3, kill), pytest.raises(KilledError):
        train(ckpt, mapping, tmp_path / "run", **flags)
    train(ckpt, mapping, tmp_path / "run", resume=True, **flags)
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    assert outcome_of(tmp_path / "run") == outcome_of(tmp_path / "whole")


def test_a_frozen_upstream_is_not_saved(tiny_hubert, tiny_corpora, tmp_path, monkeypatch):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    for strategy in ("none", "SNP"):
        mapping = settings_of(
            tiny_corpora, strategy=strategy, total_steps=2, other={"upstream": {"cache": "auto"}}
        )
        train(tiny_hubert, mapping, tmp_path / strategy, upstream_trainable=False)
        assert "Upstream" not in checkpoint.latest(tmp_path / strategy)[1]
        result = json.loads((tmp_path / strategy / "result.json").read_text())
        assert result["frozen"] is True


@pytest.mark.parametrize("erasure", ["leace", "znorm"])
def test_erasure_trains_on_a_frozen_upstreams_pooled_features_without_the_speaker(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch, erasure
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    mapping = settings_of(
        tiny_corpora, strategy="none", total_steps=2, method={"erasure": erasure},
        other={"upstream": {"cache": "auto"}},
    )  # fmt: skip
    runner = train(tiny_hubert, mapping, tmp_path / "run", upstream_trainable=False)
    batch = runner.expert.streams.emotion().silenced()[0]
    features = torch.cat(runner.source(batch, corpus="emotion"))
    mapping["downstream_expert"]["spknorm"]["erasure"] = "none"
    plain = make_runner(tiny_hubert, mapping, tmp_path / "plain", upstream_trainable=False)
    before = torch.cat(plain.source(batch, corpus="emotion"))
    assert features.shape == before.shape == (4, 32)
    if erasure == "znorm":
        everything = runner.source._kept["emotion"].every()[:, 0]
        speakers = [runner.expert.speakers_of(part) for part in ("train", "dev", "test")]
        first = [name == "Ses02_F" for part in speakers for name in part]
        assert abs(everything[first].mean(axis=0)).max() < 1e-5
    else:  # three speakers: two directions
        assert torch.linalg.matrix_rank(before - features, rtol=1e-3) <= 2
    assert not torch.allclose(before, features)


def test_an_erasure_that_leaves_nothing_ends_the_run(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("spknorm.probe.erasure.MIN_VARIANCE_LEFT", 0.999)
    mapping = settings_of(
        tiny_corpora, strategy="none", method={"erasure": "leace"},
        other={"upstream": {"cache": "auto"}},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="of the variance of the emotion corpus' features"):
        make_runner(tiny_hubert, mapping, tmp_path / "run", upstream_trainable=False)


def test_erasure_of_a_fine_tuned_upstream_is_refused(tiny_hubert, tiny_corpora, tmp_path):
    mapping = settings_of(tiny_corpora, strategy="none", method={"erasure": "znorm"})
    with pytest.raises(ConfigError, match="works on the pooled features of a frozen upstream"):
        make_runner(tiny_hubert, mapping, tmp_path)


def test_weights_that_do_not_fit_are_named(undisturbed, tiny_hubert, tiny_corpora, tmp_path):
    mapping = settings_of(tiny_corpora, expert={"modelrc": {"projector_dim": 9}})
    start = undisturbed("TAP", "literal") / "states-6.ckpt"
    with pytest.raises(CheckpointError, match=r"The weights of Downstream in .* do not fit"):
        make_runner(tiny_hubert, mapping, tmp_path, init_ckpt=str(start))


def test_weights_that_do_not_fit_are_told_with_one_that_does_not(
    tiny_hubert, tiny_corpora, tmp_path
):
    train(tiny_hubert, settings_of(tiny_corpora, total_steps=2), tmp_path / "tap")
    plain = settings_of(tiny_corpora, strategy="none")
    given = str(tmp_path / "tap/dev-best.ckpt")
    with pytest.raises(CheckpointError, match=r"not fit this experiment: Unexpected key.*speaker_"):
        make_runner(tiny_hubert, plain, tmp_path / "none", init_ckpt=given)
