"""Small trees of corpora as they are handed out, with the demo's voices: files, tables, faults.

Beside trees.py, after the names of each corpus.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import resample

from spknorm.demo import dialogue_names, further_names
from spknorm.demo.coded_names import CODED, Name, names_of
from spknorm.demo.containers import write_container
from spknorm.demo.population import EMOTION_CORPUS, PROSODY, PROSODY_NOISE, generator_of, voice_of
from spknorm.demo.synthesis import SAMPLE_RATE, FloatArray, Prosody, synthesize
from spknorm.errors import MissingError

_STREAM = 9  # of random numbers; those below are population.py's
_OTHERS = {
    "fea": Prosody(f0_range=1.8, rate=5.4, contour=2.5, accent=0.7, pause=0.30),
    "dis": Prosody(f0_range=0.9, rate=3.8, contour=-5.0, accent=1.5, pause=0.35),
    "sur": Prosody(f0_range=3.2, rate=4.5, contour=8.0, accent=1.2, pause=0.10),
}
_CALM = Prosody(f0_range=0.6, rate=3.7, contour=-0.5, accent=0.6, pause=0.35)
_RATES = {"tess": 24414, "savee": 44100, "ravdess": 48000, "ravdess_song": 48000, "cafe": 48000,
          "emovo": 48000, "enterface": 48000, "aesdd": 44100, "jl": 44100, "subesco": 48000,
          "shemo": 44100, "meld": 48000, "emorynlp": 48000, "msp_improv": 44100, "vctk": 48000,
          "libritts": 24000, "common_voice": 48000}  # fmt: skip


class Tree(NamedTuple):
    """How a corpus is handed out: its recordings, and what goes with them.

    Attributes:
        tables: The text files that go with some of them, by path.
        faults: What lies there and is damaged or no part of it: contents by path.
    """

    names: Callable[[], Iterable[Name]]
    tables: Callable[[Sequence[Name]], Mapping[str, str]] = lambda names: {}
    faults: Mapping[str, bytes] = MappingProxyType({})


_MAC = b"\0\5\x16\7"  # how an AppleDouble file begins
_FAULTS: Mapping[str, Mapping[str, bytes]] = {
    "ravdess": {"Actor_01/01-01-05-01-02-01-01.mp4": b"", "Actor_01/._a.wav": _MAC},
    "crema_d": {"AudioWAV/1076_MTI_SAD_XX.wav": b"RIFF"},  # which has no signal
    "aesdd": {"sadness/s05 (3).wav": b"RIFF"},
    "jl": {"JL(wav+txt)/female1_angry_10a_1.txt": b"x"},
    "meld": {
        "train_splits/dia125_utt3.mp4": b"\0\0\0\x20ftyp",
        "train_splits/._dia0_utt0.mp4": _MAC,
        "output_repeated_splits_test/final_videos_testdia0_utt0.mp4": b"",
    },
    "emorynlp": {"emorynlp_train_splits/sea4_ep4_sc3_utt8.mp4": b"\0\0\0\x20ftyp"},
    "msp_podcast": {"Audios/MSP-PODCAST_test3_0001.wav": b"RIFF"},
}
_TREES = {
    **{key: Tree(partial(names_of, key)) for key in CODED},
    "iemocap": Tree(dialogue_names.iemocap, dialogue_names.iemocap_tables),
    "meld": Tree(dialogue_names.meld, dialogue_names.meld_tables),
    "emorynlp": Tree(dialogue_names.emorynlp, dialogue_names.emorynlp_tables),
    "msp_improv": Tree(dialogue_names.msp_improv, dialogue_names.msp_improv_tables),
    "msp_podcast": Tree(dialogue_names.msp_podcast, dialogue_names.podcast_tables),
    "biic_podcast": Tree(dialogue_names.biic_podcast, dialogue_names.podcast_tables),
    "emozionalmente": Tree(further_names.emozionalmente, further_names.emozionalmente_tables),
    "cameo": Tree(further_names.cameo),
    "voxceleb2": Tree(further_names.voxceleb2),
    "vctk": Tree(further_names.vctk, further_names.vctk_tables),
    "common_voice": Tree(further_names.common_voice, further_names.common_voice_tables),
    "libritts": Tree(further_names.libritts, further_names.libritts_tables),
    "cn_celeb": Tree(further_names.cn_celeb, further_names.cn_celeb_tables),
}
TREES = {key: tree._replace(faults=_FAULTS.get(key, {})) for key, tree in _TREES.items()}
"""The corpora of which trees can be written."""


def write_tree(
    root: Path, corpus: str, *, seed: int = 0, num_speakers: int = 6, per_emotion: int = 2
) -> list[Name]:
    """Write a small tree of a corpus with synthetic voices; return what was written.

    Of at most so many speakers, evenly over the corpus' list of them, there are `per_emotion`
    utterances of each emotion; all of them where there is none.

    Raises:
        MissingError: PyAV or pyarrow is needed for it and not installed.
    """
    tree = TREES[corpus]
    names = list(tree.names())
    most = per_emotion if names[0].emotion else len(names)
    chosen = choose(names, num_speakers=num_speakers, per_emotion=most)
    speakers = {name: place for place, name in enumerate(dict.fromkeys(n.speaker for n in chosen))}
    embedded: dict[str, list[dict[str, object]]] = {}
    for number, name in enumerate(chosen):
        voice = 2 * speakers[name.speaker] + (not name.is_female)
        samples = _speak(seed, voice, number, name.emotion)
        if corpus == "cameo":
            buffer = io.BytesIO()
            soundfile.write(buffer, samples, SAMPLE_RATE, format="FLAC")
            row = further_names.cameo_row(name, buffer.getvalue())
            embedded.setdefault(name.path.partition("#")[0], []).append(row)
        else:
            _write(_place(root, name.path), samples, corpus)
    for place, rows in embedded.items():
        _write_parquet(_place(root, place), rows)
    for place, text in tree.tables(chosen).items():
        _place(root, place).write_text(text, encoding="utf-8", newline="")
    for place, content in tree.faults.items():
        _place(root, place).write_bytes(content)
    return chosen


def _place(root: Path, name: str) -> Path:
    """Return a path below the root whose folder is there."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write(path: Path, samples: FloatArray, corpus: str) -> None:
    rate = _RATES.get(corpus, SAMPLE_RATE)
    samples = _at(rate, samples)
    if corpus == "meld":  # 5.1, the voice in the centre
        around = 0.1 * np.random.default_rng(len(samples)).standard_normal((len(samples), 6))
        around[:, 2] = samples
        samples = np.clip(around, -0.999, 0.999)
    if path.suffix in (".mp4", ".m4a", ".avi"):
        write_container(path, samples, rate, video=path.suffix != ".m4a")
        return
    subtype = "DOUBLE" if corpus == "emov_db" else None if path.suffix == ".mp3" else "PCM_16"
    soundfile.write(path, samples, rate, subtype=subtype)


def _write_parquet(path: Path, rows: list[dict[str, object]]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingError(
            f"{path.name} is written where pyarrow is installed: `pip install "
            "'spknorm[datasets]'` (or `pip install pyarrow`)."
        ) from error
    pq.write_table(pa.Table.from_pylist(rows), path)


def choose(names: Sequence[Name], *, num_speakers: int, per_emotion: int) -> list[Name]:
    """Return the first utterances per emotion of speakers from all over the list."""
    speakers = list(dict.fromkeys(name.speaker for name in names))
    count = min(num_speakers, len(speakers))
    kept = {speakers[place * len(speakers) // count] for place in range(count)}
    chosen, taken = [], Counter[tuple[str, str]]()
    for name in names:
        taken[name.speaker, name.emotion] += 1
        if name.speaker in kept and taken[name.speaker, name.emotion] <= per_emotion:
            chosen.append(name)
    return chosen


def _speak(seed: int, voice: int, number: int, emotion: str) -> FloatArray:
    rng = generator_of(seed, _STREAM, voice, number)
    mean = np.array(PROSODY.get(emotion) or _OTHERS.get(emotion, _CALM))
    noise = np.array(PROSODY_NOISE) * rng.standard_normal(5)
    cues = np.maximum(mean + noise, [0.1, 2, -12, 0.1, 0])
    return synthesize(voice_of(seed, EMOTION_CORPUS, voice), Prosody(*cues.tolist()), rng)


def _at(rate: int, samples: FloatArray) -> FloatArray:
    """Return samples (L,) at another rate; the fixed length of an utterance makes it exact."""
    if rate == SAMPLE_RATE:
        return samples
    resampled: FloatArray = resample(samples, round(len(samples) * rate / SAMPLE_RATE))
    return np.clip(resampled, -0.999, 0.999)
