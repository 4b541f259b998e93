"""How large the page of an hour's recording is, and how soon it is open in a Chromium.

The hour is the demo's voices end to end, with made-up predictions of windows of ten seconds, as
`spknorm predict` makes them, and of one. A page is loaded once, from a file, by a browser that has
just been started; what is counted is the browser's own time from navigation to the end of the load
event, which is after the page's script, and the processor's seconds of the page's main thread,
which a load of the machine does not lengthen.

    python benchmarks/page_of_an_hour.py --out benchmarks/results/DATE-page-of-an-hour.json
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from spknorm.audio import SAMPLE_RATE, load_audio
from spknorm.demo import make_demo_corpora
from spknorm.files import write_json
from spknorm.predict import WINDOW_SECONDS, Prediction
from spknorm.predict.page import write_page
from spknorm.runs.result import versions

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

CLASSES = ("neu", "hap", "ang", "sad")
SECONDS = 3600
SPENT = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def write_hour(path: Path) -> None:
    """Write an hour of the demo's utterances, which come round again."""
    files = sorted(make_demo_corpora().iemocap.rglob("*.wav"))
    left = SECONDS * SAMPLE_RATE
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
        for one in itertools.cycle(files):
            samples = load_audio(one)[:left]
            file.write(samples)
            left -= len(samples)
            if left == 0:
                return


def windows_of(path: Path, length: float) -> list[Prediction]:
    """Return made-up predictions of all windows of a length in seconds."""
    random = np.random.default_rng(0)
    found = []
    for start in np.arange(0.0, SECONDS, length):
        shares = random.dirichlet(np.ones(len(CLASSES)))
        emotion = CLASSES[int(shares.argmax())]
        named = dict(zip(CLASSES, shares.tolist(), strict=True))
        found.append(Prediction(path, float(start), float(start + length), emotion, named))
    return found


def measure(recording: Path, length: float) -> dict[str, Any]:
    """Return the page's size, and milliseconds until it is open at two widths."""
    browsers = import_module("browser")  # of the tests
    folder = recording.parent
    rows, page = windows_of(recording, length), folder / "hour.html"
    started = time.process_time()
    write_page(rows, page, model="made-up")
    spent = time.process_time() - started
    row = {"window_seconds": length, "windows": len(rows), "bytes": page.stat().st_size}
    row |= {"holds_the_sound": b"data:audio" in page.read_bytes(), "processor_seconds": spent}
    for width in (1280, 400):
        browser = browsers.Browser(folder / f"profile-{width}-{length:g}")
        try:
            browser.open(page, width=width)
            row[f"milliseconds_at_{width}"] = float(browser.ask(SPENT))
            row[f"processor_seconds_at_{width}"] = browser.spent()
            row[f"fits_at_{width}"] = browser.ask("document.documentElement.scrollWidth") <= width
        finally:
            browser.close()
    return {**row, "load": os.getloadavg()[0]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "hour.flac"
        write_hour(recording)
        rows = []
        for length in (WINDOW_SECONDS, 1.0):
            rows.append(measure(recording, length))
            print(json.dumps(rows[-1]), flush=True)
    head = {"command": "python benchmarks/page_of_an_hour.py", "versions": versions()}
    write_json(options.out, {**head, "targets": {"bytes": 5e6, "milliseconds": 2000}, "rows": rows})


if __name__ == "__main__":
    main()
