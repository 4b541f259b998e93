import importlib
import json

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spknorm import registry
from spknorm.corpora.records import EMOTIONS
from spknorm.demo import population

EMBEDDED = registry.plugin_root() / "upstream_adapters/demo_hubert/demo_hubert.pt"


@pytest.fixture(scope="module")
def upstream():
    registry.register()
    expert = importlib.import_module("s3prl.hub").spknorm_demo_hubert(refresh=False)
    return expert.eval()


def test_the_checkpoint_is_small_and_holds_weights_alone():
    assert EMBEDDED.stat().st_size < 500_000
    state = torch.load(EMBEDDED, weights_only=True)
    assert set(state) == {"task_cfg", "model_cfg", "model_weight", "dictionaries_symbols"}
    assert [len(symbols) for symbols in state["dictionaries_symbols"]] == [100, 100]


def test_it_is_s3prls_own_hubert_in_32_bits(upstream):
    from s3prl.upstream.hubert.expert import UpstreamExpert

    assert type(upstream) is UpstreamExpert
    assert {weight.dtype for weight in upstream.parameters()} == {torch.float32}


def test_it_gives_four_layers_of_64_dimensions_at_50_frames_a_second(upstream):
    with torch.no_grad():
        output = upstream([torch.randn(22400), torch.randn(16000)])
    assert upstream.get_downsample_rates("hidden_states") == 320
    assert [tuple(layer.shape) for layer in output["hidden_states"]] == [(2, 69, 64)] * 4
    assert torch.equal(output["last_hidden_state"], output["hidden_states"][-1])
    assert all(torch.isfinite(layer).all() for layer in output["hidden_states"])


def test_its_front_end_is_frozen_as_in_every_hubert_of_s3prl(upstream):
    upstream([torch.randn(8000)])["last_hidden_state"].sum().backward()
    assert all(weight.grad is None for weight in upstream.model.feature_extractor.parameters())
    assert upstream.model.post_extract_proj is None
    assert upstream.model.encoder.layers[0].fc1.weight.grad.abs().sum() > 0
    upstream.zero_grad()


def test_another_checkpoint_of_the_format_can_be_served(tmp_path, upstream):
    state = torch.load(EMBEDDED, weights_only=True)
    state["model_weight"] = {key: value * 0 for key, value in state["model_weight"].items()}
    torch.save(state, tmp_path / "zeros.pt")
    other = importlib.import_module("s3prl.hub").spknorm_demo_hubert(str(tmp_path / "zeros.pt"))
    assert all(weight.abs().sum() == 0 for weight in other.parameters())


def test_a_linear_layer_on_it_hears_emotion_in_unseen_speakers(upstream):
    slots = [slot for slot in population.emotion_slots(7) if slot.is_test and slot.number < 32]
    slots = [slot for slot in slots if EMOTIONS[slot.free] in ("ang", "sad")]
    waves = [
        torch.from_numpy(population.speak_emotion(7, slot, slot.free)).float() for slot in slots
    ]
    with torch.no_grad():
        layers = torch.stack(upstream(waves)["hidden_states"])  # (layers, B, T, H)
    summed = torch.nn.functional.layer_norm(layers, layers.shape[-1:]).mean(0)
    pooled = torch.cat([summed.mean(1), summed.std(1)], dim=-1).numpy()
    emotion = np.array([slot.free for slot in slots])
    seen = np.array([slot.speaker < 7 for slot in slots])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    classifier.fit(pooled[seen], emotion[seen])
    assert classifier.score(pooled[~seen], emotion[~seen]) > 0.75


def test_the_log_of_its_training_says_what_it_learnt():
    (log,) = sorted(
        (registry.plugin_root() / "benchmarks/results").glob("*-pretrain-demo-hubert.json")
    )
    record = json.loads(log.read_text())
    assert record["checkpoint_bytes"] == EMBEDDED.stat().st_size
    first, last = record["probes"][0], record["probes"][-1]
    assert last["step"] == record["arguments"]["steps"]
    assert last["speaker_last"] > first["speaker_last"] + 0.2
    assert last["emotion_sum"] > first["emotion_sum"] + 0.1
