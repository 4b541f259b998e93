"""What stands in for `eval` inside s3prl: reads names, numbers and lists, and runs nothing.

s3prl evaluates text from checkpoints (`conv_feature_layers`) and configurations (names of classes).
"""

import ast
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from spknorm.errors import CheckpointError, ConfigError

_MAX_CHARACTERS = 10_000
_MAX_ITEMS = 1_000
_MAX_SIZE = 1 << 20
_OPEN_PACKAGES = ("math", "torch", "torchaudio")  # the only modules a name may lead through


def read_expression(text: str, *_: Any) -> Any:
    """Return what `text` means in the calling function: a name, an attribute or a literal.

    Such as `self.get_dev_dataloader`, `UtteranceLevel`, `layers[3]`, `[(8, 10, 5)]`.

    Raises:
        ConfigError: `text` calls, imports or computes anything else.
        NameError: A name that the calling function does not know.
    """
    frame = sys._getframe(1)
    return _read(text, {**frame.f_globals, **frame.f_locals})


def read_conv_layers(text: str, *_: Any) -> list[tuple[int, int, int]]:
    """Return the layers (channels, width, stride) of a front end, as a checkpoint writes them.

    fairseq writes `[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2`.

    Raises:
        CheckpointError: `text` is anything but a list of triples of positive integers.
    """
    try:
        layers = _read(text, {})
    except (ConfigError, NameError) as error:
        raise CheckpointError(_not_layers(text)) from error
    if not isinstance(layers, list) or not layers or not all(map(_is_layer, layers)):
        raise CheckpointError(_not_layers(text))
    return layers


def _is_layer(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 3
        and all(type(number) is int and 0 < number <= _MAX_SIZE for number in value)
    )


def _not_layers(text: Any) -> str:
    return (
        "`conv_feature_layers` of the checkpoint must be a list of (channels, width, stride), "
        f"but is {str(text)[:80]!r}; it was not run. Do not use this checkpoint."
    )


def _read(text: str, names: Mapping[str, Any]) -> Any:
    try:
        if not isinstance(text, str) or len(text) > _MAX_CHARACTERS:
            raise ValueError
        return _value(ast.parse(text.strip(), mode="eval").body, names)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"{str(text)[:80]!r} was not evaluated: only names, numbers, texts and lists of them "
            "are read from checkpoints and configurations."
        ) from error


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.Name(id=name):
            if name not in names:
                raise NameError(f"name {name!r} is not defined")
            return names[name]
        case ast.Attribute(value=owner, attr=name) if not name.startswith("_"):
            return getattr(_closed(_value(owner, names)), name)
        case ast.Subscript(value=owner, slice=ast.Constant(value=int() as index)):
            return _value(owner, names)[index]
        case ast.List(elts=items):
            return [_value(item, names) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item, names) for item in items)
        case ast.Dict(keys=keys, values=values) if None not in keys:
            pairs = zip(keys, values, strict=True)
            return {_value(key, names): _value(value, names) for key, value in pairs if key}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(_value(operand, names))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _list(_value(left, names)) + _list(_value(right, names))
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            items, times = _list(_value(left, names)), _value(right, names)
            if type(times) is not int or len(items) * times > _MAX_ITEMS:
                raise ValueError
            return items * times
    raise ValueError


def _closed(value: Any) -> Any:
    if isinstance(value, ModuleType) and value.__name__.partition(".")[0] not in _OPEN_PACKAGES:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError
    return value  # type: ignore[no-any-return]  # checked in the line above


def _list(value: Any) -> list[Any]:
    if type(value) is not list or len(value) > _MAX_ITEMS:
        raise ValueError
    return value
