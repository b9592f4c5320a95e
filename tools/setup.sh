#!/bin/sh
# Create or update the environment in .venv; quick when nothing changed.
# Reads PYTHON (interpreter to use) and TORCH_INDEX (further package index).
# Arguments, for another environment: its folder, constraints and extras.
set -eu
cd "$(dirname "$0")/.."
. tools/system.sh
env=${1:-.venv}
constraints=${2:-constraints.txt}
extras=${3:-}

# A pyenv shim may exist without a Python behind it, so each candidate is run.
is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Prints the first usable interpreter; without one, the first that only lacks venv.
find_python() {
    without_venv=
    for candidate in "$@"; do
        is_recent "$candidate" || continue
        if has_venv "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
        : "${without_venv:=$candidate}"
    done
    printf '%s\n' "$without_venv"
}

choose_python() {
    if [ -n "${PYTHON:-}" ]; then
        set -- "$PYTHON"
    else
        set -- python3.11 python3.12 python3.13 python3 python
    fi
    python=$(find_python "$@")
    [ -n "$python" ] || fail "Python 3.11 or newer was not found (looked for: $*).
    Install one with your system's package manager or from https://www.python.org/downloads,
    or name it: make PYTHON=/path/to/python3.12 test"
    has_venv "$python" && return
    # Debian and Ubuntu keep venv in a package of its own.
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if has_apt; then
        apt_install "python$version-venv" || exit 1
    fi
    has_venv "$python" || fail "$python cannot create environments: its venv module is missing."
}

# A virtual environment does not survive being moved, nor a change of its interpreter.
made_for="$(pwd) PYTHON=${PYTHON:-} TORCH_INDEX=${TORCH_INDEX:-}"
contents=$(cksum pyproject.toml "$constraints" tools/setup.sh)
works() { "$env/bin/python" -c 'import pip' 2>/dev/null; }

if [ "$(cat "$env/made-for" 2>/dev/null)" = "$made_for" ] && works; then
    [ "$(cat "$env/installed" 2>/dev/null)" != "$contents" ] || exit 0
else
    choose_python
    say "creating $env with $("$python" --version 2>&1)"
    "$python" -m venv --clear "$env"
    printf '%s\n' "$made_for" >"$env/made-for"
fi

say "installing napari-wsol and what it needs (takes minutes the first time)"
rm -f "$env/installed"
[ -t 1 ] && quiet= || quiet='--quiet --progress-bar=off'
if [ -z "$extras" ]; then
    extras=dev,docs,pyqt6
    ! has_pyqt5 || extras=$extras,pyqt5
fi
# shellcheck disable=SC2086  # two options
"$env/bin/python" -m pip install --no-input --disable-pip-version-check $quiet \
    --constraint "$constraints" ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    --editable ".[$extras]" </dev/null \
    || fail "the installation failed; the reason stands above. The same command again goes on."
printf '%s\n' "$contents" >"$env/installed"
say "the environment in $env is ready"
