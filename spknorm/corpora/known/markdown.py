"""The table of corpora in Markdown, for docs/corpora.md: `spknorm corpora --markdown PAGE`."""

from collections import Counter

from spknorm.corpora.known import CORPORA
from spknorm.corpora.known.corpus import Corpus
from spknorm.corpora.known.words import EMOTIONS, class_of

START, END = "<!-- corpora: written by spknorm corpora --markdown -->", "<!-- end -->"
_EMOTION = (
    "| `corpus` | what | utterances | neu / hap / ang / sad | others | speakers | language "
    "| protocols | licence | where | a name |\n|---|---|---|---|---|---|---|---|---|---|---|"
)
_SPEAKER = (
    "| `corpus` | what | speakers | language | licence | where | a name |\n"
    "|---|---|---|---|---|---|---|"
)


def table() -> str:
    """Return a row per corpus that has a tree of its own, those with emotions first."""
    rows = [one for one in CORPORA.values() if one.variable is not None]
    emotion = [_emotion_row(one) for one in rows if "emotion" in one.roles]
    speaker = [_speaker_row(one) for one in rows if one.roles == ("speaker",)]
    return "\n".join([_EMOTION, *emotion, "", _SPEAKER, *speaker])


def written_into(page: str) -> str:
    """Return the page with the tables between its marks.

    Raises:
        ValueError: It lacks them.
    """
    if START not in page or END not in page:
        raise ValueError(f"it lacks the lines {START} and {END}")
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{table()}\n\n{END}{after}"


def _emotion_row(one: Corpus) -> str:
    counts = Counter[str]()
    for word, count in one.counts.items():
        counts[class_of(word)] += count
    four = " / ".join(str(counts[emotion]) for emotion in EMOTIONS)
    further = ((word, count) for word, count in counts.items() if word not in EMOTIONS)
    others = ", ".join(f"{word} {count}" if count else word for word, count in further)
    total = one.num_utterances or sum(counts.values())
    return _row(
        f"`{one.name}`", one.title, total or "by release", four if total else "by release", others,
        one.num_speakers or "unsure", one.language or "several", ", ".join(one.protocols),
        one.licence, one.source, f"`{one.example}`",
    )  # fmt: skip


def _speaker_row(one: Corpus) -> str:
    return _row(
        f"`{one.name}`", one.title, one.num_speakers or "by release", one.language, one.licence,
        one.source, f"`{one.example}`",
    )  # fmt: skip


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
