"""The bench on Slurm, played by three shell scripts: what is asked for, and that it works."""

import pytest
from bench_stubs import EXPERIMENT, stub_command

from spknorm import bench
from spknorm.bench.worker import CellRun, RequeuedCellRun

SBATCH = """\
#!/bin/bash
cp "${@: -1}" "$SLURM_NOTES/$$.sh"
export SLURM_JOB_ID=$$ SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0
export SLURM_LOCALID=0
bash "${@: -1}" > /dev/null 2>&1 &
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
SACCT = """\
#!/bin/bash
echo "JobID|State|NodeList"
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """The folder in which sbatch keeps the scripts it was given."""
    programs, notes = tmp_path / "bin", tmp_path / "notes"
    programs.mkdir()
    notes.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("SLURM_NOTES", str(notes))
    return notes


def test_cells_run_on_a_cluster_with_what_the_experiment_asks_for(cluster, tmp_path):
    path = tmp_path / "stubs.yaml"
    asked = "{kind: slurm, partition: long, gpus: 2, threads: 3, mem_gb: 20, timeout_min: 90}"
    path.write_text(EXPERIMENT.replace("{max_parallel: 2}", asked).replace("fold1, fold2", "fold1"))
    summary = bench.run(path, tmp_path / "out", command=stub_command(tmp_path))
    assert len(summary.complete) == 2
    scripts = [script.read_text() for script in sorted(cluster.glob("*.sh"))]
    assert len(scripts) == 2
    for line in (
        "#SBATCH --job-name=stubs",
        "#SBATCH --partition=long",
        "#SBATCH --gpus-per-node=2",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --mem=20GB",
        "#SBATCH --time=90",
    ):
        assert line in scripts[0].splitlines()


def test_a_preempted_run_goes_back_into_the_queue_as_it_was(tmp_path):
    again = RequeuedCellRun(["true"], tmp_path, {"A": "b"}).checkpoint()
    assert again.function.command == ["true"]
    assert not hasattr(CellRun(["true"], tmp_path, {}), "checkpoint")
