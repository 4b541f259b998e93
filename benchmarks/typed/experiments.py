"""Corpora, runs of a few steps, what was made of them, and checkpoints of other kinds."""

import argparse
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from typed.sounds import LFS

if TYPE_CHECKING:
    from typed.inputs import Inputs

TASK = "python run_downstream.py -d emotion_spknorm"
_NONE = "config.downstream_expert.spknorm.strategy=none"
_TENSORS = {
    "nanhead": ("Downstream", "heads.model.post_net.linear.bias"),
    "nanup": ("Upstream", "model.encoder.layers.0.self_attn.out_proj.weight"),
}


def _corpora(inputs: "Inputs") -> None:
    inputs.run("spknorm demo corpora")


def _exp(inputs: "Inputs") -> None:
    inputs.need("short.yaml")
    inputs.run(f"rm -rf exp; {TASK} -u spknorm_demo_hubert -p exp -c short.yaml")


def _theirs(inputs: "Inputs") -> None:
    """An experiment that may be read and not written."""
    inputs.need("exp")
    inputs.run("rm -rf theirs; cp -r exp theirs; chmod -R a+rX,a-w theirs")


def _not_finite(inputs: "Inputs", name: str) -> None:
    """A copy of the experiment with one number of its checkpoints NaN."""
    inputs.need("exp")
    section, key = _TENSORS[name]
    shutil.rmtree(inputs / name, ignore_errors=True)
    shutil.copytree(inputs / "exp", inputs / name)
    torch.serialization.add_safe_globals([argparse.Namespace])
    for path in (inputs / name).glob("*.ckpt"):
        state = torch.load(path, map_location="cpu", weights_only=True)
        state[section][key].view(-1)[0] = float("nan")
        torch.save(state, path)


def _hfexp(inputs: "Inputs") -> None:
    """A frozen run on a folder of transformers, one tensor of which changed afterwards."""
    import safetensors.torch
    from tiny_upstreams import make_transformers

    inputs.need("short.yaml")
    make_transformers(inputs / "hfmodel", "hubert")
    options = f"--frozen -s hidden_states -c short.yaml -o {_NONE}"
    inputs.run(f"rm -rf hfexp; {TASK} -u hf_hubert_custom -k hfmodel -p hfexp {options}")
    [path] = (inputs / "hfmodel").glob("*.safetensors")
    tensors = safetensors.torch.load_file(path)
    first = min(tensors)
    tensors[first] = tensors[first] + 1
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})


def _kinds(inputs: "Inputs") -> None:
    """Files that people name with -k."""
    from tiny_upstreams import make_hubert

    (inputs / "k").mkdir(exist_ok=True)
    weights = {"encoder.w": torch.zeros(2)}
    torch.save(weights, inputs / "k/bare.pt")
    torch.save({"args": argparse.Namespace(a=1), "model": weights}, inputs / "k/fairseq.pt")
    inputs.write("k/lfs.pt", LFS)
    inputs.write("k/page.pt", "<!DOCTYPE html><html><body>Not found</body></html>")
    inputs.write("k/empty.pt", b"")
    make_hubert(inputs / "k/hubert.pt")


def _exported(inputs: "Inputs") -> None:
    inputs.need("exp")
    inputs.run("rm -rf exported; spknorm export exp --out exported")


def _onexport(inputs: "Inputs") -> None:
    """A run on what was exported for transformers, and a link to it."""
    inputs.need("exported")
    run = f"{TASK} -u hf_hubert_custom -k exported -p onexport -c short.yaml"
    inputs.run(f"rm -rf onexport linked; {run}; ln -s onexport linked")


MAKERS: dict[str, Callable[["Inputs"], None]] = {
    "corpora": _corpora,
    "exp": _exp,
    "theirs": _theirs,
    "nanhead": lambda inputs: _not_finite(inputs, "nanhead"),
    "nanup": lambda inputs: _not_finite(inputs, "nanup"),
    "hfexp": _hfexp,
    "hfmodel": lambda inputs: inputs.need("hfexp"),
    "k": _kinds,
    "exported": _exported,
    "onexport": _onexport,
    "linked": lambda inputs: inputs.need("onexport"),
}
