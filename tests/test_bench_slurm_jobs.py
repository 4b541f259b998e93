"""What the bench makes of its jobs on Slurm, played by small scripts: their ends, and silence."""

import errno
import json
import time
from pathlib import Path

import pytest
from bench_stubs import stub_command
from fake_slurm import cluster, slurm_experiment  # noqa: F401 (a fixture)

from spknorm import bench
from spknorm.bench import slurm
from spknorm.bench.cluster import word_of_step
from spknorm.bench.summary import write_summary
from spknorm.config.launcher import slurm_job
from spknorm.files import lock_file


def test_what_a_run_said_is_told_of_one_that_failed(cluster, tmp_path):
    path = slurm_experiment(tmp_path, "gpus: 0")
    command = stub_command(tmp_path, failing="SNP")
    summary = bench.run(path, tmp_path / "out", command=command)
    assert len(summary.complete) == 3
    log = tmp_path / "out" / summary.failed[0].cell.name / "run.log"
    assert summary.failed[0].error == f"The stub was told to fail. (all of it: {log})"


SCRIPT_KILLED = "/spool/job00002/slurm_script: line 19: 13060 Killed        srun --unbuffered"
STEP_FAILED = (
    "slurmstepd-node1: error: *** STEP 2.0 ON node1 FAILED (non-zero exit code or other failure "
    "mode) ***"
)
CANCELLED = (
    "slurmstepd-node1: error: *** STEP 2.0 ON node1 CANCELLED AT 12:00 DUE TO TIME LIMIT ***"
)
TASK_KILLED = "srun: error: node1: task 0: Killed"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            [SCRIPT_KILLED, STEP_FAILED],
            "Slurm: its whole step was killed by SIGKILL, as the system does where memory runs out",
        ),
        ([CANCELLED, STEP_FAILED], CANCELLED),
        ([TASK_KILLED, "srun: error: node1: task 0: Exited with exit code 9"], TASK_KILLED),
        ([STEP_FAILED], None),
        ([], None),
    ],
)
def test_the_reason_of_a_step_s_end_is_told_not_its_consequence(tmp_path, lines, told):
    log = tmp_path / "2_0_log.err"
    log.write_text("".join(f"{line}\n" for line in lines))
    assert word_of_step(log) == (told and f"{told} (all of it: {log})")


def test_a_job_that_can_never_start_is_cancelled_and_told(cluster, tmp_path):
    scancel = tmp_path / "bin" / "scancel"
    scancel.write_text(f"#!/bin/bash\necho $* >> {tmp_path}/cancelled\n")
    scancel.chmod(0o755)
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/bash\necho Submitted batch job 7\n")
    (tmp_path / "bin" / "squeue").write_text(
        "#!/bin/bash\nfor task in 0 1 2 3; do echo 7_$task'|PENDING|PartitionTimeLimit||'; done\n"
    )
    path = slurm_experiment(tmp_path, "gpus: 0")
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert {one.error for one in summary.failed} == {
        "Slurm will never start it (PartitionTimeLimit): its partition allows less time: lower "
        "executor.timeout_min."
    }
    assert sorted((tmp_path / "cancelled").read_text().split()) == ["7_0", "7_1", "7_2", "7_3"]


@pytest.mark.parametrize("who", ["QOS", "Assoc"])
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("WallDurationPerJobLimit", "more time than is allowed: lower executor.timeout_min"),
        ("CpuMinutesPerJobLimit", "more core minutes than are allowed: lower executor.timeout_min"),
        ("CpuPerJobLimit", "more cores than are allowed: lower executor.threads"),
        ("NodePerJobLimit", "more nodes than are allowed: lower executor.nodes"),
        ("GRESPerJob", "more GPUs than are allowed: lower executor.gpus"),
    ],
)
def test_a_job_above_a_limit_on_each_of_an_account_or_a_qos_never_starts(who, what, told):
    reason = f"{who}Max{what}"
    assert slurm.JobState("PENDING", reason).never() == (
        f"Slurm will never start it ({reason}): {told}."
    )


@pytest.mark.parametrize("reason", ["QOSMaxJobsPerUserLimit", "QOSGrpCpuLimit", "Resources"])
def test_one_that_waits_for_others_to_end_may_start(reason):
    assert slurm.JobState("PENDING", reason).never() is None


@pytest.mark.parametrize(
    ("partition", "told"),
    [
        (
            "gone",
            "Slurm: its partition gone was removed, and its job with it (NODE_FAIL): name another "
            "(executor.partition), and the same command goes on.",
        ),
        ("main", "Slurm: NODE_FAIL, its node failed."),
        ('"gone,main"', "Slurm: NODE_FAIL, its node failed."),
    ],
)
def test_a_partition_that_was_removed_is_told_apart_from_a_node(cluster, tmp_path, partition, told):
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/bash\necho Submitted batch job 7\n")
    (tmp_path / "bin" / "squeue").write_text(
        "#!/bin/bash\nfor task in 0 1 2 3; do echo 7_$task'|NODE_FAIL|NodeDown||'; done\n"
    )
    path = slurm_experiment(tmp_path, f"gpus: 0, partition: {partition}")
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert {one.error for one in summary.failed} == {told}


def test_jobs_that_an_earlier_bench_left_are_taken_over_and_not_asked_for_twice(cluster, tmp_path):
    path = slurm_experiment(tmp_path, "gpus: 0")
    names = [cell.name for cell in bench.expand(path)]
    (tmp_path / "out" / ".jobs").mkdir(parents=True)
    (tmp_path / "out" / ".jobs" / "abc.json").write_text(json.dumps(names))
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/bash\nexit 1\n")
    (tmp_path / "bin" / "squeue").write_text(
        "#!/bin/bash\n"
        f"asked={tmp_path}/asked\n"
        "state=RUNNING; if [[ -e $asked ]]; then state=FAILED; fi; touch $asked\n"
        'for task in 0 1 2 3; do echo "9_$task|$state|None|node1|spknorm abc"; done\n'
        "echo '8|PENDING|Resources||somebody else'\n"
    )
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert len(summary.failed) == 4  # the jobs that were there failed, and no other was asked for


def test_another_user_s_bench_is_looked_at_without_the_right_to_write(
    cluster, tmp_path, monkeypatch
):
    """A run that holds its folder by its lock, and a job of whom the notes belong to."""
    path = slurm_experiment(tmp_path, "gpus: 0")
    out = tmp_path / "out"
    plan = bench.plan(path, out)
    held, queued, *_ = (one.cell.name for one in plan.statuses)
    write_summary("stubs", plan.statuses, out)
    (out / ".jobs").mkdir()
    (out / ".jobs" / "abc.json").write_text(json.dumps([queued]))
    (tmp_path / "bin" / "squeue").write_text(
        f"#!/bin/bash\necho $* > {tmp_path}/asked\necho '9_0|PENDING|Priority||spknorm abc'\n"
    )
    (out / held).mkdir()
    plain_open = Path.open

    def read_alone(file, mode="r", *rest, **options):
        if out in file.parents and mode not in ("r", "rb"):
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return plain_open(file, mode, *rest, **options)

    with (out / held / ".bench.lock").open("a") as lock:
        lock_file(lock, out)
        monkeypatch.setattr(Path, "open", read_alone)
        found = {one.name: one[1:] for one in bench.standing(out)}
    assert found[held] == ("running", "")
    assert found[queued] == ("queued", "Priority")
    owner = (out / ".jobs" / "abc.json").stat().st_uid
    assert f"--user {owner}" in (tmp_path / "asked").read_text()


def test_of_a_job_array_the_one_task_is_meant():
    assert slurm_job({"SLURM_JOB_ID": "7"}) == "7"
    array = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"}
    assert slurm_job(array) == "9_3"
    assert slurm_job({}) is None


def test_a_job_that_one_of_several_partitions_does_not_take_still_waits():
    state = slurm.JobState("PENDING", "PartitionTimeLimit")
    assert state.never("short") is not None
    assert state.never() is not None
    assert state.never("short,main") is None
    assert slurm.JobState("PENDING", "BadConstraints").never("short,main") is not None


def test_sacct_is_never_asked_be_it_broken_or_hanging(cluster, tmp_path):
    sacct = tmp_path / "bin" / "sacct"
    sacct.write_text(f"#!/bin/bash\ntouch {tmp_path}/asked\nsleep 600\n")
    sacct.chmod(0o755)
    path = slurm_experiment(tmp_path, "gpus: 0")
    assert len(bench.run(path, tmp_path / "out", command=stub_command(tmp_path)).complete) == 4
    assert not (tmp_path / "asked").exists()


@pytest.mark.parametrize("broken", ["sleep 600", "echo 'slurm_load_jobs error' >&2; exit 1"])
def test_a_bench_whose_slurm_falls_silent_says_so_and_takes_the_results_that_are_there(
    cluster, tmp_path, monkeypatch, caplog, broken
):
    (tmp_path / "bin" / "squeue").write_text(f"#!/bin/bash\n{broken}\n")
    monkeypatch.setattr(slurm, "_SECONDS", 0.2)
    monkeypatch.setattr("spknorm.bench.cluster._SILENT_SECONDS", 1.5)
    path = slurm_experiment(tmp_path, "gpus: 0")
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert len(summary.complete) == 4
    told = [one.getMessage() for one in caplog.records if "has not answered" in one.getMessage()]
    assert told == [
        "Slurm has not answered for 0 minutes (squeue): its jobs go on without the bench, which "
        "waits for an answer. Ctrl-C ends both."
    ]


def test_a_slurm_that_hangs_does_not_hold_a_bench_that_is_asked_to_end(
    cluster, tmp_path, monkeypatch
):
    for name in ("squeue", "scancel", "sinfo", "scontrol"):
        (tmp_path / "bin" / name).write_text("#!/bin/bash\nsleep 600\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setattr(slurm, "_SECONDS", 0.2)
    monkeypatch.setattr("spknorm.bench.cluster._CANCEL_SECONDS", 1)
    start = time.monotonic()

    def interrupt(done):
        if time.monotonic() > start + 1:
            raise KeyboardInterrupt

    path = slurm_experiment(tmp_path, "gpus: 0")
    monkeypatch.setattr("spknorm.bench.cluster.SlurmJobs.is_at_work", lambda *_: interrupt(0))
    with pytest.raises(KeyboardInterrupt):
        bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert time.monotonic() < start + 20
