#!/bin/sh
# The checks of the lint job, without the network and side by side. Of one that is good
# its time is told, of one that is not also what it says. The result is good only if each
# is. Needs the environment of tools/setup.sh.
set -u
cd "$(dirname "$0")/.." || exit 1

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
begun=$(date +%s)
status=0

# check TOOL ARGUMENT...: its output, and its time behind it.
check() {
    start=$(date +%s)
    tool=$1
    shift
    code=0
    ".venv/bin/$tool" "$@" >"$folder/said" 2>&1 </dev/null || code=$?
    [ "$code" = 0 ] || cat "$folder/said"
    printf '%4d s  %s %s: %s\n' "$(($(date +%s) - start))" "$tool" "$*" \
        "$([ "$code" = 0 ] && echo good || echo FAILED)"
    return "$code"
}

# The longest beside all others.
(
    folder=$folder/types
    mkdir "$folder"
    check pyright --pythonpath .venv/bin/python
) >"$folder/pyright" 2>&1 &
types=$!

check ruff check . || status=1
# Other systems have other encodings than UTF-8; the rule is not stable yet.
check ruff check --preview --select PLW1514 . || status=1
check ruff format --check . || status=1
check validate-pyproject pyproject.toml || status=1
check npe2 validate napari.yaml || status=1
check check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml \
    || status=1
check lint-imports || status=1
wait "$types" || status=1
cat "$folder/pyright"
printf '%4d s  all\n' "$(($(date +%s) - begun))"
exit $status
