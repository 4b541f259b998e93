"""Names of weights that something has wrapped, as the model itself has them."""

from collections.abc import Iterable, Mapping
from typing import Any

_ANYWHERE = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_fpw_module"}
"""Path components that torch.compile, FSDP and activation checkpointing put into names."""
_WITHIN = ("state_dict", "model_state_dict", "model", "module")
"""Where trainers put weights within a file."""
_IN_FRONT = "module"
"""What DataParallel puts before all names; further down a model may have it of its own."""
_OLD_NORM = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
}


def unwrapped(content: Any) -> Any:
    """Return what a file held with plain names in its mappings of tensors, one level deep.

    The components that DataParallel, torch.compile and FSDP add go; weight norm's newer names
    become the older ones, which both of torch's forms load. Where nothing is wrapped, the same
    object comes back.
    """
    if not isinstance(content, Mapping):
        return content
    if is_state_dict(content):
        return unwrap_names(content)
    within = {key: one for key, one in content.items() if isinstance(one, Mapping)}
    plain = {key: unwrap_names(one) for key, one in within.items() if is_state_dict(one)}
    return {**content, **plain} if any(plain[key] is not content[key] for key in plain) else content


def unwrap_names(
    weights: Mapping[str, Any], wanted: Iterable[str] | None = None
) -> Mapping[str, Any]:
    """Return a mapping with plain names; the same object where nothing is wrapped.

    What fits the `wanted` names of a model already is left alone.
    """
    if wanted is not None and set(weights) == set(wanted):
        return weights
    names = {name: plain_name(name) for name in weights}
    while names and all(plain.startswith(f"{_IN_FRONT}.") for plain in names.values()):
        names = {name: plain.partition(".")[2] for name, plain in names.items()}
    if all(name == plain for name, plain in names.items()) or len(set(names.values())) < len(names):
        return weights
    return {names[name]: value for name, value in weights.items()}


def is_state_dict(content: Mapping[Any, Any]) -> bool:
    """Tell whether a mapping holds tensors by name and nothing else (but data2vec's teacher)."""
    import torch

    return all(
        isinstance(name, str) and (isinstance(value, torch.Tensor) or name == "_ema")
        for name, value in content.items()
    )


def tensors_in(content: Any) -> dict[str, Any]:
    """Return the tensors by name in what a file holds, alone or within; empty where none are."""
    import torch

    for key in _WITHIN:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    pairs = content.items() if isinstance(content, Mapping) else ()
    return {name: value for name, value in pairs if isinstance(value, torch.Tensor)}


def plain_name(name: str) -> str:
    """Return a name without what torch.compile, FSDP and weight norm's newer form made of it."""
    *inner, last = name.split(".")
    plain = ".".join([*(part for part in inner if part not in _ANYWHERE), last])
    for new, old in _OLD_NORM.items():
        if plain == new or plain.endswith(f".{new}"):
            return plain[: -len(new)] + old
    return plain
