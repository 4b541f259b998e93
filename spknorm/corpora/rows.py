"""The rows behind a corpus' digest, as many as it has files: columns, and text a row at a time."""

import hashlib
import itertools
import json
import operator
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.corpora.columns import Utterances

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


@dataclass(eq=False)
class Rows(Sequence[Row]):
    """Rows in the order of their ids, made as they are asked for: as many as a corpus has files.

    Attributes:
        labels: The number of each record's text (N,), and the texts.
        stamps: Size, samples and rate of each.
        contents: Hashes of the content of some files, by place.
        parts: In which of `names` each is.
        middles: A hash of the middle of each file, or nothing.
    """

    records: Utterances
    labels: tuple[NDArray[np.integer], Sequence[str]]
    stamps: NDArray[Any]
    contents: Mapping[int, str]
    parts: NDArray[np.integer]
    names: Sequence[str | None]
    middles: Sequence[str]

    def __post_init__(self) -> None:
        """Sort by ids, where they are not in their order already."""
        self._order: Sequence[int] = range(len(self.records))
        if not all(itertools.starmap(operator.le, itertools.pairwise(self.records.ids()))):
            ids = list(self.records.ids())
            self._order = array("q", sorted(self._order, key=ids.__getitem__))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, number: Any) -> Any:
        place = self._order[number]
        size, samples, rate = self.stamps[place].item()[:3]
        audio = f"{size} bytes, {samples} at {rate} Hz"
        if place in self.contents:
            audio += f", sha256 {self.contents[place]}"
        return Row(
            self.records.id_of(place),
            self.labels[1][self.labels[0][place]],
            audio,
            self.names[self.parts[place]],
            self.middles[place] if self.middles else "",
        )

    def sizes(self) -> dict[str | None, int]:
        """Return how many rows are in each part."""
        counts = np.bincount(self.parts, minlength=len(self.names))
        return dict(zip(self.names, counts.tolist(), strict=True))


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
