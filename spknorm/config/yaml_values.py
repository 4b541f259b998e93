"""How settings are written: YAML files and the values of `-o`, read by one set of rules.

YAML 1.1 as s3prl's files mean it (on, off, yes, no are booleans), but a number is a number without
a point (1e-3), `None` is null as in s3prl's `-o`, and a key may be there once. What a boolean means
to a setting is said by the setting's type, in `typed.py`.
"""

import ast
import copy
import functools
import re
from pathlib import Path
from typing import Any

import yaml

from spknorm.errors import ConfigError, MissingError
from spknorm.files import POINTER, is_pointer, read_file


def load_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; tags that would build objects are refused.

    Raises:
        MissingError: No such file.
        ConfigError: Not YAML, not a mapping, or a key that is there twice; the message names file
            and line.
    """
    try:
        given = read_file(Path(path))
        if is_pointer(given):
            raise ConfigError(f"{path} {POINTER}.")
        content = copy.deepcopy(_content(given.decode("utf-8-sig")))
    except FileNotFoundError as error:
        raise MissingError(f"There is no configuration file {path}. Name one with -c.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): name a file.") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}, line {mark.line + 1}" if mark else str(path)
        if isinstance(error, _DuplicateKeyError):
            raise ConfigError(f"{place}: {error.problem}.") from error
        what = getattr(error, "problem", None) or error
        raise ConfigError(f"{place}: not valid YAML ({what}).") from error
    if not isinstance(content, dict):
        what = {"NoneType": "nothing", "list": "a list", "str": "a text"}
        kind = type(content).__name__
        raise ConfigError(
            f"{path}: expected a mapping of sections such as `runner:`, but found "
            f"{what.get(kind, f'a {kind}')}."
        )
    return content


@functools.lru_cache(maxsize=32)
def _content(text: str) -> Any:
    """Return what a text holds: a bench asks for the defaults once for each of its runs."""
    return yaml.load(text, Loader=_Loader)  # a SafeLoader


def read_value(text: str) -> Any:
    """Return the value that `text` has behind `-o key=`: as in YAML, or a Python literal.

    s3prl's `-o` takes Python literals, so that quotes, tuples and `None` are read as well. What is
    neither is text. Nothing is evaluated.
    """
    if text == "":
        return ""
    loader = _Loader("")
    tag = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # yaml
    try:
        if tag != _TAG + "str":
            return loader.construct_object(yaml.ScalarNode(tag, text))
        return _plain(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, yaml.YAMLError):
        pass
    if text[0] in "[{":
        try:
            return _plain(yaml.load(text, Loader=_Loader))  # a SafeLoader
        except (ValueError, RecursionError, yaml.YAMLError):
            pass
    return text


def text_of(value: Any) -> str:
    """Return a text that `read_value` reads as `value`, bare where it can be."""
    if isinstance(value, str) and "=" not in value and read_value(value.strip()) == value:
        return value
    return repr(list(value) if isinstance(value, tuple) else value)


def _plain(value: Any) -> Any:
    """Return what YAML can hold; a tuple becomes a list, anything else stays the text it was."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise ValueError


class _DuplicateKeyError(yaml.MarkedYAMLError):
    """A mapping has one key twice, of which YAML readers silently keep the last."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the rules of this file."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  # yaml's

    def construct_document(self, node: yaml.Node) -> Any:
        """Return the content, unless its aliases go in circles or multiply without end."""
        _size(node, (), {})
        return super().construct_document(node)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping as it stands in the file, unless one of its keys is there twice."""
        node = super().compose_mapping_node(anchor)
        assert isinstance(node, yaml.MappingNode)
        first: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _TAG + "merge":
                continue
            key = self.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if key in first:
                raise _DuplicateKeyError(
                    problem=f"the key `{key}` is already in line {first[key]}, and one of the two "
                    "would be dropped: merge them or rename one",
                    problem_mark=key_node.start_mark,
                )
            first[key] = line
        return node


def _size(node: yaml.Node, above: tuple[yaml.Node, ...], sizes: dict[int, int]) -> int:
    """Return of how many values a node is, each alias counted as what it stands for.

    Raises:
        MarkedYAMLError: A list or mapping holds itself, or there are too many.
    """
    if any(node is one for one in above):
        raise yaml.MarkedYAMLError(
            problem="an alias stands within what it stands for", problem_mark=node.start_mark
        )
    if id(node) not in sizes:
        sizes[id(node)] = 1
        entries = node.value if isinstance(node, yaml.CollectionNode) else ()
        for entry in entries:
            for part in entry if isinstance(entry, tuple) else (entry,):
                sizes[id(node)] += _size(part, (*above, node), sizes)
    if sizes[id(node)] > _MOST:
        raise yaml.MarkedYAMLError(
            problem=f"it is of more than {_MOST} values, its aliases written out",
            problem_mark=node.start_mark,
        )
    return sizes[id(node)]


_MOST = 100_000
_TAG = "tag:yaml.org,2002:"
for _name, _first, _pattern in (
    ("bool", "yYnNtTfFoO", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE"
     r"|on|On|ON|off|Off|OFF"),
    ("int", "-+0123456789", r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)"),
    ("float", "-+.0123456789", r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9]+)([eE][-+]?[0-9]+)?"
     r"|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
     r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
    ("null", "~nN\0", r"~|null|Null|NULL|None|"),
    ("merge", "<", "<<"),
):  # fmt: skip
    _Loader.add_implicit_resolver(
        _TAG + _name, re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )
