"""CommonVoice -> utterances: <release>/<language>/{validated,train,...}.tsv and clips/*.mp3.

A speaker is a `client_id`, which is a browser's account: one person may have two, and it holds
within a release. Many have a clip or two, from which no head learns anybody.
"""

import logging
from collections import Counter
from pathlib import Path

from spknorm.corpora.gathering import recordings
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import known, sex_of
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import lines_of
from spknorm.errors import MissingError

logger = logging.getLogger(__name__)

LEAST = 5
"""Clips of a speaker; those with fewer are left out."""
_TABLES = ("validated", "train", "dev", "test")  # not `invalidated` and `other`


def read(ask: Ask) -> list[Utterance]:
    """Return the clips that listeners accepted of speakers with at least `LEAST`.

    The root is the folder of a release, of a language, or of several languages.

    Raises:
        MissingError: There are no tables, or none of their clips.
    """
    root = ask.root
    languages = [folder for folder in (root, *sorted(root.glob("*")), *sorted(root.glob("*/*")))
                 if (folder / "clips").is_dir()]  # fmt: skip
    records: list[Utterance] = []
    for folder in languages:
        rows: dict[str, dict[str, str]] = {}
        tables = (folder / f"{table}.tsv" for table in _TABLES)
        for table in filter(Path.is_file, tables):
            for line in lines_of(table, ("client_id", "path"), delimiter="\t"):
                name = Path(line.cells["path"]).stem
                rows[name] = {**rows.get(name, {}), **line.cells, "table": table.stem}
        title = f"CommonVoice ({folder.name})"
        records += [
            _utterance(name, path, rows[name], folder.name)
            for name, path in recordings(folder / "clips", sorted(rows), corpus=title).items()
        ]
    if not records:
        raise MissingError(
            f"{root} is not CommonVoice: expected <language>/validated.tsv and clips/*.mp3 in it."
        )
    counts = Counter(one.speaker for one in records)
    kept = [one for one in records if counts[one.speaker] >= LEAST]
    if len(kept) < len(records):
        few = sum(count < LEAST for count in counts.values())
        logger.info(
            "%d of %d speakers of CommonVoice have fewer than %d clips and are left out with them",
            few, len(counts), LEAST,
        )  # fmt: skip
    return kept


def _utterance(name: str, path: Path, cells: dict[str, str], language: str) -> Utterance:
    return Utterance(
        id=f"{language}/{name}",
        path=path,
        speaker=f"common_voice_{language}_{cells['client_id']}",
        part=cells["table"],
        sentence=cells.get("sentence") or None,
        language=cells.get("locale") or language,
        labels=known(sex=sex_of(cells.get("gender", ""))),
    )
