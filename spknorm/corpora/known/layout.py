"""What the file names of a corpus mean: the record of one, and how fields become other fields.

First of three: layouts.py has a row per corpus, coded.py reads them.
"""

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Fields = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the names of a corpus' recordings mean.

    Attributes:
        title: As people call it.
        pattern: Of the end of a path without its suffix; its groups are the fields. `emotion` is
            one of them, or comes from `derive`.
        example: A path that fits, with its suffix.
        words: The corpus' own words by the code in the name.
        counts: Utterances by word in the published corpus.
        num_speakers: In the published corpus.
        language: ISO 639-1, unless a field says.
        licence: Whatever is known.
        source: Where to get it.
        id: From the fields.
        speaker: From every field that identifies a person.
        sentence: From the fields; empty where names have none.
        sex: `female`, `male` or None, from the fields.
        sex_table: A CSV table in the corpus' folder: its name, the columns of speaker and sex.
        intensities: By the code in the field `intensity`.
        wanted: Values of fields; recordings with others are not of this corpus.
        damaged: Ids of recordings that cannot serve, and why.
        derive: Fields from fields, where a name does not say it plainly.
        other_total: A second number of utterances with which it is whole.
        total: Utterances in the published corpus, where `counts` does not hold all words.
        containers: Whether it is handed out as video.
    """

    title: str
    pattern: str
    example: str
    words: Mapping[str, str]
    counts: Mapping[str, int]
    num_speakers: int | None
    language: str
    licence: str
    source: str
    id: str
    speaker: str = "{speaker}"
    sentence: str = "{sentence}"
    sex: Callable[[Fields], str | None] = lambda fields: None
    sex_table: tuple[str, str, str] | None = None
    intensities: Mapping[str, str] = field(default_factory=dict)
    wanted: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    derive: Callable[[Fields], Fields] = lambda fields: fields
    other_total: int | None = None
    total: int | None = None
    containers: bool = False

    def __post_init__(self) -> None:
        """Hold the row against its own example, so that a slip shows when it is written."""
        fields = self.fields_of(self.example.rpartition(".")[0])
        assert fields is not None, f"{self.title}: the example does not fit the pattern"
        for name in ("id", "speaker", "sentence"):
            wanted = {one for _, one, _, _ in string.Formatter().parse(getattr(self, name)) if one}
            missing = ", ".join(sorted(wanted - fields.keys()))
            assert not missing, f"{self.title}: `{name}` takes {missing}, which no name has"

    def fields_of(self, path: str) -> Fields | None:
        """Return the fields of a path without its suffix; None if it is not of the corpus."""
        match = re.search(self.pattern, path, re.ASCII)
        if match is None:
            return None
        return self.derive({name: value or "" for name, value in match.groupdict().items()})


def by_parity(fields: Fields) -> str:
    """Return the sex of an actor: odd numbers are men."""
    return "male" if int(fields["actor"]) % 2 else "female"


def by_other_parity(fields: Fields) -> str:
    """Return the sex of an actor: even numbers are men."""
    return "female" if int(fields["actor"]) % 2 else "male"


def by_letter(fields: Fields) -> str:
    """Return the sex that the first letter of `sex` or `speaker` says."""
    letter = (fields.get("sex") or fields["speaker"])[0].lower()
    return {"f": "female", "m": "male"}[letter]


def one_of(*women: str) -> Callable[[Fields], str]:
    """Return a function that knows the women by name; all others are men."""
    return lambda fields: "female" if fields["speaker"] in women else "male"


def lower_case(fields: Fields) -> Fields:
    """Return the fields with the emotion in small letters."""
    return {**fields, "emotion": fields["emotion"].lower()}


def of_tess(fields: Fields) -> Fields:
    """Put right the speaker of `OA_bite_neutral`, which lacks its F."""
    return {**lower_case(fields), "speaker": fields["speaker"].replace("OA", "OAF")[:3]}


def of_crema_d(fields: Fields) -> Fields:
    """Put right the level of `1040_ITH_SAD_X`, as it was called until 2022."""
    return {**fields, "intensity": fields["intensity"].replace("X", "XX")[:2]}


def of_esd(fields: Fields) -> Fields:
    """Read emotion and sentence off the number: 350 parallel texts, one emotion after another."""
    emotion, sentence = divmod(int(fields["number"]) - 1, 350)
    language = "zh" if int(fields["speaker"]) <= 10 else "en"
    return {
        **fields,
        "emotion": str(emotion),
        "language": language,
        "sentence": f"{language}{sentence + 1:03d}",
    }


def coded(text: str) -> dict[str, str]:
    """Return the words by code of `W anger, L boredom`; a word alone is its own code."""
    pairs = [one.partition(" ") for one in text.split(", ")]
    return {code: word or code for code, _, word in pairs}


def numbered(text: str) -> dict[str, int]:
    """Return the numbers by word of `127 anger, 81 boredom`."""
    pairs = [one.partition(" ") for one in text.split(", ")]
    return {word: int(number) for number, _, word in pairs}


def of_enterface(fields: Fields) -> Fields:
    """Number the sentence 0 of subject 6, who has one uncut recording per emotion."""
    return {**lower_case(fields), "sentence": fields["sentence"] or "0"}


def of_emov_db(fields: Fields) -> Fields:
    """Spell the emotions of all speakers alike."""
    spelt = {"anger": "angry", "disgusted": "disgust", "sleepiness": "sleepy"}
    emotion = fields["emotion"].lower()
    return {**fields, "emotion": spelt.get(emotion, emotion)}
