"""Upstreams at full size: one TAP step through run_downstream.py, and the memory it takes.

Checkpoints are random, and deleted once their step is done; each step is a process of its own.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from speed.measure import Figure
from speed.world import BASE, LARGE, XLARGE, make_corpus

ROOT = Path(__file__).resolve().parents[2]


class _Case(NamedTuple):
    """An upstream of full size.

    Attributes:
        title: As the figure names it.
        maker: Of the checkpoint: module and function, called with its path and `given`.
        given: Its shape, or layers.
        flags: Of the command line, but for the checkpoint.
        target: GB.
        address: Where s3prl would download the checkpoint from, which then lies where a download
            does; empty: -k names it.
    """

    title: str
    maker: tuple[str, str]
    given: Any
    flags: list[str]
    target: float | None
    address: str = ""


def measure_xlarge(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the peak memory of a step of HuBERT X-Large."""
    shape = {**BASE, "layers": 2} if quick else XLARGE
    flags = ["-u", "hubert_local", "-c", str(ROOT / "configs" / "hubert_xlarge.yaml")]
    case = _Case(
        "HuBERT X-Large (48 layers x 1280, configs/hubert_xlarge.yaml)",
        ("speed.world", "make_hubert"), shape, flags, 22,
    )  # fmt: skip
    yield _step(folder, case)


def measure_families(folder: Path, *, quick: bool = False, short: bool = False) -> Iterator[Figure]:
    """Yield the peak memory of a step of WavLM Large and of XLS-R 300M, with the task's Adam."""
    large = {**LARGE, "layers": 2} if quick else LARGE
    for title, maker, name, file in (
        ("WavLM Large (24 layers x 1024)", "make_wavlm", "wavlm_large", "wavlm_large.pt"),
        ("XLS-R 300M (24 layers x 1024)", "make_xls_r", "xls_r_300m", "xlsr2_300m.pt"),
    ):
        case = _Case(
            f"{title}, -u {name}", ("speed.families", maker), large, ["-u", name], None,
            f"https://huggingface.co/s3prl/converted_ckpts/resolve/main/{file}",
        )  # fmt: skip
        yield _step(folder, case)


def _step(folder: Path, case: _Case) -> Figure:
    name = f"TAP step on the CPU, {case.title}, peak memory"
    ckpt, expdir = folder / "full-size.pt", folder / "full-size-run"
    found = ["-k", str(ckpt)]
    if case.address:
        name_of_download = sha256(case.address.encode()).hexdigest()
        ckpt = folder / "downloads" / f"{name_of_download}.{Path(case.address).name}"
        found = ["--cache_dir", str(ckpt.parent)]
    make = (
        f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'benchmarks')]!r}\n"
        f"import spknorm.compat\nfrom pathlib import Path\n"
        f"from {case.maker[0]} import {case.maker[1]} as make\n"
        f"make(Path({str(ckpt)!r}), {case.given!r})"
    )
    corpus = make_corpus(folder / "full-size", [3.0] * 20)
    overrides = {
        "config.downstream_expert.datarc.corpus": "manifest",
        "config.downstream_expert.datarc.manifest": corpus.manifest,
        "config.downstream_expert.datarc.train_batch_size": 2,
        "config.downstream_expert.datarc.num_workers": 0,
        "config.downstream_expert.speaker_corpus.corpus": "manifest",
        "config.downstream_expert.speaker_corpus.manifest": corpus.manifest,
        "config.downstream_expert.speaker_corpus.batch_size": 2,
        "config.downstream_expert.speaker_corpus.max_seconds": 3.0,
        "config.downstream_expert.spknorm.speaker_pretrain_steps": 0,
        "config.runner.total_steps": 1,
        "config.runner.gradient_accumulate_steps": 1,
        "config.runner.eval_dataloaders": [],
    }
    command = [
        sys.executable, str(ROOT / "run_downstream.py"), "-d", "emotion_spknorm",
        *case.flags, *found, "--device", "cpu", "-p", str(expdir),
        "-o", ",,".join(f"{key}={value}" for key, value in overrides.items()),
    ]  # fmt: skip
    shutil.rmtree(expdir, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-c", make], check=True)  # its memory is its own
        started = time.perf_counter()
        with subprocess.Popen(command, env={**os.environ, "SPKNORM_CACHE": str(folder)}) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        taken, processor = time.perf_counter() - started, used.ru_utime + used.ru_stime
    finally:
        ckpt.unlink(missing_ok=True)
        shutil.rmtree(expdir, ignore_errors=True)
    done = process.returncode == 0
    return Figure(
        name, used.ru_maxrss / 1e6 if done else None, case.target, at_least=False, unit="GB",
        note=f"2 + 2 utterances of 3 s; {taken:.0f} s with loading and the final checkpoint, "
        f"{processor:.0f} s of the processor"
        if done
        else f"the run ended with status {process.returncode}",
    )  # fmt: skip
