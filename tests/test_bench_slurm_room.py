"""What a bench does where Slurm takes fewer jobs than it has, and in which surroundings it starts.

Slurm is played by small scripts; a real one is in tests/slurm.
"""

import pytest
from bench_stubs import stub_command
from fake_slurm import SBATCH, cluster, slurm_experiment  # noqa: F401 (a fixture)

from spknorm import bench
from spknorm.bench.cluster import SlurmJobs
from spknorm.errors import ConfigError

LIMITED = """
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "${@: -1}")
live=0
for file in "$BENCH_NOTES"/*.pid; do
    if [[ -e "$file" ]] && kill -0 $(cat "$file") 2> /dev/null; then live=$((live + 1)); fi
done
if (( live + ${last:-0} + 1 > MOST )); then
    echo "$((${last:-0} + 1))" >> "$BENCH_NOTES/refused"
    echo "sbatch: error: AssocMaxSubmitJobLimit" >&2
    echo "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job \
submit limit, user's size and/or time limits)" >&2
    exit 1
fi
echo "$((${last:-0} + 1))" >> "$BENCH_NOTES/taken"
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("spknorm.bench.cluster._FULL_SECONDS", 0.5)


def limit(tmp_path, most):
    """Let sbatch take so many jobs at a time."""
    first, rest = SBATCH.split("\n", 1)
    text = first + LIMITED.replace("MOST", str(most)) + rest
    (tmp_path / "bin" / "sbatch").write_text(text)


def test_of_more_cells_than_slurm_takes_the_rest_is_handed_over_when_there_is_room(
    cluster, tmp_path
):
    limit(tmp_path, 3)
    path = slurm_experiment(tmp_path, "gpus: 0")
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert len(summary.complete) == 4
    taken = [int(one) for one in (cluster / "taken").read_text().split()]
    assert taken[:2] == [2, 1]
    assert sum(taken) == 4
    refused = (cluster / "refused").read_text().split()
    assert refused[:2] == ["4", "2"]


def test_with_a_limit_of_its_own_no_more_than_that_are_handed_over_then(
    cluster, tmp_path, monkeypatch
):
    limit(tmp_path, 3)
    path = slurm_experiment(tmp_path, "gpus: 0")
    path.write_text(path.read_text().replace("{kind:", "{max_parallel: 1, kind:"))
    offered, start = [], SlurmJobs.start

    def offering(jobs, starts):
        offered.append(len(starts))
        return start(jobs, starts)

    monkeypatch.setattr(SlurmJobs, "start", offering)
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert len(summary.complete) == 4
    assert offered[0] == 4
    assert set(offered[1:]) == {1}


def test_a_slurm_that_takes_none_is_told_in_its_own_words(cluster, tmp_path):
    limit(tmp_path, 0)
    path = slurm_experiment(tmp_path, "gpus: 0")
    with pytest.raises(ConfigError, match="AssocMaxSubmitJobLimit; Batch job submission failed"):
        bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert (cluster / "refused").read_text().split() == ["4", "2", "1"]


def test_a_bench_inside_a_job_hands_none_of_that_job_s_variables_on(cluster, tmp_path, monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "SLURM_MEM_PER_NODE"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    text = SBATCH.replace("\n", '\nenv > "$BENCH_NOTES/given"\n', 1)
    (tmp_path / "bin" / "sbatch").write_text(text)
    path = slurm_experiment(tmp_path, "gpus: 0")
    assert len(bench.run(path, tmp_path / "out", command=stub_command(tmp_path)).complete) == 4
    given = (cluster / "given").read_text().splitlines()
    assert [one for one in given if one.startswith("SLURM_")] == ["SLURM_CONF=/etc/slurm.conf"]


def test_a_job_that_is_gone_and_never_began_is_not_said_to_be_killed(cluster, tmp_path):
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/bash\necho Submitted batch job 7\n")
    (tmp_path / "bin" / "squeue").write_text("#!/bin/bash\n")
    path = slurm_experiment(tmp_path, "gpus: 0")
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert {one.error for one in summary.failed} == {
        "Slurm: its job is gone and never began, be it that it was cancelled as it waited or that "
        "Slurm lost it: the same command starts it again."
    }


def test_a_folder_that_slurm_would_read_as_another_is_refused(cluster, tmp_path):
    path = slurm_experiment(tmp_path, "gpus: 0")
    with pytest.raises(ConfigError, match=r"without a backslash or a new line in it\.$"):
        bench.run(path, tmp_path / "back\\n", command=stub_command(tmp_path))
    assert not list(cluster.iterdir())
