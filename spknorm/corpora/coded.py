"""Corpora whose file names say everything -> utterances: one parser for such rows of the table.

Identity comes from the name, so that a copy may lie at any depth and in folders of other names.
"""

import csv
import logging
import os
import unicodedata
from collections import Counter
from pathlib import Path

from spknorm.audio import Walk, printable
from spknorm.audio.faults import refuse
from spknorm.audio.walking import ELSEWHERE
from spknorm.corpora.gathering import one_file_each, undamaged
from spknorm.corpora.known.corpus import Ask, Corpus
from spknorm.corpora.known.layout import Fields, sex_by, template_of
from spknorm.corpora.known.words import class_of, known
from spknorm.corpora.records import Utterance
from spknorm.errors import MissingError

logger = logging.getLogger(__name__)

_DEPTH = 4  # so many last parts of a path can name an utterance
_SPLITS = {"train": "train", "evaluation": "dev", "test": "test"}


def read(ask: Ask) -> list[Utterance]:
    """Return a corpus' utterances in the order of their ids; its row has `names`.

    Each has its class, the corpus' own word (`original`), its speaker (corpus and every field that
    identifies), and, where the name says so, sex, sentence, intensity, language and given split.
    Other recordings of the corpus (RAVDESS' videos) and those that are known to be damaged are left
    out and counted; what has no name of the corpus' pattern, too.

    Raises:
        MissingError: There is no recording with such a name.
        DataError: A name has a code that the corpus does not, or two files of one name differ.
    """
    corpus, root = ask.corpus, Path(os.path.abspath(ask.root))  # noqa: PTH100 (keeps links)
    template = corpus.id or template_of(corpus.names)
    walk = Walk(containers=corpus.containers)
    found: dict[str, list[Path]] = {}
    fields: dict[str, Fields] = {}
    problems: list[str] = []
    for file in walk.files(root):
        parts = (*file.parts[-_DEPTH:-1], os.path.splitext(file.name)[0])  # noqa: PTH122
        parsed = corpus.fields_of(unicodedata.normalize("NFC", "/".join(parts)))
        if parsed is None:
            walk.left_out[ELSEWHERE] += 1
            continue
        other = next((k for k, wanted in corpus.wanted.items() if parsed[k] != wanted), None)
        if other is not None:
            walk.left_out[f"of {other} {parsed[other]}"] += 1
        elif (code := parsed["emotion"]) not in corpus.words:
            known = ", ".join(corpus.words)
            problems.append(f"{printable(file)}: emotion `{code}`, {corpus.title} has {known}")
        else:
            name = template.format_map(parsed)
            found.setdefault(name, []).append(file)
            fields[name] = parsed
    refuse(problems, f"names cannot be {corpus.title}'s")
    if not found:
        raise MissingError(
            f"{root} is not {corpus.title}: expected names such as {corpus.example}.{walk.aside()}"
        )
    for name, files in found.items():
        found[name] = [one for one in files if one.suffix.lower() == ".wav"] or files
    chosen = one_file_each(found, sorted(found), corpus=corpus.title)
    sexes = _sexes(root, corpus)
    records = [_utterance(corpus, name, file, fields[name], sexes) for name, file in chosen.items()]
    words = Counter(str(one.original) for one in records)
    fine = Counter(str(one.original) for one in records if one.id not in corpus.damaged)
    if differs := corpus.differences(words, undamaged=fine):
        logger.warning(
            "This %s differs from the published one (%d utterances): %s",
            corpus.title, sum(corpus.counts.values()), differs,
        )  # fmt: skip
    walk.report(root)
    kept = set(undamaged((one.id for one in records), corpus.damaged, corpus=corpus.title))
    return [one for one in records if one.id in kept]


def _utterance(
    corpus: Corpus, name: str, file: Path, parsed: Fields, sexes: dict[str, str]
) -> Utterance:
    word = corpus.words[parsed["emotion"]]
    speaker = corpus.speaker.format_map(parsed)
    sentence = corpus.sentence.format_map(parsed) if corpus.sentence else parsed.get("sentence")
    return Utterance(
        id=name,
        path=file,
        emotion=class_of(word),
        speaker=f"{corpus.name}_{speaker}",
        split=_SPLITS.get(parsed.get("split", "")),
        part=parsed.get("split") or None,
        original=word,
        sentence=sentence or None,
        intensity=corpus.intensities.get(parsed.get("intensity", "")),
        language=parsed.get("language", corpus.language),
        labels=known(sex=sex_by(corpus.sex, parsed) or sexes.get(speaker)),
    )


def _sexes(root: Path, corpus: Corpus) -> dict[str, str]:
    """Return the sex of each speaker from the table that lies beside the recordings, if any."""
    if corpus.sex_table is None:
        return {}
    name, speaker, sex = corpus.sex_table
    table = next((one / name for one in (root, root.parent) if (one / name).is_file()), None)
    if table is None:
        logger.info("%s's %s is not there, so nobody's sex is known", corpus.title, name)
        return {}
    with table.open(encoding="utf-8-sig", newline="") as file:
        return {row[speaker]: row[sex].lower() for row in csv.DictReader(file) if row.get(sex)}
