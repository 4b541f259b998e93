"""Manifests that fit a fold and others that do not, and a split with leaks of every kind."""

import csv
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from typed.sounds import sound

if TYPE_CHECKING:
    from typed.inputs import Inputs

Row = dict[str, str]
LABELS = ("neu", "hap", "ang", "sad")
SPLIT = """\
id,path,emotion,speaker,split
u0,u0.wav,neu,s1,train
u1,u1.wav,hap,s2,train
u2,u2.wav,ang,s3,train
u3,u3.wav,sad,s2,dev
u4,u4.wav,neu,S1,test
u5,u5.wav,hap,s5,test
u6,u6.ogg,hap,s6,test
u7,u7.wav,neu,s7,test
"""
MISSING = """\
path,emotion,speaker,split
wavs/e0_0.wav,neu,a,train
wavs/e0_1.wav,nan,nan,train
wavs/e1_0.wav,neu,None,test
wavs/e1_1.wav,sad,b,test
"""


def rows(*, session: Callable[[int], str] | None = None) -> list[Row]:
    """Return 100 utterances of ten speakers, two of each to a session."""
    return [
        {
            "id": f"e{i // 10}_{i % 10}",
            "path": f"wavs/e{i // 10}_{i % 10}.wav",
            "emotion": LABELS[i % 4],
            "speaker": f"speaker{i // 10}",
            "session": session(i) if session else f"Session{i // 20 + 1}",
        }
        for i in range(100)
    ]


def manifest(inputs: "Inputs", name: str, utterances: list[Row]) -> None:
    """Write m/NAME.csv, and m/NAME.yaml, the settings of a short run on it."""
    path = inputs / f"m/{name}.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(utterances[0]))
        table.writeheader()
        table.writerows(utterances)
    settings = f"""\
runner: {{total_steps: 6, eval_step: 3, save_step: 3, log_step: 3}}
downstream_expert:
  datarc: {{corpus: manifest, manifest: {path}, num_workers: 0}}
  speaker_corpus: {{corpus: manifest, manifest: {path}, batch_size: 8, micro_batch_size: null}}
  spknorm: {{speaker_pretrain_steps: 5}}
"""
    inputs.write(f"m/{name}.yaml", settings)


def _manifests(inputs: "Inputs") -> None:
    for i in range(100):
        sound(inputs, f"m/wavs/e{i // 10}_{i % 10}.wav", 0.5, i)
    manifest(inputs, "good", rows())
    without = [{k: v for k, v in row.items() if k != "session"} for row in rows()]
    manifest(inputs, "nosession", without)
    manifest(inputs, "studio", rows(session=lambda i: f"studio{i // 20 + 1}"))
    manifest(inputs, "one", rows(session=lambda i: "Session1"))
    shared, back = rows(), rows()
    for row in shared[::10]:
        row["speaker"] = "speaker0"
    back[0]["path"] = "sub\\x1.wav"
    inputs.write("m/zeros.csv", (inputs / "m/good.csv").read_text().encode("utf-16-le"))
    inputs.write("m/twice.jsonl", '{"path": "wavs/e0_0.wav", "emotion": "neu", "emotion": "sad"}\n')
    inputs.write("m/missing.csv", MISSING)
    manifest(inputs, "shared", shared)
    manifest(inputs, "back2", back)


def _relabelled(inputs: "Inputs") -> None:
    """A run, two labels of whose manifest changed afterwards."""
    inputs.need("m")
    manifest(inputs, "re", rows())
    task = "python run_downstream.py -d emotion_spknorm -u spknorm_demo_hubert"
    inputs.run(f"rm -rf relabelled; {task} -p relabelled -c m/re.yaml")
    changed = rows()
    changed[0]["emotion"] = changed[4]["emotion"] = "sad"
    manifest(inputs, "re", changed)


def _split(inputs: "Inputs") -> None:
    """A copy, a quieter and newly encoded copy, a cut file, and one speaker in two spellings."""
    folder = inputs / "split"
    folder.mkdir(exist_ok=True)
    heard = sorted((inputs / "corpora/iemocap").rglob("*.wav"))
    for i in range(6):
        shutil.copy(heard[i * 7], folder / f"u{i}.wav")
    shutil.copy(folder / "u0.wav", folder / "u7.wav")
    inputs.run("ffmpeg -v error -y -i split/u1.wav -af volume=0.5 -c:a libvorbis split/u6.ogg")
    data = (folder / "u5.wav").read_bytes()
    inputs.write("split/u5.wav", data[: len(data) * 2 // 3])
    inputs.write("split/list.csv", SPLIT)


MAKERS: dict[str, Callable[["Inputs"], None]] = {
    "m": _manifests,
    "relabelled": _relabelled,
    "split": _split,
}
