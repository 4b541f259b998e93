"""MELD, EmoryNLP, MSP-IMPROV and the podcasts, name by name, and the tables that say what they are.

Beside coded_names.py; written from how the corpora are handed out, not from how they are read.
"""

from collections.abc import Iterator, Sequence

from spknorm.demo.coded_names import Name, class_of

_MAIN = ("Monica", "Rachel", "Phoebe", "Ross", "Joey", "Chandler")
_MELD_WORDS = ("neutral", "joy", "surprise", "anger", "sadness", "disgust", "fear")
_MELD = {  # how many of each
    "train": (4710, 1743, 1205, 1109, 683, 271, 268),
    "dev": (470, 163, 150, 153, 111, 22, 40),
    "test": (1256, 402, 281, 345, 208, 68, 50),
}
_MELD_FOLDERS = {"train": "train_splits", "dev": "dev_splits_complete",
                 "test": "output_repeated_splits_test"}  # fmt: skip
_EMORY_WORDS = ("Neutral", "Joyful", "Scared", "Mad", "Peaceful", "Powerful", "Sad")
_EMORY = {
    "train": (2485, 1677, 941, 785, 638, 551, 474),
    "dev": (322, 205, 127, 97, 82, 70, 51),
    "test": (288, 217, 116, 86, 111, 96, 70),
}
_IMPROV = {  # all; angry sad happy neutral
    "T": (652, (115, 106, 136, 283)),
    "R": (620, (169, 80, 88, 241)),
    "S": (4381, (470, 633, 1048, 1789)),
    "P": (2785, (38, 66, 1372, 1164)),
}
_IEMOCAP = (  # neutral, happy and excited, angry, sad, by session
    (384, 278, 229, 194), (362, 327, 137, 197), (320, 286, 240, 305), (258, 303, 327, 143),
    (384, 442, 170, 245),
)  # fmt: skip
_IEMOCAP_OTHERS = {"fru": 1849, "sur": 107, "fea": 40, "dis": 2, "oth": 3, "xxx": 2507}
_IEMOCAP_RATED = {
    "neu": "Neutral", "hap": "Happiness", "exc": "Excited", "ang": "Anger", "sad": "Sadness",
    "fru": "Frustration", "sur": "Surprise", "fea": "Fear", "dis": "Disgust",
}  # fmt: skip
_CODES = {"A": "ang", "S": "sad", "H": "hap", "N": "neu", "O": "other", "X": "X"}
_PODCAST = {  # neutral happy angry sad, of release 1.8
    "Train": (16518, 8564, 1839, 1680),
    "Validation": (2529, 1320, 621, 302),
    "Test1": (4702, 3475, 622, 505),
    "Test2": (2260, 926, 136, 161),
}
_WORDS = {"N": "Neutral", "H": "Happy", "A": "Angry", "S": "Sad", "O": "Other", "X": "Other"}


def meld() -> Iterator[Name]:
    """Yield 13708 clips of 304 speakers, 69 of the 100 test speakers among those of training."""
    train = [*_MAIN, *(f"Guest {number}" for number in range(254))]
    people = {
        "train": train,
        "dev": [*train[:34], *(f"Dev {number}" for number in range(13))],
        "test": [*train[:69], *(f"Visitor {number}" for number in range(31))],
    }
    for part, counts in _MELD.items():
        own = people[part]
        for number, word in enumerate(_spread(_MELD_WORDS, counts)):
            speaker = own[number] if number < len(own) else _MAIN[number % 6]
            dialogue, utterance = divmod(number, 10)
            path = f"{_MELD_FOLDERS[part]}/dia{dialogue}_utt{utterance}.mp4"
            yield Name(path, speaker, speaker in _MAIN[:3], class_of(word), part)


def meld_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv."""
    words = {class_of(word): word for word in _MELD_WORDS}
    header = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode"
    header += ",StartTime,EndTime"
    tables: dict[str, list[str]] = {}
    for number, name in enumerate(names, start=1):
        dialogue, _, utterance = name.path.rsplit("/", 1)[1][3:-4].partition("_utt")
        row = f'{number},"Oh, ""well""",{name.speaker},{words[name.emotion]},neutral,{dialogue},'
        row += f'{utterance},1,1,"00:00:01,000","00:00:02,400"'
        tables.setdefault(f"{name.part}_sent_emo.csv", [header]).append(row)
    return {file: "\ufeff" + "\n".join(rows) + "\n" for file, rows in tables.items()}


def emorynlp() -> Iterator[Name]:
    """Yield 9489 clips; scenes are numbered anew in each part."""
    for part, counts in _EMORY.items():
        for number, word in enumerate(_spread(_EMORY_WORDS, counts)):
            block, rest = divmod(number, 120)
            scene, utterance = divmod(rest, 12)
            stem = f"sea{block % 4 + 1}_ep{block // 4 + 1}_sc{scene + 1}_utt{utterance + 1}"
            path, speaker = f"emorynlp_{part}_splits/{stem}.mp4", f"{_MAIN[number % 6]} Somebody"
            yield Name(path, speaker, number % 6 < 3, class_of(word), part)


def emorynlp_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return emorynlp_train_final.csv and its like."""
    words = {class_of(word): word for word in _EMORY_WORDS}
    header = "Utterance,Speaker,Emotion,Scene_ID,Utterance_ID,Season,Episode,Start_Time,End_Time"
    tables: dict[str, list[str]] = {}
    for name in names:
        stem = name.path.rsplit("/", 1)[1].removesuffix(".mp4")
        season, episode, scene, utterance = (one.lstrip("seapcut") for one in stem.split("_"))
        row = f"Oh no,['{name.speaker}'],{words[name.emotion]},{scene},{utterance},{season},"
        row += f'{episode},"00:00:01,000","00:00:02,400"'
        tables.setdefault(f"emorynlp_{name.part}_final.csv", [header]).append(row)
    return {file: "\n".join(rows) + "\n" for file, rows in tables.items()}


def msp_improv() -> Iterator[Name]:
    """Yield 8438 turns; in P and S both people of a session talk within one scenario."""
    for kind, (total, counts) in _IMPROV.items():
        rest = total - sum(counts)
        codes = (*counts, rest // 2, rest - rest // 2)
        for number, code in enumerate(_spread("ASHNOX", codes)):
            session, actor = number % 6 + 1, "FM"[number // 6 % 2]
            scene = number // (24 if kind in "PS" else 12)
            talker = "FM"[number // 12 % 2] if kind in "PS" else actor
            listener = talker if kind == "R" else "MF"["FM".index(talker)]
            place = f"S{scene % 20 + 1:02d}{'AHSN'[scene // 20 % 4]}"
            turn = scene // 80 + 1
            stem = f"MSP-IMPROV-{place}-{actor}{session:02d}-{kind}-{talker}{listener}{turn:02d}"
            path = f"Audio/session{session}/{place}/{kind}/{stem}.wav"
            yield Name(path, f"{talker}{session:02d}", talker == "F", _CODES[code], code)


def msp_improv_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return Evalution.txt: a line per turn, then those of its raters."""
    lines = []
    for number, name in enumerate(names):
        stem = name.path.rsplit("/", 1)[1].removesuffix(".wav").replace("MSP-", "UTD-")
        arousal = 1.5 + number % 3
        lines.append(f"{stem}.avi; {name.part}; A:{arousal:.6f}; V:3.000000; D:2.500000; N:4.0; ")
        for rater in range(3):
            word = _WORDS[name.part] if rater else "Neutral"
            rated = f"A:{arousal:.6f}; V:3.0; D:2.5; N:4.0; "
            lines.append(f"WORKER{rater:08d}; {word}; {word},Other; {rated}")
        lines.append("")
    return {"Evalution.txt": "\r\n".join(lines) + "\r\n"}


def msp_podcast() -> Iterator[Name]:
    """Yield the 46160 recordings of release 1.8 with one of the four classes."""
    number, first = 0, {"Train": 1, "Validation": 1001, "Test1": 1101, "Test2": 1101}
    for part, counts in _PODCAST.items():
        for place, code in enumerate(_spread("NHAS", counts)):
            speaker = "Unknown" if place % 8 == 7 else str(first[part] + place % 90)
            stem = f"MSP-PODCAST_{number // 100 + 1:04d}_{number % 100 + 1:04d}"
            number += 1
            sex = place % 90 % 2 == 0
            yield Name(f"Audios/{stem}.wav", speaker, sex, _CODES[code], f"{code} {part}")


def biic_podcast() -> Iterator[Name]:
    """Yield some recordings by names of that form; no count is published."""
    for number in range(240):
        part = ("Train", "Development", "Test")[number // 8 % 3]
        code, speaker = "NHAS"[number % 4], f"{100 + number // 8 % 6}"
        path = f"Audios/BIIC-PODCAST_{1000 + number // 100}_{number % 100:04d}_0003.wav"
        yield Name(path, speaker, number // 8 % 2 == 0, _CODES[code], f"{code} {part}")


def podcast_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return labels_consensus.csv and labels_detailed.csv, with rows that have no label."""
    header = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
    rows, details = [header], ["FileName,EmoDetail"]
    for name in names:
        code, _, part = name.part.partition(" ")
        file, sex = name.path.rsplit("/", 1)[1], "Female" if name.is_female else "Male"
        rows.append(f"{file},{code},4.2,3.5,4.6,{name.speaker},{sex},{part}")
        for rater, word in enumerate((_WORDS[code], _WORDS[code], "Other-tired")):
            detail = f"WORKER{rater:08d}; {word}; {word},Other; A:4.0; V:3.0; D:5.0;"
            details.append(f'{file},"{detail}"')
    prefix = "MSP-PODCAST" if "MSP" in names[0].path else "BIIC-PODCAST"
    rows.append(f"{prefix}_9999_0001.wav,X,4.0,4.0,4.0,7,Female,{part}")
    if prefix == "MSP-PODCAST":
        rows.append(f"{prefix}_test3_0001.wav,,,,,,,Test3")
    tables = {"consensus": rows, "detailed": details}
    return {f"Labels/labels_{kind}.csv": "\n".join(own) + "\n" for kind, own in tables.items()}


def iemocap() -> Iterator[Name]:
    """Yield 10039 turns of IEMOCAP; in each dialogue both people of a session talk."""
    for session, four in enumerate(_IEMOCAP, start=1):
        others = [len(range(session - 1, total, 5)) for total in _IEMOCAP_OTHERS.values()]
        counts = (four[0], 119, four[1] - 119, four[2], four[3], *others)
        words = ["neu", "hap", "exc", "ang", "sad", *_IEMOCAP_OTHERS]
        for number, word in enumerate(_spread(words, counts)):
            scene = number // 60
            wearer, talker = "FM"[scene % 2], "FM"[number % 2]
            kind = "impro{:02d}" if scene // 2 % 2 else "script{:02d}_1"
            dialogue = f"Ses{session:02d}{wearer}_{kind.format(scene // 4 + 1)}"
            stem = f"{dialogue}_{talker}{number % 60 // 2:03d}"
            path = f"Session{session}/sentences/wav/{dialogue}/{stem}.wav"
            yield Name(path, f"Ses{session:02d}_{talker}", talker == "F", word, word)


def iemocap_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return dialog/EmoEvaluation/<dialogue>.txt of each dialogue."""
    tables: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        session, *_, dialogue, file = name.path.split("/")
        start, stem = number % 60 * 4.5, file.removesuffix(".wav")
        word = _IEMOCAP_RATED.get(name.part, "Other")
        place = f"{session}/dialog/EmoEvaluation/{dialogue}.txt"
        head = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        tables.setdefault(place, head).extend([
            f"[{start:.4f} - {start + 4.1:.4f}]\t{stem}\t{name.part}\t[2.5000, 3.5000, 3.0000]",
            f"C-E2:\t{word};\t()", "C-E3:\tNeutral;\t()", f"C-E4:\t{word};\t()",
            "A-E3:\tval 3; act 4; dom  3;\t()", "",
        ])  # fmt: skip
    return {place: "\n".join(lines) + "\n" for place, lines in tables.items()}


def _spread(words: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Return so many of each word, mixed evenly, so that a part of them has all."""
    kinds = enumerate(zip(words, counts, strict=True))
    places = [((place + 0.5) / count, order, word)
              for order, (word, count) in kinds for place in range(count)]  # fmt: skip
    return [word for _, _, word in sorted(places)]
