"""IEMOCAP's release layout with made-up sound: the full corpus' counts, or a few of each class."""

from pathlib import Path

import numpy as np
import soundfile
from corpus_files import link_many

from spknorm.corpora.iemocap import COUNTS
from spknorm.corpora.records import EMOTIONS

HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"
_DIALOGUES = (
    "F_impro01",
    "M_impro02",
    "F_script01_1",
    "M_script02_2",
    "F_impro05a",
    "M_script01_1b",
)


def write_iemocap(root: Path, counts=COUNTS, *, num_samples=400) -> Path:
    """Write utterances of the four classes and of the classes that are left out."""
    wav = _wav_bytes(root, num_samples)
    for session, per_class in counts.items():
        number = session.removeprefix("Session")
        labels = [
            ("exc" if emotion == "hap" and count % 3 else emotion)
            for emotion, total in zip(EMOTIONS, per_class, strict=True)
            for count in range(total)
        ] + ["fru", "xxx", "sur", "fea", "dis", "oth"]
        order = np.random.default_rng(int(number)).permutation(len(labels))
        shares = np.array_split(order, len(_DIALOGUES))
        for dialogue, share in zip(_DIALOGUES, shares, strict=True):
            name = f"Ses0{number}{dialogue}"
            write_dialogue(root, session, name, [labels[index] for index in share], wav)
    return root


def write_dialogue(root: Path, session: str, name: str, emotions, wav: bytes) -> None:
    folder = root / session / "sentences" / "wav" / name
    turns = [f"{name}_{'FM'[count % 2]}{count // 2:03d}" for count in range(len(emotions))]
    link_many(folder, [f"{turn}.wav" for turn in turns], wav)
    lines = [HEADER]
    for count, (turn, emotion) in enumerate(zip(turns, emotions, strict=True)):
        lines.append(
            f"[{count * 4.5:.4f} - {count * 4.5 + 4.1:.4f}]\t{turn}\t{emotion}\t"
            "[2.5000, 2.5000, 2.5000]\n"
            "C-E2:\tNeutral;\t()\nC-E4:\tNeutral;\t(caf\xe9)\nA-E3:\tval 3; act 2; dom  2;\t()\n\n"
        )
    labels = root / session / "dialog" / "EmoEvaluation"
    labels.mkdir(parents=True, exist_ok=True)
    (labels / f"{name}.txt").write_text("".join(lines), encoding="utf-8")


def _wav_bytes(root: Path, num_samples: int) -> bytes:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "one.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, num_samples).astype(np.float32)
    soundfile.write(path, noise, 16000)
    content = path.read_bytes()
    path.unlink()
    return content
