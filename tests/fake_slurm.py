"""Slurm, played by small scripts."""

import pytest
from bench_stubs import EXPERIMENT

SBATCH = """\
#!/bin/bash
script="${@: -1}"
cp "$script" "$BENCH_NOTES/$$.sh"  # what runs, as of Slurm: submitit moves its own
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
export SLURM_JOB_ID=$$ SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0
export SLURM_LOCALID=0
for task in $(seq 0 ${last:-0}); do
    if [[ -n "$last" ]]; then export SLURM_ARRAY_JOB_ID=$$ SLURM_ARRAY_TASK_ID=$task; fi
    bash "$BENCH_NOTES/$$.sh" > /dev/null 2>&1 &
    echo $! > "$BENCH_NOTES/$$${last:+_$task}.pid"
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
for file in "$BENCH_NOTES"/*.pid; do
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
    monkeypatch.setenv("BENCH_NOTES", str(notes))
    monkeypatch.setattr("spknorm.bench.cluster._ASK_SECONDS", (0.3, 0.3))
    return notes


def slurm_experiment(tmp_path, asked):
    path = tmp_path / "stubs.yaml"
    path.write_text(EXPERIMENT.replace("{max_parallel: 2}", f"{{kind: slurm, {asked}}}"))
    return path
