#!/usr/bin/env bash
# The default tests on the newest torch there is (or on $1, such as torch==2.15.0), without
# constraints.txt, in an environment of their own: .venv-newest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
SPKNORM_VENV=.venv-newest SPKNORM_CONSTRAINTS=none SPKNORM_TORCH="${1:-torch}" set_up test
python -c "import torch; print('torch', torch.__version__)"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec python -m pytest -n auto -m "not slow"
