#!/bin/sh
# Damaged files of every kind, then the monkey in the window under each Qt binding.
# Variables: NAPARI_WSOL_FUZZ (files a kind), NAPARI_WSOL_FUZZ_SECONDS (of the monkey),
# NAPARI_WSOL_FUZZ_SEED (others). Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
OMP_NUM_THREADS=1
export OMP_NUM_THREADS
.venv/bin/python -m pytest -s tests/fuzz "$@"
for binding in pyqt6 pyqt5; do
    QT_API=$binding PYTEST_QT_API=$binding \
        .venv/bin/python -m pytest -s tests/gui/test_monkey.py -m gui "$@"
done
