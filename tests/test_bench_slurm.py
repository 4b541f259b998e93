"""What the bench asks of Slurm, played by small scripts, and how it tells of a refusal.

The faults of a real one are in tests/slurm.
"""

import pytest
from bench_stubs import EXPERIMENT, stub_command
from fake_slurm import SBATCH, cluster, slurm_experiment  # noqa: F401 (a fixture)

from spknorm import bench
from spknorm.bench import slurm
from spknorm.bench.submission import _number_of_job
from spknorm.errors import ConfigError


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


def test_several_nodes_need_slurm(tmp_path):
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT.replace("{max_parallel: 2}", "{nodes: 2}"))
    with pytest.raises(ConfigError, match=r"`executor.nodes` above 1 needs `kind: slurm`\.$"):
        bench.read_experiment(path)
