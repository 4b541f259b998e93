import importlib

import pytest
import tiny_upstreams
import torch

from spknorm.compat import lengths
from spknorm.errors import CheckpointError, DataError


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    """Return a function that builds an upstream by s3prl's name from a local checkpoint."""
    import s3prl.hub as hub

    folder = tmp_path_factory.mktemp("upstreams")
    makers = {
        "hubert_local": lambda: tiny_upstreams.make_hubert(folder / "hubert.pt"),
        "wav2vec2_local": lambda: tiny_upstreams.make_wav2vec2(folder / "wav2vec2.pt"),
        "wavlm_local": lambda: tiny_upstreams.make_wavlm(folder / "wavlm.pt"),
        "hf_hubert_custom": lambda: tiny_upstreams.make_hugging_face(folder / "h", "hubert"),
        "hf_wav2vec2_custom": lambda: tiny_upstreams.make_hugging_face(folder / "w", "wav2vec2"),
    }

    def build(name):
        options = {"ckpt": str(makers[name]())} if name in makers else {}
        return getattr(hub, name)(**options)

    return build


NAMES = ["hubert_local", "wav2vec2_local", "wavlm_local", "hf_hubert_custom", "hf_wav2vec2_custom"]


@pytest.mark.parametrize("name", [*NAMES, "fbank", "mfcc"])
def test_an_upstream_gives_hidden_states_and_a_last_one(name, upstream, tone):
    from s3prl.upstream.interfaces import Featurizer

    model = upstream(name).eval()
    wavs = [torch.from_numpy(tone(0.5)), torch.from_numpy(tone(0.3))]
    with torch.no_grad():
        result = model(wavs)
    last = result["last_hidden_state"]
    assert torch.equal(last, result["hidden_states"][-1])
    assert last.shape[0] == 2
    assert torch.isfinite(last).all()
    featurizer = Featurizer(model, "last_hidden_state", upstream_device="cpu")
    assert not hasattr(featurizer, "weights")  # one layer, no silent weighted sum
    assert len(featurizer(wavs, result)) == 2


@pytest.mark.parametrize("kind", ["hubert", "wav2vec2"])
def test_the_last_layer_of_a_pre_norm_model_is_behind_its_final_norm(kind, tmp_path, tone):
    import s3prl.hub as hub
    import transformers

    folder = tiny_upstreams.make_hugging_face(tmp_path, kind, do_stable_layer_norm=True)
    wav = torch.from_numpy(tone(0.5))
    given = transformers.AutoFeatureExtractor.from_pretrained(folder)(
        wav.numpy(), sampling_rate=16000, return_tensors="pt"
    )
    with torch.no_grad():
        hidden = getattr(hub, f"hf_{kind}_custom")(ckpt=str(folder)).eval()([wav])["hidden_states"]
        expected = transformers.AutoModel.from_pretrained(folder).eval()(**given)
    assert len(hidden) == 3
    assert torch.equal(hidden[-1], expected.last_hidden_state)


def test_upstreams_serve_s3prl_s_programming_interface(tmp_path, tone):
    nn = importlib.import_module("s3prl.nn")
    path = tiny_upstreams.make_hubert(tmp_path / "hubert.pt")
    model = nn.S3PRLUpstream("hubert_local", path_or_url=str(path)).eval()
    wavs = torch.from_numpy(tone(0.5))[None]
    hidden, lengths = model(wavs, torch.tensor([8000]))
    assert len(hidden) == model.num_layers == 3
    assert hidden[0].shape == (1, int(lengths[0].max()), 32)


def test_a_damaged_checkpoint_of_an_upstream_is_named(tmp_path):
    hub = importlib.import_module("s3prl.hub")
    content = tiny_upstreams.make_hubert(tmp_path / "whole.pt").read_bytes()
    for name, part in (("short.pt", content[: len(content) // 2]), ("empty.pt", b"")):
        (tmp_path / name).write_bytes(part)
        with pytest.raises(CheckpointError, match=name):
            hub.hubert_local(ckpt=str(tmp_path / name))


@pytest.mark.parametrize("name", NAMES)
def test_training_mode_drops_no_layer_and_masks_nothing(name, upstream, tone):
    model = upstream(name).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for attribute in ("dropout_module", "dropout"):
            dropout = getattr(module, attribute, None)
            if hasattr(dropout, "p"):
                dropout.p = 0.0
            elif isinstance(dropout, float):
                setattr(module, attribute, 0.0)
    wavs = [torch.from_numpy(tone(0.5))]
    with torch.no_grad():
        trained = [model(wavs)["last_hidden_state"] for _ in range(4)]
        evaluated = model.eval()(wavs)["last_hidden_state"]
    for features in trained:
        assert torch.allclose(features, evaluated, atol=1e-5)


@pytest.mark.parametrize("name", ["hubert_local", "hf_hubert_custom", "fbank"])
@pytest.mark.parametrize("length", [0, 120, 399])
def test_too_short_an_utterance_is_named(name, length, upstream, tone):
    model = upstream(name).eval()
    with pytest.raises(DataError) as caught:
        model([torch.from_numpy(tone(0.5)), torch.zeros(length)])
    assert str(caught.value) == (
        f"Utterance 1 of a batch has {length} samples, but an upstream needs at least 400 "
        "(25 ms at 16 kHz). Leave such files out of the corpus."
    )
    with torch.no_grad():
        shortest = model([torch.zeros(lengths.MIN_SAMPLES)])["last_hidden_state"]
    assert shortest.shape[1] >= 1
