#!/usr/bin/env bash
# The tests, on any machine: makes or reuses the environment first (scripts/setup.sh).
#
#     bash tests/run.sh                  the default set
#     bash tests/run.sh --all            and the slow ones: end to end, full size
#     bash tests/run.sh --slurm          on a real Slurm of one machine, started for them: half an hour
#     bash tests/run.sh [--all] ARGS     ARGS go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
set_up test
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export PYTHONDONTWRITEBYTECODE=  # else every process compiles all of it, and pytest every test file
chosen=(-m "not slow")
if [ "${1:-}" = "--all" ]; then
    chosen=(-m "not slurm")
    shift
elif [ "${1:-}" = "--slurm" ]; then
    shift
    exec python -m pytest -m slurm tests/slurm "$@"
fi
exec python -m pytest -n auto "${chosen[@]}" "$@"
