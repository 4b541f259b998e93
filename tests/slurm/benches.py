"""Benches that a real Slurm runs, and how to look at them."""

import contextlib
import os
import re
import threading
import time
from pathlib import Path

import cluster
import pytest
import tiny_runs
import torch

from spknorm import bench

HERE = Path(__file__).parent
SECONDS = 3600
"""Of patience: a state is waited for, and a busy machine is no fault."""
CELL = """\
name: one
config:
  runner: {total_steps: STEPS, eval_step: 20, log_step: 1, save_step: 1000,
           gradient_accumulate_steps: 1, evaluate_ratio: 0.1}
  upstream: {cache_dir: CACHE}
  downstream_expert:
    datarc: {corpus: demo, num_workers: 1, train_batch_size: 4, eval_batch_size: 32}
    speaker_corpus: {corpus: demo, batch_size: 4, micro_batch_size: null, max_seconds: null}
    modelrc: {projector_dim: 8, speaker_head: {hidden: [8]}}
    spknorm: {speaker_pretrain_steps: 0}
upstreams: [spknorm_demo_hubert]
variants: [{strategy: SNP, frozen: true}]
protocols: [{protocol: si5, folds: FOLDS}]
executor: {EXECUTOR}
"""


def started(tmp_path_factory, *, accounting, port=26810):
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    port += 100 * worker  # each worker of pytest has a Slurm of its own
    reason = cluster.why_not(accounting=accounting)
    if reason:
        pytest.skip(f"no Slurm on this machine: {reason}")
    slurm = cluster.Slurm(tmp_path_factory.mktemp("slurm"), accounting=accounting, port=port)
    try:
        yield slurm.up()
    finally:
        slurm.down()


def experiment(folder, cache, executor, *, folds="[fold1]", steps=60):
    path = folder / "one.yaml"
    text = CELL.replace("EXECUTOR", executor).replace("FOLDS", folds)
    path.write_text(text.replace("CACHE", str(cache)).replace("STEPS", str(steps)))
    return path


def slow(pause):
    """The cell's own command, with a pause in each step."""

    def command(cell, folder):
        python, _, _, _, *rest = cell.command(folder)
        return [python, str(HERE / "slow_run.py"), str(pause), *rest, "--device", "cpu"]

    return command


class Running:
    """A bench at work in a thread, and where its cells stand."""

    def __init__(self, path, out, command):
        self.out, self.summary, self.error = out, None, None
        self.cells = bench.expand(path)
        self._thread = threading.Thread(target=self._run, args=(path, out, command), daemon=True)
        self._thread.start()

    def _run(self, path, out, command):
        try:
            self.summary = bench.run(path, out, command=command)
        except Exception as error:
            self.error = error

    def folder(self, place=0):
        return self.out / self.cells[place].name

    def until_it_trains(self, place=0, steps=3):
        self.until(lambda: steps_of(self.folder(place)) >= steps)

    def until(self, holds):
        end = time.monotonic() + SECONDS
        while not holds():
            assert self._thread.is_alive() and time.monotonic() < end, (self.error, self.summary)
            time.sleep(0.1)

    def wait(self):
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error
        return self.summary


def steps_of(folder):
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def job_of(slurm, task=""):
    """The number of the newest job, and what Slurm shows of it."""
    jobs = slurm.ask("squeue", "-h", "-r", "-t", "all", "-o", "%i").split()
    number = max(jobs, key=lambda job: int(job.partition("_")[0]))
    return number, slurm.ask("scontrol", "show", "job", number)


def restarts(slurm):
    return int(re.search(r"Restarts=(\d+)", job_of(slurm)[1])[1])


def assert_equal(folder, other):
    """What a run leaves is the same, bit for bit."""
    assert tiny_runs.outcome_of(folder) == tiny_runs.outcome_of(other)
    ours, theirs = tiny_runs.weights_of(folder), tiny_runs.weights_of(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def pids(*words):
    """The processes whose command lines have all of the words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if all(word in line for word in words):
                found.append(int(folder.name))
    return found
