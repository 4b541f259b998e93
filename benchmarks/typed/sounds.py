"""Recordings, whole and damaged, and folders of them."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from typed.inputs import Inputs

LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 32044\n"
# Compressed files that ffmpeg makes of a second of noise: its options, and the bytes cut off.
_COMPRESSED = {
    "webm": ("-c:a libopus", 1795),
    "m4a": ("-c:a aac", 100),
    "wma": ("", 3000),
    "aac": ("-c:a aac", 1),
    "voc": ("-c:a pcm_u8", 100),
}


def sound(inputs: "Inputs", name: str, seconds: float = 1.0, seed: int = 0) -> None:
    """Write noise of -20 dB at 16 kHz."""
    path = inputs / name
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * 16000))
    soundfile.write(path, noise.astype("float32"), 16000)


def _recordings(inputs: "Inputs") -> None:
    for seed in range(2):
        sound(inputs, f"recordings/a{seed}.wav", seed=seed)


def _torn(inputs: "Inputs") -> None:
    """Containers cut after two thirds, streams whose size fields say nothing, a git-lfs pointer."""
    sound(inputs, "torn/ok.wav")
    for suffix in ("au", "flac"):
        sound(inputs, f"whole.{suffix}")
        data = (inputs / f"whole.{suffix}").read_bytes()
        inputs.write(f"torn/cut.{suffix}", data[: len(data) * 2 // 3])
    inputs.write("torn/lfs.flac", LFS)
    stream = bytearray((inputs / "torn/ok.wav").read_bytes())
    for number, size in enumerate((0, 1_500_000_000, 4_294_967_295)):
        stream[4:8] = stream[40:44] = size.to_bytes(4, "little")
        inputs.write(f"torn/stream{number}.wav", bytes(stream))


def _silent(inputs: "Inputs") -> None:
    soundfile.write(inputs / "silent.wav", np.zeros(16000, "float32"), 16000)


def _huge(inputs: "Inputs") -> None:
    loud = np.full(16000, 3e29, "float32")
    soundfile.write(inputs / "huge.wav", loud, 16000, subtype="FLOAT")


def _ten(inputs: "Inputs") -> None:
    """A second of sound whose header says ten hours."""
    sound(inputs, "ten.wav")
    data = bytearray((inputs / "ten.wav").read_bytes())
    data[40:44], data[4:8] = (n.to_bytes(4, "little") for n in (1_152_000_000, 1_152_000_036))
    inputs.write("ten.wav", bytes(data))


def _cut(inputs: "Inputs", suffix: str) -> None:
    inputs.need("a0.wav")
    options, cut = _COMPRESSED[suffix]
    inputs.run(f"ffmpeg -v error -y -i a0.wav {options} whole.{suffix}")
    inputs.write(f"cut.{suffix}", (inputs / f"whole.{suffix}").read_bytes()[:-cut])


def _refused(inputs: "Inputs", name: str, options: str) -> None:
    inputs.need("a0.wav")
    inputs.run(f"ffmpeg -v error -y -i a0.wav {options} {name}")


def _withgone(inputs: "Inputs") -> None:
    sound(inputs, "withgone/a0.wav")
    (inputs / "withgone/gone.wav").symlink_to("nowhere.wav")


def _links(inputs: "Inputs") -> None:
    """A folder linked into another, a link to itself, hidden files, videos, an odd name."""
    for name in ("._x.wav", ".DS_Store", "b.m4a", "b.webm", "b.wma"):
        inputs.write(f"links/{name}", b"0123456789" * 10)
    sound(inputs, "links/a0.wav")
    shutil.copy(inputs / "links/a0.wav", inputs / "links" / os.fsdecode(b"caf\xe9.wav"))
    sound(inputs, "elsewhere/linked.wav", seed=1)
    for name, target in (("folder", "../elsewhere"), ("nowhere", "/nonexistent"), ("self", "self")):
        (inputs / "links" / name).symlink_to(target)


def _sixty(inputs: "Inputs") -> None:
    for seed in range(60):
        sound(inputs, f"sixty/a{seed:02}.wav", 0.3, seed)


def _turns(inputs: "Inputs") -> None:
    inputs.write("turns.csv", "path,start,end\na0.wav,3.0,4.0\n")


def _spreadsheet(inputs: "Inputs") -> None:
    """Semicolons, decimal commas, Windows' Latin, and a turn of nobody."""
    text = "path;start;end;emotion;speaker\r\na0.wav;0,0;0,3;neu;\r\na0.wav;0,3;0,6;neu;Zoë\r\n"
    inputs.write("spreadsheet.csv", text.encode("cp1252"))


MAKERS: dict[str, Callable[["Inputs"], None]] = {
    "recordings": _recordings,
    "a0.wav": partial(sound, name="a0.wav"),
    "torn": _torn,
    "silent.wav": _silent,
    "huge.wav": _huge,
    "ten.wav": _ten,
    **{f"cut.{suffix}": partial(_cut, suffix=suffix) for suffix in _COMPRESSED},
    "a.ac3": partial(_refused, name="a.ac3", options=""),
    "g722.wav": partial(_refused, name="g722.wav", options="-ar 16000 -c:a g722 -f wav"),
    "withgone": _withgone,
    "links": _links,
    "sixty": _sixty,
    "turns.csv": _turns,
    "spreadsheet.csv": _spreadsheet,
}
