#!/bin/sh
# Run the tests that need timm and torchvision, in an environment of their own: .venv-timm.
# Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
. tools/system.sh

# The torchvision of one index does not fit the torch of another.
TORCH_INDEX='' sh tools/setup.sh .venv-timm constraints-timm.txt test,timm
.venv-timm/bin/python -c 'import timm, torchvision' \
    || fail "timm does not import; the reason stands above. Remove .venv-timm and run this again."
# It has no Qt. With NAPARI_WSOL_TIMM no test is skipped for want of timm: tests/conftest.py.
exec env NAPARI_WSOL_TIMM=1 .venv-timm/bin/python -m pytest -m timm --ignore=tests/gui "$@" </dev/null
