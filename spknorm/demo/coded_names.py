"""The recordings of emotion corpora with coded file names, name by name, as distributed.

Written from how the corpora are handed out, not from how they are read, so that a reader that
misunderstands a name is caught. corpus_trees.py gives some of them voices.
"""

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import NamedTuple


class Name(NamedTuple):
    """A recording of a corpus: where it lies, who speaks, and how.

    Attributes:
        path: Below the corpus' root.
        speaker: As the corpus calls them.
        is_female: Whether the voice is a woman's.
        emotion: The class, or the word where there is no class for it.
        part: Whatever else a corpus' tables say of it.
    """

    path: str
    speaker: str
    is_female: bool
    emotion: str
    part: str = ""


def names_of(corpus: str) -> list[Name]:
    """Return every recording of the published corpus; where it lacks some, as many are left out."""
    return list(_NAMES[corpus]())


def _ravdess(channel: str = "01") -> Iterator[Name]:
    emotions = ("neu", "calm", "hap", "sad", "ang", "fea", "dis", "sur")
    for actor in range(1, 25):
        if channel == "02" and actor == 18:
            continue
        for number, emotion in enumerate(emotions[: 8 if channel == "01" else 6], start=1):
            for strength in (1, 2) if emotion != "neu" else (1,):
                for statement in (1, 2):
                    for take in (1, 2):
                        fields = (number, strength, statement, take, actor)
                        stem = f"03-{channel}-" + "-".join(f"{field:02d}" for field in fields)
                        path = f"Actor_{actor:02d}/{stem}.wav"
                        yield Name(path, f"{actor:02d}", actor % 2 == 0, emotion)


def _crema_d() -> Iterator[Name]:
    emotions = {"ANG": "ang", "DIS": "dis", "FEA": "fea", "HAP": "hap", "NEU": "neu", "SAD": "sad"}
    sentences = ["IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI"]
    absent = {(1002, "TIE", "NEU"), (1076, "ITS", "NEU")} | {
        (actor, sentence, code)
        for actor, sentence in ((1008, "WSI"), (1009, "MTI"), (1019, "ITH"))
        for code in emotions
    }
    for actor in range(1001, 1092):
        for sentence in sentences:
            for code, emotion in emotions.items():
                graded = sentence == "IEO" and code != "NEU"
                for level in ("LO", "MD", "HI") if graded else ("XX",):
                    if (actor, sentence, code) not in absent:
                        path = f"AudioWAV/{actor}_{sentence}_{code}_{level}.wav"
                        yield Name(path, str(actor), actor % 2 == 0, emotion)


def _emodb() -> Iterator[Name]:
    counts = {"W": 127, "L": 81, "E": 46, "A": 69, "F": 71, "T": 62, "N": 79}
    emotions = {
        "W": "ang",
        "L": "boredom",
        "E": "dis",
        "A": "fea",
        "F": "hap",
        "T": "sad",
        "N": "neu",
    }
    speakers = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
    texts = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")
    for code, count in counts.items():
        for number in range(count):
            speaker, rest = speakers[number % 10], number // 10
            stem = f"{speaker}{texts[rest % 10]}{code}{'abc'[rest // 10]}"
            women = ("08", "09", "13", "14", "16")
            yield Name(f"wav/{stem}.wav", speaker, speaker in women, emotions[code])


def _tess() -> Iterator[Name]:
    folders = {
        "angry": "ang", "disgust": "dis", "fear": "fea", "happy": "hap", "neutral": "neu",
        "ps": "pleasant surprise", "sad": "sad",
    }  # fmt: skip
    for speaker in ("OAF", "YAF"):
        for code, emotion in folders.items():
            for number in range(200):
                word = (
                    "bite"
                    if number == 0
                    else "w" + "abcdefghijklmnopqrst"[number % 20] * (1 + number // 20)
                )
                stem = f"{speaker}_{word}_{code}"
                if (speaker, word, code) == ("OAF", "bite", "neutral"):
                    stem = "OA_bite_neutral"  # as it is distributed
                folder = f"{speaker}_{'Pleasant_surprise' if code == 'ps' else code}"
                yield Name(f"{folder}/{stem}.wav", speaker, True, emotion)


def _savee() -> Iterator[Name]:
    emotions = {
        "a": "ang",
        "d": "dis",
        "f": "fea",
        "h": "hap",
        "n": "neu",
        "sa": "sad",
        "su": "sur",
    }
    for speaker in ("DC", "JE", "JK", "KL"):
        for code, emotion in emotions.items():
            for number in range(1, 31 if code == "n" else 16):
                yield Name(f"AudioData/{speaker}/{code}{number:02d}.wav", speaker, False, emotion)


def _emovo() -> Iterator[Name]:
    emotions = {
        "neu": "neu", "dis": "dis", "gio": "hap", "pau": "fea", "rab": "ang", "sor": "sur",
        "tri": "sad",
    }  # fmt: skip
    sentences = ["b1", "b2", "b3", "l1", "l2", "l3", "l4", "n1", "n2", "n3", "n4", "n5", "d1", "d2"]
    for speaker in ("f1", "f2", "f3", "m1", "m2", "m3"):
        for code, emotion in emotions.items():
            for sentence in sentences:
                path = f"EMOVO/{speaker}/{code}-{speaker}-{sentence}.wav"
                yield Name(path, speaker, speaker[0] == "f", emotion)


def _esd() -> Iterator[Name]:
    emotions = {"Neutral": "neu", "Angry": "ang", "Happy": "hap", "Sad": "sad", "Surprise": "sur"}
    men = {4, 5, 6, 8, *range(10, 15), 20}
    for speaker in range(1, 21):
        for place, (word, emotion) in enumerate(emotions.items()):
            for number in range(1, 351):
                stem = f"{speaker:04d}_{350 * place + number:06d}"
                path = f"Emotion Speech Dataset/{speaker:04d}/{word}/{stem}.wav"
                yield Name(path, f"{speaker:04d}", speaker not in men, emotion)


def _cafe() -> Iterator[Name]:
    folders = {
        "Colère": "ang", "Dégoût": "dis", "Joie": "hap", "Neutre": "neu", "Peur": "fea",
        "Surprise": "sur", "Tristesse": "sad",
    }  # fmt: skip
    for actor in range(1, 13):
        for folder, emotion in folders.items():
            for intensity in (1,) if emotion == "neu" else (1, 2):
                inner = "" if emotion == "neu" else f"/{('Faible', 'Fort')[intensity - 1]}"
                for sentence in range(1, 7):
                    stem = f"{actor:02d}-{folder[0]}-{intensity}-{sentence}"
                    yield Name(f"{folder}{inner}/{stem}.wav", str(actor), actor % 2 == 0, emotion)


def _aesdd() -> Iterator[Name]:
    folders = {
        "anger": "ang",
        "disgust": "dis",
        "fear": "fea",
        "happiness": "hap",
        "sadness": "sad",
    }
    totals = {"anger": 121, "disgust": 122, "fear": 120, "happiness": 119, "sadness": 122}
    for folder, emotion in folders.items():
        for number in range(totals[folder]):
            utterance, speaker = divmod(number, 6)
            again = utterance == 20  # a second take of speaker 5
            who = ("5b", "5a")[number - 120] if again else str(speaker + 1)
            text = utterance + 1 if not again else 1
            if (folder, text, who) in {("fear", 10, "1"), ("fear", 11, "1"), ("fear", 12, "1")}:
                who = "01"
            path = f"{folder}/{folder[0]}{text:02d} ({who}).wav"
            yield Name(path, who[0].replace("0", "1"), speaker % 2 == 1, emotion)


def _jl() -> Iterator[Name]:
    emotions = {
        "angry": "ang", "sad": "sad", "neutral": "neu", "happy": "hap",
        **{word: word for word in ("excited", "anxious", "apologetic", "assertive", "concerned",
                                   "encouraging")},
    }  # fmt: skip
    folder = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)"
    for speaker in ("female1", "female2", "male1", "male2"):
        for word, emotion in emotions.items():
            for text in range(1, 16):
                for part in "ab":
                    for take in (1, 2):
                        stem = f"{speaker}_{word}_{text}{part}_{take}"
                        yield Name(f"{folder}/{stem}.wav", speaker, speaker[0] == "f", emotion)


def _subesco() -> Iterator[Name]:
    emotions = {
        "ANGRY": "ang", "DISGUST": "dis", "FEAR": "fea", "HAPPY": "hap", "NEUTRAL": "neu",
        "SAD": "sad", "SURPRISE": "sur",
    }  # fmt: skip
    for sex in "FM":
        for number in range(1, 11):
            for sentence in range(1, 11):
                for word, emotion in emotions.items():
                    for take in range(1, 6):
                        stem = f"{sex}_{number:02d}_NAME{sex}_S_{sentence}_{word}_{take}"
                        stem = stem.replace("NAMEF", "FAHMEE").replace("NAMEM", "SHUMANTA")
                        yield Name(f"{stem}.wav", f"{sex}_{number:02d}", sex == "F", emotion)


def _shemo() -> Iterator[Name]:
    totals = {"A": 1034, "H": 198, "N": 1018, "S": 360, "W": 199, "F": 29}
    emotions = {"A": "ang", "H": "hap", "N": "neu", "S": "sad", "W": "sur", "F": "fea"}
    speakers = [f"F{n:02d}" for n in range(1, 32)] + [f"M{n:02d}" for n in range(1, 57)]
    for code, total in totals.items():
        for number in range(total):
            take, place = divmod(number, len(speakers))
            speaker = speakers[place]
            folder = "female" if speaker[0] == "F" else "male"
            path = f"{folder}/{speaker}{code}{take + 1:02d}.wav"
            yield Name(path, speaker, speaker[0] == "F", emotions[code])


def _enterface() -> Iterator[Name]:
    folders = {
        "anger": "ang", "disgust": "dis", "fear": "fea", "happiness": "hap", "sadness": "sad",
        "surprise": "sur",
    }  # fmt: skip
    for subject in range(1, 44):
        for folder, emotion in folders.items():
            place, code = f"subject {subject}/{folder}", folder[:2]
            if subject == 6:
                yield Name(f"{place}/s6_{code}.avi", "6", True, emotion)
                continue
            for sentence in range(1, 6):
                if (subject, folder) == (23, "happiness") and sentence > 2:
                    continue
                stem = {3: f"s_3_{code}_{sentence}", 11: f"s12_{code}_{sentence}"}.get(
                    subject, f"s{subject}_{code}_{sentence}"
                )
                path = f"{place}/sentence {sentence}/{stem}.avi"
                yield Name(path, str(subject), subject % 2 == 0, emotion)


def _emov_db() -> Iterator[Name]:
    words = {"Amused": "amused", "Angry": "ang", "Disgust": "dis", "Neutral": "neu",
             "Sleepy": "sleepy"}  # fmt: skip
    totals = {
        "sam": (501, 468, 497, 492, 494), "bea": (296, 303, 333, 355, 497),
        "jenie": (222, 496, 189, 417, 466), "josh": (296, 0, 0, 302, 263),
    }  # fmt: skip
    for speaker, counts in totals.items():
        for (word, emotion), count in zip(words.items(), counts, strict=True):
            spelt = "Disgusted" if (word, speaker) == ("Disgust", "sam") else word
            for number in range(1, count + 1):
                path = f"{speaker}/{spelt}/{word.lower()}_1-28_{number:04d}.wav"
                yield Name(path, speaker, speaker in ("bea", "jenie"), emotion)


def _casia() -> Iterator[Name]:
    words = {"angry": "ang", "fear": "fea", "happy": "hap", "neutral": "neu", "sad": "sad",
             "surprise": "sur"}  # fmt: skip
    for place, speaker in enumerate(("liuchanhg", "wangzhe", "zhaoquanyin", "zhaozuoxiang")):
        for word, emotion in words.items():
            for sentence in range(201, 251):
                yield Name(f"{speaker}/{word}/{sentence}.wav", speaker, place % 2 == 0, emotion)


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


_NAMES: MappingProxyType[str, Callable[[], Iterator[Name]]] = MappingProxyType(
    {
        "ravdess": _ravdess, "ravdess_song": lambda: _ravdess("02"), "crema_d": _crema_d,
        "emodb": _emodb, "tess": _tess, "savee": _savee, "emovo": _emovo, "esd": _esd,
        "cafe": _cafe, "aesdd": _aesdd, "jl": _jl, "subesco": _subesco, "shemo": _shemo,
        "enterface": _enterface, "emov_db": _emov_db, "casia": _casia, "asvp_esd": _asvp_esd,
    }
)  # fmt: skip
CODED = tuple(_NAMES)
"""The corpora of which trees can be written."""
