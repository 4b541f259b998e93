"""A Slurm that changes while a bench is at work: its controller, its nodes, who comes first."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from bench_stubs import EXPERIMENT, stub_command
from benches import HERE, SECONDS, Running, experiment, job_of

from spknorm.cli import main

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


def gated(tmp_path, executor="gpus: 0, max_parallel: 2"):
    """A bench of four cells that wait for a file, and two of which have begun; and that file."""
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT.replace("max_parallel: 2", f"kind: slurm, {executor}"))
    gate = tmp_path / "gate"
    running = Running(path, tmp_path / "out", stub_command(tmp_path, gate=gate))
    running.until(lambda: len(list(running.out.glob("*/starts"))) == 2)
    return running, gate


def standing(running, capsys):
    capsys.readouterr()
    main(["bench", "--status", str(running.out)])
    return capsys.readouterr().out


@pytest.mark.fault("Slurm: controller restarted")
def test_a_controller_that_restarts_is_waited_for(slurm, tmp_path, capsys):
    running, gate = gated(tmp_path)
    controller = int((slurm.folder / "slurmctld.pid").read_text())
    os.kill(controller, signal.SIGTERM)
    while Path(f"/proc/{controller}").exists():
        time.sleep(0.1)
    gate.touch()
    assert "4 in all" in standing(running, capsys)
    slurm.controller_up()
    assert len(running.wait().complete) == 4
    assert {path.read_text() for path in running.out.glob("*/starts")} == {"0\n"}


@pytest.mark.fault("Slurm: nodes drained, then down")
def test_cells_wait_for_nodes_that_are_drained_and_go_on_after_they_were_down(
    slurm, tmp_path, capsys
):
    running, gate = gated(tmp_path)

    def nodes(state):
        for node in slurm.nodes:
            reason = ["Reason=test"] if state != "RESUME" else []
            slurm.ask("scontrol", "update", f"NodeName={node}", f"State={state}", *reason)

    nodes("DRAIN")
    gate.touch()
    running.until(lambda: len(list(running.out.glob("*/result.json"))) == 2)
    gate.unlink()
    assert standing(running, capsys).count("queued") == 3  # two, and in the line of sums
    nodes("RESUME")
    running.until(lambda: len(list(running.out.glob("*/starts"))) == 4)
    nodes("DOWN")
    running.until(lambda: standing(running, capsys).count("queued") == 3)
    nodes("RESUME")
    gate.touch()
    assert len(running.wait().complete) == 4


@pytest.mark.fault("Slurm: waiting task cancelled")
def test_of_a_waiting_task_that_was_cancelled_is_said_that_it_never_began(slurm, tmp_path):
    running, gate = gated(tmp_path)
    array = job_of(slurm)[0].partition("_")[0]
    slurm.ask("scancel", f"{array}_3")
    gate.touch()
    summary = running.wait()
    assert len(summary.complete) == 3
    (failed,) = summary.failed
    assert failed.error.startswith(("Slurm: its job is gone and never began", "Slurm: CANCELLED"))


@pytest.mark.fault("Slurm: bench inside a job")
def test_a_bench_inside_a_job_of_two_tasks_hands_its_cells_over_as_any_other(slurm, tmp_path):
    (tmp_path / "stubs.yaml").write_text(
        EXPERIMENT.replace("max_parallel: 2", "kind: slurm, gpus: 0")
    )
    script = (
        f"import sys; sys.path.insert(0, {str(HERE.parent)!r})\n"
        "from pathlib import Path\n"
        "from bench_stubs import stub_command\n"
        "from spknorm import bench\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "found = bench.run(folder / 'stubs.yaml', folder / 'out', command=stub_command(folder))\n"
        "(folder / 'told').write_text(f'{len(found.complete)} {found.failed}')\n"
    )
    (tmp_path / "outer.py").write_text(script)
    asked = ["-n2", "--mem=500", "-o", str(tmp_path / "log"), f"--chdir={HERE.parents[1]}"]
    slurm.ask("sbatch", *asked, "--wrap", f"{sys.executable} {tmp_path / 'outer.py'}")
    end = time.monotonic() + SECONDS
    while not (tmp_path / "told").exists():
        assert time.monotonic() < end, (tmp_path / "log").read_text()
        time.sleep(0.2)
    assert (tmp_path / "told").read_text() == "4 ()"


@pytest.mark.fault("Slurm: preemption of the audit and of the report")
def test_the_audit_and_the_report_go_on_after_a_preemption(slurm, cache, tmp_path):
    path = experiment(tmp_path, cache, "kind: slurm, gpus: 0, partition: main", steps=20)
    path.write_text(path.read_text() + "audit: true\n")

    def command(cell, folder):
        return [*cell.command(folder), "--device", "cpu"]

    def state(job):
        return slurm.ask("squeue", "-h", "-t", "all", "-j", str(job), "-o", "%T").strip()

    known = slurm.ask("squeue", "-h", "-r", "-t", "all", "-o", "%A").split()
    before = max(map(int, known), default=0)
    running = Running(path, tmp_path / "out", command)
    for job in (before + 2, before + 3):  # the run is the first
        running.until(lambda job=job: state(job) == "RUNNING")
        whole = ["-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null"]
        assert slurm.ask("sbatch", *whole, "--wrap", "sleep 3")
        shown = ("scontrol", "show", "job", str(job))
        running.until(lambda shown=shown: "Restarts=1" in slurm.ask(*shown))
    summary = running.wait()
    assert len(summary.complete) == 1
    assert summary.not_followed == ()
    probes = json.loads((running.folder() / "probe.json").read_text())
    assert probes["complete"]
    assert (running.out / "report.html").is_file()
