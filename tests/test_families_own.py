"""distilHuBERT and emotion2vec, which have forms of their own, from checkpoint to export and back.

emotion2vec is compared with funasr's own class; its tests are skipped where funasr is not.
"""

import importlib.util
import json

import numpy as np
import pytest
import tiny_runs
import torch
from audit_benches import quicken
from test_families import TUNED, hidden_states, load_raw, train  # noqa: F401
from tiny_upstreams import make_distiller
from trained_folders import make_trained

from spknorm import predict
from spknorm.errors import ConfigError
from spknorm.export import export, load_gate
from spknorm.registry import register
from spknorm.runs.trained import load

FUNASR = pytest.mark.skipif(
    importlib.util.find_spec("funasr") is None,
    reason="needs funasr: pip install --no-deps funasr",
)
NAMES = ["distiller", pytest.param("emotion2vec", marks=FUNASR)]
STATES = {"distiller": 6, "emotion2vec": 4}
ENTRIES = {"distiller": "distiller_local", "emotion2vec": "emotion2vec"}


def make(name, folder, **changed):
    """Write a tiny checkpoint of a family; return what -k names."""
    if name == "distiller":
        folder.mkdir(parents=True, exist_ok=True)
        return make_distiller(folder / "model.pt", **changed)
    from tiny_emotion2vec import make_emotion2vec

    return make_emotion2vec(folder, **changed)


def hub():
    register()
    from s3prl import hub as found

    return found


def read_back(exported):
    """Return the upstream that the flags of an export name."""
    flags = dict(zip(exported.flags[::2], exported.flags[1::2], strict=True))
    return getattr(hub(), flags["-u"])(ckpt=flags["-k"]).eval()


@pytest.fixture
def runs(tiny_corpora, tmp_path, monkeypatch):
    """A function that trains a family for some steps; returns the experiment."""
    from test_families import settings_of

    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))

    def run(name, strategy, steps, *, to="run", resume=False, selection=None, **upstream):
        checkpoint = tmp_path / "checkpoint"
        found = checkpoint / "model.pt" if name == "distiller" else checkpoint
        ckpt = found if found.exists() else make(name, checkpoint)
        flags = {"upstream": ENTRIES[name]}
        if selection is not None:
            flags["upstream_feature_selection"] = selection
        settings = settings_of(tiny_corpora, strategy, steps, **upstream)
        tiny_runs.train(str(ckpt), settings, tmp_path / to, resume=resume, **flags)
        return tmp_path / to

    return run


def check_resumed(runs, name, strategy, steps, **options):
    whole = runs(name, strategy, steps, **options)
    runs(name, strategy, steps - 1, to="parts", **options)
    parts = runs(name, strategy, steps, to="parts", resume=True, **options)
    one, other = (tiny_runs.weights_of(folder) for folder in (whole, parts))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    return whole, one


@pytest.mark.parametrize("strategy", [pytest.param("none", marks=pytest.mark.slow), "SNP", "TAP"])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_trained_resumed_audited_predicted_with_exported_and_read_back(
    name, strategy, runs, tone, tmp_path, monkeypatch
):
    from spknorm.probe.audit import audit, probing

    selection = "hidden_states" if strategy == "SNP" else "last_hidden_state"
    whole, _ = check_resumed(runs, name, strategy, 2, selection=selection)
    trained, wav = load(whole), torch.from_numpy(tone(1.0))
    moved = hidden_states(trained.upstream, wav)
    assert len(moved) == STATES[name]
    assert sum(predict.load(whole).predict(tone(1.0), 16000).values()) == pytest.approx(1.0)
    quicken(monkeypatch)
    monkeypatch.setattr(probing, "KINDS", ("linear",))
    if strategy != "none":  # whose features are had as TAP's are
        audit([whole], labels=("speaker",))
        assert json.loads((whole / "probe.json").read_text())
    exported = export(whole, tmp_path / "export")
    found = hidden_states(read_back(exported), wav)
    for ours, theirs in zip(moved, found, strict=False):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert len(found) == len(moved) + (strategy == "SNP")
    if strategy == "SNP":
        with torch.no_grad():
            (gated,) = trained.features([wav])
        frames = min(len(gated), found[-1].shape[1])
        torch.testing.assert_close(gated[:frames], found[-1][0, :frames], rtol=1e-5, atol=1e-5)
        gate = load_gate(exported.folder if name == "emotion2vec" else exported.upstream_file)
        with torch.no_grad():
            assert torch.equal(gate(list(moved)), found[-1])
    assert (exported.folder / "config.json").is_file() == (
        name == "distiller" and strategy != "SNP"
    )
    assert exported.flags[1] in (exported.folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("how", TUNED)
@pytest.mark.parametrize("name", NAMES)
def test_part_of_it_is_trained_resumed_and_exported(name, how, runs, tone, tmp_path):
    whole, weights = check_resumed(runs, name, "TAP", 3, **TUNED[how])
    upstream = {key for key in weights if key.startswith("Upstream.")}
    assert all("lora_" in key for key in upstream) == ("lora" in how)
    trained, before = load(whole), load_raw(whole)
    after = trained.upstream.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed
    assert set(after) == set(before)
    if "lora" in how:
        ends = ("q_proj.weight", "v_proj.weight", "attn.qkv.weight")
        assert all(key.endswith(ends) for key in changed)
    if "freeze_layers" in how:
        lowest = "layers.0." if name == "distiller" else "context_encoder.blocks.0."
        assert not any(lowest in key for key in changed)
        assert any("layers.1." in key or ".blocks.1." in key for key in changed)
    if "bitfit" in how:
        assert all(key.endswith("bias") for key in changed)
    wav = torch.from_numpy(tone(0.5))
    back = hidden_states(read_back(export(whole, tmp_path / "export")), wav)
    for ours, theirs in zip(hidden_states(trained.upstream, wav), back, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("strategy", "selection"),
    [
        ("SNP", "hidden_states"),
        ("TAP", "last_hidden_state"),
        pytest.param("SNP", "last_hidden_state", marks=pytest.mark.slow),
        pytest.param("TAP", "hidden_states", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_logits_of_the_onnx_file_are_predicts(name, strategy, selection, tmp_path):
    import onnxruntime

    run = make_trained(
        tmp_path / "run", str(make(name, tmp_path / "checkpoint")), upstream=ENTRIES[name],
        strategy=strategy, selection=selection, num_states=STATES[name],
    )  # fmt: skip
    folder = export(run, tmp_path / "export", onnx=True).folder
    session, predictor = onnxruntime.InferenceSession(str(folder / "model.onnx")), predict.load(run)
    for seconds in (0.5, 3.0, 12.0):
        noise = np.random.default_rng(0).standard_normal(int(16000 * seconds))
        wav = (0.1 * noise).astype(np.float32)
        (found,) = session.run(None, {"waveform": wav[None]})
        np.testing.assert_allclose(found[0], predictor.logits(wav).numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("strategy", "selection", "layer"), [("TAP", "paper", None), ("SNP", "hidden_states", 2)]
)
def test_a_distilhubert_that_is_read_at_a_layer_has_a_whole_folder(
    strategy, selection, layer, tone, tmp_path
):
    run = make_trained(
        tmp_path / "run", make("distiller", tmp_path), upstream="distiller_local",
        strategy=strategy, selection=selection, layer_selection=layer,
    )  # fmt: skip
    exported = export(run, tmp_path / "export")
    assert exported.classifier == (strategy == "TAP")
    trained, wav = load(run), torch.from_numpy(tone(0.7))
    moved = hidden_states(trained.upstream, wav)
    found = hidden_states(hub().spknorm_hugging_face(ckpt=str(exported.folder)), wav)
    for number in (1, 2):
        torch.testing.assert_close(moved[number], found[number], rtol=1e-5, atol=1e-5)
    if strategy == "SNP":
        with torch.no_grad():
            (gated,) = trained.features([wav])
        torch.testing.assert_close(gated, found[-1][0, : len(gated)], rtol=1e-5, atol=1e-5)
    else:
        import transformers

        kind = transformers.AutoModelForAudioClassification
        with torch.no_grad():
            logits = kind.from_pretrained(exported.folder).eval()(wav[None]).logits
            expected = trained.heads.emotion_logits(trained.features([wav]))
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_what_a_folder_of_transformers_cannot_hold_is_said(tmp_path):
    run = make_trained(
        tmp_path / "run", make("distiller", tmp_path), upstream="distiller_local", strategy="SNP"
    )
    with pytest.raises(ConfigError) as caught:
        export(run, formats=("transformers",))
    assert str(caught.value) == (
        "There is no folder of transformers: the gate reads -s last_hidden_state, which heads are "
        "part of, and transformers' HuBERT has the layers alone. Export distiller_local with "
        "--format s3prl, and name normalised.pt with -u spknorm_distiller_local -k FILE."
    )
