"""What the reader of sound files does with cut, damaged and real files; prints one JSON line.

    python benchmarks/containers.py --inputs 10000 --folder /usr/share/klettres

Each accepted container is written by soundfile, cut at many places, and damaged where its sizes
are. A file is read, or refused by a documented error; anything else is counted as undocumented.
"""

import argparse
import collections
import io
import json
import os
import platform
import random
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from spknorm.audio import AudioError, Walk, load_audio, read_info
from spknorm.audio.faults import KINDS

SOUNDS = (
    *(("WAV", subtype) for subtype in ("PCM_16", "PCM_24", "FLOAT", "ULAW", "MS_ADPCM", "GSM610")),
    *(("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("W64", "IMA_ADPCM")),
    *(("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("AU", "ULAW"), ("AU", "G721_32")),
    *(("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")),
    *(("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16"), ("NIST", "ULAW")),
)
VALUES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def main() -> None:
    """Count, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="damaged files")
    parser.add_argument("--cuts", type=int, default=100, help="places per container")
    parser.add_argument("--folder", type=Path, help="real files, which ought to be whole")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    contents = {f"{form} {subtype}": written(form, subtype) for form, subtype in SOUNDS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        result = {
            "cuts": cuts(path, contents, args.cuts),
            "damaged": damaged(path, contents, args.inputs, args.seed),
        }
    if args.folder is not None:
        result["real"] = real(args.folder)
    about = {"soundfile": soundfile.__version__, "libsndfile": soundfile.__libsndfile_version__}
    print(json.dumps({**result, "python": platform.python_version(), **about}))


def written(form: str, subtype: str) -> bytes:
    """Return half a second of noise in a container."""
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    buffer = io.BytesIO()
    rate = 8000 if subtype == "GSM610" else 16000
    soundfile.write(buffer, noise, rate, format=form, subtype=subtype)
    return buffer.getvalue()


def cuts(path: Path, contents: dict[str, bytes], places: int) -> dict[str, object]:
    """Cut each container at even distances, and a byte before its end or the pad that ends it."""
    total, found, missed = 0, collections.Counter[str](), []
    for name, content in contents.items():
        last = len(content) - 2
        for length in sorted({*np.linspace(1, last, places).astype(int).tolist(), last}):
            path.write_bytes(content[:length])
            total += 1
            kind = outcome(path, read=read_info)
            found[kind] += 1
            if kind == "read":
                missed.append(f"{name} at {length} of {len(content)}")
    return {"total": total, "found": dict(found), "taken_for_whole": missed}


def damaged(path: Path, contents: dict[str, bytes], inputs: int, seed: int) -> dict[str, object]:
    """Overwrite bytes near the header, or anywhere, cut some, and put a tag before some."""
    generator = random.Random(seed)
    found: collections.Counter[str] = collections.Counter()
    undocumented = []
    for number in range(inputs):
        name = generator.choice(list(contents))
        content = bytearray(contents[name])
        for _ in range(generator.randint(1, 4)):
            near = 120 if generator.random() < 0.7 else len(content)
            place, size = generator.randrange(near), generator.choice((1, 2, 4, 8))
            value = generator.choice((*VALUES, generator.getrandbits(64))) % 256**size
            content[place : place + size] = value.to_bytes(
                size, generator.choice(("big", "little"))
            )
        if generator.random() < 0.2:
            content[:0] = b"ID3\4\0\0" + generator.randbytes(generator.randint(4, 40))
        if generator.random() < 0.3:
            del content[generator.randrange(len(content)) :]
        path.write_bytes(content)
        kind = outcome(path, read=load_audio)
        found[kind] += 1
        if kind not in ("read", *KINDS):
            undocumented.append(f"input {number}, {name}: {kind}")
    return {"total": inputs, "found": dict(found), "undocumented": undocumented}


def real(folder: Path) -> dict[str, object]:
    """Read every sound file below a folder to its end."""
    found = collections.Counter(outcome(path, read=load_audio) for path in Walk().files(folder))
    return {"total": found.total(), "found": dict(found)}


def outcome(path: Path, *, read: object) -> str:
    """Return `read`, the kind of a documented error, or what else was raised."""
    try:
        samples = read(path)  # type: ignore[operator]
        if read is load_audio and not (len(samples) >= 400 and np.isfinite(samples).all()):
            return "samples that are none"
    except AudioError as error:
        str(error).encode()
        return error.kind if error.path == path else "an error without its file"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "read"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
