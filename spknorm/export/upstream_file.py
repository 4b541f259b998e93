"""A normalised upstream as one file: as s3prl reads it, the gate, and where it came from.

Stock `hubert_local` reads a HuBERT's and leaves the gate out; `spknorm_hubert_local` applies it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spknorm.errors import CheckpointError, MissingError
from spknorm.files import atomic_path, system_errors
from spknorm.method.emotion_heads import ACTIVATIONS
from spknorm.method.model import Gate
from spknorm.upstreams.mixture import mixture
from spknorm.upstreams.weights import explain, first_line, load_weights

FORMAT = "spknorm.upstream/1"
GATE_FILE = "spknorm_gate.pt"
"""Beside a folder of transformers' files."""
WEIGHTS = ("model_weight", "model", "Distiller")
"""Where s3prl's entries find the weights in their files."""
CONVERTED = ("task_cfg", "model_cfg", "model_weight", "dictionaries_symbols")


class GateState(NamedTuple):
    """SNP's gate and what it stands on.

    Attributes:
        config: The options of `spknorm.method.model.Gate`, with `dim`.
        weights: Its weights.
        layer: Index of the hidden state below it; -1 is the last.
        mixture: (L,) weights, before their softmax, where it stands on the sum of all L hidden
            states, as s3prl's Featurizer makes it; `layer` is then without effect.
        normalize: Whether the states are layer-normalised before that sum.
    """

    config: dict[str, Any]
    weights: dict[str, Tensor]
    layer: int = -1
    mixture: Tensor | None = None
    normalize: bool = False


class NormalisingGate(nn.Module):
    """SNP's gate on an upstream's hidden states."""

    def __init__(self, gate: Gate, state: GateState) -> None:
        super().__init__()
        self.gate = gate
        self.mixture = None if state.mixture is None else nn.Parameter(state.mixture.clone())
        self._layer, self._normalize = state.layer, state.normalize

    def forward(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """Return normalised features (B, T, H) of an upstream's hidden states (B, T, H)."""
        below = hidden_states[self._layer]
        if self.mixture is not None:
            below = mixture(hidden_states, self.mixture, normalize=self._normalize)
        gated: Tensor = self.gate(below)
        return gated


def read_upstream_file(path: Path) -> dict[str, Any]:
    """Return what a HuBERT's file in s3prl's converted format holds, ours or s3prl's own.

    Raises:
        MissingError: No such file.
        CheckpointError: Not a whole checkpoint of that form; the message says what it is.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"There is no upstream checkpoint {path}. Name one with -k.")
    content = load_weights(path, map_location="cpu")
    missing = [key for key in CONVERTED if not isinstance(content, dict) or key not in content]
    if missing:
        raise CheckpointError(
            f"{path} is not in s3prl's converted format: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. It {explain(path)}."
        )
    return dict(content)


def write_stock_file(
    path: Path,
    content: Mapping[str, Any],
    gate: GateState | None,
    provenance: Mapping[str, Any],
) -> None:
    """Write a file that s3prl's own entry of a family reads, and what we know of it.

    Mappings of tensors are copied out of their storage; the provenance is of plain JSON values.
    """
    state = {
        **{key: _contiguous(value) if key in WEIGHTS else value for key, value in content.items()},
        "spknorm": {
            "format": FORMAT,
            "gate": gate and _plain(gate),
            "provenance": dict(provenance),
        },
    }
    _save(state, path)


def _save(state: Mapping[str, Any], path: Path) -> None:
    with atomic_path(path) as temporary, system_errors(path), temporary.open("wb") as file:
        torch.save(state, file)


def write_gate(path: Path, gate: GateState | None) -> None:
    """Write a gate alone, whole or not at all; without one, take away that of an earlier export."""
    if gate is None:
        path.unlink(missing_ok=True)
        return
    _save({"format": FORMAT, "gate": _plain(gate)}, path)


def read_gate(path: Path) -> GateState | None:
    """Return the gate in a file of its own, or beside the weights of an upstream, if one is there.

    Raises:
        MissingError: No such file.
        CheckpointError: It is the gate's own file and holds none, or is damaged.
    """
    content = load_weights(path, map_location="cpu")
    gate = gate_in(content, path) if isinstance(content, dict) else None
    if gate is None and (path.name == GATE_FILE or not isinstance(content, dict) or not content):
        raise CheckpointError(f"{path} holds no gate.")
    return gate


def gate_in(content: Mapping[str, Any], path: Path) -> GateState | None:
    """Return the gate in what the file `path` holds, if one is there.

    Raises:
        CheckpointError: It is of another form.
    """
    gate = (content.get("spknorm") or content).get("gate")
    try:
        return GateState(**gate) if gate else None
    except TypeError as error:
        raise CheckpointError(f"{path} holds a gate of another form ({error}).") from error


def build_gate(state: GateState) -> NormalisingGate:
    """Return the gate in evaluation mode.

    Raises:
        CheckpointError: Options that no gate has, or weights that do not fit them.
    """
    options = dict(state.config)
    if options.get("activation", "ReLU") not in ACTIVATIONS:
        raise CheckpointError(
            f"The checkpoint's gate has the activation {options['activation']!r}; "
            f"known are {', '.join(ACTIVATIONS)}."
        )
    try:
        gate = Gate(options.pop("dim"), **options)
        gate.load_state_dict(state.weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"The checkpoint's gate does not fit its own description ({first_line(error)})."
        ) from error
    return NormalisingGate(gate, state).eval()


def _plain(gate: GateState) -> dict[str, Any]:
    return gate._replace(weights=_contiguous(gate.weights))._asdict()


def _contiguous(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # A view would carry its whole storage into the file.
    return {
        name: value.detach().cpu().clone() if isinstance(value, Tensor) else value
        for name, value in weights.items()
    }
