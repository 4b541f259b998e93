"""Every family of upstreams from its checkpoint to its export and back, and what is trained of it.

Legend: none, SNP and TAP are trained for a few steps on corpora of tones.
"""

import json

import pytest
import tiny_runs
import torch
from tiny_families import FAMILIES, flags_of

from spknorm import predict
from spknorm.errors import ConfigError
from spknorm.export import export
from spknorm.runs.trained import load

STRATEGIES = ("none", "SNP", "TAP")
FROM_FILES = {"wav2vec2", "wavlm", "wavlm ungated", "unispeech-sat", "data2vec", "hubert"}


def settings_of(corpora, strategy, steps, precision="fp32", **upstream):
    return tiny_runs.settings_of(
        corpora,
        strategy=strategy,
        update="reversal" if strategy == "none" else "relative",
        method={"speaker_lambda": 1.0},
        total_steps=steps,
        eval_step=1,
        save_step=1,
        precision=precision,
        other={"upstream": {"cache": "auto", **upstream}},
    )


@pytest.fixture
def train(tiny_corpora, tmp_path, monkeypatch):
    """A function that trains a family for some steps in a folder of its own; returns that."""
    monkeypatch.setenv("SPKNORM_CACHE", str(tmp_path / "cache"))
    made = {}

    def run(name, strategy, steps, *, to="run", resume=False, selection=None, **upstream):
        if name not in made:
            made[name] = flags_of(name, tmp_path / "checkpoint")
        flags = dict(made[name])
        if selection is not None:
            flags["upstream_feature_selection"] = selection
        settings = settings_of(tiny_corpora, strategy, steps, **upstream)
        ckpt = flags.pop("upstream_ckpt")
        tiny_runs.train(ckpt, settings, tmp_path / to, resume=resume, **flags)
        return tmp_path / to

    return run


def hidden_states(upstream, wav):
    with torch.no_grad():
        return upstream.eval()([wav])["hidden_states"]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_trained_resumed_audited_predicted_with_exported_and_read_back(
    name, strategy, train, tone, tmp_path
):
    from s3prl import hub

    from spknorm.probe.audit import audit
    from spknorm.registry import register
    from spknorm.upstreams.hugging_face.upstream import TransformersUpstream

    selection = "hidden_states" if strategy == "SNP" else "last_hidden_state"
    whole = train(name, strategy, 5, selection=selection)
    train(name, strategy, 3, to="parts", selection=selection)
    parts = train(name, strategy, 5, to="parts", selection=selection, resume=True)
    one, other = (tiny_runs.weights_of(folder) for folder in (whole, parts))
    assert all(torch.equal(value, other[key]) for key, value in one.items())

    trained = load(whole)
    wav = torch.from_numpy(tone(1.0))
    moved = hidden_states(trained.upstream, wav)
    assert sum(predict.load(whole).predict(tone(1.0), 16000).values()) == pytest.approx(1.0)

    audit([whole], labels=("speaker",))
    assert json.loads((whole / "probe.json").read_text())

    exported = export(whole, tmp_path / "export")
    register()
    back = hub.spknorm_hugging_face(ckpt=str(exported.folder))
    assert isinstance(back, TransformersUpstream)
    found = hidden_states(back, wav)
    for ours, theirs in zip(moved, found, strict=False):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert len(found) == len(moved) + (strategy == "SNP")
    if strategy == "SNP":
        with torch.no_grad():
            (gated,) = trained.features([wav])
        frames = min(len(gated), found[-1].shape[1])
        torch.testing.assert_close(gated[:frames], found[-1][0, :frames], rtol=1e-5, atol=1e-5)
    assert (exported.upstream_file is not None) == (name in FROM_FILES)
    if name in FROM_FILES:
        entry = flags_of(name, tmp_path / "again")["upstream"]
        stock = getattr(hub, entry)(ckpt=str(exported.upstream_file))
        for ours, theirs in zip(moved, hidden_states(stock, wav), strict=True):
            assert torch.equal(ours, theirs)
    assert exported.classifier == (strategy != "SNP" and name != "hf whisper")
    if exported.classifier:
        check_classifier(exported.folder, trained, wav)


def check_classifier(folder, trained, wav):
    import transformers

    model = transformers.AutoModelForAudioClassification.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    given = extractor(wav.numpy(), sampling_rate=16000, return_tensors="pt")
    given.pop("attention_mask", None) if "input_values" in given else None
    with torch.no_grad():
        logits = model(**given).logits
        expected = trained.heads.emotion_logits(trained.features([wav]))
    # s3prl rounds the number of frames up to one that is not there, or leaves the last out
    torch.testing.assert_close(logits, expected, rtol=0.05, atol=0.01)


TUNED = {
    "lora": {"lora": {"rank": 2, "alpha": 4}},
    "freeze_layers": {"freeze_layers": 1},
    "layer_decay": {"layer_decay": 0.5},
    "bitfit": {"bitfit": True},
    "lora freeze_layers layer_decay": {
        "lora": {"rank": 2, "alpha": 4}, "freeze_layers": 1, "layer_decay": 0.5,
    },
    "bitfit freeze_layers layer_decay": {"bitfit": True, "freeze_layers": 1, "layer_decay": 0.5},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", TUNED)
@pytest.mark.parametrize("name", FAMILIES)
def test_part_of_a_family_is_trained_resumed_and_exported(name, how, train, tone, tmp_path):
    check_part(name, how, train, tone, tmp_path)


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(one, marks=[pytest.mark.slow] * (one in ("lora", "bitfit")))  # so below
        for one in TUNED
    ],
)
def test_part_of_a_wavlm_is_trained_resumed_and_exported(how, train, tone, tmp_path):
    check_part("wavlm", how, train, tone, tmp_path)


def test_adapters_are_trained_resumed_and_predicted_with_in_bfloat16(train, tone, tmp_path):
    lora = {"lora": {"rank": 2, "alpha": 4}, "precision": "bf16"}
    whole = train("wavlm", "TAP", 2, **lora)
    train("wavlm", "TAP", 1, to="parts", **lora)
    parts = train("wavlm", "TAP", 2, to="parts", resume=True, **lora)
    one, other = (tiny_runs.weights_of(folder) for folder in (whole, parts))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    adapters = {key: value for key, value in one.items() if key.startswith("Upstream.")}
    assert all("lora_" in key and value.dtype == torch.float32 for key, value in adapters.items())
    assert any(value.any() for key, value in adapters.items() if "lora_B" in key)
    before, after = load_raw(whole), load(whole).upstream.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed
    assert all(key.endswith(("q_proj.weight", "v_proj.weight")) for key in changed)
    assert sum(predict.load(whole).predict(tone(1.0), 16000).values()) == pytest.approx(1.0)


def check_part(name, how, train, tone, tmp_path):
    from s3prl import hub

    whole = train(name, "TAP", 2, **TUNED[how])
    train(name, "TAP", 1, to="parts", **TUNED[how])
    parts = train(name, "TAP", 2, to="parts", resume=True, **TUNED[how])
    one, other = (tiny_runs.weights_of(folder) for folder in (whole, parts))
    assert all(torch.equal(value, other[key]) for key, value in one.items())
    upstream = {key for key in one if key.startswith("Upstream.")}
    assert all("lora_" in key for key in upstream) == ("lora" in how)

    before = load_raw(whole)
    assert sum(predict.load(whole).predict(tone(0.5), 16000).values()) == pytest.approx(1.0)
    trained = load(whole)
    after = trained.upstream.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert set(after) == set(before)  # adapters are merged
    assert changed
    if "lora" in how:
        ends = ("q_proj.weight", "v_proj.weight", "linear_q.weight", "linear_v.weight",
                "query_proj.weight", "value_proj.weight")  # fmt: skip
        assert all(key.endswith(ends) for key in changed)
    if "freeze_layers" in how:
        assert not any("layers.0." in key or "layer.0." in key for key in changed)
        assert any("layers.1." in key or "layer.1." in key for key in changed)
    if "bitfit" in how:
        assert all(key.endswith("bias") for key in changed)

    exported = export(whole, tmp_path / "export")
    wav = torch.from_numpy(tone(0.5))
    back = hub.spknorm_hugging_face(ckpt=str(exported.folder))
    pairs = zip(hidden_states(trained.upstream, wav), hidden_states(back, wav), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def load_raw(folder):
    from spknorm.runs.trained import read_checkpoint
    from spknorm.upstreams import build

    return build(read_checkpoint(folder)["Args"]).upstream.state_dict()


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ({}, {1e-5, 0.5e-5, 0.25e-5}),
        ({"bitfit": True}, {1e-5, 0.5e-5, 0.25e-5}),
        ({"lora": {"rank": 2}}, {1e-5, 0.5e-5}),
        ({"lora": {"rank": 2}, "freeze_layers": 1}, {1e-5}),
    ],
)
def test_layers_below_learn_more_slowly(beside, expected, train):
    from spknorm.upstreams import tuning

    folder = train("hf wavlm", "none", 1, layer_decay=0.5, **beside)
    state = torch.load(folder / "states-1.ckpt", weights_only=True)
    groups = state["Optimizer"]["emotion"]["param_groups"]
    rates = {group["lr"] for group in groups if group["name"] == "upstream"}
    assert rates == expected
    upstream = load(folder).upstream
    assert len(tuning.layers_of(upstream)) == 2


@pytest.mark.parametrize(
    ("changes", "flags", "message"),
    [
        (
            {"lora": {"rank": 2}},
            {"upstream_trainable": False},
            "`config.upstream.lora` has no effect on a fr",
        ),
        ({"bitfit": True}, {"upstream_trainable": False}, "`config.upstream.bitfit` has no effect"),
        ({"lora": {"alpha": 2}}, {}, "`config.upstream.lora` has no effect without a rank: set "),
        ({"freeze_layers": 3}, {}, "`config.upstream.freeze_layers` is 3, but the upstream has 2."),
        (
            {"lora": {"rank": 2, "targets": ["qkv"]}},
            {},
            "`config.upstream.lora.targets`: the upstream's layers have no qkv; name some of fc1, ",
        ),
        (
            {"lora": {"rank": 2, "targets": []}},
            {},
            "`config.upstream.lora.targets`: it is empty; name some of fc1, fc2, ",
        ),
        (
            {"lora": {"rank": 2}, "freeze_layers": 2},
            {},
            "is 2, so that no layer is left for `config.upstream.lora`: lower it, or leave lora",
        ),
        (
            {"lora": {"rank": 2}, "bitfit": True},
            {},
            "`config.upstream.bitfit` has no effect beside lora, which trains adapters alone",
        ),
        (
            {"bitfit": True, "freeze_layers": 2},
            {},
            "`config.upstream.bitfit`: the upstream, all 2 layers frozen, has no biases to train.",
        ),
        (
            {"lora": {"rank": 2}, "packed": False},
            {},
            r"past the adapters \(upstream.packed is off\)",
        ),
    ],
)
def test_what_cannot_take_effect_is_refused(changes, flags, message, tiny_corpora, tmp_path):
    names = flags_of("wavlm", tmp_path / "checkpoint")
    settings = settings_of(
        tiny_corpora, "none" if "upstream_trainable" in flags else "TAP", 1, **changes
    )
    with pytest.raises(ConfigError, match=message):
        tiny_runs.make_runner(
            names.pop("upstream_ckpt"), settings, tmp_path / "run", **names, **flags
        )


def test_adapters_in_s3prls_wrapper_of_transformers_are_trained_and_merged(tiny_corpora, tmp_path):
    from tiny_upstreams import make_transformers

    folder = make_transformers(tmp_path / "model", "wav2vec2")
    settings = settings_of(tiny_corpora, "TAP", 2, lora={"rank": 2}, layer_decay=0.5)
    run = tmp_path / "run"
    tiny_runs.train(str(folder), settings, run, upstream="hf_wav2vec2_custom")
    before, after = load_raw(run), load(run).upstream.state_dict()
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert changed
    assert all(key.endswith(("q_proj.weight", "v_proj.weight")) for key in changed)


def test_a_run_of_adapters_is_evaluated(train, tiny_corpora, tmp_path, caplog):
    caplog.set_level("INFO")
    lora = {"lora": {"rank": 2, "alpha": 4}}
    whole = train("wavlm", "TAP", 2, **lora)
    flags = flags_of("wavlm", tmp_path / "checkpoint")
    ckpt, settings = flags.pop("upstream_ckpt"), settings_of(tiny_corpora, "TAP", 2, **lora)
    flags |= {"mode": "evaluate", "init_ckpt": str(whole / "dev-best.ckpt")}
    scores = tiny_runs.make_runner(ckpt, settings, whole, **flags).evaluate("test")
    assert scores.wa == json.loads((whole / "result.json").read_text())["test"]["wa"]
    assert f"test wa {scores.wa:.4f}, " in caplog.messages[-1]
    assert caplog.messages[-1].endswith(f"; the weights are {whole / 'dev-best.ckpt'}")
