"""Somebody who presses anything, in any order: the window stays, and goes on.

``NAPARI_WSOL_FUZZ_SECONDS`` says for how long (ten seconds without), and
``NAPARI_WSOL_FUZZ_SEED`` which one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.gui

HERE = Path(__file__).parent
SECONDS = float(os.environ.get("NAPARI_WSOL_FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("NAPARI_WSOL_FUZZ_SEED", "1"))
LAST = 60
"""Lines of its story that are shown."""


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.slow
def test_a_monkey_finds_nothing(tmp_path):
    home = tmp_path / "monkey"
    environment = {
        **os.environ,
        "HOME": str(home),
        "USERPROFILE": str(home),
        "NAPARI_WSOL_HOME": str(home / "ours"),
        "NAPARI_CONFIG": str(home / "napari.yaml"),
        "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, *sys.path[1:]))),
    }
    (home / "here").mkdir(parents=True)
    story = tmp_path / "story.txt"
    with story.open("w", encoding="utf-8") as told:
        done = subprocess.run(
            [sys.executable, HERE / "monkey.py", str(SEED), str(SECONDS)],
            cwd=home / "here",
            env=environment,
            stdout=told,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=SECONDS + 240,
        )
    lines = story.read_text("utf-8", "replace").splitlines()
    shown = "\n".join(lines[-LAST:])
    assert done.returncode == 0, f"seed {SEED}, status {done.returncode}:\n{shown}"
    assert "steps, longest wait" in lines[-1]
