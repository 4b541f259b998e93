"""The rows behind a corpus' digest, as many as it has files: columns, and text a row at a time."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from spknorm.corpora.columns import Coded, Texts

_AT_ONCE = 1024


class Row(NamedTuple):
    """One utterance: its labels and its audio's stamp as texts, its part of the fold or none.

    Last what is in the middle of its file, as a hash; empty in large corpora and earlier versions.
    """

    id: str
    labels: str
    audio: str
    part: str | None
    middle: str = ""


class Rows(Sequence[Row]):
    """Rows in the order of their ids, made as they are asked for: as many as a corpus has files."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._ids, self._audio, self._middles = Texts(), Texts(), Texts()
        self._labels, self._parts = Coded(), Coded()
        for row in rows:
            columns = (self._ids, self._labels, self._audio, self._parts, self._middles)
            for column, value in zip(columns, row, strict=True):
                column.append(value)  # type: ignore[attr-defined]  # of Texts and Coded
        self._labels.finish()
        self._parts.finish()
        self._order = np.arange(len(self._ids))
        if not all(one <= next_one for one, next_one in itertools.pairwise(self._ids)):
            ids = list(self._ids)
            self._order = np.array(sorted(range(len(ids)), key=ids.__getitem__))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, number: Any) -> Any:
        place = int(self._order[number])
        return Row(
            self._ids[place],
            self._labels[place],
            self._audio[place],
            self._parts[place],
            self._middles[place],
        )

    def sizes(self) -> dict[str, int]:
        """Return how many rows are in each part."""
        counts = np.bincount(np.array(self._parts.codes), minlength=len(self._parts.values))
        return dict(zip(self._parts.values, counts.tolist(), strict=True))


def json_of(values: Iterable[Any]) -> Iterator[str]:
    """Yield the JSON text of a list, of which no more than one value is in memory."""
    between = "["
    for value in values:
        yield between + json.dumps(value)
        between = ", "
    yield "]" if between == ", " else "[]"


def hash_of(values: Iterable[Any]) -> str:
    """Return the hash of the JSON text of a list."""
    found, texts = hashlib.sha256(), json_of(values)
    while some := "".join(itertools.islice(texts, _AT_ONCE)):
        found.update(some.encode())
    return found.hexdigest()
