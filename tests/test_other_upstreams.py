"""Upstreams of s3prl that run as s3prl runs them: they are trained, or one line says why not."""

import argparse

import pytest
import torch
from tiny_upstreams import _TRANSFORMER, CONV_LAYERS, featurizer_of, wavs

from spknorm.schema import UpstreamConfig
from spknorm.upstreams import build
from spknorm.upstreams.fast import PackedEncoder, make_encoder


def multires_hubert(path, monkeypatch):
    from s3prl.upstream.multires_hubert import hubert_model as s3prl

    model_cfg = {
        **_TRANSFORMER, "final_dim": 16, "label_rate": 50.0, "label_rate_ratios": [1, 2],
        "override_encoder_layers": "[1,1,1]",
    }  # fmt: skip
    task_cfg = {"label_rate": 50.0, "normalize": False, "label_rate_ratios": [1, 2]}
    symbols = [[str(unit) for unit in range(8)]] * 2
    model = s3prl.MultiresHubertModel(
        s3prl.MultiresHubertConfig(**model_cfg),
        s3prl.MultiresHubertPretrainingConfig(**task_cfg),
        symbols,
    )
    state = {
        "task_cfg": task_cfg, "model_cfg": model_cfg, "model_weight": model.state_dict(),
        "dictionaries_symbols": symbols,
    }  # fmt: skip
    torch.save(state, path)


def lighthubert(path, monkeypatch):
    from s3prl.upstream.lighthubert.lighthubert import LightHuBERT, LightHuBERTConfig, lighthubert

    sizes = {"embed_dim": [64], "ffn_ratio": [4.0], "heads_num": [1], "layer_num": [12]}
    monkeypatch.setattr(lighthubert.LightHuBERTSupernetConfig, "search_space", sizes)
    settings = {
        "_name": "student_hubert", "supernet_type": "small", "encoder_embed_dim": 64,
        "encoder_ffn_embed_dim": 256, "encoder_attention_heads": 1, "conv_pos": 16,
        "conv_pos_groups": 4, "conv_feature_layers": CONV_LAYERS,
    }  # fmt: skip
    model = LightHuBERT(LightHuBERTConfig(settings))
    torch.save({"cfg": {"model": settings}, "model": model.state_dict()}, path)


@pytest.mark.parametrize("make", [multires_hubert, lighthubert])
def test_other_huberts_are_trained_padded(make, tmp_path, monkeypatch):
    import spknorm.compat  # noqa: F401  # before s3prl's modules

    torch.manual_seed(0)
    make(tmp_path / "model.pt", monkeypatch)
    name = f"{make.__name__}_local"
    args = argparse.Namespace(upstream=name, upstream_ckpt=str(tmp_path / "model.pt"))
    upstream = build(args).upstream
    featurizer = featurizer_of(upstream, "hidden_states")
    encode = make_encoder(upstream, featurizer, UpstreamConfig())
    assert not isinstance(encode, PackedEncoder)
    upstream.train()  # with most of the checkpoint's layers dropped, if any were
    for _ in range(3):
        features = encode(wavs(0.8, 0.5))
        assert [len(one) for one in features] == [39, 25]  # s3prl rounds some up
        sum(one.pow(2).mean() for one in features).backward()
    assert all(torch.isfinite(p.grad).all() for p in upstream.parameters() if p.grad is not None)
