"""VCTK -> utterances: wav48_silence_trimmed/p225/p225_001_mic1.flac, wav48/p225/p225_001.wav.

Of the two microphones the first is read: two speakers lack the second.
"""

import re
from pathlib import Path

from spknorm.corpora.gathering import Aside, recordings
from spknorm.corpora.known.corpus import Ask
from spknorm.corpora.known.words import known, sex_of
from spknorm.corpora.records import Utterance
from spknorm.corpora.tables import find, text_of

_NAME = re.compile(r"([ps]\d+)_(\d{3})(?:_(mic[12]))?", re.ASCII)


def read(ask: Ask) -> list[Utterance]:
    """Return the utterances of the first microphone in the order of their names, with speaker.

    Raises:
        MissingError: There is none.
        DataError: An utterance has two files that differ.
    """
    root, title = ask.root, ask.corpus.title
    expected = f"{root} is not {title}: expected {ask.corpus.example} in it."
    chosen = recordings(root, None, corpus=title, key=_name_of, missing=expected)
    sexes = _sexes(root)
    records = []
    for name, path in chosen.items():
        who = name.partition("_")[0]
        labels = known(sex=sexes.get(who))
        records.append(Utterance(id=name, path=path, speaker=who, language="en", labels=labels))
    return records


def _name_of(file: Path) -> str | None:
    match = _NAME.fullmatch(file.stem)
    if match is not None and match[3] == "mic2":
        return Aside("of the second microphone")
    return match and f"{match[1]}_{match[2]}"


def _sexes(root: Path) -> dict[str, str | None]:
    """Return the sexes of speaker-info.txt: `p225  23  F  English ...`, without the p in 0.80."""
    found = {}
    for file in find(root, r"speaker-info\.txt")[:1]:
        for line in text_of(file).splitlines():
            fields = line.split()
            if len(fields) >= 3:
                found[fields[0] if fields[0][0] in "ps" else f"p{fields[0]}"] = sex_of(fields[2])
    return found
