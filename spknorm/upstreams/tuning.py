"""What of an upstream is trained: all of it, some layers, its biases, or adapters beside it.

Where an upstream has been built and before weights of a checkpoint are put into it. Adapters are
peft's (LoRA): W stays, W + alpha / rank B A counts, and B A alone is trained and saved. Before an
upstream is used for anything else than training, `merge` adds them to W.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from spknorm.errors import ConfigError
from spknorm.schema import UpstreamConfig

_TARGETS = (
    ("q_proj", "v_proj"),
    ("linear_q", "linear_v"),
    ("query_proj", "value_proj"),
    ("query", "value"),
    ("qkv",),
)
"""What a model may call the products that LoRA's paper adapts: queries and values, or all three."""


def adapt(upstream: Any, config: UpstreamConfig) -> None:
    """Choose what of an upstream is trained, and give it the adapters that are asked for.

    Raises:
        ConfigError: It has no such layers, or no such modules.
    """
    if config.lora.rank and config.bitfit:
        raise ConfigError(
            "`config.upstream.bitfit` has no effect beside lora, which trains adapters alone: "
            "leave one of them out."
        )
    if config.freeze_layers:
        _freeze(upstream, config.freeze_layers)
    if config.bitfit:
        for name, parameter in upstream.named_parameters():
            if not name.endswith("bias"):
                parameter.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in upstream.parameters()):
            left = f", all {config.freeze_layers} layers frozen," if config.freeze_layers else ""
            raise ConfigError(
                f"`config.upstream.bitfit`: the upstream{left} has no biases to train."
            )
    if config.lora.rank:
        _add_adapters(upstream, config)


def rates(upstream: Any, config: UpstreamConfig) -> dict[nn.Parameter, float]:
    """Return by how much each parameter's learning rate is scaled: `layer_decay` per layer.

    The last layer and the norm behind it have the rate itself; what comes before the first layer
    is one step below that.
    """
    if config.layer_decay == 1.0:
        return {}
    layers, behind = layers_of(upstream), set(_behind(upstream))
    scales = {
        parameter: config.layer_decay ** (len(layers) - number)
        for number, layer in enumerate(layers, start=1)
        for parameter in layer.parameters()
    }
    first = config.layer_decay ** len(layers)
    for parameter in upstream.parameters():
        scales.setdefault(parameter, 1.0 if parameter in behind else first)
    return scales


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Return what a checkpoint holds of a module: all, or its adapters alone."""
    whole: dict[str, Tensor] = module.state_dict()
    if not has_adapters(module):
        return whole
    trained = {name for name, p in module.named_parameters() if p.requires_grad}
    return {name: value for name, value in whole.items() if name in trained}


def load_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `state_of` gave.

    Raises:
        RuntimeError: It does not fit; as torch says it.
    """
    if not has_adapters(module):
        module.load_state_dict(state)
        return
    wanted = set(state_of(module))
    if wanted != set(state):
        lost, odd = sorted(wanted - set(state)), sorted(set(state) - wanted)
        raise RuntimeError(
            f"adapters {(lost or odd)[0]} and {len(lost) + len(odd) - 1} more are "
            f"{'missing' if lost else 'not of this run'}"
        )
    module.load_state_dict(state, strict=False)


def merge(upstream: nn.Module) -> None:
    """Add the adapters to the weights that they stand beside, and take them away."""
    for name, module in list(upstream.named_modules()):
        if not hasattr(module, "lora_A"):
            continue
        module.merge()
        above, _, own = name.rpartition(".")
        setattr(upstream.get_submodule(above), own, module.get_base_layer())


def has_adapters(module: nn.Module) -> bool:
    """Whether adapters stand beside a module's weights."""
    return any(hasattr(part, "lora_A") for part in module.modules())


def layers_of(upstream: Any) -> list[nn.Module]:
    """Return an upstream's layers: of its lists of alike modules the one with most weights.

    Raises:
        ConfigError: It has none.
    """
    own = getattr(getattr(upstream, "model", None), "layers", None)  # emotion2vec's two lists
    if isinstance(own, list):
        return own
    lists: list[list[nn.Module]] = [
        list(module)
        for module in upstream.modules()
        if isinstance(module, nn.ModuleList) and len({type(one) for one in module}) == 1
    ]
    if not lists:
        raise ConfigError(
            "`config.upstream`: this upstream has no layers that could be counted: leave out "
            "freeze_layers and layer_decay."
        )
    return max(lists, key=lambda one: sum(p.numel() for part in one for p in part.parameters()))


def _behind(upstream: Any) -> list[nn.Parameter]:
    """Return the parameters behind the last layer: of a norm, or of a distilHuBERT's heads."""
    model = upstream.model if hasattr(upstream, "model") else upstream
    if isinstance(inner := getattr(model, "model", None), nn.Module):  # a distilHuBERT
        model = inner
    encoder, settings = getattr(model, "encoder", model), getattr(model, "config", None)
    is_norm = (
        getattr(encoder, "layer_norm_first", False)
        or getattr(settings, "do_stable_layer_norm", False)
        or getattr(settings, "model_type", "") == "whisper"
    )
    parts = [getattr(encoder, "layer_norm", None) if is_norm else None]
    parts += [getattr(model, "output_layer", None), getattr(model, "norm", None)]
    return [p for part in parts if isinstance(part, nn.Module) for p in part.parameters()]


def _freeze(upstream: Any, number: int) -> None:
    layers = layers_of(upstream)
    if number > len(layers):
        raise ConfigError(
            f"`config.upstream.freeze_layers` is {number}, but the upstream has {len(layers)}."
        )
    trained = {p for layer in layers[number:] for p in layer.parameters()} | {*_behind(upstream)}
    for parameter in upstream.parameters():
        if parameter not in trained:
            parameter.requires_grad_(False)


def _add_adapters(upstream: Any, config: UpstreamConfig) -> None:
    try:
        import peft
    except ImportError as error:
        raise ConfigError(
            "`config.upstream.lora` needs peft, which is not installed: pip install 'spknorm[lora]'"
        ) from error
    lora = config.lora
    layers = layers_of(upstream)
    names = {
        name.rpartition(".")[2]
        for layer in layers
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    }
    usual = next((pair for pair in _TARGETS if {*pair} <= names), ())
    targets = usual if lora.targets is None else lora.targets
    unknown = [name for name in targets if name not in names]
    if unknown or not targets:
        what = ", ".join(unknown) or "queries and values by a known name"
        problem = "it is empty" if lora.targets == () else f"the upstream's layers have no {what}"
        raise ConfigError(
            f"`config.upstream.lora.targets`: {problem}; name some of {', '.join(sorted(names))}."
        )
    options = peft.LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=list(targets))
    chosen = layers[config.freeze_layers :]
    if not chosen:
        raise ConfigError(
            f"`config.upstream.freeze_layers` is {config.freeze_layers}, so that no layer is left "
            "for `config.upstream.lora`: lower it, or leave lora out."
        )
    for parameter in upstream.parameters():
        parameter.requires_grad_(False)
    for layer in chosen:
        peft.inject_adapter_in_model(options, layer)
