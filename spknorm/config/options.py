"""What the classes of s3prl and torch that a configuration names take, each with its options.

`parse` checks a configuration against these tables before torch is loaded; `emotion_heads.py`
builds what passed. The tests hold each table against the signature of the class itself.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from spknorm.config.typed import wrong
from spknorm.errors import ConfigError, did_you_mean
from spknorm.schema import TaskConfig

ACTIVATIONS = ("ReLU", "GELU", "Tanh", "SiLU", "LeakyReLU")
POOLINGS = ("MeanPooling", "AttentivePooling")
DEEP_MODELS = ("CNNSelfAttention", "FCN", "DeepNet")
HEADS_PATH = "config.downstream_expert.modelrc"


class Option(NamedTuple):
    """One option: which values are accepted, how messages call them, whether it must be there."""

    accepts: Callable[[Any], bool]
    what: str
    required: bool = False


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _whole(least: int, *, required: bool = False) -> Option:
    what = f"a whole number of {least} or more"
    return Option(lambda value: type(value) is int and value >= least, what, required)


def _one_of(names: tuple[str, ...], *, required: bool = False) -> Option:
    return Option(lambda value: value in names, f"one of {', '.join(names)}", required)


def _share(*, required: bool = False) -> Option:
    return Option(lambda v: _number(v) and 0 <= v <= 1, "a number between 0 and 1", required)


_NOT_NEGATIVE = Option(lambda value: _number(value) and value >= 0, "a number of 0 or more")
_SWITCH = Option(lambda value: type(value) is bool, "true or false")
_RANGE = Option(
    lambda v: isinstance(v, (list, tuple)) and len(v) == 2 and all(type(n) is int for n in v)
    and 0 <= v[0] < v[1],
    "a list of two whole numbers that grow",
)  # fmt: skip
_NET = Option(
    lambda value: isinstance(value, Mapping) and value.get("select") == "FrameLevel",
    "a mapping with `select: FrameLevel`",
)
_NET_OR_NONE = Option(lambda value: value is None or _NET.accepts(value), f"{_NET.what}, or null")
_FRAME_LEVEL = {
    "hiddens": Option(
        lambda v: (
            v is None or (isinstance(v, list | tuple) and all(type(n) is int and n > 0 for n in v))
        ),
        "a list of whole numbers above 0",
    ),
    "activation": _one_of(ACTIVATIONS),
}
HEADS: dict[str, dict[str, Option]] = {
    "UtteranceLevel": {
        "pooling": _one_of(POOLINGS),
        "activation": _one_of(ACTIVATIONS),
        "pre_net": _NET_OR_NONE,
        "post_net": _NET,
    },
    "DeepModel": {  # FCN and DeepNet use `dropout` alone, but ask for all
        "model_type": _one_of(DEEP_MODELS, required=True),
        "hidden_dim": _whole(1, required=True),
        "kernel_size": _whole(1, required=True),
        "padding": _whole(0, required=True),
        "pooling": _whole(1, required=True),
        "dropout": _share(required=True),
    },
    "NonLinearProjection": {"dropout": _share()},
}
"""Options of each emotion head: s3prl/downstream/model.py, s3prl/downstream/emotion/model.py."""

_WARMUP = {"num_warmup_steps": _whole(0, required=True)}
_WARMUP_FROM_1 = {"num_warmup_steps": _whole(1, required=True)}  # s3prl divides by it
SCHEDULERS: dict[str, dict[str, Option]] = {
    "linear_schedule_with_warmup": _WARMUP,
    "cosine_schedule_with_warmup": {**_WARMUP, "num_cycles": _NOT_NEGATIVE},
    "cosine_with_hard_restarts_schedule_with_warmup": {**_WARMUP, "num_cycles": _whole(1)},
    "sqrt_decay_schedule_with_warmup": _WARMUP_FROM_1,
    "constant_decay_schedule_with_warmup": _WARMUP,
    "noam_decay_schedule_with_warmup": _WARMUP_FROM_1,
    "polynomial_decay_schedule_with_warmup": {
        **_WARMUP,
        "lr_end": _NOT_NEGATIVE,
        "power": _NOT_NEGATIVE,
    },
}
"""Options of s3prl's schedulers (s3prl/schedulers.py)."""
OPTIMIZERS: dict[str, tuple[str, ...]] = {
    "Adam": ("betas", "eps", "fused"),
    "AdamW": ("betas", "eps", "fused"),
    "SGD": ("momentum", "fused"),
    "Adamax": ("betas", "eps"),
    "NAdam": ("betas", "eps"),
    "RMSprop": ("momentum", "eps"),
    "Adafactor": (),
}
"""Which of our options each optimiser of torch takes."""
SPECAUG: dict[str, Option] = {
    "apply_time_warp": _SWITCH,
    "time_warp_window": _whole(1),
    "time_warp_mode": _one_of(("bicubic", "bilinear")),
    "apply_freq_mask": _SWITCH,
    "freq_mask_width_range": _RANGE,
    "num_freq_mask": _whole(0),
    "apply_time_mask": _SWITCH,
    "time_mask_width_range": _RANGE,
    "num_time_mask": _whole(0),
    "adaptive_number_ratio": _share(),
    "adaptive_size_ratio": _share(),
    "max_n_time_masks": _whole(0),
    "adaptive": _SWITCH,
}
"""Options of s3prl's SpecAugment (s3prl/downstream/specaug.py)."""


def check_choices(config: TaskConfig) -> None:
    """Check the options of everything that the configuration names.

    Raises:
        ConfigError: One is missing, unknown, of a wrong value or without effect; the message has
            the key's path and the valid names.
    """
    model = config.downstream_expert.modelrc
    check_head(model.select, getattr(model, model.select))
    _check_optimizer(config)
    if config.scheduler:
        _check_scheduler(config)
    if config.specaug:
        _check("config.specaug", config.specaug, SPECAUG, "SpecAugment")
        switches = [name for name in SPECAUG if name.startswith("apply_")]
        if not any(config.specaug.get(name, True) for name in switches):
            raise ConfigError(
                f"`config.specaug` does nothing, since {', '.join(switches)} are all false: set "
                "one to true, or leave the section out."
            )


def check_head(select: str, options: Mapping[str, Any]) -> None:
    """Check the options of an emotion head, which s3prl would ignore, evaluate or trip over."""
    path = f"{HEADS_PATH}.{select}"
    _check(path, options, HEADS[select], options.get("model_type", select))
    for key in ("pre_net", "post_net"):
        net = options.get(key)
        if select == "UtteranceLevel" and net is not None:
            known = {"select": _one_of(("FrameLevel",)), "FrameLevel": _MAPPING}
            _check(f"{path}.{key}", net, known, key)
            inner = net.get("FrameLevel") or {}
            _check(f"{path}.{key}.FrameLevel", inner, _FRAME_LEVEL, "FrameLevel")
    if options.get("model_type") == "CNNSelfAttention":
        width, padding = options["kernel_size"], options["padding"]
        if width != 2 * padding + 1:
            raise ConfigError(
                f"`{path}.kernel_size` must be 2 * padding + 1, since s3prl's mask of frames has "
                f"no other length, but is {width} with padding {padding}."
            )


_MAPPING = Option(lambda value: isinstance(value, Mapping), "a mapping of options")


def _check_optimizer(config: TaskConfig) -> None:
    optimizer = config.optimizer
    name = optimizer.torch_optim_name
    taken = OPTIMIZERS[name]
    for key in ("momentum", "betas", "eps", "fused"):
        value, path = getattr(optimizer, key), f"config.optimizer.{key}"
        if value is None:
            continue
        if key not in taken:
            raise ConfigError(
                f"`{path}` is not an option of {name}, which takes "
                f"{', '.join(taken) or 'none of them'}: leave it out."
            )
        if key == "betas" and len(value) != 2:
            raise ConfigError(f"`{path}` must be a list of two numbers, but is {list(value)}.")


def _check_scheduler(config: TaskConfig) -> None:
    assert config.scheduler is not None
    options = {key: value for key, value in config.scheduler.items() if key != "name"}
    name, total = config.scheduler.get("name"), config.runner.total_steps
    if name not in SCHEDULERS:
        raise ConfigError(
            f"`config.scheduler.name` must be one of {', '.join(SCHEDULERS)}, but is `{name}`."
        )
    _check("config.scheduler", options, SCHEDULERS[name], name)
    if not name.startswith("polynomial"):
        return
    if options["num_warmup_steps"] >= total:
        raise ConfigError(
            f"`config.scheduler.num_warmup_steps` must be below config.runner.total_steps "
            f"({total}) under {name}, but is {options['num_warmup_steps']}."
        )
    if options.get("lr_end", 1e-7) >= config.optimizer.lr:
        raise ConfigError(
            f"`config.scheduler.lr_end` (1e-7 unless given) must be below config.optimizer.lr "
            f"({config.optimizer.lr}), but is {options.get('lr_end', 1e-7)}."
        )


def _check(path: str, options: Mapping[str, Any], known: Mapping[str, Option], of: str) -> None:
    """Check names first, then values, then what is missing."""
    for key in options:
        if key not in known:
            hint = did_you_mean(key, known)
            raise ConfigError(
                f"`{path}.{key}` is not an option of {of}.{hint} Known here: {', '.join(known)}."
            )
    for key, value in options.items():
        if not known[key].accepts(value):
            raise wrong(f"{path}.{key}", known[key].what, value)
    missing = [key for key, option in known.items() if option.required and key not in options]
    if missing:
        names = ", ".join(f"`{path}.{key}` ({known[key].what})" for key in missing)
        raise ConfigError(f"{of} cannot do without {names}: add what is missing.")
