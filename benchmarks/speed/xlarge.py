"""HuBERT X-Large's shape: one TAP step through run_downstream.py, and the memory it takes."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from speed.measure import Figure
from speed.world import BASE, XLARGE, make_corpus

ROOT = Path(__file__).resolve().parents[2]


def measure(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the peak memory of one step of 2 + 2 utterances of 3 s."""
    shape = {**BASE, "layers": 2} if quick else XLARGE
    name = f"hubert-{shape['layers']}-{shape['dim']}.pt"
    make = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'benchmarks')]!r}\n"
        "import spknorm.compat\nfrom pathlib import Path\n"
        f"from speed.world import make_hubert\nmake_hubert(Path({str(folder / name)!r}), {shape!r})"
    )
    subprocess.run([sys.executable, "-c", make], check=True)  # its memory is its own
    corpus = make_corpus(folder / "xlarge", [3.0] * 20)
    overrides = {
        "config.downstream_expert.datarc.corpus": "manifest",
        "config.downstream_expert.datarc.manifest": corpus.manifest,
        "config.downstream_expert.speaker_corpus.corpus": "manifest",
        "config.downstream_expert.speaker_corpus.manifest": corpus.manifest,
        "config.downstream_expert.speaker_corpus.max_seconds": 3.0,
        "config.runner.total_steps": 1,
        "config.runner.gradient_accumulate_steps": 1,
        "config.runner.eval_dataloaders": [],
    }
    command = [
        sys.executable, str(ROOT / "run_downstream.py"), "-d", "emotion_spknorm",
        "-u", "hubert_local", "-k", str(folder / name), "--device", "cpu",
        "-c", str(ROOT / "configs" / "hubert_xlarge.yaml"), "-p", str(folder / "xlarge-run"),
        "-o", ",,".join(f"{key}={value}" for key, value in overrides.items()),
    ]  # fmt: skip
    shutil.rmtree(folder / "xlarge-run", ignore_errors=True)
    started = time.perf_counter()
    with subprocess.Popen(command, env={**os.environ, "SPKNORM_CACHE": str(folder)}) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        yield Figure(
            "X-Large, a TAP step on the CPU, peak memory", None, 22, at_least=False, unit="GB",
            note=f"the run ended with status {process.returncode}",
        )  # fmt: skip
        return
    yield Figure(
        "X-Large, a TAP step on the CPU, peak memory", used.ru_maxrss / 1e6, 22, at_least=False,
        unit="GB",
        note=f"48 layers x 1280, 2 + 2 utterances of 3 s, configs/hubert_xlarge.yaml; "
        f"{time.perf_counter() - started:.0f} s with loading and the final checkpoint",
    )  # fmt: skip
