import http.server
import json
import threading
from typing import ClassVar

import numpy as np
import pytest
import torch
from trained_folders import make_trained

from spknorm.errors import CheckpointError, ConfigError, MissingError
from spknorm.export import export, load_gate, push
from spknorm.export.experiment import read_checkpoint, read_trained
from spknorm.export.transformers_folder import hubert_config, write_transformers_folder
from spknorm.export.upstream_file import (
    UpstreamFile,
    build_gate,
    read_upstream_file,
    write_upstream_file,
)

SMALL = {
    "encoder_layers": 3,
    "encoder_embed_dim": 48,
    "encoder_ffn_embed_dim": 96,
    "encoder_attention_heads": 4,
    "conv_feature_layers": "[(24,10,5)] + [(24,3,2)] * 4 + [(24,2,2)] * 2",
    "conv_pos": 32,
    "conv_pos_groups": 4,
    "final_dim": 16,
}
SHAPES = {
    "base: post-norm, group norm": (False, {}),
    "large: pre-norm, layer norm, biases, normalised audio": (
        True,
        {"layer_norm_first": True, "extractor_mode": "layer_norm", "conv_bias": True},
    ),
    "one size inside and out": (False, {"encoder_embed_dim": 24}),
    "relu, odd positional width, no padding to a multiple": (
        False,
        {"activation_fn": "relu", "conv_pos": 31, "required_seq_len_multiple": 1},
    ),
    "padding to a multiple of 4": (
        False,
        {"activation_fn": "gelu_accurate", "required_seq_len_multiple": 4},
    ),
}


def _random_upstream(path, *, normalize=False, **changed):
    """A HuBERT whose norms and biases are random, too, written in s3prl's converted format."""
    from s3prl.upstream.hubert.hubert_model import (
        HubertConfig,
        HubertModel,
        HubertPretrainingConfig,
    )

    import spknorm.compat  # noqa: F401

    model_cfg = {"label_rate": 50.0, **SMALL, **changed}
    task_cfg = {"label_rate": 50.0, "sample_rate": 16000, "normalize": normalize}
    torch.manual_seed(0)
    model = HubertModel(
        HubertConfig(**model_cfg), HubertPretrainingConfig(**task_cfg), [["a", "b"]]
    )
    for name, parameter in model.named_parameters():
        if "norm" in name or "bias" in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    write_upstream_file(path, UpstreamFile(task_cfg, model_cfg, model.state_dict(), [["a", "b"]]))
    return path


def _waveforms():
    """20 waveforms of 0.1 to 15 s, of no particular number of samples."""
    generator = torch.Generator().manual_seed(1)
    for seconds in np.geomspace(0.1, 15.0, 20):
        extra = int(torch.randint(0, 320, (1,), generator=generator))
        length = min(int(16000 * seconds) + extra, 240_000)
        yield 0.1 * torch.randn(length, generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_gives_the_hidden_states_of_s3prl_for_20_waveforms(shape, tmp_path):
    normalize, changed = SHAPES[shape]
    path = _random_upstream(tmp_path / "upstream.pt", normalize=normalize, **changed)
    from s3prl import hub
    from transformers import AutoFeatureExtractor, HubertModel

    write_transformers_folder(tmp_path / "folder", read_upstream_file(path))
    theirs = HubertModel.from_pretrained(tmp_path / "folder").eval()
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "folder")
    assert extractor.do_normalize is normalize
    ours = hub.hubert_local(ckpt=str(path)).eval()
    worst = 0.0
    for wav in _waveforms():
        given = torch.nn.functional.layer_norm(wav, wav.shape) if normalize else wav
        with torch.no_grad():
            expected = ours([wav])["hidden_states"]
            found = theirs(given[None], output_hidden_states=True)
        assert len(found.hidden_states) == len(expected)
        for layer, other in zip(expected, found.hidden_states, strict=True):
            assert layer.shape == other.shape
            assert torch.isfinite(other).all()
            worst = max(worst, float((layer - other).abs().max()))
        assert torch.equal(found.hidden_states[-1], found.last_hidden_state)
    assert worst < 1e-5


def test_the_preprocessor_normalises_as_s3prl_but_for_its_epsilon(tmp_path):
    from transformers import AutoFeatureExtractor

    path = _random_upstream(tmp_path / "upstream.pt", normalize=True)
    write_transformers_folder(tmp_path / "folder", read_upstream_file(path))
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "folder")
    loud = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    values = extractor(loud.numpy(), sampling_rate=16000, return_tensors="pt").input_values[0]
    difference = (values - torch.nn.functional.layer_norm(loud, loud.shape)).abs().max()
    assert difference < 1e-4


def test_a_new_style_weight_norm_is_understood(tmp_path):
    upstream = read_upstream_file(_random_upstream(tmp_path / "upstream.pt"))
    weights = dict(upstream.model_weight)
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        value = weights.pop(f"encoder.pos_conv.0.{old}")
        weights[f"encoder.pos_conv.0.parametrizations.weight.{new}"] = value
    write_transformers_folder(tmp_path / "new", upstream._replace(model_weight=weights))
    write_transformers_folder(tmp_path / "old", upstream)
    new, old = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("new", "old"))
    assert new == old


def test_what_transformers_does_not_have_is_refused(tmp_path):
    upstream = read_upstream_file(_random_upstream(tmp_path / "upstream.pt"))
    for key, value, message in (
        (
            "layer_type",
            "conformer",
            "transformers' HuBERT has no conformer layers; export --format s3prl keeps them.",
        ),
        (
            "activation_fn",
            "swish",
            "transformers' HuBERT has no activation swish; export --format s3prl keeps it.",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            hubert_config(upstream._replace(model_cfg={**upstream.model_cfg, key: value}))
        assert str(caught.value) == message
    odd = upstream._replace(model_weight={**upstream.model_weight, "odd.weight": torch.ones(1)})
    with pytest.raises(CheckpointError) as caught:
        write_transformers_folder(tmp_path / "folder", odd)
    assert str(caught.value) == "The weight `odd.weight` has no place in transformers' HuBERT."
    fewer = dict(upstream.model_weight)
    del fewer["mask_emb"]
    with pytest.raises(CheckpointError, match="do not fit a transformers HuBERT"):
        write_transformers_folder(tmp_path / "folder", upstream._replace(model_weight=fewer))


def test_layers_written_as_code_are_refused(tmp_path):
    upstream = read_upstream_file(_random_upstream(tmp_path / "upstream.pt"))
    harmful = {**upstream.model_cfg, "conv_feature_layers": "__import__('os').system('true')"}
    with pytest.raises(CheckpointError, match="it was not run"):
        hubert_config(upstream._replace(model_cfg=harmful))


@pytest.fixture
def tap(tmp_path, tiny_hubert):
    return make_trained(tmp_path / "tap", tiny_hubert)


@pytest.fixture
def snp(tmp_path, tiny_hubert):
    return make_trained(tmp_path / "snp", tiny_hubert, strategy="SNP")


def _trained_upstream(expdir, tiny_hubert):
    """The upstream as training left it, put together as s3prl's Runner would."""
    from s3prl import hub

    upstream = hub.hubert_local(ckpt=str(tiny_hubert))
    upstream.load_state_dict(read_checkpoint(expdir)["Upstream"])
    return upstream.eval()


def test_an_export_has_the_trained_hidden_states_bit_for_bit(tap, tiny_hubert):
    from s3prl import hub

    from spknorm.registry import register

    register()
    exported = export(tap)
    trained = _trained_upstream(tap, tiny_hubert)
    for name in ("spknorm_hubert_local", "hubert_local"):
        loaded = getattr(hub, name)(ckpt=str(exported.upstream_file)).eval()
        for wav in list(_waveforms())[::5]:
            with torch.no_grad():
                expected, found = trained([wav]), loaded([wav])
            assert len(expected["hidden_states"]) == len(found["hidden_states"])
            for one, other in zip(expected["hidden_states"], found["hidden_states"], strict=True):
                assert torch.equal(one, other)


def test_a_frozen_run_exports_its_original_upstream(tmp_path, tiny_hubert):
    folder = make_trained(tmp_path / "frozen", tiny_hubert, strategy="SNP", frozen=True)
    exported = read_upstream_file(export(folder).upstream_file)
    original = read_upstream_file(tiny_hubert)
    assert exported.gate is not None
    assert exported.provenance["upstream_trained"] is False
    for name, value in original.model_weight.items():
        assert torch.equal(exported.model_weight[name], value)


def test_the_file_loads_with_weights_only_and_says_where_it_came_from(snp):
    file = torch.load(export(snp).upstream_file, weights_only=True)
    assert set(file) == {
        "task_cfg",
        "model_cfg",
        "model_weight",
        "dictionaries_symbols",
        "spknorm",
    }
    assert file["spknorm"]["format"] == "spknorm.upstream/1"
    provenance = file["spknorm"]["provenance"]
    assert provenance["result"]["strategy"] == "SNP"
    assert provenance["best_step"] == 40
    assert provenance["config"]["downstream_expert"]["spknorm"]["strategy"] == "SNP"


def test_the_classifier_gives_the_heads_logits_in_transformers(tap, tiny_hubert, tone):
    from transformers import HubertForSequenceClassification, HubertModel

    exported = export(tap)
    assert exported.classifier
    model = HubertForSequenceClassification.from_pretrained(exported.folder).eval()
    assert model.config.id2label == {0: "neu", 1: "hap", 2: "ang", 3: "sad"}
    heads = _heads(tap)
    trained = _trained_upstream(tap, tiny_hubert)
    wav = torch.from_numpy(tone(1.3))
    with torch.no_grad():
        expected = heads.emotion_logits([trained([wav])["last_hidden_state"][0]])
        found = model(wav[None]).logits
        bare = HubertModel.from_pretrained(exported.folder).eval()(wav[None]).last_hidden_state
    assert torch.allclose(expected, found, atol=1e-5)
    assert torch.allclose(bare, trained([wav])["last_hidden_state"], atol=1e-5)


def test_a_weighted_sum_of_layers_goes_along(tmp_path, tiny_hubert, tone):
    from s3prl.upstream.interfaces import Featurizer
    from transformers import HubertForSequenceClassification

    folder = make_trained(tmp_path / "sum", tiny_hubert, selection="hidden_states")
    model = HubertForSequenceClassification.from_pretrained(export(folder).folder).eval()
    trained = _trained_upstream(folder, tiny_hubert)
    featurizer = Featurizer(trained, "hidden_states", upstream_device="cpu")
    featurizer.load_state_dict(read_checkpoint(folder)["Featurizer"])
    wav = torch.from_numpy(tone(1.3))
    with torch.no_grad():
        expected = _heads(folder).emotion_logits(featurizer([wav], trained([wav])))
        found = model(wav[None]).logits
    assert torch.allclose(expected, found, atol=1e-5)


def _heads(expdir):
    from spknorm.model import Heads

    state = read_checkpoint(expdir)["Downstream"]
    heads = Heads(32, num_emotions=4, num_speakers=5, strategy="TAP", projector_dim=8)
    heads.load_state_dict({name.removeprefix("heads."): value for name, value in state.items()})
    return heads.eval()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"strategy": "SNP"}, "between upstream and head stands SNP's non-linear gate"),
        (
            {"modelrc": {"select": "NonLinearProjection"}},
            "its head is NonLinearProjection",
        ),
        (
            {"modelrc": {"UtteranceLevel": {"pooling": "AttentivePooling"}}},
            "its head pools with AttentivePooling",
        ),
        (
            {
                "modelrc": {
                    "UtteranceLevel": {
                        "post_net": {"select": "FrameLevel", "FrameLevel": {"hiddens": [8]}}
                    }
                }
            },
            "its head has hidden layers",
        ),
        (
            {"selection": "hidden_states", "layer_selection": 1},
            "its head reads a single layer below the last",
        ),
    ],
)
def test_a_head_that_transformers_lacks_is_named_in_the_card(
    options, reason, tmp_path, tiny_hubert
):
    folder = make_trained(tmp_path / "run", tiny_hubert, **options)
    exported = export(folder)
    assert (exported.classifier, exported.reason) == (False, reason)
    card = (exported.folder / "README.md").read_text()
    assert f"There is no transformers classifier of the emotions: {reason}." in card


def test_the_gate_can_be_applied_to_what_transformers_gives(snp, tiny_hubert, tone):
    from s3prl import hub
    from transformers import HubertModel

    from spknorm.registry import register

    register()
    exported = export(snp)
    wav = torch.from_numpy(tone(0.9))
    ours = hub.spknorm_hubert_local(ckpt=str(exported.upstream_file)).eval()
    with torch.no_grad():
        model = HubertModel.from_pretrained(exported.folder).eval()
        below = model(wav[None], output_hidden_states=True).hidden_states
        gated = load_gate(exported.upstream_file)(below)
        assert torch.allclose(gated, ours([wav])["last_hidden_state"], atol=1e-5)
    assert load_gate(tiny_hubert) is None


def test_the_card_tells_training_scores_and_licences(tap):
    card = (export(tap).folder / "README.md").read_text()
    for line in (
        "# hubert_local, strategy TAP",
        "| protocol | si5 |",
        "| steps (best on dev) | 50 (40) |",
        "32 test utterances of 2 speakers, at the best dev step; 95 % intervals by bootstrap over "
        "speakers.",
        "- the demo corpus: generated by spknorm, Apache-2.0.",
        "No probe was run on this upstream; `spknorm audit` does that.",
    ):
        assert line in card
    assert "| weighted accuracy (%) | 78.1 | " in card


def test_the_card_holds_the_audits_rows(tap):
    row = {
        "upstream": "hubert_local",
        "stage": "TAP",
        "corpus": "speaker",
        "label": "speaker",
        "probe": "linear",
        "layer": "last",
        "control": None,
        "accuracy": 0.25,
        "low": 0.2,
        "high": 0.31,
        "n": 320,
        "num_classes": 80,
        "seed": 0,
    }
    rows = [
        {**row, "stage": "raw", "accuracy": 0.5},
        {**row, "stage": "raw", "control": "chance", "accuracy": 0.0125},
        row,
        {**row, "control": "shuffled", "accuracy": 0.01},
    ]
    probe = {"schema": "spknorm.probe/1", "rows": rows}
    (tap / "probe.json").write_text(json.dumps(probe))
    card = (export(tap).folder / "README.md").read_text()
    for line in (
        "| corpus | label | probe | layer | control | as it came | this upstream | chance | n |",
        "| speaker | speaker | linear | last |  | 50.0 [20.0 to 31.0] | 25.0 [20.0 to 31.0] "
        "| 1.2 | 320 |",
        "| speaker | speaker | linear | last | shuffled | - | 1.0 [20.0 to 31.0] |  | 320 |",
    ):
        assert line in card
    assert "in a run with the adversary off, which the audit did not have." in card
    off = {**row, "stage": "none", "accuracy": 0.375}
    (tap / "probe.json").write_text(json.dumps({**probe, "adversary_off": [off]}))
    card = (export(tap).folder / "README.md").read_text()
    assert "| 50.0 [20.0 to 31.0] | 37.5 [20.0 to 31.0] | 25.0 [20.0 to 31.0] | 1.2 | 320 |" in card
    assert "normalisation removed is the difference to the latter." in card


def test_without_a_result_file_the_card_says_so(tmp_path, tiny_hubert):
    folder = make_trained(tmp_path / "run", tiny_hubert, result=False)
    card = (export(folder).folder / "README.md").read_text()
    assert "No result.json with test scores was there at export." in card


def test_one_format_alone_can_be_written(tap, tmp_path):
    exported = export(tap, tmp_path / "out", formats=("s3prl",))
    assert sorted(path.name for path in exported.folder.iterdir()) == ["README.md", "normalised.pt"]
    exported = export(tap, tmp_path / "other", formats=("transformers",))
    assert exported.upstream_file is None
    assert sorted(path.name for path in exported.folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


def test_an_unknown_format_is_refused(tap):
    with pytest.raises(ConfigError) as caught:
        export(tap, formats=("onnx",))
    assert str(caught.value) == "Formats of an export are s3prl, transformers, but not `onnx`."


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(MissingError) as caught:
        export(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} has no dev-best.ckpt. Name the folder of a finished experiment, "
        "the one with result.json in it."
    )


def test_a_checkpoint_of_another_task_is_refused(tap):
    state = read_checkpoint(tap)
    state["Downstream"] = {"projector.weight": torch.ones(1)}
    state["Args"].downstream = "emotion"
    torch.save(state, tap / "dev-best.ckpt")
    with pytest.raises(CheckpointError) as caught:
        read_trained(tap)
    assert str(caught.value) == (
        f"{tap / 'dev-best.ckpt'} is of the task emotion, "
        "but export, predict and audit read emotion_spknorm."
    )


@pytest.mark.parametrize(("layer", "normalize"), [(None, False), (None, True), (1, False)])
def test_the_gate_stands_on_what_it_was_trained_on(layer, normalize, tmp_path, tiny_hubert, tone):
    from s3prl import hub
    from s3prl.upstream.interfaces import Featurizer

    from spknorm.registry import register

    register()
    folder = make_trained(
        tmp_path / "run",
        tiny_hubert,
        strategy="SNP",
        selection="hidden_states",
        layer_selection=layer,
        normalize=normalize,
    )
    trained = _trained_upstream(folder, tiny_hubert)
    featurizer = Featurizer(
        trained, "hidden_states", "cpu", layer_selection=layer, normalize=normalize
    )
    featurizer.load_state_dict(read_checkpoint(folder)["Featurizer"])
    gate = read_upstream_file(export(folder).upstream_file).gate
    ours = hub.spknorm_hubert_local(ckpt=str(folder / "export" / "normalised.pt")).eval()
    wavs = [torch.from_numpy(tone(0.9))]
    with torch.no_grad():
        (below,) = featurizer(wavs, trained(wavs))
        expected = build_gate(gate).gate(below)
        assert torch.equal(ours(wavs)["last_hidden_state"][0], expected)


def test_a_second_gate_has_no_place(snp, tmp_path):
    exported = export(snp).upstream_file
    state = read_checkpoint(snp)
    state["Args"].upstream, state["Args"].upstream_ckpt = "spknorm_hubert_local", str(exported)
    again = tmp_path / "again"
    again.mkdir()
    torch.save(state, again / "dev-best.ckpt")
    with pytest.raises(ConfigError, match="has a gate already"):
        export(again)


def test_an_upstream_of_another_kind_is_refused(tap):
    state = read_checkpoint(tap)
    state["Args"].upstream, state["Args"].upstream_ckpt = "fbank", None
    torch.save(state, tap / "dev-best.ckpt")
    with pytest.raises(ConfigError, match="The upstream fbank is not of HuBERT's kind"):
        export(tap)
    state["Args"].upstream = "no_such_upstream"
    torch.save(state, tap / "dev-best.ckpt")
    with pytest.raises(ConfigError) as caught:
        export(tap)
    assert str(caught.value) == "s3prl's hub has no upstream no_such_upstream."


def test_a_damaged_or_foreign_upstream_file_is_refused(tmp_path, tiny_hubert):
    (tmp_path / "cut.pt").write_bytes(tiny_hubert.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint of weights alone"):
        read_upstream_file(tmp_path / "cut.pt")
    torch.save({"model_weight": {}, "task_cfg": {}, "model_cfg": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError) as caught:
        read_upstream_file(tmp_path / "other.pt")
    assert str(caught.value) == (
        f"{tmp_path / 'other.pt'} is not in s3prl's converted format: "
        "dictionaries_symbols is missing."
    )
    with pytest.raises(MissingError) as caught:
        read_upstream_file(tmp_path / "none.pt")
    assert str(caught.value) == (
        f"There is no upstream checkpoint {tmp_path / 'none.pt'}. Name one with -k."
    )


def test_a_gate_that_does_not_fit_is_refused(snp):
    path = export(snp).upstream_file
    upstream = read_upstream_file(path)
    config = {**upstream.gate.config, "activation": "Step"}
    write_upstream_file(path, upstream._replace(gate=upstream.gate._replace(config=config)))
    with pytest.raises(CheckpointError) as caught:
        load_gate(path)
    assert str(caught.value) == (
        "The checkpoint's gate has the activation 'Step'; "
        "known are ReLU, GELU, Tanh, SiLU, LeakyReLU."
    )
    config = {**upstream.gate.config, "width": 5}
    write_upstream_file(path, upstream._replace(gate=upstream.gate._replace(config=config)))
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        load_gate(path)


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers what huggingface_hub asks when a small folder is uploaded; notes every request."""

    requests: ClassVar[list[tuple[str, bytes]]] = []
    refuse = False

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.requests.append((self.path, body))
        if self.refuse:
            self._answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            self._answer(
                200, {"url": "https://huggingface.co/someone/model", "name": "someone/model"}
            )
        elif self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [
                {"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names
            ]
            self._answer(200, {"files": modes})
        elif "/commit/" in self.path:
            commit = {
                "commitUrl": "https://huggingface.co/someone/model/commit/1",
                "commitOid": "1",
            }
            self._answer(200, {**commit, "success": True})
        else:
            self._answer(200, {"errors": [], "warnings": []})

    def do_GET(self):
        self.requests.append((self.path, b""))
        status = 401 if self.refuse else 200
        self._answer(status, {"id": "someone/model", "sha": "0", "siblings": []})

    def _answer(self, status, value):
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(_Hub, "requests", [])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_folder_is_pushed_as_one_commit(tap, hub):
    folder = export(tap).folder
    assert (
        push(folder, "someone/model", endpoint=hub)
        == "https://huggingface.co/someone/model/commit/1"
    )
    created = json.loads(_Hub.requests[0][1])
    assert (_Hub.requests[0][0], created["name"]) == ("/api/repos/create", "model")
    commits = [body for path, body in _Hub.requests if "/commit/" in path]
    assert len(commits) == 1
    lines = [json.loads(line) for line in commits[0].splitlines()]
    uploaded = {line["value"]["path"] for line in lines if line["key"] == "file"}
    assert uploaded == {path.name for path in folder.iterdir()}


def test_a_refused_push_is_told_in_one_line(tap, hub, monkeypatch):
    monkeypatch.setattr(_Hub, "refuse", True)
    with pytest.raises(ConfigError, match=r"^The hub did not take someone/model: .*401"):
        push(export(tap).folder, "someone/model", endpoint=hub)


def test_only_an_export_is_pushed(tmp_path):
    with pytest.raises(MissingError) as caught:
        push(tmp_path, "someone/model")
    assert str(caught.value) == (
        f"{tmp_path} has no README.md; push a folder that `spknorm export` wrote."
    )
