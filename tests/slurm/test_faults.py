"""A bench on a real Slurm of one machine, two nodes: what goes wrong there ends as it should.

Each fault ends as a complete cell, bit-equal to an undisturbed local run, or as one clear line.
"""

import json
import re
import subprocess
import sys
import time

import pytest
from bench_stubs import EXPERIMENT, stub_command
from benches import (
    HERE,
    SECONDS,
    Running,
    assert_equal,
    experiment,
    job_of,
    restarts,
    slow,
    steps_of,
)

from spknorm import bench
from spknorm.bench.cluster import SlurmJobs
from spknorm.cli import main
from spknorm.errors import ConfigError

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


@pytest.mark.fault("Slurm: requeue from outside")
def test_a_requeue_from_outside_ends_as_the_undisturbed_run(slurm, cache, tmp_path, undisturbed):
    path = experiment(tmp_path, cache, "kind: slurm, gpus: 0")
    running = Running(path, tmp_path / "out", slow(0.3))
    running.until_it_trains()
    slurm.ask("scontrol", "requeue", job_of(slurm)[0])
    assert len(running.wait().complete) == 1
    assert restarts(slurm) == 1
    assert_equal(running.folder(), undisturbed())


@pytest.mark.fault("Slurm: requeue from outside")
def test_two_requeues_in_a_row_end_as_the_undisturbed_run(slurm, cache, tmp_path, undisturbed):
    path = experiment(tmp_path, cache, "kind: slurm, gpus: 0")
    running = Running(path, tmp_path / "out", slow(0.3))
    running.until_it_trains()
    job = job_of(slurm)[0]
    slurm.ask("scontrol", "requeue", job)
    back = r"(?s)JobState=RUNNING.*Restarts=1"
    running.until(lambda: re.search(back, job_of(slurm)[1]))
    slurm.ask("scontrol", "requeue", job)  # it imports, and has nothing to save
    running.until(lambda: restarts(slurm) == 2)
    assert len(running.wait().complete) == 1
    assert restarts(slurm) == 2
    assert_equal(running.folder(), undisturbed())


@pytest.mark.fault("Slurm: preemption")
def test_a_preemption_ends_as_the_undisturbed_run(slurm, cache, tmp_path, undisturbed):
    path = experiment(tmp_path, cache, "kind: slurm, gpus: 0, partition: main")
    running = Running(path, tmp_path / "out", slow(0.3))
    running.until_it_trains()
    job, _ = job_of(slurm)
    whole = ["-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null"]
    assert slurm.ask("sbatch", *whole, "--wrap", "sleep 8")
    assert len(running.wait().complete) == 1
    assert "Restarts=1" in slurm.ask("scontrol", "show", "job", job)
    assert_equal(running.folder(), undisturbed())


@pytest.mark.fault("Slurm: node killed")
def test_a_killed_node_ends_as_the_undisturbed_run(slurm, cache, tmp_path, undisturbed):
    path = experiment(tmp_path, cache, "kind: slurm, gpus: 0")
    running = Running(path, tmp_path / "out", slow(0.3))
    running.until_it_trains()
    node = re.search(r"BatchHost=(\w+)", job_of(slurm)[1])[1]
    slurm.node_down(node)
    assert len(running.wait().complete) == 1
    assert restarts(slurm) == 1
    assert_equal(running.folder(), undisturbed())


@pytest.mark.fault("Slurm: time limit")
def test_a_time_limit_of_three_minutes_ends_as_the_undisturbed_run(
    slurm, cache, tmp_path, undisturbed
):
    """Two cells, since one number of a job array stands for all of its tasks."""
    path = experiment(
        tmp_path, cache, "kind: slurm, gpus: 0, timeout_min: 3", folds="[fold1, fold2]"
    )
    running = Running(path, tmp_path / "out", slow(2.5))
    assert len(running.wait().complete) == 2
    array = job_of(slurm)[0].partition("_")[0]
    shown = slurm.ask("scontrol", "show", "job", array)
    times = [int(one) for one in re.findall(r"Restarts=(\d+)", shown)]
    assert len(times) == 2
    assert min(times) >= 1
    for place, fold in enumerate(("fold1", "fold2")):
        assert_equal(running.folder(place), undisturbed(fold))


@pytest.mark.fault("Slurm: time limit, requeue off")
def test_without_requeue_a_time_limit_is_told_and_what_was_saved_stands(slurm, cache, tmp_path):
    path = experiment(tmp_path, cache, "kind: slurm, gpus: 0, timeout_min: 60, requeue: false")
    running = Running(path, tmp_path / "out", slow(3.0))
    running.until_it_trains()
    job, shown = job_of(slurm)
    hours, minutes, _ = (int(part) for part in re.search(r"RunTime=([\d:]+)", shown)[1].split(":"))
    soon = 60 * hours + minutes + 2  # within the notice, however long it took to start
    slurm.ask("scontrol", "update", f"JobId={job}", f"TimeLimit={soon}")
    (failed,) = running.wait().failed
    assert failed.error.startswith(
        "The run reached its time limit; what it saved stands, and the same command goes on."
    )
    assert list(running.folder().glob("states-*.ckpt"))


@pytest.mark.parametrize(
    ("executor", "said"),
    [
        ("kind: slurm, gpus: 1", "Invalid generic resource (gres) specification"),
        ("kind: slurm, gpus: 0, partition: nowhere", "invalid partition specified: nowhere"),
        ("kind: slurm, gpus: 0, mem_gb: 9000", "Memory specification can not be satisfied"),
    ],
)
@pytest.mark.fault("Slurm: refusal")
def test_a_refusal_is_one_line(slurm, cache, tmp_path, executor, said, capsys):
    path = experiment(tmp_path, cache, executor)
    assert main(["bench", str(path), "--out", str(tmp_path / "out")]) == ConfigError.exit_code
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("spknorm: Slurm does not take the runs: ")
    assert said in told[0]


@pytest.mark.fault("Slurm: impossible limit")
def test_a_limit_that_the_partition_does_not_allow_is_told(slurm, tmp_path):
    path = tmp_path / "stubs.yaml"
    path.write_text(
        EXPERIMENT.replace(
            "max_parallel: 2", "kind: slurm, gpus: 0, partition: short, timeout_min: 9"
        )
    )
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert {one.error for one in summary.failed} == {
        "Slurm will never start it (PartitionTimeLimit): its partition allows less time: lower "
        "executor.timeout_min."
    }
    assert slurm.ask("squeue", "-h", "-t", "pending") == ""


def test_twelve_cells_are_one_array_of_which_two_run_at_a_time(slurm, tmp_path):
    path = tmp_path / "stubs.yaml"
    text = EXPERIMENT.replace("max_parallel: 2", "kind: slurm, gpus: 0, max_parallel: 2")
    path.write_text(text.replace("[fold1, fold2]", "[fold1, fold2], seeds: [1, 2, 3]"))
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path, pause=0.5))
    assert len(summary.complete) == 12
    number, shown = job_of(slurm)
    assert number.partition("_")[2] in {str(task) for task in range(12)}
    assert "ArrayTaskThrottle=2" in shown


@pytest.mark.fault("Slurm: bench killed")
def test_a_bench_that_was_killed_takes_its_queued_cells_over(slurm, tmp_path, capsys, monkeypatch):
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT.replace("max_parallel: 2", "kind: slurm, gpus: 0, max_parallel: 1"))
    gate = tmp_path / "gate"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from bench_stubs import stub_command\n"
        "from spknorm import bench\n"
        "folder = Path(sys.argv[2])\n"
        "bench.run(folder / 'stubs.yaml', folder / 'out', "
        "command=stub_command(folder, gate=folder / 'gate'))\n"
    )
    command = [sys.executable, "-c", script, str(HERE.parent), str(tmp_path)]
    first = subprocess.Popen(command, cwd=HERE.parents[1])
    out = tmp_path / "out"
    end = time.monotonic() + SECONDS
    while len(list(out.glob("*/starts"))) < 1:
        assert time.monotonic() < end
        time.sleep(0.1)
    first.kill()
    first.wait()
    before = job_of(slurm)[0].partition("_")[0]
    assert main(["bench", "--status", str(out)]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"^running   \S+: on node\d$", printed, flags=re.MULTILINE), printed
    assert re.search(r"^queued    \S+: JobArrayTaskLimit$", printed, flags=re.MULTILINE), printed
    adopted, adopt = [], SlurmJobs.adopt

    def adopting(jobs, cells):
        adopted.extend(adopt(jobs, cells))
        return adopted

    monkeypatch.setattr(SlurmJobs, "adopt", adopting)
    again = Running(path, out, stub_command(tmp_path, gate=gate))
    again.until(lambda: adopted)
    gate.touch()
    assert len(again.wait().complete) == len(adopted) == 4
    assert job_of(slurm)[0].partition("_")[0] == before
    starts = [path.read_text() for path in out.glob("*/starts")]
    assert starts == ["0\n"] * 4


@pytest.mark.fault("Slurm: one task cancelled")
def test_of_a_task_that_was_cancelled_that_is_told_and_the_others_go_on(slurm, tmp_path):
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT.replace("max_parallel: 2", "kind: slurm, gpus: 0"))
    gate = tmp_path / "gate"
    running = Running(path, tmp_path / "out", stub_command(tmp_path, gate=gate))
    out = running.out
    running.until(lambda: len(list(out.glob("*/starts"))) == 4)
    array = job_of(slurm)[0].partition("_")[0]
    slurm.ask("scancel", f"{array}_2")
    running.until(lambda: "CANCELLED" in slurm.ask("scontrol", "show", "job", f"{array}_2"))
    gate.touch()
    summary = running.wait()
    assert len(summary.complete) == 3
    (failed,) = summary.failed
    assert failed.error == "Slurm: CANCELLED, it was cancelled."


@pytest.mark.fault("Slurm: task held")
def test_a_task_that_is_held_is_waited_for_and_goes_on_when_released(slurm, tmp_path, capsys):
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT.replace("max_parallel: 2", "kind: slurm, gpus: 0, max_parallel: 1"))
    gate = tmp_path / "gate"
    running = Running(path, tmp_path / "out", stub_command(tmp_path, gate=gate))
    running.until(lambda: len(list(running.out.glob("*/starts"))) == 1)
    array = job_of(slurm)[0].partition("_")[0]
    slurm.ask("scontrol", "hold", f"{array}_3")
    slurm.ask("scontrol", "requeuehold", f"{array}_0")
    gate.touch()
    running.until(lambda: len(list(running.out.glob("*/result.json"))) == 2)
    assert main(["bench", "--status", str(running.out)]) == 1
    held = re.findall(r"^queued    \S+: (.+)$", capsys.readouterr().out, flags=re.MULTILINE)
    assert sorted(held) == ["JobHeldAdmin", "job requeued in held state"]  # root holds as admin
    slurm.ask("scontrol", "release", f"{array}_3", f"{array}_0")
    assert len(running.wait().complete) == 4


def test_a_cell_on_two_nodes_equals_two_processes_on_this_machine(slurm, cache, tmp_path):
    path = experiment(tmp_path, cache, "kind: slurm, gpus: 0, nodes: 2", steps=20)

    def command(cell, folder):
        return [*cell.command(folder), "--device", "cpu"]

    summary = bench.run(path, tmp_path / "out", command=command)
    assert len(summary.complete) == 1, summary.failed
    folder = tmp_path / "out" / summary.cells[0].cell.name
    assert "NumNodes=2" in job_of(slurm)[1]
    assert (folder / "run.1.log").is_file()
    python, flag, *rest = command(summary.cells[0].cell, tmp_path / "local")
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    subprocess.run([python, flag, *launcher, *rest], check=True, capture_output=True)
    assert_equal(folder, tmp_path / "local")


@pytest.mark.fault("Slurm: USR1 before training")
def test_usr1_before_training_puts_a_single_run_back(slurm, cache, tmp_path, undisturbed):
    path = experiment(tmp_path, cache, "kind: local")
    (cell,) = bench.expand(path)
    run = " ".join(map(_quoted, slow(0.3)(cell, tmp_path / "run")))
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\ncd {HERE.parents[1]}\nsrun {run}\n")
    log = tmp_path / "job.log"
    said = slurm.ask("sbatch", "--requeue", f"--output={log}", "--open-mode=append", str(script))
    job = said.split()[-1]
    end = time.monotonic() + SECONDS
    while not (tmp_path / "run" / ".lock").exists():  # it imports, and has nothing to save
        assert time.monotonic() < end
        time.sleep(0.05)
    assert steps_of(tmp_path / "run") == 0
    slurm.ask("scancel", "--signal=USR1", job)
    while not (tmp_path / "run" / "result.json").exists():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.5)
    assert "Restarts=1" in slurm.ask("scontrol", "show", "job", job)
    assert_equal(tmp_path / "run", undisturbed())


def _quoted(text):
    return f"'{text}'" if re.search(r"[^\w./:=-]", text) else text


def test_the_audit_and_the_report_are_jobs_after_the_runs(slurm, cache, tmp_path):
    path = experiment(tmp_path, cache, "kind: slurm, gpus: 0", steps=20)
    path.write_text(path.read_text() + "audit: true\n")

    def command(cell, folder):
        return [*cell.command(folder), "--device", "cpu"]

    summary = bench.run(path, tmp_path / "out", command=command)
    assert len(summary.complete) == 1
    assert summary.not_followed == ()
    probes = json.loads((tmp_path / "out" / summary.cells[0].cell.name / "probe.json").read_text())
    assert probes["complete"]
    assert (tmp_path / "out" / "report.html").is_file()
    shown = slurm.ask("squeue", "-h", "-t", "all", "-S", "i", "-o", "%T").split()
    assert shown[-3:] == ["COMPLETED"] * 3  # the run, the audit, the report
