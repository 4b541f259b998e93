"""YAML -> the frozen dataclasses of schema/, once: every key known, typed and checked.

`parse` takes the mapping that s3prl would read from a `config.yaml`, before anything is loaded;
`to_mapping` gives it back with every default filled in.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from spknorm.config.combinations import check_combinations
from spknorm.config.options import check_choices
from spknorm.config.typed import build
from spknorm.config.yaml_values import load_yaml, text_of
from spknorm.schema import TaskConfig

__all__ = ["build", "flatten", "load_yaml", "merge", "parse", "sections", "text_of", "to_mapping"]


def parse(mapping: Mapping[str, Any]) -> TaskConfig:
    """Return the checked configuration; of equal mappings, in one process, the same.

    s3prl hands the mapping on, so command line, runner and expert all ask for what it says.

    Raises:
        ConfigError: Unknown key (named with the nearest valid one), wrong type, value out of
            range, or settings that exclude each other; the message names the key's path.
    """
    given = _content(mapping)
    if given not in _PARSED:
        config = build(TaskConfig, mapping, path="config")
        check_combinations(config)
        check_choices(config)
        _PARSED[given] = config
    return _PARSED[given]


def sections(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections of a configuration that `parse` knows; beside them s3prl has its own."""
    names = (one.name for one in dataclasses.fields(TaskConfig))
    return {name: mapping[name] for name in names if isinstance(mapping.get(name), Mapping)}


def to_mapping(config: Any) -> Any:
    """Return plain dicts, lists and scalars: what `parse` takes, with every default filled in."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_mapping(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: to_mapping(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_mapping(value) for value in config]
    return config


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested settings as (dotted key, value), in their order."""
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, section by section, both unaltered."""
    merged = {key: to_mapping(value) for key, value in base.items()}
    for key, value in changes.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else to_mapping(value)  # type: ignore[arg-type]
    return merged


def _content(mapping: Any) -> str:
    """Return what a mapping says as a text; s3prl leaves sections that are null out."""
    if isinstance(mapping, Mapping):
        mapping = {**_NULL_IS_NOTHING, **mapping}
        mapping = sorted(mapping.items(), key=lambda pair: str(pair[0]))
    return repr(mapping)


_PARSED: dict[str, TaskConfig] = {}
_NULL_IS_NOTHING = {"scheduler": None, "specaug": None}
