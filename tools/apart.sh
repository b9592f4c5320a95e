#!/bin/sh
# Run the tests that need packages of their own, in an environment of their own: .venv-NAME.
# Arguments: NAME, which is a marker of pytest, an extra of pyproject.toml and the end of
# constraints-NAME.txt; "MODULE, MODULE", what those tests import; then arguments of pytest.
set -eu
cd "$(dirname "$0")/.."
. tools/system.sh
name=$1
modules=$2
shift 2

# The torchvision of one index does not fit the torch of another.
TORCH_INDEX='' sh tools/setup.sh ".venv-$name" "constraints-$name.txt" "test,$name"
".venv-$name/bin/python" -c "import $modules" \
    || fail "not all of these import: $modules; the reason stands above. Remove .venv-$name and run this again."
# It has no Qt. With NAPARI_WSOL_NAME=1 no test is skipped for want of them: tests/conftest.py.
needed=NAPARI_WSOL_$(printf '%s' "$name" | tr '[:lower:]' '[:upper:]')
exec env "$needed=1" ".venv-$name/bin/python" -m pytest -m "$name" --ignore=tests/gui "$@" </dev/null
