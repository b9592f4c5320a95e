#!/bin/sh
# Run every test: once all but the window, then the window under each Qt binding.
# Arguments go to pytest. All parts run, and the result is good only if each is.
set -u
cd "$(dirname "$0")/.." || exit 1
. tools/system.sh

# The last resort against a process that hangs while it ends, where pytest has no say.
limit='timeout --foreground --kill-after=30 3600'
$limit true 2>/dev/null || limit=
summary=
status=0

# run_part TITLE QT_BINDING PYTEST_ARGUMENT...
run_part() {
    title=$1
    binding=$2
    shift 2
    printf '\n=== %s ===\n' "$title"
    # No test selected (exit status 5) counts as a failure like any other.
    if QT_API=$binding PYTEST_QT_API=$binding $limit .venv/bin/python -m pytest "$@" </dev/null
    then
        outcome=passed
    else
        outcome="FAILED (exit status $?)"
        status=1
    fi
    summary="$summary
  $title: $outcome"
}

run_part 'Part 1 of 3, everything but the window' pyqt6 -m 'not gui and not slow' "$@"
# Inside Qt only the thread method can end a test that hangs.
set -- -m 'gui and not slow' --timeout-method=thread "$@"
run_part 'Part 2 of 3, the window under PyQt6' pyqt6 "$@"
if has_pyqt5; then
    run_part 'Part 3 of 3, the window under PyQt5' pyqt5 "$@"
else
    summary="$summary
  Part 3 of 3, the window under PyQt5: not run, there is no PyQt5 for $(uname -s) $(uname -m)"
fi

printf '\n=== Tests ===%s\n' "$summary"
exit $status
