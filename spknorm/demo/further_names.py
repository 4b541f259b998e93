"""Emozionalmente, CAMEO and the speaker corpora, name by name; see coded_names.py."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import product

from spknorm.demo.coded_names import Name, class_of

_EMOTIONS = ("neutrality", "joy", "anger", "sadness", "fear", "disgust", "surprise")
CAMEO = ("cafe", "crema_d", "emns", "emozionalmente", "enterface", "jl_corpus", "mesd", "nemo",
         "oreau", "pavoque", "ravdess", "resd", "subesco")  # fmt: skip
"""The thirteen corpora of CAMEO, as its parts are called."""
_ENGLISH = {"neu": "neutral", "hap": "happiness", "ang": "anger", "sad": "sadness"}


def emozionalmente() -> Iterator[Name]:
    """Yield 6902 recordings, 986 of each emotion, of 431 people."""
    for number, (place, word) in enumerate(product(range(986), _EMOTIONS)):
        who = number % 431
        speaker = hashlib.sha256(f"{who}".encode()).hexdigest()
        path, part = f"audio/{1613840000000 + number}.wav", f"sentence {place % 18}"
        yield Name(path, speaker, who % 2 == 0, class_of(word), part)


def emozionalmente_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return users.csv, samples.csv and evaluations.csv."""
    words = {class_of(word): word for word in _EMOTIONS}
    users = {name.speaker: "f" if name.is_female else "m" for name in names}
    samples = ["file_name,sentence,actor,emotion_expressed"]
    heard = ["file_name,evaluator,audio_quality,emotion_recognized"]
    for name in names:
        file, word = name.path.removeprefix("audio/"), words[name.emotion]
        samples.append(f"{file},{name.part},{name.speaker},{word}")
        heard += [f"{file},{rater},good,{word if rater else 'joy'}" for rater in range(5)]
    lines = ["username,gender,age", *(f"{name},{sex},30" for name, sex in users.items())]
    tables = {"users": lines, "samples": samples, "evaluations": heard}
    return {f"metadata/{table}.csv": "\n".join(rows) + "\n" for table, rows in tables.items()}


def cameo() -> Iterator[Name]:
    """Yield two people of each of the thirteen corpora, in each emotion; their ids are the same."""
    for corpus, speaker, emotion, take in product(CAMEO, range(2), _ENGLISH, range(2)):
        path = f"data/{corpus}-00000-of-00001.parquet#{speaker}{emotion}{take}"
        yield Name(path, f"{corpus} {speaker}", speaker == 0, emotion, corpus)


def cameo_row(name: Name, content: bytes) -> dict[str, object]:
    """Return a row of CAMEO's tables."""
    return {
        "file_id": f"{name.path.partition('#')[2]}.flac",
        "audio": {"bytes": content, "path": None},
        "emotion": _ENGLISH[name.emotion],
        "transcription": "Kids are talking by the door",
        "speaker_id": name.speaker.partition(" ")[2],
        "gender": "female" if name.is_female else "male",
        "language": "English",
        "license": "CC BY 4.0",
    }


def voxceleb2() -> Iterator[Name]:
    """Yield some people of VoxCeleb2, in dev and test, as m4a."""
    for person, clip in product(range(12), range(6)):
        part, speaker = "dev" if person < 9 else "test", f"id{person + 12:05d}"
        path = f"{part}/aac/{speaker}/video{person:02d}x{clip // 3}/{clip % 3 + 1:05d}.m4a"
        yield Name(path, speaker, person % 2 == 0, "")


def vctk() -> Iterator[Name]:
    """Yield some people of VCTK 0.92 with both microphones; p280 lacks the second."""
    for place, person in enumerate(("p225", "p226", "p280", "p315", "s5")):
        for number in range(1, 7):
            for microphone in ("mic1",) if person in ("p280", "p315") else ("mic1", "mic2"):
                path = f"wav48_silence_trimmed/{person}/{person}_{number:03d}_{microphone}.flac"
                yield Name(path, person, place % 2 == 0, "")


def vctk_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return speaker-info.txt."""
    people = {name.speaker: "F" if name.is_female else "M" for name in names}
    lines = [f"{name}  23  {sex}  English  Somewhere" for name, sex in people.items()]
    return {"speaker-info.txt": "ID  AGE  GENDER  ACCENTS  REGION\n" + "\n".join(lines) + "\n"}


def common_voice() -> Iterator[Name]:
    """Yield people of two languages, one of them with a single clip."""
    for language in ("en", "it"):
        for place in range(5):
            speaker = hashlib.sha512(f"{place}".encode()).hexdigest()
            for clip in range(1 if place == 4 else 6):
                path = f"{language}/clips/common_voice_{language}_{place}{clip:03d}.mp3"
                yield Name(path, speaker, place % 2 == 0, "", ("train", "dev", "test")[place % 3])


def common_voice_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return validated.tsv, and train.tsv and its like, of each language."""
    header = "client_id\tpath\tsentence\tage\tgender\taccents\tlocale"
    tables: dict[str, list[str]] = {}
    for name in names:
        language, _, clip = name.path.split("/")
        sex = "female_feminine" if name.is_female else "male_masculine"
        row = f'{name.speaker}\t{clip}\tA "quoted sentence\t\t{sex}\t\t{language}'
        for table in ("validated", name.part):
            tables.setdefault(f"{language}/{table}.tsv", [header]).append(row)
    return {file: "\n".join(rows) + "\n" for file, rows in tables.items()}


def libritts() -> Iterator[Name]:
    """Yield some people of LibriTTS."""
    for place, person in enumerate((19, 26, 103, 911, 1034)):
        for number in range(6):
            stem = f"{person}_{1200 + place}_{number:06d}_000001"
            path = f"LibriTTS/train-clean-100/{person}/{1200 + place}/{stem}.wav"
            yield Name(path, str(person), place % 2 == 0, "")


def libritts_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return SPEAKERS.txt."""
    people = {name.speaker: "F" if name.is_female else "M" for name in names}
    lines = [f"{name:<5}| {sex} | train-clean-100 | 25.0 | x" for name, sex in people.items()]
    return {"LibriTTS/SPEAKERS.txt": "; a remark\n" + "\n".join(lines) + "\n"}


def cn_celeb() -> Iterator[Name]:
    """Yield some people of CN-Celeb 1, one of them kept for the evaluation, and of CN-Celeb 2."""
    for place, genre, number in product(range(6), ("singing", "vlog"), range(1, 4)):
        folder, first = ("CN-Celeb_flac", 0) if place < 4 else ("CN-Celeb2_flac", 10000)
        person = f"id{first + place:05d}"
        path = f"{folder}/data/{person}/{genre}-01-{number:03d}.flac"
        yield Name(path, person, place % 2 == 0, "")


def cn_celeb_tables(names: Sequence[Name]) -> dict[str, str]:
    """Return dev/dev.lst, without the people of the evaluation."""
    people = dict.fromkeys(name.speaker for name in names if "CN-Celeb_" in name.path)
    return {"CN-Celeb_flac/dev/dev.lst": "\n".join(list(people)[:-1]) + "\n"}
