"""How long a corpus of a million sound files takes to look through, and in how much memory.

    python benchmarks/many_files.py --files 1000000 --folder /tmp/many     # VoxCeleb2's layout
    python benchmarks/many_files.py --files 153516 --cells 10              # VoxCeleb1, ten runs

Names are links to a few short recordings, {dev,test}/aac/idXXXXX/<video>/<n>.wav. Each look is a
process of its own: it lists the files, asks for every header, and says how many were opened.
Prints one JSON line.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
PER_VIDEO, PER_SPEAKER = 7, 25  # files of a video, videos of a speaker: as VoxCeleb2 has them
SOURCES = 20_000  # names per file: file systems allow 65 000 links to one


def make(folder: Path, num_files: int) -> None:
    """Write the tree, unless it is there."""
    done = folder / f"made-{num_files}"
    if done.exists():
        return
    sources = folder / "sources"
    sources.mkdir(parents=True, exist_ok=True)
    for number in range(-(-num_files // SOURCES)):
        wav = np.random.default_rng(number).normal(0, 0.1, 1600 + number).astype(np.float32)
        soundfile.write(sources / f"{number}.wav", wav, 16000)
    for first in range(0, num_files, PER_VIDEO):
        video, speaker = first // PER_VIDEO, first // (PER_VIDEO * PER_SPEAKER)
        part = "test" if speaker % 50 == 0 else "dev"
        place = folder / part / "aac" / f"id{speaker:05}" / f"v{video:09}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(first, min(first + PER_VIDEO, num_files)):
            os.link(sources / f"{number // SOURCES}.wav", place / f"{number % PER_VIDEO:05}.wav")
    done.touch()


def look(folder: Path) -> None:
    """List the files and ask for each one's header; print what it took."""
    import spknorm.audio.index as index
    from spknorm.audio import AudioIndex, Walk

    opened = [0]
    examine = index._examine

    def counted(*args: Any, **options: Any) -> Any:
        opened[0] += 1
        return examine(*args, **options)

    index._examine = counted
    start = time.monotonic()
    parts = (Walk().folders(folder / part) for part in ("dev", "test"))
    files = [f"{place}/{name}" for part in parts for place, names in part for name in names]
    listed = time.monotonic()
    headers = AudioIndex.shared().look_up(files)
    assert not headers.errors
    found = {
        "files": len(files),
        "opened": opened[0],
        "list_seconds": round(listed - start, 1),
        "check_seconds": round(time.monotonic() - listed, 1),
        "cpu_seconds": round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), 1),
        "hours_of_speech": round(float(headers.seconds.sum()) / 3600, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }
    sys.stdout.write(json.dumps(found) + "\n")


def main() -> int:
    """Make the tree, look at it several times, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--cells", type=int, default=2, help="how many looks")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.look:
        look(args.folder)
        return 0
    folder = args.folder or Path(tempfile.mkdtemp(prefix="many-"))
    make(folder, args.files)
    cache = Path(tempfile.mkdtemp(prefix="many-cache-"))
    environment = {**os.environ, "SPKNORM_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, "--look", "--folder", str(folder)]
    try:
        looks = [
            json.loads(subprocess.run(command, env=environment, check=True, stdout=-1).stdout)
            for _ in range(args.cells)
        ]
        size = sum(path.stat().st_size for path in cache.iterdir()) / 1e6
    finally:
        shutil.rmtree(cache)
        if args.folder is None:
            shutil.rmtree(folder)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    out = {"benchmark": "many_files", "looks": looks, "index_mb": round(size, 1), **machine}
    sys.stdout.write(json.dumps(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
