"""fairseq's own checkpoints, read without fairseq where their settings are plain values."""

import argparse
import sys
import types

import pytest
import torch
from tiny_upstreams import make_data2vec, make_hubert, make_wav2vec2

import spknorm.compat  # noqa: F401  # s3prl as today's libraries let it run
from spknorm.errors import CheckpointError
from spknorm.upstreams import build

MAKERS = {
    "hubert": (make_hubert, "hubert_local"),
    "wav2vec2": (make_wav2vec2, "wav2vec2_local"),
    "data2vec_audio": (make_data2vec, "data2vec_local"),
}


@pytest.fixture
def save(monkeypatch):
    """A function that saves a checkpoint with a dictionary of fairseq's in it."""
    module = types.ModuleType("fairseq.data.dictionary")
    module.Dictionary = type("Dictionary", (), {"__module__": module.__name__})
    package = types.ModuleType("fairseq")
    package.data = types.ModuleType("fairseq.data")
    package.data.dictionary = module
    for one in (package, package.data, module):
        monkeypatch.setitem(sys.modules, one.__name__, one)

    def write(path, content, symbols):
        for word in [symbols] if symbols else []:
            dictionary = module.Dictionary()
            dictionary.symbols, dictionary.count = word, [1] * len(word)
            content["task_state"] = {"dictionaries": [dictionary]}
        torch.save(content, path)
        for name in ("fairseq", "fairseq.data", "fairseq.data.dictionary"):
            sys.modules.pop(name)
        return path

    return write


def of_fairseq(arch, path, save, *, form, dictionaries=True):
    """Write a checkpoint as fairseq does; return it and the one that s3prl converts it to."""
    make, entry = MAKERS[arch]
    plain = torch.load(make(path / "converted.pt"), weights_only=True)
    model, task = plain["model_cfg"], plain["task_cfg"]
    about = {"optimizer_history": [], "last_optimizer_state": None, "model": plain["model_weight"]}
    if form == "sections":
        cfg = {"model": {**model, "_name": arch}, "task": {**task, "_name": "audio"}, "common": {}}
        about |= {"args": None, "cfg": cfg}
    else:
        about |= {"args": argparse.Namespace(**{**task, **model}, arch=arch, seed=1), "cfg": None}
    symbols = plain.get("dictionaries_symbols")
    file = save(path / "fairseq.pt", about, symbols[0] if symbols and dictionaries else None)
    return file, path / "converted.pt", entry


def hidden_states(entry, file, wav):
    args = argparse.Namespace(
        upstream=entry, upstream_ckpt=str(file), upstream_model_config=None,
        upstream_refresh=False, hub="torch",
    )  # fmt: skip
    with torch.no_grad():
        return build(args).upstream.eval()([torch.from_numpy(wav)])["hidden_states"]


@pytest.mark.parametrize("form", ["sections", "namespace"])
@pytest.mark.parametrize("arch", MAKERS)
def test_a_checkpoint_with_plain_settings_is_the_one_that_s3prl_converts(
    arch, form, save, tone, tmp_path
):
    file, converted, entry = of_fairseq(arch, tmp_path, save, form=form)
    assert "fairseq" not in sys.modules
    for ours, theirs in zip(
        hidden_states(entry, file, tone(0.5)), hidden_states(entry, converted, tone(0.5)),
        strict=True,
    ):  # fmt: skip
        assert torch.equal(ours, theirs)


def test_a_hubert_without_its_dictionaries_takes_their_sizes_from_its_weights(save, tone, tmp_path):
    file, converted, entry = of_fairseq(
        "hubert", tmp_path, save, form="sections", dictionaries=False
    )
    first, second = (hidden_states(entry, one, tone(0.3)) for one in (file, converted))
    assert all(map(torch.equal, first, second))


def test_another_upstream_than_it_is_of_is_named(save, tone, tmp_path):
    file, _, _ = of_fairseq("hubert", tmp_path, save, form="sections")
    with pytest.raises(CheckpointError, match="of fairseq, of the kind -u hubert_local reads"):
        hidden_states("wavlm_local", file, tone(0.3))
