import pytest
import torch
from trained_folders import make_trained, trained_upstream

from spknorm.errors import CheckpointError
from spknorm.export import export, load_gate
from spknorm.export.upstream_file import build_gate, read_gate, read_upstream_file, write_stock_file
from spknorm.runs.trained import read_checkpoint


def test_the_classifier_gives_the_heads_logits_in_transformers(tap, tiny_hubert, tone):
    from transformers import HubertForSequenceClassification, HubertModel

    exported = export(tap)
    assert exported.classifier
    model = HubertForSequenceClassification.from_pretrained(exported.folder).eval()
    assert model.config.id2label == {0: "neu", 1: "hap", 2: "ang", 3: "sad"}
    heads = _heads(tap)
    trained = trained_upstream(tap, tiny_hubert)
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
    trained = trained_upstream(folder, tiny_hubert)
    featurizer = Featurizer(trained, "hidden_states", upstream_device="cpu")
    featurizer.load_state_dict(read_checkpoint(folder)["Featurizer"])
    wav = torch.from_numpy(tone(1.3))
    with torch.no_grad():
        expected = _heads(folder).emotion_logits(featurizer([wav], trained([wav])))
        found = model(wav[None]).logits
    assert torch.allclose(expected, found, atol=1e-5)


def _heads(expdir):
    from spknorm.method.model import Heads

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
    trained = trained_upstream(folder, tiny_hubert)
    featurizer = Featurizer(
        trained, "hidden_states", "cpu", layer_selection=layer, normalize=normalize
    )
    featurizer.load_state_dict(read_checkpoint(folder)["Featurizer"])
    gate = read_gate(export(folder).upstream_file)
    ours = hub.spknorm_hubert_local(ckpt=str(folder / "export" / "normalised.pt")).eval()
    wavs = [torch.from_numpy(tone(0.9))]
    with torch.no_grad():
        (below,) = featurizer(wavs, trained(wavs))
        expected = build_gate(gate).gate(below)
        assert torch.equal(ours(wavs)["last_hidden_state"][0], expected)


def test_a_gate_that_does_not_fit_is_refused(snp):
    path = export(snp).upstream_file
    upstream, gate = read_upstream_file(path), read_gate(path)
    config = {**gate.config, "activation": "Step"}
    write_stock_file(path, upstream, gate._replace(config=config), {})
    with pytest.raises(CheckpointError) as caught:
        load_gate(path)
    assert str(caught.value) == (
        "The checkpoint's gate has the activation 'Step'; "
        "known are ReLU, GELU, Tanh, SiLU, LeakyReLU."
    )
    config = {**gate.config, "width": 5}
    write_stock_file(path, upstream, gate._replace(config=config), {})
    with pytest.raises(CheckpointError, match="does not fit its own description"):
        load_gate(path)
