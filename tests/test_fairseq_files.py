"""fairseq's own checkpoints, read without fairseq where their settings are plain values."""

import argparse
import os  # noqa: F401 # pickled by name
import sys
import types
import typing
from collections import OrderedDict

import numpy as np
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


def as_trained(symbols_of):
    """What fairseq's trainer keeps beside a model, with numpy's scalars as its meters have them."""
    return {
        "criterion": {}, "last_optimizer_state": {"state": {}, "param_groups": [{"lr": 5e-4}]},
        "optimizer_history": [
            {
                "criterion_name": "Wav2vecCriterion", "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {"best": np.float64(0.5)}, "num_updates": 400000,
            },
        ],
        "task_state": symbols_of,
        "extra_state": {
            "metrics": OrderedDict(default=[(20, "wall", "TimeMeter", {"sum": np.int64(3)})]),
            "train_iterator": {"epoch": 7, "iterations_in_epoch": 0, "shuffle": True},
            "val_loss": np.float64(2.5), "best": np.float32(2.25), "previous_training_time": 3.5,
            "random": np.arange(3),
        },
    }  # fmt: skip


def written(file):
    """Return what a file of this test holds, numpy's numbers among it."""
    kinds = [np._core.multiarray.scalar, np.dtype, type(np.dtype("f8")), type(np.dtype("f4"))]
    with torch.serialization.safe_globals(kinds):
        return torch.load(file, weights_only=True)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_the_trainer_keeps_beside_a_model_is_no_hindrance(legacy, save, tone, tmp_path):
    file, converted, entry = of_fairseq("wav2vec2", tmp_path, save, form="namespace")
    content = written(file)
    file.unlink()
    torch.save({**content, **as_trained({})}, file, _use_new_zipfile_serialization=not legacy)
    first, second = (hidden_states(entry, one, tone(0.3)) for one in (file, converted))
    assert all(map(torch.equal, first, second))


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


class OmegaConf:
    """Classes pickled under omegaconf's names, with the attributes that its own have."""

    def __init__(self, monkeypatch):
        self.modules = {}
        for path in (
            "omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig",
            "omegaconf.nodes.AnyNode", "omegaconf.base.ContainerMetadata",
            "omegaconf.base.Metadata", "fairseq.dataclass.constants.DDP_BACKEND",
            "fairseq.models.wav2vec.wav2vec2.Wav2Vec2Config",
        ):  # fmt: skip
            module, _, name = path.rpartition(".")
            parts = module.split(".")
            for end in range(1, len(parts) + 1):
                whole = ".".join(parts[:end])
                self.modules.setdefault(whole, types.ModuleType(whole))
                monkeypatch.setitem(sys.modules, whole, self.modules[whole])
            setattr(self.modules[module], name, type(name, (), {"__module__": module}))
        self.type = self.modules["fairseq.models.wav2vec.wav2vec2"].Wav2Vec2Config

    def _node(self, module, name, **state):
        node = getattr(self.modules[module], name)()
        node.__dict__.update(_parent=None, **state)
        return node

    def node(self, value):
        metadata = self._node("omegaconf.base", "ContainerMetadata", ref_type=typing.Any,
                              object_type=dict, optional=True, key_type=str)  # fmt: skip
        if isinstance(value, dict):
            inside = {key: self.node(one) for key, one in value.items()}
            metadata.object_type = self.type
            return self._node(
                "omegaconf.dictconfig", "DictConfig", _metadata=metadata, _content=inside
            )
        if isinstance(value, (list, tuple)):
            inside = [self.node(one) for one in value]
            return self._node(
                "omegaconf.listconfig", "ListConfig", _metadata=metadata, _content=inside
            )
        leaf = self._node("omegaconf.base", "Metadata", ref_type=typing.Any, optional=True)
        return self._node("omegaconf.nodes", "AnyNode", _val=value, _metadata=leaf)


@pytest.mark.parametrize("arch", MAKERS)
def test_settings_of_omegaconf_are_read_without_it(arch, save, tone, tmp_path, monkeypatch):
    file, converted, entry = of_fairseq(arch, tmp_path, save, form="sections", dictionaries=False)
    content = written(file)
    omegaconf = OmegaConf(monkeypatch)
    ddp = omegaconf.modules["fairseq.dataclass.constants"].DDP_BACKEND()
    cfg = omegaconf.node({**content["cfg"], "distributed_training": {"ddp_backend": ddp}})
    torch.save({**content, "cfg": cfg, **as_trained({})}, file)
    for name in omegaconf.modules:
        sys.modules.pop(name)
    first, second = (hidden_states(entry, one, tone(0.3)) for one in (file, converted))
    assert all(map(torch.equal, first, second))
    with pytest.raises(CheckpointError, match=f"of fairseq, of the kind -u {entry} reads"):
        hidden_states("wavlm_local", file, tone(0.3))


@pytest.mark.fault("foreign weights")
@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "fairseq_tasks.Own"])
def test_other_objects_beside_a_model_are_refused_and_not_run(name, save, tmp_path, monkeypatch):
    file, _, entry = of_fairseq("wav2vec2", tmp_path, save, form="namespace")
    module, _, function = name.rpartition(".")
    if module == "fairseq_tasks":
        own = types.ModuleType(module)
        own.Own = type("Own", (), {"__module__": module})
        monkeypatch.setitem(sys.modules, module, own)
    target = getattr(sys.modules[module], function)
    ran = tmp_path / "ran"

    class Harmful:
        def __reduce__(self):
            text = f"touch {ran}" if module == "os" else f"open({str(ran)!r}, 'w')"
            return (target, () if module == "fairseq_tasks" else (text,))

    content = written(file)
    torch.save({**content, "extra_state": Harmful()}, file)
    with pytest.raises(CheckpointError, match=str(file)):
        hidden_states(entry, file, torch.zeros(8000).numpy())
    assert not ran.exists()
