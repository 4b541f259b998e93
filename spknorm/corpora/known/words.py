"""What corpora call emotions, and the class that a word stands for. First in this folder."""

from collections.abc import Iterable, Mapping

EMOTIONS = ("neu", "hap", "ang", "sad")
"""The four classes in the order of s3prl's IEMOCAP labels (downstream/emotion)."""

CLASSES: Mapping[str, str] = {
    **dict.fromkeys(("neutral", "neutrality"), "neu"),
    **dict.fromkeys(("happy", "happiness", "joy", "joyful"), "hap"),
    **dict.fromkeys(("angry", "anger", "mad"), "ang"),
    **dict.fromkeys(("sad", "sadness"), "sad"),
    **dict.fromkeys(("fear", "fearful"), "fea"),
    "disgust": "dis",
    **dict.fromkeys(("surprise", "surprised"), "sur"),
}
"""Classes by word. No other word is any of these: calm is not neutral, amused and excited are not
happy, scared is not fear, a pleasant surprise is not a surprise, unless `labels: {map: ...}` says
so."""


def class_of(word: str) -> str:
    """Return the class of a corpus' word: `hap` of joy; a word without one stands for itself."""
    return CLASSES.get(word, word)


def in_order(classes: Iterable[str]) -> tuple[str, ...]:
    """Return classes, each once: those of `EMOTIONS` first, then the others by name."""
    found = set(classes)
    return (*(one for one in EMOTIONS if one in found), *sorted(found - set(EMOTIONS)))


def known(**columns: str | None) -> dict[str, str]:
    """Return the further columns of an utterance, without those that are not known."""
    return {column: value for column, value in columns.items() if value}


_SEXES = {
    **dict.fromkeys(("f", "female", "female_feminine", "woman", "femmina", "donna"), "female"),
    **dict.fromkeys(("m", "male", "male_masculine", "man", "maschio", "uomo"), "male"),
}


def sex_of(word: str) -> str | None:
    """Return `female` or `male` for what a corpus calls it; None for another word, or none."""
    return _SEXES.get(word.strip().lower())
