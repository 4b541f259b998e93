"""Corpora whose file names say everything -> utterances: one parser for the rows of layouts.py.

Identity comes from the name, so that a copy may lie at any depth and in folders of other names.
"""

import csv
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from spknorm.audio import Walk, printable
from spknorm.audio.faults import refuse
from spknorm.audio.walking import ELSEWHERE
from spknorm.corpora.gathering import one_file_each, undamaged
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.layout import Layout
from spknorm.corpora.known.layouts import LAYOUTS
from spknorm.corpora.labels import class_of
from spknorm.corpora.records import Utterance
from spknorm.errors import MissingError

logger = logging.getLogger(__name__)

_DEPTH = 4  # so many last parts of a path can name an utterance
_FULL_FROM = 0.8  # of the published number: meant to be all of it


def read(ask: Ask) -> list[Utterance]:
    """Return what the settings ask for; see `read_coded`."""
    return read_coded(ask.root, ask.corpus.name)


def read_coded(root: Path | str, key: str) -> list[Utterance]:
    """Return a corpus' utterances in the order of their ids.

    Each has its class, the corpus' own word (`original`), its speaker (corpus and every field that
    identifies), and, where the name says so, sex, sentence, intensity, language and given split.
    Other recordings of the corpus (RAVDESS' videos) and those that are known to be damaged are left
    out and counted; what has no name of the corpus' pattern, too.

    Args:
        root: Its folder, or one of it.
        key: Of `LAYOUTS`.

    Raises:
        MissingError: There is no recording with such a name.
        DataError: A name has a code that the corpus does not, or two files of one name differ.
    """
    layout = LAYOUTS[key]
    root = Path(os.path.abspath(root))  # noqa: PTH100 (links are kept as they are)
    walk = Walk(containers=layout.containers)
    found: dict[str, list[Path]] = {}
    fields: dict[str, dict[str, str]] = {}
    problems: list[str] = []
    for file in walk.files(root):
        parsed = _fields(file, layout)
        if parsed is None:
            walk.left_out[ELSEWHERE] += 1
            continue
        other = next((k for k, wanted in layout.wanted.items() if parsed[k] != wanted), None)
        if other is not None:
            walk.left_out[f"of {other} {parsed[other]}"] += 1
        elif parsed["emotion"] not in layout.words:
            known = ", ".join(layout.words)
            problems.append(
                f"{printable(file)}: emotion `{parsed['emotion']}`, {layout.title} has {known}"
            )
        else:
            name = layout.id.format_map(parsed)
            found.setdefault(name, []).append(file)
            fields[name] = parsed
    refuse(problems, f"names cannot be {layout.title}'s")
    if not found:
        aside = f" Not taken: {walk.summary()}." if walk.left_out else ""
        raise MissingError(
            f"{root} is not {layout.title}: expected names such as {layout.example}.{aside}"
        )
    for name, files in found.items():
        found[name] = [one for one in files if one.suffix.lower() == ".wav"] or files
    chosen = one_file_each(found, sorted(found), corpus=layout.title)
    sexes = _sexes(root, layout)
    records = [_utterance(key, name, file, fields[name], sexes) for name, file in chosen.items()]
    if differs := differences(records, layout):
        logger.warning(
            "This %s differs from the published one (%d utterances): %s",
            layout.title, sum(layout.counts.values()), "; ".join(differs),
        )  # fmt: skip
    walk.report(root)
    kept = set(undamaged((one.id for one in records), layout.damaged, corpus=layout.title))
    return [one for one in records if one.id in kept]


def differences(records: Sequence[Utterance], layout: Layout) -> list[str]:
    """Return what differs from the published counts, if this is meant to be the whole corpus."""
    published = layout.total or sum(layout.counts.values())
    if len(records) < _FULL_FROM * published or len(records) == layout.other_total:
        return []
    found = Counter(str(one.original) for one in records)
    sound = Counter(str(one.original) for one in records if one.id not in layout.damaged)
    return [
        f"{found[word]} utterances of `{word}` instead of {count}"
        for word, count in layout.counts.items()
        if count not in (found[word], sound[word])  # published with what is damaged, or without
    ]


def _fields(file: Path, layout: Layout) -> dict[str, str] | None:
    parts = (*file.parts[-_DEPTH:-1], os.path.splitext(file.name)[0])  # noqa: PTH122 (thousands)
    return layout.fields_of(unicodedata.normalize("NFC", "/".join(parts)))


def _utterance(
    key: str, name: str, file: Path, parsed: dict[str, str], sexes: dict[str, str]
) -> Utterance:
    layout = LAYOUTS[key]
    word = layout.words[parsed["emotion"]]
    speaker = layout.speaker.format_map(parsed)
    sex = layout.sex(parsed) or sexes.get(speaker)
    return Utterance(
        id=name,
        path=file,
        emotion=class_of(word),
        speaker=f"{key}_{speaker}",
        split=_SPLITS.get(parsed.get("split", "")),
        part=parsed.get("split") or None,
        original=word,
        sentence=layout.sentence.format_map(parsed) or None,
        intensity=layout.intensities.get(parsed.get("intensity", "")),
        language=parsed.get("language", layout.language),
        labels={"sex": sex} if sex else {},
    )


_SPLITS = {"train": "train", "evaluation": "dev", "test": "test"}


def _sexes(root: Path, layout: Layout) -> dict[str, str]:
    """Return the sex of each speaker from the table that lies beside the recordings, if any."""
    if layout.sex_table is None:
        return {}
    name, speaker, sex = layout.sex_table
    table = next((one / name for one in (root, root.parent) if (one / name).is_file()), None)
    if table is None:
        logger.info("%s's %s is not there, so nobody's sex is known", layout.title, name)
        return {}
    with table.open(encoding="utf-8-sig", newline="") as file:
        return {row[speaker]: row[sex].lower() for row in csv.DictReader(file) if row.get(sex)}
