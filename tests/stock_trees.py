"""Small corpora in the layouts that s3prl's own tasks read, with a few tones as audio."""

from pathlib import Path

import numpy as np
import soundfile

_EMOTIONS = ("neu", "hap", "exc", "ang", "sad", "fru")


def write_tone(path: Path, seconds: float, pitch: float, rate: int = 16000) -> None:
    """Write a tone of `pitch` Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * rate)) / rate
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * time), rate)


def make_iemocap(root: Path) -> Path:
    """Write five sessions of 12 utterances in IEMOCAP's layout, and s3prl's folds of them."""
    for session in range(1, 6):
        folder = root / f"Session{session}"
        for place, letter in enumerate("FM"):
            dialog = f"Ses0{session}{letter}_impro01"
            lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n", "\n"]
            for index, emotion in enumerate(_EMOTIONS):
                name = f"{dialog}_{letter}{index:03d}"
                pitch = 120 + 100 * place + 20 * index
                write_tone(folder / "sentences" / "wav" / dialog / f"{name}.wav", 0.3, pitch)
                lines.append(f"[{index}.0 - {index}.3]\t{name}\t{emotion}\t[2.5, 2.5, 2.5]\n")
                lines.append("C-E1:\tNeutral;\t()\n")
            labels = folder / "dialog" / "EmoEvaluation" / f"{dialog}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("".join(lines))
    from s3prl.downstream.emotion import IEMOCAP_preprocess

    import spknorm.compat  # noqa: F401 # before s3prl's modules

    IEMOCAP_preprocess.main(str(root))  # as `python -m` does
    return root


def make_voxceleb1(root: Path) -> Path:
    """Write three speakers of four utterances in VoxCeleb1's layout, with the split list."""
    lines = []
    for speaker in range(1, 4):
        for video, split in enumerate((1, 1, 2, 3)):
            file = f"id1000{speaker}/video{video}/00001.wav"
            part = "dev" if speaker < 3 else "test"
            write_tone(root / part / "wav" / file, 0.3, 100 + 40 * speaker + video)
            lines.append(f"{split} {file}\n")
    (root / "iden_split.txt").write_text("".join(lines))
    return root


def make_fluent_commands(root: Path) -> Path:
    """Write Fluent Speech Commands' tables with eight utterances each."""
    header = ",path,speakerId,transcription,action,object,location\n"
    for part in ("train", "valid", "test"):
        rows = []
        for index in range(8):
            file = f"wavs/speakers/s{index % 2}/{part}{index}.wav"
            write_tone(root / file, 0.3, 150 + 30 * index)
            action = ("activate", "deactivate")[index % 2]
            rows.append(f"{index},{file},s{index % 2},Lights,{action},lights,kitchen\n")
        table = root / "data" / f"{part}_data.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(header + "".join(rows))
    return root
