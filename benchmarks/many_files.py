"""How long a corpus of a million sound files takes to look through, and in how much memory.

    python benchmarks/many_files.py --files 1000000 --folder /tmp/many     # VoxCeleb2's layout
    python benchmarks/many_files.py --files 153516 --cells 10              # VoxCeleb1, ten runs

Names are links to a few short recordings, {dev,test}/aac/idXXXXX/<video>/<n>.wav. Each look is a
process of its own: it reads the corpus as a run does before it trains (the list, labels, headers,
digest), says how many files were opened, and takes ten batches of crops at random. Memory is told
of the imports (torch), of what is held at the end, and of the peak. With --library TREE looks take
turns between this tree and another, each with its own index. Prints one JSON line.
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
STAGES = ("read_corpus", "check_records", "usable", "digest_of")
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
    """Read the corpus as a run does before it trains, and crop; print what it took."""
    import spknorm.audio.index as index
    from spknorm.batches import task
    from spknorm.batches.streams import Streams
    from spknorm.schema import DataConfig, ExpertConfig, SpeakerCorpusConfig, TaskConfig

    opened, seconds = [0], dict.fromkeys(STAGES, 0.0)
    examine = index._header_of

    def counted(*args: Any, **options: Any) -> Any:
        opened[0] += 1
        return examine(*args, **options)

    def timed(name: str) -> Any:
        stage = getattr(task, name)

        def measured(*args: Any, **options: Any) -> Any:
            start = time.monotonic()
            found = stage(*args, **options)
            seconds[name] = round(time.monotonic() - start, 1)
            return found

        return measured

    index._header_of = counted
    for name in STAGES:
        setattr(task, name, timed(name))
    before, start = _peak_mb(), time.monotonic()
    config = SpeakerCorpusConfig(corpus="voxceleb2", root=str(folder))
    speakers = task.read_speakers(config, data=DataConfig(), seed=0, work_dir=folder)
    utterances, names, labels, digest, held_out = speakers
    read = time.monotonic()
    data = task.TaskData(None, utterances, names, labels, {}, held_out)  # type: ignore[arg-type]  # without emotions
    settings = TaskConfig(downstream_expert=ExpertConfig(speaker_corpus=config))
    stream = Streams(data, settings, seed=0).speaker()
    assert stream is not None
    batches = [stream[number] for number in range(10)]
    found = {
        "files": len(utterances) + len(held_out.utterances),
        "opened": opened[0],
        **{f"{name}_seconds": taken for name, taken in seconds.items()},
        "all_seconds": round(read - start, 1),
        "cpu_seconds": round(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]), 1),
        "crops": sum(len(batch.wavs) for batch in batches),
        "crop_seconds": round(time.monotonic() - read, 1),
        "before_mb": before,
        "held_mb": round(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6),
        "peak_mb": _peak_mb(),
        "digest": digest.digest[:12],
    }
    sys.stdout.write(json.dumps(found) + "\n")


def _peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def main() -> int:
    """Make the tree, look at it several times, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--cells", type=int, default=2, help="how many looks")
    parser.add_argument("--folder", type=Path, help="kept; default: a temporary one")
    parser.add_argument("--library", type=Path, help="another tree, before or beside this one")
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.look:
        look(args.folder)
        return 0
    folder = args.folder or Path(tempfile.mkdtemp(prefix="many-"))
    make(folder, args.files)
    trees = [tree for tree in (args.library, ROOT) if tree is not None]
    caches = [Path(tempfile.mkdtemp(prefix="many-cache-")) for _ in trees]
    command = [sys.executable, __file__, "--look", "--folder", str(folder)]
    looks: dict[str, list[Any]] = {}
    try:
        for _ in range(args.cells):
            for tree, cache in zip(trees, caches, strict=True):
                environment = {**os.environ, "SPKNORM_CACHE": str(cache), "PYTHONPATH": str(tree)}
                done = subprocess.run(command, env=environment, check=True, stdout=-1)
                name = "looks" if tree == ROOT else "looks_of_another"
                looks.setdefault(name, []).append(json.loads(done.stdout))
        size = sum(path.stat().st_size for path in caches[-1].iterdir()) / 1e6
    finally:
        for cache in caches:
            shutil.rmtree(cache)
        if args.folder is None:
            shutil.rmtree(folder)
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    out = {"benchmark": "many_files", **looks, "index_mb": round(size, 1), **machine}
    sys.stdout.write(json.dumps(out) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
