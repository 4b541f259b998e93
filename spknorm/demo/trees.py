"""The demo corpora on disk, in the layouts and file formats of IEMOCAP and VoxCeleb1.

Last in the demo's flow: turns the population into folders that the ordinary readers read.
"""

import io
import wave
from collections.abc import Callable
from pathlib import Path

from spknorm.corpora.records import EMOTIONS
from spknorm.demo import population
from spknorm.demo.population import Slot
from spknorm.demo.synthesis import SAMPLE_RATE, SECONDS, FloatArray, to_pcm16

_IMPROVISED = tuple(f"impro{number:02d}" for number in range(1, 5))
_SCRIPTED = ("script01_1", "script01_2", "script02_1", "script02_2")
_MARKERS = "FM"  # who wears the motion-capture markers names the dialogue, not the speaker
_VIDEO_UTTERANCES = 4
_HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
_CATEGORIES = {
    "neu": "Neutral",
    "hap": "Happiness",
    "exc": "Excited",
    "ang": "Anger",
    "sad": "Sadness",
}
_ATTRIBUTES = {
    "neu": (2.5, 2.5, 2.5),
    "hap": (4.0, 3.0, 3.0),
    "exc": (4.0, 4.0, 3.0),
    "ang": (1.5, 4.0, 4.0),
    "sad": (2.0, 2.0, 2.0),
}
# Of the speaker corpus's 16 utterances: 10 train, 2 dev, 4 test, by number.
_SPLITS = (1,) * 10 + (2,) * 2 + (3,) * population.PROBE_PER_SPEAKER


def write_iemocap(root: Path, *, rho: float, seed: int, spoken: Callable[[], None]) -> None:
    """Write ten speakers in five sessions in IEMOCAP's layout.

    Improvised dialogues hold the 48 confounded utterances of each speaker, scripted ones the 64
    balanced ones. Half of the happy utterances are labelled `exc`, as the release does.

    Args:
        root: Folder to hold Session1 ... Session5.
        rho: Confounding of speaker and emotion in the improvised dialogues, 0-1.
        seed: Of the corpus.
        spoken: Called after each utterance.
    """
    dialogues: dict[str, list[tuple[str, Slot]]] = {}
    for slot in population.emotion_slots(seed):
        dialogue, index = _dialogue_of(slot)
        name = f"{dialogue}_{_letter(slot.speaker)}{index:03d}"
        dialogues.setdefault(dialogue, []).append((name, slot))
    for dialogue, members in dialogues.items():
        members.sort(key=lambda member: (member[0][-3:], member[0]))  # the speakers take turns
        session = root / f"Session{dialogue[4]}"
        lines = [_HEADER]
        for turn, (name, slot) in enumerate(members):
            emotion = slot.emotion(rho)
            path = session / "sentences" / "wav" / dialogue / f"{name}.wav"
            _write_wav(path, population.speak_emotion(seed, slot, emotion))
            lines.append(_evaluation(name, turn, _label(emotion, slot.number)))
            spoken()
        labels = session / "dialog" / "EmoEvaluation" / f"{dialogue}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("".join(lines))


def write_voxceleb1(root: Path, split_file: Path, *, seed: int, spoken: Callable[[], None]) -> None:
    """Write 80 speakers x 16 utterances in VoxCeleb1's layout and its identification split list.

    Args:
        root: Folder to hold dev/wav/id1xxxx/<video>/0000n.wav.
        split_file: Its iden_split.txt: 1 train, 2 dev, 3 test.
        seed: Of the corpus.
        spoken: Called after each utterance.
    """
    lines = []
    for speaker in range(population.NUM_SPEAKERS):
        for number in range(population.UTTERANCES_PER_SPEAKER):
            video, clip = divmod(number, _VIDEO_UTTERANCES)
            name = f"id{10001 + speaker}/demo{speaker:02d}video{video}/{clip + 1:05d}.wav"
            _write_wav(root / "dev" / "wav" / name, population.speak_neutral(seed, speaker, number))
            lines.append(f"{_SPLITS[number]} {name}\n")
            spoken()
    split_file.write_text("".join(lines))


def _dialogue_of(slot: Slot) -> tuple[str, int]:
    """Return the dialogue that holds a slot and the slot's number among its speaker's turns."""
    scenes = _SCRIPTED if slot.is_test else _IMPROVISED
    total = population.TEST_PER_SPEAKER if slot.is_test else population.TRAIN_PER_SPEAKER
    per_dialogue = total // (len(scenes) * len(_MARKERS))
    place, index = divmod(slot.number, per_dialogue)
    marker, scene = divmod(place, len(scenes))
    return f"Ses{slot.speaker // 2 + 1:02d}{_MARKERS[marker]}_{scenes[scene]}", index


def _letter(speaker: int) -> str:
    return "F" if speaker % 2 == 0 else "M"


def _label(emotion: int, number: int) -> str:
    label = EMOTIONS[emotion]
    return "exc" if label == "hap" and number % 2 else label


def _evaluation(name: str, turn: int, label: str) -> str:
    """Return a turn's block of an EmoEvaluation file."""
    start = 1.0 + 2.0 * turn
    valence, activation, dominance = _ATTRIBUTES[label]
    lines = [
        f"[{start:.4f} - {start + SECONDS:.4f}]\t{name}\t{label}\t"
        f"[{valence:.4f}, {activation:.4f}, {dominance:.4f}]"
    ]
    lines += [f"C-E{rater}:\t{_CATEGORIES[label]};\t()" for rater in (2, 3, 4)]
    scores = f"val {round(valence)}; act {round(activation)}; dom  {round(dominance)};\t()"
    lines += [f"A-E{rater}:\t{scores}" for rater in (3, 4)]
    return "\n".join(lines) + "\n\n"


def _write_wav(path: Path, samples: FloatArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(to_pcm16(samples).astype("<i2").tobytes())
    path.write_bytes(buffer.getvalue())
