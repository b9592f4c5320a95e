#!/bin/sh
# Run every test: all but the window in two halves, and beside them the window under
# PyQt6, and once more under PyQt5 what the Qt binding may change (keys, mouse, layout,
# lives of widgets, threads). All of the window under PyQt5:
#   QT_API=pyqt5 PYTEST_QT_API=pyqt5 xvfb-run -a .venv/bin/python -m pytest -m gui
# Where displays are simulated both bindings run side by side, each on its own: windows
# that share one take the focus from each other.
# Arguments go to pytest. All parts run, and the result is good only if each is.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/system.sh

# The last resort against a process that hangs while it ends, where pytest has no say.
limit='timeout --foreground --kill-after=30 3600'
$limit true 2>/dev/null || limit=
summary=
status=0

# The parts run side by side: none may take all of the processors, as torch would.
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(((cores + 1) / 2))}
export OMP_NUM_THREADS

# On a display of its own; the size is that of tools/desktop.sh.
own_screen() { xvfb-run -a -s '-screen 0 1920x1200x24' "$@"; }

# run_pytest QT_BINDING PYTEST_ARGUMENT...
screen=
run_pytest() {
    binding=$1
    shift
    $screen env QT_API="$binding" PYTEST_QT_API="$binding" \
        $limit .venv/bin/python -m pytest --durations=20 --durations-min=2 "$@" </dev/null
}

# judge TITLE STATUS: no test selected (exit status 5) is a failure like any other.
judge() {
    if [ "$2" = 0 ]; then
        outcome=passed
    else
        outcome="FAILED (exit status $2)"
        status=1
    fi
    summary="$summary
  $1: $outcome"
}

# run_part TITLE QT_BINDING PYTEST_ARGUMENT...
run_part() {
    title=$1
    shift
    printf '\n=== %s ===\n' "$title"
    code=0
    run_pytest "$@" || code=$?
    judge "$title" "$code"
}

# begin NUMBER QT_BINDING PYTEST_ARGUMENT...: beside the others, shown when it is over.
begin() {
    number=$1
    shift
    run_pytest "$@" >"$folder/$number" 2>&1 &
    beside="$beside $!"
}

# finish NUMBER PROCESS TITLE
finish() {
    code=0
    wait "$2" || code=$?
    printf '\n=== %s ===\n' "$3"
    cat "$folder/$1"
    judge "$3" "$code"
}

early='Part 1 of 5, everything but the window, from a to h'
late='Part 2 of 5, everything but the window, from i to z'
other='Part 5 of 5, the window under PyQt5, where the binding may matter'
often='gui and binding and not slow'
folder=$(mktemp -d) || exit 1
beside=
trap 'rm -rf "$folder"' EXIT
# shellcheck disable=SC2086  # one word a process
trap 'kill $beside 2>/dev/null; exit 130' INT TERM
printf '\n=== %s: begun, shown when it is over ===\n' "$early" "$late"
# By the names of the folders of tests, about as long each.
begin 1 pyqt6 -m 'not gui and not slow' --ignore-glob='tests/[i-z]*' "$@"
one=$!
begin 2 pyqt6 -m 'not gui and not slow' --ignore-glob='tests/[a-h]*' "$@"
two=$!

# Inside Qt only the thread method can end a test that hangs. The other folders are not
# even imported.
set -- --timeout-method=thread --ignore-glob='tests/[!g]*' "$@"
four=
if has_pyqt5 && [ "${QT_QPA_PLATFORM:-}" = xcb ] && command -v xvfb-run >/dev/null; then
    printf '\n=== %s: begun, shown when it is over ===\n' "$other"
    screen=own_screen
    begin 4 pyqt5 -m "$often" "$@"
    four=$!
    screen=
fi
first='Part 3 of 5, the window under PyQt6, from a to r'
second='Part 4 of 5, the window under PyQt6, from s to z'
three=
if [ -n "$four" ]; then
    screen=own_screen
    begin 3 pyqt6 -m 'gui and not slow' --ignore-glob='tests/gui/test_[s-z]*' "$@"
    three=$!
    screen=
else
    run_part "$first" pyqt6 -m 'gui and not slow' --ignore-glob='tests/gui/test_[s-z]*' "$@"
fi
run_part "$second" pyqt6 -m 'gui and not slow' --ignore-glob='tests/gui/test_[a-r]*' "$@"
[ -z "$three" ] || finish 3 "$three" "$first"
if [ -n "$four" ]; then
    finish 4 "$four" "$other"
elif has_pyqt5; then
    run_part "$other" pyqt5 -m "$often" "$@"
else
    summary="$summary
  $other: not run, there is no PyQt5 for $(uname -s) $(uname -m)"
fi
finish 1 "$one" "$early"
finish 2 "$two" "$late"

printf '\n=== Tests ===%s\n' "$summary"
exit $status
