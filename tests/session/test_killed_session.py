"""A whole session is killed while it paints and refines; strokes are all there again.

The child paints and takes strokes back while rounds are learnt in the background. It
says what it did after the disk has it. Whatever moment it dies at, the next session
finds every stroke that was told of, at most one more, and the canvas that they give.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_wsol import Session
from napari_wsol.strokes.stroke import drawn

if TYPE_CHECKING:
    from pathlib import Path

WAIT = 60

CHILD = """
import sys
import numpy as np
from napari_wsol import Session

folder, seed = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(seed)
image = np.random.default_rng(0).integers(60, 120, (150, 160, 3)).astype(np.uint8)
session = Session(journals=folder)
session.open(image, resume=True).result()
session.use("glands-mobilenetv2").result()
session.localize(["pixelcam"]).result()
print("ready", flush=True)
while True:
    y, x = rng.integers(10, 140, 2)
    label = int(rng.integers(0, 3))
    session.brush([(y, x), (y + 8.0, x + 12.0)], label, 5.0)
    if rng.random() < 0.2:
        session.undo()
    try:
        session.finetune()
    except Exception:
        pass
    if session.journal.flush(5.0):
        print(",".join(str(item.number) for item in session.strokes), flush=True)
"""


def paint_and_die(folder: Path, seed: int, after: float) -> list[int]:
    """Numbers of the strokes that a child had when the disk last had all of them."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        threading.Timer(after, process.kill).start()
        # The last line may have been cut off by the kill.
        lines = [line for line in process.stdout if line.endswith("\n")]
        assert process.wait() == -signal.SIGKILL
    finally:
        process.kill()
    last = lines[-1].strip() if lines else ""
    return [int(item) for item in last.split(",") if item]


def check(folder: Path, told: list[int]) -> None:
    """The next session has the strokes that were told of; it may be one step ahead."""
    image = np.random.default_rng(0).integers(60, 120, (150, 160, 3)).astype(np.uint8)
    session = Session(journals=folder)
    session.open(image, resume=True).result(WAIT)
    found = [item.number for item in session.strokes]
    # One stroke, or one taken back, may have reached the disk untold; both at most.
    pairs = itertools.takewhile(
        lambda pair: pair[0] == pair[1], zip(found, told, strict=False)
    )
    common = len(list(pairs))
    assert len(told) - common <= 1
    assert len(found) - common <= 1
    assert session.journal is not None
    assert np.array_equal(session.scribbles, drawn(session.strokes, (150, 160)))
    assert session.saved is None or not session.saved.problem
    session.close(wait=True)


def kill_often(folder: Path, seed: int, kills: int) -> None:
    moments = random.Random(seed)
    for number in range(kills):
        check(folder, paint_and_die(folder, number, moments.uniform(0.02, 1.0)))


@pytest.mark.slow
def test_twenty_kills_of_a_session_at_work(tmp_path):
    kill_often(tmp_path / "journals", 0, 20)
