#!/bin/sh
# Run every test: all but the window, and beside it the window under each Qt binding.
# Arguments go to pytest. All parts run, and the result is good only if each is.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/system.sh

# The last resort against a process that hangs while it ends, where pytest has no say.
limit='timeout --foreground --kill-after=30 3600'
$limit true 2>/dev/null || limit=
summary=
status=0

# Two parts run side by side: each gets half of the processors, as torch would take all.
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(((cores + 1) / 2))}
export OMP_NUM_THREADS

# run_pytest QT_BINDING PYTEST_ARGUMENT...
run_pytest() {
    binding=$1
    shift
    QT_API=$binding PYTEST_QT_API=$binding $limit .venv/bin/python -m pytest "$@" </dev/null
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

# Part 1 opens no window, so it may run beside the others; its output comes when it ends.
first='Part 1 of 3, everything but the window'
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
printf '\n=== %s: begun, shown when it is over ===\n' "$first"
run_pytest pyqt6 -m 'not gui and not slow' "$@" >"$folder/first" 2>&1 &
beside=$!
trap 'kill "$beside" 2>/dev/null; exit 130' INT TERM

# Inside Qt only the thread method can end a test that hangs.
set -- -m 'gui and not slow' --timeout-method=thread "$@"
run_part 'Part 2 of 3, the window under PyQt6' pyqt6 "$@"
if has_pyqt5; then
    run_part 'Part 3 of 3, the window under PyQt5' pyqt5 "$@"
else
    summary="$summary
  Part 3 of 3, the window under PyQt5: not run, there is no PyQt5 for $(uname -s) $(uname -m)"
fi

code=0
wait "$beside" || code=$?
printf '\n=== %s ===\n' "$first"
cat "$folder/first"
judge "$first" "$code"

printf '\n=== Tests ===%s\n' "$summary"
exit $status
