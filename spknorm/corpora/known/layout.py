"""What the file names of a corpus mean: its template, and how fields become other fields.

Before corpus.py, whose records hold templates; spknorm/corpora/coded.py reads by them.
"""

import functools
import re
from collections.abc import Callable, Mapping

Fields = dict[str, str]

_FIELD = re.compile(r"\{(\w+)(?::((?:[^{}]|\{\d\})*))?\}")
_TWO_DIGITS = r"\d\d"


@functools.cache
def pattern_of(names: str) -> re.Pattern[str]:
    """Return what finds `{emotion:[a-z]+}_{take}` at the end of a path without its suffix."""
    groups = _FIELD.sub(lambda one: f"(?P<{one[1]}>{one[2] or _TWO_DIGITS})", names)
    return re.compile(f"(?:^|/){groups}$", re.ASCII)


def template_of(names: str) -> str:
    """Return `{emotion}_{take}` of `{emotion:[a-z]+}_{take}`."""
    return _FIELD.sub(r"{\1}", names)


def coded(text: str) -> dict[str, str]:
    """Return the words by code of `W anger, L boredom`; a word alone is its own code."""
    pairs = [one.partition(" ") for one in text.split(", ")]
    return {code: word or code for code, _, word in pairs}


def numbered(text: str) -> dict[str, int]:
    """Return the numbers by word of `127 anger, 81 boredom`."""
    pairs = [one.partition(" ") for one in text.split(", ")]
    return {word: int(number) for number, _, word in pairs}


def sex_by(rule: str, fields: Fields) -> str | None:
    """Return `female` or `male` by the rule of a corpus; None where it has none."""
    if not rule:
        return None
    if rule == "by letter":
        return {"f": "female", "m": "male"}[(fields.get("sex") or fields["speaker"])[0].lower()]
    if rule in ("all women", "all men"):
        is_man = rule == "all men"
    elif rule in ("odd are men", "even are men"):
        is_man = int(fields["speaker"]) % 2 == (rule == "odd are men")
    else:
        is_man = fields["speaker"] not in rule.split()
    return "male" if is_man else "female"


def _of_esd(fields: Fields) -> Fields:
    """Read emotion and sentence off the number: 350 parallel texts, one emotion after another."""
    emotion, sentence = divmod(int(fields["number"]) - 1, 350)
    language = "zh" if int(fields["speaker"]) <= 10 else "en"
    told = {"emotion": str(emotion), "sentence": f"{language}{sentence + 1:03d}"}
    return {**fields, **told, "language": language}


def _of_emov_db(fields: Fields) -> Fields:
    """Spell the emotions of all speakers alike."""
    spelt = {"anger": "angry", "disgusted": "disgust", "sleepiness": "sleepy"}
    emotion = fields["emotion"].lower()
    return {**fields, "emotion": spelt.get(emotion, emotion)}


def _lower_case(fields: Fields) -> Fields:
    return {**fields, "emotion": fields["emotion"].lower()}


DERIVED: Mapping[str, Callable[[Fields], Fields]] = {
    # the speaker of `OA_bite_neutral`, which lacks its F
    "tess": lambda of: {**_lower_case(of), "speaker": of["speaker"].replace("OA", "OAF")[:3]},
    # the level of `1040_ITH_SAD_X`, as it was called until 2022
    "crema_d": lambda of: {**of, "intensity": of["intensity"].replace("X", "XX")[:2]},
    # the sentence 0 of subject 6, who has one uncut recording per emotion
    "enterface": lambda of: {**_lower_case(of), "sentence": of["sentence"] or "0"},
    "esd": _of_esd,
    "emov_db": _of_emov_db,
}
"""By corpus: fields from fields, where a name does not say it plainly."""
