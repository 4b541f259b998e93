"""What a run knows of its corpora: a digest of ids, labels, audio stamps and parts.

After the readers; the task takes it of what it reads, checkpoints and result.json keep it, and
`corpora.json.gz` in the experiment's folder has the rows behind it, so that a change can be named.

A copy of a corpus in another folder or on another machine has the same digest: an audio file's
stamp is its size, its number of samples and its rate, and of some files, chosen by a hash of their
ids, the content. Beside that digest stands one of the content in the middle of every file, so that
a single file that was replaced by another of as many bytes is seen, too.
"""

import gzip
import heapq
import itertools
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spknorm.audio import AudioIndex
from spknorm.corpora.columns import Texts, Utterances
from spknorm.corpora.records import Utterance
from spknorm.corpora.rows import Row, Rows, hash_of, json_of
from spknorm.errors import first_of
from spknorm.files import sha256_of, write_atomic

ROWS = "corpora.json.gz"
_SUMMARIES = "summaries"
_NUM_READ = 32
"""Files whose content is part of the digest."""
_MOST_SAMPLED = 50_000
_EXCERPT = ("start", "end", "channel")
_SAMPLED_BYTES = 4096
"""Of a corpus of up to so many files so many bytes from the middle of each make `content`."""
_SHOWN = 3


class CorpusDigest(NamedTuple):
    """One corpus as a run saw it: ids, labels and audio, whatever the fold and the order.

    Of each part the ids in their order have a digest; rows are what all were made of, by id.
    """

    digest: str
    parts: Mapping[str, str]
    rows: Rows

    def summary(self) -> dict[str, Any]:
        """Return what result.json and checkpoints keep."""
        sizes = self.rows.sizes()
        is_sampled = bool(len(self.rows)) and all(row.middle for row in self.rows)
        return {
            "digest": self.digest,
            "content": hash_of((row.id, row.middle) for row in self.rows) if is_sampled else None,
            "num_utterances": len(self.rows),
            "parts": {
                part: {"digest": digest, "num_utterances": sizes.get(part, 0)}
                for part, digest in self.parts.items()
            },
        }


def digest_of(
    records: Sequence[Utterance],
    *,
    labels: Iterable[str],
    parts: Mapping[str, Sequence[Utterance]],
) -> CorpusDigest:
    """Return the digest of a corpus that can be used, all of it in any order.

    `labels` are the columns that count: emotion and speaker, or votes or arousal where they are
    trained; `parts` what trains and, of an emotion corpus, dev and test, in their order.
    """
    packed = Utterances.of(records)

    def rank(one: tuple[int, str]) -> str:
        return sha256_of(f"spknorm corpus content\0{one[1]}".encode())

    read = heapq.nsmallest(_NUM_READ, enumerate(packed.ids()), key=rank)
    rows = Rows(
        packed,
        _labels_of(packed, tuple(labels)),
        AudioIndex.shared().infos(packed.sounds()).records,
        {place: sha256_of(packed[place].path)[:16] for place, _ in read},
        _part_codes(packed, parts),
        [None, *parts],
        [_middle(one) for one in packed] if len(packed) <= _MOST_SAMPLED else [],
    )
    return CorpusDigest(
        digest=hash_of(row[:3] for row in rows),
        parts={part: hash_of(Utterances.of(members).ids()) for part, members in parts.items()},
        rows=rows,
    )


def _labels_of(
    records: Utterances, columns: Sequence[str]
) -> tuple[NDArray[np.integer], Sequence[str]]:
    """Return numbers (N,) of texts: the labels of each, and which excerpt of its file it is."""
    names = (*columns, *_EXCERPT)
    found = [records.coded(name) for name in names]
    kinds = np.zeros(len(records), np.int64)
    for codes, values in found:
        _, first, kinds = np.unique(
            kinds * len(values) + codes, return_index=True, return_inverse=True
        )

    def text_of(place: int) -> str:
        told = [(name, own[codes[place]]) for name, (codes, own) in zip(names, found, strict=True)]
        excerpt = [one for one in told[len(columns) :] if one[1] is not None]
        return json.dumps(dict(told[: len(columns)] + excerpt))

    return kinds.astype(np.uint32), Texts(map(text_of, first.tolist()))


def _part_codes(
    records: Utterances, parts: Mapping[str, Sequence[Utterance]]
) -> NDArray[np.integer]:
    """Return in which part each utterance (N,) is, from 1; 0 for none."""
    codes = np.zeros(len(records), np.int64)
    for code, members in enumerate(parts.values(), start=1):
        if isinstance(members, Utterances) and members.is_of(records):
            codes[np.isin(records.rows, members.rows)] = code
        else:
            ids = {one.id for one in members}
            codes[[number for number, name in enumerate(records.ids()) if name in ids]] = code
    return codes


def write_rows(folder: Path, corpora: Mapping[str, CorpusDigest | None]) -> None:
    """Keep what the digests were made of in an experiment's folder."""
    many = any(one and len(one.rows) > _MOST_SAMPLED for one in corpora.values())
    packer = zlib.compressobj(1 if many else 9, wbits=31)
    packed = bytearray()
    for text in _as_json(corpora):
        packed += packer.compress(text.encode())
    write_atomic(folder / ROWS, bytes(packed + packer.flush()))


def read_summaries(folder: Path) -> dict[str, Any] | None:
    """Return `summaries` of the corpora whose rows a folder keeps; None if it has none."""
    return _read_rows(folder).get(_SUMMARIES)


def summaries(corpora: Mapping[str, CorpusDigest | None]) -> dict[str, Any]:
    """Return `corpora` of result.json: a summary by role, None for a corpus that is not read."""
    return {role: one and one.summary() for role, one in corpora.items()}


def changes(
    before: Mapping[str, Any] | None, now: Mapping[str, CorpusDigest | None], folder: Path
) -> dict[str, tuple[str, str]]:
    """Return which corpora are others than a run began with, and how: texts by `corpora.<role>`.

    A role that was not read on one side does not count: its settings say so. `before` are the
    `summaries` in the run's checkpoint (None in one of an earlier version), rows in its folder.
    """
    found = {}
    for role, one in now.items():
        old = (before or {}).get(role)
        if old is None or one is None:
            continue
        new = one.summary()
        other = any(old[key] != new[key] for key in ("digest", "parts"))
        if other or _both_and_other(old.get("content"), new["content"]):
            kept = _read_rows(folder).get(role) or [None]
            rows = [Row(*row) for row in kept[1:]] if kept[0] == old["digest"] else None
            what = f"{old['num_utterances']} utterances, digest {old['digest'][:12]}"
            found[f"corpora.{role}"] = (what, _describe(rows, one))
    return found


def _describe(old: list[Row] | None, new: CorpusDigest) -> str:
    text = f"{len(new.rows)} utterances, digest {new.digest[:12]}"
    if old is None:
        return text
    before, now = {row.id: row for row in old}, {row.id: row for row in new.rows}
    both = [name for name in sorted(now) if name in before]
    heard = [name for name in both if before[name].audio != now[name].audio
             or _both_and_other(before[name].middle, now[name].middle)]  # fmt: skip
    kinds = (
        ("with other labels", [n for n in both if now[n].labels != before[n].labels]),
        ("with other audio", heard),
        ("new", [name for name in sorted(now) if name not in before]),
        ("gone", [name for name in sorted(before) if name not in now]),
        ("in another part", [n for n in both if now[n].part != before[n].part]),
    )
    told = [f"{len(names)} {kind} ({first_of(names, _SHOWN)})" for kind, names in kinds if names]
    return f"{text}: {', '.join(told) or 'in another order'}"


def _both_and_other(before: str | None, now: str | None) -> bool:
    return bool(before and now and before != now)


def _middle(utterance: Utterance) -> str:
    """Return a hash of the bytes in the middle of an utterance's file."""
    with utterance.path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _SAMPLED_BYTES) // 2)
        return sha256_of(file.read(_SAMPLED_BYTES))[:16]


def _read_rows(folder: Path) -> dict[str, Any]:
    """Return the rows of a folder, none where they are damaged: the digests still differ."""
    try:
        content = json.loads(gzip.decompress((folder / ROWS).read_bytes()))
    except (OSError, EOFError, ValueError, zlib.error):
        return {}
    return content if isinstance(content, dict) else {}


def _as_json(corpora: Mapping[str, CorpusDigest | None]) -> Iterator[str]:
    """Yield the text of a dictionary with the digest and the rows of each role, and summaries."""
    yield "{"
    for role, one in corpora.items():
        yield f"{json.dumps(role)}: "
        yield from ["null"] if one is None else json_of(itertools.chain([one.digest], one.rows))
        yield ", "
    yield f"{json.dumps(_SUMMARIES)}: {json.dumps(summaries(corpora))}}}"
