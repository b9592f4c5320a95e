#!/bin/sh
# The checks of the lint job, without the network: all run, the result is good only if each is.
set -u
cd "$(dirname "$0")/.." || exit 1

status=0
check() {
    printf '\n=== %s ===\n' "$*"
    tool=$1
    shift
    ".venv/bin/$tool" "$@" || status=1
}

check ruff check .
check ruff format --check .
check validate-pyproject pyproject.toml
check npe2 validate napari.yaml
check lint-imports
check pyright --pythonpath .venv/bin/python
exit $status
