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
    emotion, speaker = [_EMOTION], [_SPEAKER]
    for one in CORPORA.values():
        if one.variable is not None:
            only_speakers = one.roles == ("speaker",)
            counted = (one.num_speakers or "by release", one.language)
            cells = (f"`{one.name}`", one.title, *(counted if only_speakers else _emotion_row(one)),
                     one.licence, one.source, f"`{one.example}`")  # fmt: skip
            row = "| " + " | ".join(map(str, cells)) + " |"
            (speaker if only_speakers else emotion).append(row)
    return "\n".join([*emotion, "", *speaker])


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


def _emotion_row(one: Corpus) -> tuple[object, ...]:
    counts = Counter[str]()
    for word, count in one.counts.items():
        counts[class_of(word)] += count
    four = " / ".join(str(counts[emotion]) for emotion in EMOTIONS)
    further = ((word, count) for word, count in counts.items() if word not in EMOTIONS)
    others = ", ".join(f"{word} {count}" if count else word for word, count in further)
    total = one.num_utterances or sum(counts.values())
    sizes = (total or "by release", four if total else "by release", others)
    return (*sizes, one.num_speakers or "unsure", one.language or "several",
            ", ".join(one.protocols))  # fmt: skip
