"""Starting, reading and listing: what a user waits for before anything is trained."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from speed.measure import Figure, alternate, clock_name, median, summary

ROOT = Path(__file__).resolve().parents[2]

_PEAK = """
def peak():  # of this program alone: getrusage counts what its parent had, too
    from pathlib import Path
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1e3
"""

_RESOURCES = (
    _PEAK
    + """
import runpy, sys
sys.argv = [{script!r}, "--help"]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit:
    pass
sys.stderr.write(str(peak()))
"""
)

_LISTING = (
    _PEAK
    + """
import json, os, sys, time
from pathlib import Path
from spknorm.corpora.checks import check_records
from spknorm.corpora.doors import read_list
from spknorm.protocols import divide
from spknorm.schema import DataConfig
clock = dict(wall=time.perf_counter, cpu=time.process_time)[sys.argv[2]]
started = clock()
records = read_list(Path(sys.argv[1]))
check_records(records, role="emotion")
split, _ = divide(records, DataConfig(), fold="fold1", dev="superb", seed=0)
seconds = clock() - started
print(json.dumps([seconds, peak(), len(split.train)]))
"""
)


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the figures of --help, of a crop and of long manifests."""
    yield from _help()
    yield from _crop(folder)
    yield from _listing(folder, num_files=1000 if quick else 50_000)


def _help() -> Iterator[Figure]:
    script = str(ROOT / "run_downstream.py")
    peaks: list[float] = []

    def run() -> None:
        subprocess.run([sys.executable, script, "--help"], check=True, capture_output=True)

    times = alternate({"--help": run})
    for _ in range(5):
        code = _RESOURCES.replace("{script!r}", repr(script))
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
        )
        peaks.append(float(done.stderr.split()[-1]))
    yield Figure(
        "run_downstream.py --help", median(times["--help"]), 0.6, at_least=False, unit="s",
        details=summary(times),
    )  # fmt: skip
    yield Figure("its memory", median(peaks), 120, at_least=False, unit="MB")


def _crop(folder: Path) -> Iterator[Figure]:
    from spknorm.audio import load_audio

    file = folder / "minute.flac"
    if not file.exists():
        noise = np.random.default_rng(0).standard_normal(60 * 16000)
        soundfile.write(file, 0.1 * noise, 16000)
    seeds = iter(range(10**6))
    times = alternate(
        {
            "whole": lambda: load_audio(file),
            "crop": lambda: load_audio(file, max_seconds=4.0, crop_seed=next(seeds)),
        },
        rounds=31,
    )
    yield Figure(
        "a crop of 4 s of a flac file of 60 s, over decoding it whole",
        median(times["whole"]) / median(times["crop"]), 8,
        note=f"{median(times['crop']) * 1e3:.2f} ms against {median(times['whole']) * 1e3:.2f} ms",
    )  # fmt: skip


def _listing(folder: Path, *, num_files: int) -> Iterator[Figure]:
    place = folder / f"many-{num_files}"
    manifests = {}
    header = "id,path,emotion,speaker,session\n"
    for count in (num_files // 2, num_files):
        lines = []
        for number in range(count):
            session = number % 5 + 1
            file = place / f"Session{session}" / f"{number // 1000:03d}" / f"u{number}.wav"
            emotion = ("neu", "hap", "ang", "sad")[number // 5 % 4]
            speaker = f"speaker{session}{'FM'[number // 20 % 2]}"
            lines.append(
                f"u{number},{file.relative_to(place)},{emotion},{speaker},Session{session}\n"
            )
            if not file.exists():
                file.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(file, np.full(800, number / 1e6), 16000)
        manifests[count] = place / f"{count}.csv"
        manifests[count].write_text(header + "".join(lines))
    found: dict[int, list[list[float]]] = {count: [] for count in manifests}
    for _ in range(6):  # the first look is left out
        for count, manifest in manifests.items():
            done = subprocess.run(
                [sys.executable, "-c", _LISTING, str(manifest), clock_name()],
                check=True, capture_output=True, text=True, cwd=ROOT,
            )  # fmt: skip
            found[count].append(json.loads(done.stdout.splitlines()[-1]))
    seconds = {count: [run[0] for run in runs[1:]] for count, runs in found.items()}
    memory = {count: median([run[1] for run in runs[1:]]) for count, runs in found.items()}
    half, whole = manifests
    yield Figure(
        f"listing, checking and splitting {whole} files after the first look",
        median(seconds[whole]), 5.0, at_least=False, unit="s",
        details=summary({str(count): values for count, values in seconds.items()}),
    )  # fmt: skip
    yield Figure(
        f"the time of {whole} files over that of {half}",
        median(seconds[whole]) / median(seconds[half]), 2.1, at_least=False,
    )  # fmt: skip
    yield Figure(
        f"the memory of {whole} files over that of {half}", memory[whole] / memory[half], 1.2,
        at_least=False, note=f"{memory[half]:.0f} and {memory[whole]:.0f} MB",
    )  # fmt: skip
