#!/usr/bin/env bash
# The tests, on any machine: makes or reuses the environment first (scripts/setup.sh).
#
#     bash tests/run.sh                  the default set
#     bash tests/run.sh --all            and the slow ones: end to end, full size
#     bash tests/run.sh [--all] ARGS     ARGS go to pytest
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
set_up test
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
chosen=(-m "not slow")
if [ "${1:-}" = "--all" ]; then
    chosen=()
    shift
fi
exec python -m pytest -n auto ${chosen[@]+"${chosen[@]}"} "$@"
