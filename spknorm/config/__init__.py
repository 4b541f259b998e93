"""YAML -> the frozen dataclasses of `schema.py`, once: every key known, typed and checked.

`parse` takes the mapping that s3prl would read from a `config.yaml`, before anything is loaded;
`to_mapping` gives it back with every default filled in.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from spknorm.config.options import check_choices
from spknorm.config.yaml_values import load_yaml
from spknorm.errors import ConfigError
from spknorm.schema import TaskConfig, UpstreamConfig
from spknorm.schema.marks import OneOf, Range

__all__ = ["build", "load_yaml", "merge", "parse", "to_mapping"]

T = TypeVar("T")


def parse(mapping: Mapping[str, Any]) -> TaskConfig:
    """Return the checked configuration.

    Raises:
        ConfigError: Unknown key (named with the nearest valid one), wrong type, value out of
            range, or settings that exclude each other; the message names the key's path.
    """
    config = _build(TaskConfig, mapping, "config")
    assert isinstance(config, TaskConfig)
    _check_combinations(config)
    check_choices(config)
    return config


def to_mapping(config: Any) -> Any:
    """Return plain dicts, lists and scalars: what `parse` takes, with every default filled in."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_mapping(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: to_mapping(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_mapping(value) for value in config]
    return config


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, section by section, both unaltered."""
    merged = {key: to_mapping(value) for key, value in base.items()}
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else to_mapping(value)  # type: ignore[arg-type]
    return merged


def build(kind: type[T], mapping: Any, *, path: str) -> T:
    """Return a frozen dataclass of `kind` filled from a mapping, every key known and typed.

    Args:
        kind: Its fields' types are what is accepted.
        mapping: From YAML.
        path: How messages call it.

    Raises:
        ConfigError: Unknown key or wrong type; the message names the key's path.
    """
    result: T = _build(kind, mapping, path)
    return result


def _build(kind: type, value: Any, path: str) -> Any:
    if not isinstance(value, Mapping):
        raise ConfigError(f"`{path}` must be a mapping, but is {_show(value)}.")
    hints = typing.get_type_hints(kind, include_extras=True)
    for key in value:
        if key not in hints:
            near = difflib.get_close_matches(str(key), hints, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise ConfigError(
                f"`{path}.{key}` is not a known setting.{hint} "
                f"Known here: {', '.join(sorted(hints))}."
            )
    return kind(**{key: _convert(hints[key], item, f"{path}.{key}") for key, item in value.items()})


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        converted = _convert(options[0], value, path)
        optional = ", or null" if type(None) in typing.get_args(options[0]) else ""
        for mark in (mark for mark in options[1:] if isinstance(mark, OneOf)):
            if converted not in mark.names():
                known = ", ".join(mark.names())
                raise ConfigError(f"`{path}` must be one of {known}, but is {_show(value)}.")
        for allowed in (mark for mark in options[1:] if isinstance(mark, Range)):
            several = isinstance(converted, tuple)
            for number in converted if several else [converted]:
                if number is not None and number not in allowed:
                    what = f"a list of numbers {allowed}" if several else f"{allowed}{optional}"
                    raise ConfigError(f"`{path}` must be {what}, but is {_show(converted)}.")
        return converted
    if origin in (types.UnionType, typing.Union):
        is_mapping = isinstance(value, Mapping)
        if type(None) in options and (value is None or str(value).lower() in ("none", "null")):
            return None
        choices = [option for option in options if option is not type(None)]
        mapping = [o for o in choices if typing.get_origin(o) is Mapping and is_mapping]
        return _convert((mapping or choices)[0], value, path)
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, path)
    if origin is Literal:
        value = _as_choice(value, options)
        if not isinstance(value, str) or value not in options:
            raise ConfigError(
                f"`{path}` must be one of {', '.join(options)}, but is {_show(value)}."
            )
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"`{path}` must be a list, but is {_show(value)}.")
        return tuple(_convert(options[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"`{path}` must be a mapping, but is {_show(value)}.")
        return dict(value)
    return _scalar(hint, value, path)


def _as_choice(value: Any, options: Sequence[str]) -> Any:
    """Return the choice that YAML has read as a boolean or as null: `off` means "off"."""
    if value is None or value is False:
        words = ("none",) if value is None else ("off", "none")
        return next((word for word in words if word in options), value)
    if value is True and "off" in options and len(options) == 2:
        return next(word for word in options if word != "off")
    return value


def _scalar(hint: type, value: Any, path: str) -> Any:
    if hint is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isnan(number):
            return number
    elif hint is bool and str(value).lower() in _WORDS:
        return _WORDS[str(value).lower()]
    elif hint is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 3e4
    elif (hint is int and isinstance(value, int) and not isinstance(value, bool)) or (
        hint is str and isinstance(value, str)
    ):
        return value
    names = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
    raise ConfigError(f"`{path}` must be {names[hint]}, but is {_show(value)}.")


def _is_label_map(labels: Mapping[str, Any]) -> bool:
    classes = labels.get("map")
    return (
        labels.keys() == {"map"}
        and isinstance(classes, Mapping)
        and len(classes) > 0
        and all(isinstance(word, str) for word in classes)
        and all(name is None or (isinstance(name, str) and name) for name in classes.values())
    )


_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def _show(value: Any) -> str:
    text = repr(value)
    return f"`{text if len(text) <= 60 else text[:57] + '...'}` ({type(value).__name__})"


def _check_combinations(config: TaskConfig) -> None:
    runner, method, data = (
        config.runner,
        config.downstream_expert.spknorm,
        config.downstream_expert.datarc,
    )

    def refuse(bad: bool, message: str) -> None:
        if bad:
            raise ConfigError(message)

    refuse(
        method.update == "adaptive" and method.ascent_lr is None and method.strategy != "none",
        "`config.downstream_expert.spknorm.update` is adaptive, which needs `ascent_lr`, the "
        "learning rate of its ascending Adam (1.0e-6 is a careful start).",
    )
    refuse(
        method.update != "adaptive" and method.ascent_lr is not None,
        f"`config.downstream_expert.spknorm.ascent_lr` has no effect under update {method.update}: "
        "leave it out, or choose update adaptive.",
    )
    for key, default, update in (
        ("ascent_direction", "preconditioned", "relative"),
        ("ascent_clip", None, "literal"),
    ):
        refuse(
            getattr(method, key) != default and method.update != update,
            f"`config.downstream_expert.spknorm.{key}` has no effect under update "
            f"{method.update}: leave it out, or choose update {update}.",
        )
    refuse(
        (data.protocol == "low_resource") != (data.samples_per_label is not None),
        "`config.downstream_expert.datarc.samples_per_label` goes with low_resource alone: "
        f"protocol is {data.protocol}, samples_per_label is {data.samples_per_label}.",
    )
    refuse(
        data.corpus == "manifest" and data.manifest is None,
        "`config.downstream_expert.datarc.manifest` must name a CSV or JSONL file, "
        "since corpus is manifest.",
    )
    refuse(
        not isinstance(data.labels, str) and not _is_label_map(data.labels),
        "`config.downstream_expert.datarc.labels` must be auto, four, all or {map: {word: class}} "
        f"with text or null for a class, but is {_show(data.labels)}.",
    )
    for key, empty, protocol in (
        ("fold_lists", None, "emobox"),
        ("train_with", (), "cross"),
        ("test_on", (), "cross"),
        ("roots", {}, "cross"),
    ):
        refuse(
            getattr(data, key) != empty and data.protocol != protocol,
            f"`config.downstream_expert.datarc.{key}` goes with the protocol {protocol} alone, but "
            f"protocol is {data.protocol}: leave it out.",
        )
    refuse(
        data.protocol == "emobox" and data.fold_lists is None,
        "`config.downstream_expert.datarc.fold_lists` must name the folder of EmoBox's lists of "
        "this corpus, with fold_1, fold_2, ... in it, since protocol is emobox.",
    )
    refuse(
        data.protocol == "cross" and not data.test_on,
        "`config.downstream_expert.datarc.test_on` must name the corpora that are tested, since "
        "protocol is cross.",
    )
    refuse(
        data.protocol == "cross" and not isinstance(data.labels, str),
        "`config.downstream_expert.datarc.labels` {map: ...} names the words of one corpus, and "
        "the protocol cross has several: take auto, four or all.",
    )
    refuse(
        data.targets == "dimensions"
        and (data.class_weights != "none" or data.labels_from != "majority"),
        "`config.downstream_expert.datarc.class_weights` and `labels_from` are of classes, but "
        "targets is dimensions: leave them out.",
    )
    refuse(
        data.targets == "dimensions" and data.protocol == "low_resource",
        "`config.downstream_expert.datarc.protocol` low_resource counts utterances per class, but "
        "targets is dimensions: take another protocol.",
    )
    refuse(
        data.targets == "dimensions" and data.train_batch_size < 2,
        "`config.downstream_expert.datarc.train_batch_size` must be at least 2 with targets "
        "dimensions, since the loss is a correlation over the batch; 16 and more serve better.",
    )
    refuse(
        data.scale is not None and not (len(data.scale) == 2 and data.scale[0] < data.scale[1]),
        "`config.downstream_expert.datarc.scale` must be [least, greatest], but is "
        f"{_show(data.scale)}.",
    )
    refuse(
        data.meta_data is not None and data.labels == "all",
        "`config.downstream_expert.datarc.labels` all has no effect with `meta_data`, whose JSON "
        "holds four classes: leave one of them out.",
    )
    refuse(
        method.erasure != "none" and method.strategy != "none",
        "`config.downstream_expert.spknorm.erasure` is a baseline of its own: "
        "set strategy to none.",
    )
    refuse(
        method.erasure != "leace" and method.erasure_rank is not None,
        "`config.downstream_expert.spknorm.erasure_rank` goes with erasure leace alone, but "
        f"erasure is {method.erasure}: leave it out.",
    )
    refuse(
        runner.fp16 and runner.precision == "bf16",
        "`config.runner.fp16` and `config.runner.precision` bf16 exclude each other.",
    )
    speakers, head = config.downstream_expert.speaker_corpus, config.downstream_expert.modelrc
    pieces = (speakers.batch_size, speakers.micro_batch_size)
    refuse(
        head.speaker_head.batch_norm and 1 in pieces and method.strategy != "none",
        "`config.downstream_expert.modelrc.speaker_head.batch_norm` normalises over each piece of "
        "a speaker batch, so that batch_size and micro_batch_size must be at least 2, but are "
        f"{pieces[0]} and {pieces[1]}.",
    )
    if runner.engine == "spknorm":
        refuse(
            config.specaug is not None,
            "`config.specaug` has no effect under engine spknorm: leave it out, or set "
            "config.runner.engine to s3prl.",
        )
        return
    refuse(
        config.upstream != UpstreamConfig(),
        "`config.upstream` has no effect under engine s3prl: leave it out, or set "
        "config.runner.engine to spknorm.",
    )
    adversarial = method.strategy != "none"
    for bad, key, value in (
        (
            adversarial and method.update != "reversal",
            "downstream_expert.spknorm.update",
            "reversal",
        ),
        (config.optimizer.groups is not None, "optimizer.groups", "null"),
        (runner.clip not in ("auto", "joint"), "runner.clip", "joint"),
        (runner.precision == "bf16", "runner.precision", "fp32"),
        (runner.early_stopping is not None, "runner.early_stopping", "null"),
        (
            method.train_feature_extractor,
            "downstream_expert.spknorm.train_feature_extractor",
            "false",
        ),
        (method.speaker_steps > 1, "downstream_expert.spknorm.speaker_steps", "1"),
        (
            adversarial and method.speaker_pretrain_steps > 0,
            "downstream_expert.spknorm.speaker_pretrain_steps",
            "0",
        ),
        (
            adversarial and config.downstream_expert.speaker_corpus.micro_batch_size is not None,
            "downstream_expert.speaker_corpus.micro_batch_size",
            "null",
        ),
        (method.erasure != "none", "downstream_expert.spknorm.erasure", "none"),
    ):
        refuse(
            bad,
            f"s3prl's own Runner cannot do what `config.{key}` asks: set it to {value}, or set "
            "config.runner.engine to spknorm.",
        )
