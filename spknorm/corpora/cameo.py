"""CAMEO -> utterances: thirteen open corpora as one, `data/<corpus>-00000-of-00001.parquet`.

Every part is a corpus. Its speakers are numbered anew in each.
"""

from pathlib import Path

from spknorm.audio.faults import printable
from spknorm.corpora.embedded import rows_of, sound_of
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import class_of, known
from spknorm.corpora.records import Utterance
from spknorm.errors import DataError

_LANGUAGES = {
    "bengali": "bn", "english": "en", "french": "fr", "german": "de", "italian": "it",
    "polish": "pl", "russian": "ru", "spanish": "es",
}  # fmt: skip


def read(ask: Ask) -> list[Utterance]:
    """Return the utterances of all thirteen, or of those that are there, in the tables' order.

    The column `corpus` says which it is, and `licence` under what; both can be asked for by
    `spknorm splits` or the probes.

    Raises:
        MissingError: There is no table, or pyarrow is not installed.
        DataError: A row lacks its sound, emotion or speaker.
    """
    records = []
    for row in rows_of(ask.root):
        cells = {column: str(cell or "") for column, cell in row.cells.items() if column != "audio"}
        needed = {**cells, "audio": row.cells.get("audio")}
        if lacking := [one for one in ("audio", "emotion", "speaker_id") if not needed.get(one)]:
            raise DataError(
                f"Row {row.place} of `{row.part}` in {ask.root} lacks {', '.join(lacking)}: it is "
                "not CAMEO's."
            )
        word, language = cells["emotion"].lower(), cells.get("language", "").lower()
        sex, licence = cells.get("gender", "").lower(), cells.get("license", "")
        name = cells.get("file_id") or f"{row.place:06d}"
        records.append(
            Utterance(
                id=printable(f"{row.part}_{Path(name).stem}"),
                path=sound_of(row, "audio", ask.root),
                emotion=class_of(word),
                original=word,
                speaker=f"cameo_{row.part}_{cells['speaker_id']}",
                part=row.part,
                language=_LANGUAGES.get(language, language) or None,
                sentence=cells.get("transcription") or None,
                labels=known(corpus=row.part, sex=sex, licence=licence),
            )
        )
    return records
