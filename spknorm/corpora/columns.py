"""Many utterances as columns: a record is made of one when it is asked for, and none is kept.

After records.py. A million utterances of VoxCeleb2 take 95 MB so, and 865 MB as a list of
records. What differs from file to file (ids, names) lies in one buffer of bytes; what many share (a
speaker, a folder) stands there once, and each utterance has its number.

Legend: N utterances.
"""

import operator
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.audio.excerpt import Excerpt, Sound
from spknorm.corpora.records import FIELDS, Utterance

_DEFAULTS = {name: () if name == "votes" else None for name in FIELDS}
_FEW = 1 << 16
"""Values of a column that are kept as they are; of more the bytes or numbers are kept."""
_ERRORS = "surrogatepass"  # names of files may be any bytes


class Texts(Sequence[str]):
    """Texts end to end in one buffer; each is made when it is asked for."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes, self._ends = bytearray(), array("q", [0])
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add one."""
        self._bytes += text.encode("utf-8", _ERRORS)
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        ends = self._ends
        if not 0 <= number < len(ends) - 1:
            number = range(len(ends) - 1)[number]
        return self._bytes[ends[number] : ends[number + 1]].decode("utf-8", _ERRORS)


class Coded(Sequence[Any]):
    """Values that repeat: each once, and a number per place; the first `size` have `default`."""

    def __init__(self, default: Any = None, size: int = 0) -> None:
        self.codes = array("I", bytes(4 * size))
        self.values: Sequence[Any] = [default]
        self._known: dict[Any, int] | None = {_key(default): 0}

    def append(self, value: Any) -> None:
        """Add one."""
        assert self._known is not None
        code = self._known.setdefault(_key(value), len(self._known))
        if code == len(self.values):
            assert isinstance(self.values, list)
            self.values.append(value)
        self.codes.append(code)

    def finish(self) -> None:
        """Let go of what is needed to add more; many texts or numbers go into a buffer."""
        self._known = None
        if len(self.values) > _FEW:
            kinds = set(map(type, self.values[1:]))
            if kinds == {str}:
                self.values = _AfterDefault(self.values[0], Texts(self.values[1:]))
            elif kinds == {float}:
                self.values = _AfterDefault(self.values[0], array("d", self.values[1:]))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, number: Any) -> Any:
        return self.values[self.codes[number]]


class _AfterDefault(Sequence[Any]):
    """A default, and after it what is packed."""

    def __init__(self, default: Any, rest: Sequence[Any]) -> None:
        self._default, self._rest = default, rest

    def __len__(self) -> int:
        return 1 + len(self._rest)

    def __getitem__(self, number: Any) -> Any:
        return self._rest[number - 1] if number else self._default


class _Store(NamedTuple):
    """Columns of all utterances that were packed together; views have rows of them."""

    ids: Texts
    folders: Coded
    names: Texts
    fields: dict[str, Coded]
    labels: dict[str, Coded]


class Utterances(Sequence[Utterance]):
    """Utterances as columns; parts of them share these. `of` makes them."""

    def __init__(self, store: _Store, rows: NDArray[np.integer]) -> None:
        self._store, self.rows = store, rows

    @classmethod
    def of(cls, records: Iterable[Utterance]) -> "Utterances":
        """Return records as columns; what is that already stays as it is."""
        return records if isinstance(records, Utterances) else cls.packed(map(vars, records))

    @classmethod
    def packed(cls, values: Iterable[Mapping[str, Any]]) -> "Utterances":
        """Return columns of the arguments of an `Utterance` each; `path` may be a text."""
        store = _Store(Texts(), Coded(""), Texts(), {}, {})
        for size, given in enumerate(values):
            store.ids.append(given["id"])
            path = str(given["path"])
            name = path.rfind("/") + 1
            store.folders.append(path[:name])
            store.names.append(path[name:])
            own = {key: value for key, value in given.items() if key in _DEFAULTS}
            _append(store.fields, own, _DEFAULTS, size)
            _append(store.labels, given.get("labels") or {}, {}, size)
        for column in (store.folders, *store.fields.values(), *store.labels.values()):
            column.finish()
        return cls(store, np.arange(len(store.ids)))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return self.take(number)
        row = int(self.rows[number])
        store = self._store
        labels = {name: column[row] for name, column in store.labels.items()}
        return Utterance(
            id=store.ids[row],
            path=Path(store.folders[row] + store.names[row]),
            labels={name: value for name, value in labels.items() if value is not None},
            **{name: column[row] for name, column in store.fields.items()},
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (list, tuple, Utterances)):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]  # as of a list

    def take(self, places: Any) -> "Utterances":
        """Return those at some places, or those for which a mask (N,) is true."""
        return Utterances(self._store, self.rows[places])

    def ids(self) -> Iterator[str]:
        """Yield the ids in their order."""
        return map(self._store.ids.__getitem__, _numbers(self.rows))

    def id_of(self, number: int) -> str:
        """Return the id of one, without the rest of it."""
        name: str = self._store.ids[int(self.rows[number])]
        return name

    def coded(self, column: str) -> tuple[NDArray[np.integer], Sequence[str | None]]:
        """Return the labels of a column as numbers (N,) of values, of which some may not occur."""
        own, shared = self._store.labels.get(column), self._store.fields.get(column)
        if own is not None and shared is not None:  # a manifest may mean another `channel`
            texts = Coded()
            for one in self:
                texts.append(one.label(column))
            return np.array(texts.codes), texts.values
        if (found := own or shared) is None:
            return np.zeros(len(self), np.uint32), [None]
        codes = np.frombuffer(found.codes, np.uint32)[self.rows]
        if shared is None or all(value is None or isinstance(value, str) for value in found.values):
            return codes, found.values
        example = Utterance(id="", path=Path())
        return codes, [
            Utterance(**{**vars(example), column: value}).label(column) for value in found.values
        ]

    def sounds(self) -> "Sounds":
        """Return what is heard of each, a text where it is a whole file."""
        return Sounds(self._store, self.rows)

    def is_of(self, other: "Utterances") -> bool:
        """Tell whether both are parts of one packing, so that their `rows` say who is in both."""
        return self._store is other._store


class Sounds(Sequence[Sound]):
    """The sound of each utterance, made as it is asked for."""

    def __init__(self, store: _Store, rows: NDArray[np.integer]) -> None:
        self._store, self._rows = store, rows
        self._has_excerpts = bool({"channel", "start", "end"} & store.fields.keys())

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: Any) -> Any:
        return self._of(int(self._rows[number]))

    def __iter__(self) -> Iterator[Sound]:
        return map(self._of, _numbers(self._rows))

    def _of(self, row: int) -> Sound:
        path: str = self._store.folders[row] + self._store.names[row]
        if not self._has_excerpts:
            return path
        told = (self._store.fields.get(name) for name in ("channel", "start", "end"))
        own = [None if column is None else column[row] for column in told]
        return path if own == [None, None, None] else Excerpt(Path(path), *own)


def all_differ(texts: Iterable[str]) -> bool:
    """Tell whether no text occurs twice; True is certain, False asks for a closer look."""
    hashes = np.sort(np.fromiter(map(hash, texts), np.int64))
    return bool((hashes[1:] != hashes[:-1]).all())


def _numbers(rows: NDArray[np.integer]) -> Iterator[int]:
    """Yield rows as plain numbers, of which some thousands are made at a time."""
    for start in range(0, len(rows), _FEW):
        yield from rows[start : start + _FEW].tolist()


def _append(
    columns: dict[str, Coded], own: Mapping[str, Any], defaults: Mapping[str, Any], size: int
) -> None:
    """Add one utterance's values; a column begins at the first that is no default."""
    for name, value in own.items():
        if name not in columns and value != defaults.get(name):
            columns[name] = Coded(defaults.get(name), size)
    for name, column in columns.items():
        column.append(own.get(name, defaults.get(name)))


def _key(value: Any) -> Any:
    """Return what tells values apart: 1 is not 1.0 where it is written."""
    return value if isinstance(value, str) else (type(value), value)
