"""The bench on Slurm, played by small scripts: what is asked for, and what is told.

The faults of a real one are in tests/slurm.
"""

import errno
import json
import time
from pathlib import Path

import pytest
from bench_stubs import EXPERIMENT, stub_command

from spknorm import bench
from spknorm.bench import slurm
from spknorm.bench.cluster import word_of_step
from spknorm.bench.submission import _number_of_job
from spknorm.bench.summary import write_summary
from spknorm.config.launcher import slurm_job
from spknorm.errors import ConfigError
from spknorm.files import lock_file

SBATCH = """\
#!/bin/bash
script="${@: -1}"
cp "$script" "$SLURM_NOTES/$$.sh"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
export SLURM_JOB_ID=$$ SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0
export SLURM_LOCALID=0
for task in $(seq 0 ${last:-0}); do
    if [[ -n "$last" ]]; then export SLURM_ARRAY_JOB_ID=$$ SLURM_ARRAY_TASK_ID=$task; fi
    bash "$script" > /dev/null 2>&1 &
    echo $! > "$SLURM_NOTES/$$${last:+_$task}.pid"
done
echo "Submitted batch job $SLURM_JOB_ID"
"""
SRUN = """\
#!/bin/bash
while [[ "$1" == -* ]]; do
    if [[ "$1" == --output || "$1" == --error ]]; then shift; fi
    shift
done
exec "$@"
"""
SQUEUE = """\
#!/bin/bash
for file in "$SLURM_NOTES"/*.pid; do
    state=COMPLETED
    if kill -0 $(cat "$file") 2> /dev/null; then state=RUNNING; fi
    echo "$(basename "$file" .pid)|$state|None|node1|"
done
"""
SINFO = """\
#!/bin/bash
echo "short|1:00"
echo "main*|2-00:00:00"
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The folder in which sbatch keeps the scripts it was given."""
    programs, notes = tmp_path / "bin", tmp_path / "notes"
    programs.mkdir()
    notes.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("squeue", SQUEUE), ("sinfo", SINFO)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("SLURM_NOTES", str(notes))
    monkeypatch.setattr("spknorm.bench.cluster._ASK_SECONDS", (0.3, 0.3))
    return notes


def slurm_experiment(tmp_path, asked):
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT.replace("{max_parallel: 2}", f"{{kind: slurm, {asked}}}"))
    return path


def test_cells_are_one_job_array_with_what_the_experiment_asks_for(cluster, tmp_path):
    path = slurm_experiment(
        tmp_path, "partition: long, gpus: 1, threads: 3, mem_gb: 20, timeout_min: 90"
    )
    path.write_text(path.read_text().replace("{kind:", "{max_parallel: 3, kind:"))
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert len(summary.complete) == 4
    (script,) = cluster.glob("*.sh")
    for line in (
        "#SBATCH --job-name=stubs",
        "#SBATCH --array=0-3%3",
        "#SBATCH --partition=long",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --nodes=1",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --mem=20GB",
        "#SBATCH --time=90",
        "#SBATCH --signal=USR2@120",
        "#SBATCH --requeue",
    ):
        assert line in script.read_text().splitlines()


def test_the_time_limit_is_the_partition_s_where_none_is_asked_for(cluster, tmp_path):
    path = slurm_experiment(tmp_path, "requeue: false")
    path.write_text(path.read_text().replace("fold1, fold2", "fold1"))
    bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    (script,) = cluster.glob("*.sh")
    lines = script.read_text().splitlines()
    assert "#SBATCH --time=2880" in lines
    assert "#SBATCH --no-requeue" in lines
    assert slurm.longest_minutes("short") == 1
    assert slurm.longest_minutes("unknown") is None


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


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "sbatch: error: invalid partition specified: no\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
            "invalid partition specified: no; Batch job submission failed: Invalid partition name "
            "specified",
        ),
        (
            "sbatch: error: Invalid generic resource (gres) specification",
            "Invalid generic resource (gres) specification",
        ),
    ],
)
def test_a_refusal_is_one_line_in_slurm_s_own_words(cluster, tmp_path, said, told):
    assert refusal(tmp_path, said) == (
        f"Slurm does not take the runs: {told}. See `executor` in the experiment file (partition, "
        "gpus, nodes, threads, mem_gb, timeout_min)."
    )
    assert not list((tmp_path / "out" / ".jobs").glob("*.json"))


def test_a_refused_account_is_told_with_where_it_is_set(cluster, tmp_path):
    said = "Batch job submission failed: Invalid account or account/partition combination specified"
    assert refusal(tmp_path, f"sbatch: error: {said}") == (
        f"Slurm does not take the runs: {said}. See the variables SBATCH_ACCOUNT and SBATCH_QOS, "
        "and `executor` in the experiment file (partition, gpus, nodes, threads, mem_gb, "
        "timeout_min)."
    )


def refusal(tmp_path, said):
    """What a bench says where sbatch says `said`."""
    refusing = tmp_path / "bin" / "sbatch"
    refusing.write_text(f"#!/bin/bash\necho '{said}' >&2\nexit 1\n")
    path = slurm_experiment(tmp_path, "gpus: 1")
    with pytest.raises(ConfigError) as caught:
        bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    return str(caught.value)


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


SAYS_MORE = """\
echo "sbatch: job 31 of yours is over its quota" >&2
echo "NOTICE: every job 12 hours old is looked at on Mondays"
"""


def test_what_a_cluster_says_around_a_job_s_number_is_not_taken_for_it(cluster, tmp_path):
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.write_text(SBATCH.replace("#!/bin/bash\n", "#!/bin/bash\n" + SAYS_MORE))
    path = slurm_experiment(tmp_path, "gpus: 0")
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert len(summary.complete) == 4


def test_a_job_without_a_number_is_one_line(cluster, tmp_path):
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/bash\necho Thanks, job queued\n")
    path = slurm_experiment(tmp_path, "gpus: 0")
    with pytest.raises(ConfigError) as caught:
        bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert str(caught.value) == (
        "sbatch took the runs, but names no job: 'Thanks, job queued'. Look with squeue, and end "
        "what waits there (scancel) before you try again."
    )


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("Submitted batch job 7", "7"),
        ("hello\nSubmitted batch job 7 on cluster east\nbye", "7"),
        ("warning: job 3\n12;east", "12"),
        (b"Submitted batch job 8\n", "8"),
    ],
)
def test_a_job_s_number_is_found(said, number):
    assert _number_of_job(said) == number


def test_of_several_partitions_the_least_limit_holds_for_all(cluster, tmp_path):
    assert slurm.longest_minutes("main,short") == 1
    assert slurm.longest_minutes("unknown,main") == 2880
    path = slurm_experiment(tmp_path, '"partition": "short,main"')
    bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    (script,) = cluster.glob("*.sh")
    lines = script.read_text().splitlines()
    assert "#SBATCH --time=1" in lines
    assert "#SBATCH --partition=short,main" in lines


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


def test_several_nodes_need_slurm(tmp_path):
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT.replace("{max_parallel: 2}", "{nodes: 2}"))
    with pytest.raises(ConfigError, match=r"`executor.nodes` above 1 needs `kind: slurm`\.$"):
        bench.read_experiment(path)
