#!/bin/sh
# Run the tests with the lowest versions that pyproject.toml allows, in an environment of
# their own: .venv-lowest. Without the window; for that too: ARGS="-m 'not slow'".
# Reads PYTHON and TORCH_INDEX as tools/setup.sh does, and TORCH: another version of torch
# than the lowest, where no index has that. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
. tools/system.sh
env=.venv-lowest
python=${PYTHON:-python3}

contents=$(cksum pyproject.toml tools/lowest.sh; printf '%s' "${TORCH:-}")
if [ "$(cat "$env/installed" 2>/dev/null)" != "$contents" ]; then
    say "creating $env (takes minutes)"
    "$python" -m venv --clear "$env"
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check uv </dev/null
    printf '%s\n' ${TORCH:+"torch==$TORCH"} >"$env/torch.txt"
    # As pip does: the highest of all indexes, and wheels that lie on this disk.
    UV_FIND_LINKS=${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}} "$env/bin/uv" pip install --quiet \
        --python "$env/bin/python" --resolution lowest-direct --overrides "$env/torch.txt" \
        --index-strategy unsafe-best-match \
        ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
        --editable '.[test,pyqt6]' 'pytest-qt>=4.4' </dev/null \
        || fail "the installation failed; the reason stands above."
    printf '%s\n' "$contents" >"$env/installed"
fi
exec "$env/bin/python" -m pytest -m 'not gui and not slow' "$@" </dev/null
