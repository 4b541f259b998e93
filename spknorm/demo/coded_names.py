"""The recordings of emotion corpora with coded file names, name by name, as distributed.

Written from how the corpora are handed out, not from how they are read, so that a reader that
misunderstands a name is caught. corpus_trees.py gives some of them voices.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple

from spknorm.corpora.known import words


class Name(NamedTuple):
    """A recording of a corpus: where it lies below the root, who speaks, and how.

    Attributes:
        emotion: The class, or the word where there is no class for it.
        part: Whatever else a corpus' tables say of it.
    """

    path: str
    speaker: str
    is_female: bool
    emotion: str
    part: str = ""


def class_of(word: str) -> str:
    """Return the class of an English word for an emotion; the word itself if there is none."""
    return words.class_of(word.lower())


def names_of(corpus: str) -> list[Name]:
    """Return every recording of the published corpus; where it lacks some, as many are left out."""
    return list(_NAMES[corpus]())


def _ravdess(channel: str = "01") -> Iterator[Name]:
    emotions = ("neu", "calm", "hap", "sad", "ang", "fea", "dis", "sur")
    sung = channel == "02"
    actors = [actor for actor in range(1, 25) if not sung or actor != 18]
    kinds = enumerate(emotions[:6] if sung else emotions, start=1)
    takes = product((1, 2), repeat=3)  # of each strength and statement
    for actor, (number, emotion), rest in product(actors, kinds, takes):
        if emotion != "neu" or rest[0] == 1:  # there is no strong neutral
            fields = "-".join(f"{field:02d}" for field in (number, *rest, actor))
            path = f"Actor_{actor:02d}/03-{channel}-{fields}.wav"
            yield Name(path, f"{actor:02d}", actor % 2 == 0, emotion)


def _crema_d() -> Iterator[Name]:
    codes = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
    sentences = ["IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI"]
    absent = {(1002, "TIE", "NEU"), (1076, "ITS", "NEU")} | {
        (*place, code) for place in ((1008, "WSI"), (1009, "MTI"), (1019, "ITH")) for code in codes
    }
    for actor, sentence, code in product(range(1001, 1092), sentences, codes):
        graded = sentence == "IEO" and code != "NEU"
        for level in ("LO", "MD", "HI") if graded else ("XX",):
            if (actor, sentence, code) not in absent:
                path = f"AudioWAV/{actor}_{sentence}_{code}_{level}.wav"
                yield Name(path, str(actor), actor % 2 == 0, code.lower())


def _emodb() -> Iterator[Name]:
    codes = {"W": ("ang", 127), "L": ("boredom", 81), "E": ("dis", 46), "A": ("fea", 69),
             "F": ("hap", 71), "T": ("sad", 62), "N": ("neu", 79)}  # fmt: skip
    speakers = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    texts = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
    for code, (emotion, count) in codes.items():
        for number in range(count):
            speaker, rest = speakers[number % 10], number // 10
            path = f"wav/{speaker}{texts[rest % 10]}{code}{'abc'[rest // 10]}.wav"
            yield Name(path, speaker, speaker in ("08", "09", "13", "14", "16"), emotion)


def _tess() -> Iterator[Name]:
    codes = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
    for speaker, code, number in product(("OAF", "YAF"), codes, range(200)):
        word = "w" + "abcdefghijklmnopqrst"[number % 20] * (1 + number // 20) if number else "bite"
        stem = f"{speaker}_{word}_{code}"
        if stem == "OAF_bite_neutral":
            stem = "OA_bite_neutral"  # as it is distributed
        folder = f"{speaker}_{'Pleasant_surprise' if code == 'ps' else code}"
        emotion = "pleasant surprise" if code == "ps" else class_of(code)
        yield Name(f"{folder}/{stem}.wav", speaker, True, emotion)


def _savee() -> Iterator[Name]:
    codes = {"a": "ang", "d": "dis", "f": "fea", "h": "hap", "n": "neu", "sa": "sad", "su": "sur"}
    for speaker, (code, emotion) in product(("DC", "JE", "JK", "KL"), codes.items()):
        for number in range(1, 31 if code == "n" else 16):
            yield Name(f"AudioData/{speaker}/{code}{number:02d}.wav", speaker, False, emotion)


def _emovo() -> Iterator[Name]:
    codes = {"neu": "neu", "dis": "dis", "gio": "hap", "pau": "fea", "rab": "ang", "sor": "sur",
             "tri": "sad"}  # fmt: skip
    speakers = ("f1", "f2", "f3", "m1", "m2", "m3")
    sentences = ["b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2"]
    for speaker, (code, emotion), sentence in product(speakers, codes.items(), sentences):
        path = f"EMOVO/{speaker}/{code}-{speaker}-{sentence}.wav"
        yield Name(path, speaker, speaker[0] == "f", emotion)


def _esd() -> Iterator[Name]:
    words = enumerate(("Neutral", "Angry", "Happy", "Sad", "Surprise"))
    men = {4, 5, 6, 8, *range(10, 15), 20}
    for speaker, (place, word), number in product(range(1, 21), words, range(1, 351)):
        stem = f"{speaker:04d}_{350 * place + number:06d}"
        path = f"Emotion Speech Dataset/{speaker:04d}/{word}/{stem}.wav"
        yield Name(path, f"{speaker:04d}", speaker not in men, class_of(word))


def _cafe() -> Iterator[Name]:
    folders = {"Colère": "ang", "Dégoût": "dis", "Joie": "hap", "Neutre": "neu", "Peur": "fea",
               "Surprise": "sur", "Tristesse": "sad"}  # fmt: skip
    for actor, (folder, emotion) in product(range(1, 13), folders.items()):
        inner = [folder] if emotion == "neu" else [f"{folder}/Faible", f"{folder}/Fort"]
        for (intensity, place), sentence in product(enumerate(inner, start=1), range(1, 7)):
            path = f"{place}/{actor:02d}-{folder[0]}-{intensity}-{sentence}.wav"
            yield Name(path, str(actor), actor % 2 == 0, emotion)


def _aesdd() -> Iterator[Name]:
    totals = {"anger": 121, "disgust": 122, "fear": 120, "happiness": 119, "sadness": 122}
    for folder, total in totals.items():
        for number in range(total):
            utterance, speaker = divmod(number, 6)
            again = utterance == 20  # a second take of speaker 5
            who = ("5b", "5a")[number - 120] if again else str(speaker + 1)
            text = 1 if again else utterance + 1
            if (folder, who) == ("fear", "1") and text in (10, 11, 12):
                who = "01"
            path = f"{folder}/{folder[0]}{text:02d} ({who}).wav"
            yield Name(path, who[0].replace("0", "1"), speaker % 2 == 1, class_of(folder))


def _jl() -> Iterator[Name]:
    words = ("angry", "sad", "neutral", "happy", "excited", "anxious", "apologetic", "assertive",
             "concerned", "encouraging")  # fmt: skip
    folder = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)"
    speakers = ("female1", "female2", "male1", "male2")
    for speaker, word, text, part, take in product(speakers, words, range(1, 16), "ab", (1, 2)):
        path = f"{folder}/{speaker}_{word}_{text}{part}_{take}.wav"
        yield Name(path, speaker, speaker[0] == "f", class_of(word))


def _subesco() -> Iterator[Name]:
    words = ("ANGRY", "DISGUST", "FEAR", "HAPPY", "NEUTRAL", "SAD", "SURPRISE")
    for sex, number, sentence, word, take in product(
        "FM", range(1, 11), range(1, 11), words, range(1, 6)
    ):
        speaker, name = f"{sex}_{number:02d}", {"F": "FAHMEE", "M": "SHUMANTA"}[sex]
        path = f"{speaker}_{name}_S_{sentence}_{word}_{take}.wav"
        yield Name(path, speaker, sex == "F", class_of(word))


def _shemo() -> Iterator[Name]:
    codes = {"A": ("ang", 1034), "H": ("hap", 198), "N": ("neu", 1018), "S": ("sad", 360),
             "W": ("sur", 199), "F": ("fea", 29)}  # fmt: skip
    speakers = [f"F{n:02d}" for n in range(1, 32)] + [f"M{n:02d}" for n in range(1, 57)]
    for code, (emotion, total) in codes.items():
        for number in range(total):
            take, place = divmod(number, len(speakers))
            speaker, is_female = speakers[place], speakers[place][0] == "F"
            folder = "female" if is_female else "male"
            yield Name(f"{folder}/{speaker}{code}{take + 1:02d}.wav", speaker, is_female, emotion)


def _enterface() -> Iterator[Name]:
    folders = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
    odd = {3: "s_3", 11: "s12"}
    for subject, folder in product(range(1, 44), folders):
        place, code, is_female = f"subject {subject}/{folder}", folder[:2], subject % 2 == 0
        if subject == 6:
            yield Name(f"{place}/s6_{code}.avi", "6", is_female, class_of(folder))
            continue
        for sentence in range(1, 3 if (subject, folder) == (23, "happiness") else 6):
            stem = f"{odd.get(subject, f's{subject}')}_{code}_{sentence}"
            path = f"{place}/sentence {sentence}/{stem}.avi"
            yield Name(path, str(subject), is_female, class_of(folder))


def _emov_db() -> Iterator[Name]:
    words = ("Amused", "Angry", "Disgust", "Neutral", "Sleepy")
    totals = {
        "sam": (501, 468, 497, 492, 494), "bea": (296, 303, 333, 355, 497),
        "jenie": (222, 496, 189, 417, 466), "josh": (296, 0, 0, 302, 263),
    }  # fmt: skip
    for speaker, counts in totals.items():
        for word, count in zip(words, counts, strict=True):
            spelt = "Disgusted" if (word, speaker) == ("Disgust", "sam") else word
            for number in range(1, count + 1):
                path = f"{speaker}/{spelt}/{word.lower()}_1-28_{number:04d}.wav"
                yield Name(path, speaker, speaker in ("bea", "jenie"), class_of(word))


def _casia() -> Iterator[Name]:
    speakers = enumerate(("liuchanhg", "wangzhe", "zhaoquanyin", "zhaozuoxiang"))
    words = ("angry", "fear", "happy", "neutral", "sad", "surprise")
    for (place, speaker), word, sentence in product(speakers, words, range(201, 251)):
        yield Name(f"{speaker}/{word}/{sentence}.wav", speaker, place % 2 == 0, class_of(word))


def _asvp_esd() -> Iterator[Name]:
    words = ("boredom", "neu", "hap", "sad", "ang", "fea", "dis", "sur", "excited", "pleasure",
             "pain", "disappointment", "breath")  # fmt: skip
    totals = {2: 1314, 3: 613, 4: 551, 5: 1064}
    others = 5140 - sum(totals.values())  # of the nine other words together
    for number, word in enumerate(words, start=1):
        place = (1, 6, 7, 8, 9, 10, 11, 12, 13).index(number) if number not in totals else 0
        for count in range(totals.get(number, others // 9 + (place < others % 9))):
            actor, rest = count % 131 + 1, count // 131
            stem = f"03-01-{number:02d}-{rest % 2 + 1:02d}-{rest // 2 + 1:02d}-{actor:02d}-02-01"
            path = f"{'Bonus' if actor > 120 else 'Audio'}/actor_{actor:02d}/{stem}.wav"
            yield Name(path, f"{actor:02d}", actor % 2 == 1, word)


_NAMES: dict[str, Callable[[], Iterator[Name]]] = {
    "ravdess": _ravdess, "ravdess_song": lambda: _ravdess("02"), "crema_d": _crema_d,
    "emodb": _emodb, "tess": _tess, "savee": _savee, "emovo": _emovo, "esd": _esd,
    "cafe": _cafe, "aesdd": _aesdd, "jl": _jl, "subesco": _subesco, "shemo": _shemo,
    "enterface": _enterface, "emov_db": _emov_db, "casia": _casia, "asvp_esd": _asvp_esd,
}  # fmt: skip
CODED = tuple(_NAMES)
"""The corpora of which trees can be written."""
