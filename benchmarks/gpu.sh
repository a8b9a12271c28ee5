#!/usr/bin/env bash
# What one GPU gives, in at most ten minutes after the set-up; the figures go to benchmarks/results/gpu.cuda.json.
#   benchmarks/gpu.sh                     sets up .venv as `make` does
#   PYTHON=python3 benchmarks/gpu.sh      with an interpreter that has the dependencies already
set -euo pipefail
cd "$(dirname "$0")/.."
if ! { nvidia-smi -L || test -e /dev/nvidia0; } >/dev/null 2>&1; then
  echo "error: there is no GPU here, and benchmarks/gpu.sh measures one" >&2
  exit 2
fi
if [ -z "${PYTHON:-}" ]; then
  make .venv/.installed
  PYTHON=.venv/bin/python
fi
status=0
timeout 600 "$PYTHON" benchmarks/gpu.py --device cuda "$@" || status=$?
[ "$status" = 124 ] && echo "Ten minutes are over: parts that were not finished are missing from the result." >&2
exit "$status"
