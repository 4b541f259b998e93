"""A run as one ONNX file: its logits are predict's, whatever the length."""

import numpy as np
import pytest
import torch
from tiny_families import FAMILIES, flags_of
from tiny_upstreams import make_transformers
from trained_folders import make_trained

from spknorm import predict, upstreams
from spknorm.errors import ConfigError
from spknorm.export import export

CASES = {
    "hubert": "SNP",
    "wav2vec2": "TAP",
    "wavlm": "SNP",
    "unispeech-sat": "TAP",
    "data2vec": "none",
    "hf xls-r": "SNP",
    "hf wavlm large": "TAP",
    "hf data2vec-audio": "SNP",
    "wavlm ungated": "none",
    "hf hubert": "SNP",
    "hf wav2vec2": "TAP",
    "hf wavlm": "SNP",
    "hf unispeech-sat": "TAP",
    "hf unispeech": "none",
}


def make(name, strategy, folder, **options):
    flags = flags_of(name, folder / "checkpoint")
    selection = "hidden_states" if strategy == "SNP" else "last_hidden_state"
    return make_trained(
        folder / "run",
        flags["upstream_ckpt"],
        upstream=flags["upstream"],
        strategy=strategy,
        selection=selection,
        **options,
    )


def waves(seed):
    """Noise of half a second, of three and of twelve."""
    generator = np.random.default_rng(seed)
    for seconds in (0.5, 3.0, 12.0):
        yield (0.1 * generator.standard_normal(int(16000 * seconds))).astype(np.float32)


def test_every_family_that_is_packed_is_among_the_cases():
    packed = {family.model_type for family in upstreams.FAMILIES if family.runs_packed} - {""}
    assert {f"hf {kind}" for kind in packed} <= {*CASES}
    left_out = {name for name in FAMILIES if name not in CASES}
    assert left_out == {"hf sew-d", "hf wav2vec2-bert", "hf whisper"}


TOLD = {"hf hubert", "hf wav2vec2", "hf wavlm", "hf unispeech-sat"}
"""Whose model is that into which the weights of s3prl's own are put: slow."""


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.slow] * (one in TOLD)) for one in CASES]
)
def test_logits_of_half_a_second_three_and_twelve_are_predicts(name, tmp_path):
    import onnxruntime

    run = make(name, CASES[name], tmp_path)
    folder = export(run, tmp_path / "export", formats=("transformers",), onnx=True).folder
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    predictor = predict.load(run)
    for wav in waves(seed=0):
        (found,) = session.run(None, {"waveform": wav[None]})
        np.testing.assert_allclose(found[0], predictor.logits(wav).numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
def test_logits_of_s3prls_wrapper_of_transformers_are_predicts(kind, tmp_path):
    import onnxruntime

    folder = make_transformers(tmp_path / "model", kind)
    run = make_trained(
        tmp_path / "run", folder, upstream=f"hf_{kind}_custom", selection="hidden_states"
    )
    exported = export(run, tmp_path / "export", formats=("transformers",), onnx=True).folder
    session = onnxruntime.InferenceSession(str(exported / "model.onnx"))
    predictor = predict.load(run)
    for wav in waves(seed=2):
        (found,) = session.run(None, {"waveform": wav[None]})
        np.testing.assert_allclose(found[0], predictor.logits(wav).numpy(), rtol=0, atol=1e-4)


def test_dimensions_of_the_file_are_predicts(tmp_path):
    import onnxruntime

    run = make("hubert", "TAP", tmp_path, result=False)
    state = torch.load(run / "dev-best.ckpt", weights_only=True)
    names = ["arousal", "valence", "dominance", "warmth"]
    torch.save({**state, "Spknorm": {"classes": names, "scale": [1, 7]}}, run / "dev-best.ckpt")
    folder = export(run, tmp_path / "export", formats=("transformers",), onnx=True).folder
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    predictor = predict.load(run)
    for wav in waves(seed=1):
        (outputs,) = session.run(None, {"waveform": wav[None]})
        (found,) = predictor.target.guesses(torch.from_numpy(outputs)).tolist()
        expected = predictor.predict(wav, 16000)
        assert list(expected) == names
        np.testing.assert_allclose(found, list(expected.values()), rtol=0, atol=1e-4)


def test_logits_of_layers_that_are_normalised_before_their_sum_are_predicts(tmp_path):
    import onnxruntime

    run = make("hubert", "SNP", tmp_path, normalize=True)
    folder = export(run, tmp_path / "export", formats=("s3prl",), onnx=True).folder
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    predictor = predict.load(run)
    for wav in waves(seed=3):
        (found,) = session.run(None, {"waveform": wav[None]})
        np.testing.assert_allclose(found[0], predictor.logits(wav).numpy(), rtol=0, atol=1e-4)


HEADS = {
    "attentive pooling": {"UtteranceLevel": {"pooling": "AttentivePooling"}},
    "hidden layers behind": {
        "UtteranceLevel": {
            "post_net": {"select": "FrameLevel", "FrameLevel": {"hiddens": [5, 7]}},
        }
    },
    "the paper's": {"select": "NonLinearProjection", "NonLinearProjection": {"dropout": 0.3}},
}  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_logits_of_other_heads_are_predicts_too(head, tmp_path):
    import onnxruntime

    run = make("hubert", "TAP", tmp_path, modelrc=HEADS[head])
    folder = export(run, tmp_path / "export", formats=("s3prl",), onnx=True).folder
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    predictor = predict.load(run)
    for wav in waves(seed=2):
        (found,) = session.run(None, {"waveform": wav[None]})
        np.testing.assert_allclose(found[0], predictor.logits(wav).numpy(), rtol=0, atol=1e-4)


FCN = {"model_type": "FCN", "hidden_dim": 6, "kernel_size": 5, "padding": 2, "pooling": 5,
       "dropout": 0.4}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hf whisper", {}, r"of the wav2vec 2\.0 kind, but hf:.* is Whisper's encoder\."),
        (
            "hubert",
            {"modelrc": {"select": "DeepModel", "DeepModel": FCN}},
            "ONNX cannot hold this run's emotion head, DeepModel with .* s its logits are others",
        ),
    ],
)
def test_what_the_file_cannot_hold_is_refused(name, options, message, tmp_path):
    run = make(name, "TAP", tmp_path, **options)
    with pytest.raises(ConfigError, match=message):
        export(run, tmp_path / "export", formats=("transformers",), onnx=True)


def test_what_torch_cannot_put_into_a_graph_is_one_line(tmp_path, monkeypatch):
    run = make("hubert", "TAP", tmp_path)
    monkeypatch.setattr(torch, "_shape_as_tensor", lambda x: torch.linalg.qr(x)[0].long().ravel())
    with pytest.raises(ConfigError, match=r"^ONNX cannot hold this run's model \(.*\)\. Export wi"):
        export(run, tmp_path / "export", formats=("transformers",), onnx=True)
