"""Real signals and real damage: a run that is interrupted ends as an undisturbed one does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import tiny_runs
import torch

from spknorm.runs import checkpoint
from spknorm.runs.signals import requeue

HERE = Path(__file__).parent
SCRIPT = HERE.parent / "tiny_runs.py"
LONG = {"total_steps": 5000, "eval_step": 5000, "save_step": 5000, "log_step": 1}


def start(folder, upstream, corpora, options):
    """Start a run in a process of its own."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(SCRIPT), *map(str, (folder, upstream, corpora))]
    with (folder.parent / "output.txt").open("w") as output:
        return subprocess.Popen(
            [*command, json.dumps(options)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_it_trains(folder, process):
    metrics = folder / "metrics.jsonl"
    end = time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size):
        assert process.poll() is None, (folder.parent / "output.txt").read_text()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing():
    """SPKNORM_KILLS=50 is the full set, per strategy; see kills.py."""
    count = os.environ.get("SPKNORM_KILLS", "2")
    command = [sys.executable, str(HERE / "kills.py"), "--kills", count]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    strategies = json.loads(ended.stdout)["strategies"]
    assert {name: part["bit_equal"] for name, part in strategies.items()} == dict.fromkeys(
        ("none", "SNP", "TAP"), int(count)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 138), ("SIGHUP", 129)],
)
@pytest.mark.fault("signal")
def test_a_signal_ends_a_run_within_30_s_by_its_status(
    tiny_hubert, tiny_corpora, tmp_path, number, status
):
    process = start(tmp_path / "run", tiny_hubert, tiny_corpora, LONG)
    wait_until_it_trains(tmp_path / "run", process)
    process.send_signal(getattr(signal, number))
    assert process.wait(30) == status
    path, states = checkpoint.latest(tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert states["Step"] == len(lines)
    assert path.name == f"states-{len(lines)}.ckpt"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGUSR1", 138)])
@pytest.mark.fault("signal")
def test_a_signal_to_all_of_a_jobs_processes_ends_it_as_well(
    tiny_hubert, tiny_corpora, tmp_path, number, status
):
    """Cluster schedulers signal the workers that load data, too."""
    options = {**LONG, "expert": {"datarc": {"num_workers": 2, "pre_load": False}}}
    process = start(tmp_path / "run", tiny_hubert, tiny_corpora, options)
    wait_until_it_trains(tmp_path / "run", process)
    os.killpg(process.pid, getattr(signal, number))
    assert process.wait(30) == status, (tmp_path / "output.txt").read_text()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert checkpoint.latest(tmp_path / "run")[1]["Step"] == len(lines)


@pytest.mark.slow
@pytest.mark.fault("signal")
def test_a_second_signal_ends_a_run_at_once(tiny_hubert, tiny_corpora, tmp_path):
    """The run is made to wait for audio from a pipe that nobody writes to."""
    (tmp_path / "corpora").mkdir()
    corpora = tiny_runs.make_corpora(tmp_path / "corpora")
    process = start(tmp_path / "run", tiny_hubert, corpora, LONG)
    wait_until_it_trains(tmp_path / "run", process)
    os.kill(process.pid, signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGUSR1)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(30) in (143, 138)
    assert not list((tmp_path / "run").glob("states-*.ckpt"))


def stand_in_for_scontrol(folder, monkeypatch, script):
    """Put a script of that name first on PATH, as on a cluster."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "scontrol"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "4711")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [("SIGUSR1", 138), ("SIGTERM", 143)])
@pytest.mark.fault("signal")
def test_sigusr1_puts_a_slurm_job_back_into_the_queue(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch, number, status
):
    """Once the checkpoint stands; any other signal ends the job."""
    called, run = tmp_path / "called", tmp_path / "run"
    script = f"echo $* >> {called}; ls {run} | grep states >> {called}"
    stand_in_for_scontrol(tmp_path, monkeypatch, script)
    process = start(run, tiny_hubert, tiny_corpora, LONG)
    wait_until_it_trains(run, process)
    process.send_signal(getattr(signal, number))
    assert process.wait(30) == status
    saved = checkpoint.latest(run)[0].name
    expected = ["requeue 4711", saved] if number == "SIGUSR1" else []
    assert (called.read_text().splitlines() if called.exists() else []) == expected


@pytest.mark.slow
@pytest.mark.fault("signal")
def test_a_requeueing_that_fails_is_told_and_changes_no_status(
    tiny_hubert, tiny_corpora, tmp_path, monkeypatch
):
    stand_in_for_scontrol(tmp_path, monkeypatch, "echo Invalid job id specified >&2; exit 1")
    process = start(tmp_path / "run", tiny_hubert, tiny_corpora, LONG)
    wait_until_it_trains(tmp_path / "run", process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(30) == 138
    output = (tmp_path / "output.txt").read_text()
    assert "Job 4711 was not put back into the queue: " in output
    assert output.rstrip().endswith("Invalid job id specified")
    assert checkpoint.existing(tmp_path / "run")


def test_without_slurm_nothing_is_put_back(tmp_path, monkeypatch):
    called = tmp_path / "called"
    stand_in_for_scontrol(tmp_path, monkeypatch, f"touch {called}")
    monkeypatch.delenv("SLURM_JOB_ID")
    requeue()
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("PATH", str(tmp_path))
    requeue()
    assert not called.exists()


@pytest.fixture(scope="module")
def short_run(tiny_hubert, tiny_corpora, tmp_path_factory):
    """The folder of a run of four steps with two checkpoints, to be copied."""
    folder = tmp_path_factory.mktemp("short") / "run"
    mapping = tiny_runs.settings_of(tiny_corpora, max_keep=2, total_steps=4)
    tiny_runs.train(tiny_hubert, mapping, folder)
    return folder


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
@pytest.mark.fault("damaged checkpoint")
def test_a_damaged_newest_checkpoint_is_named_and_the_run_goes_on_from_the_one_before(
    short_run, undisturbed, tiny_hubert, tiny_corpora, tmp_path, caplog, damage
):
    whole = undisturbed("TAP", "literal", max_keep=2, total_steps=6)
    shutil.copytree(short_run, tmp_path / "run")
    newest = tmp_path / "run" / "states-4.ckpt"
    with zipfile.ZipFile(newest) as archive:  # torch leaves gaps, where a flip does no harm
        largest = max(archive.infolist(), key=lambda item: item.file_size)
    content = bytearray(newest.read_bytes())
    content[largest.header_offset + largest.file_size // 2] ^= 1
    newest.write_bytes(
        {"truncated": content[: len(content) // 2], "flipped": content, "empty": b""}[damage]
    )
    mapping = tiny_runs.settings_of(tiny_corpora, max_keep=2, total_steps=6)
    tiny_runs.train(tiny_hubert, mapping, tmp_path / "run", resume=True)
    assert f"The checkpoint {newest} is damaged" in caplog.text
    assert "The one before, states-2.ckpt, is used." in caplog.text
    assert tiny_runs.outcome_of(tmp_path / "run") == tiny_runs.outcome_of(whole)
    ours, theirs = (tiny_runs.weights_of(folder) for folder in (tmp_path / "run", whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
