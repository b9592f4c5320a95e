"""The window answers while something is computed: localizing, refining, training."""

from __future__ import annotations

import time
from contextlib import contextmanager

import numpy as np
import pytest
from fixtures.load import busy
from fixtures.training import discs
from qtpy.QtCore import QTimer

pytestmark = pytest.mark.gui

__all__ = ["discs"]  # a fixture

LONGEST = 1.0
"""Seconds between two ticks of a timer: generous, for machines that do other things."""

RECIPE = """\
name = "toy"
[data]
train = "train"
classes = ["plain", "striped"]
[model]
encoder = "mobilenet_v2"
taps = ["features.1"]
heads = ["cam"]
[train]
steps = 4000
batch = 2
crop = 32
"""


@pytest.fixture
def ticking(qtbot):
    """Fails where the window did not answer for too long meanwhile."""

    @contextmanager
    def tick():
        ticks = [time.monotonic()]
        timer = QTimer()
        timer.timeout.connect(lambda: ticks.append(time.monotonic()))
        timer.start(5)
        yield
        qtbot.wait(20)
        timer.stop()
        assert len(ticks) > 2
        assert max(np.diff(ticks)) < LONGEST * busy()

    return tick


def square(size: int) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    return image


def test_while_it_localizes_and_refines(bench, ticking):
    bench.open(square(1500))
    widget, session = bench.widget, bench.session
    bench.localize()  # the first maps and contours compile shaders
    rounds = len(session.rounds)
    with ticking():
        widget.controller.localize()
        bench.until(lambda: not session.is_busy)
    widget.correct_panel.tools["foreground"].click()
    bench.drag((300, 100), (300, 500))
    widget.correct_panel.tools["background"].click()
    bench.drag((45, 70), (45, 90))
    bench.until(lambda: set(np.unique(session.scribbles)) == {0, 1, 2})
    with ticking():
        widget.controller.refine()
        bench.until(lambda: len(session.rounds) > rounds)
        bench.until(lambda: not session.is_busy)
    assert session.job.state == "done"


def test_while_it_trains(bench, ticking, discs, tmp_path):
    bench.open(square(128))
    recipe, steps = tmp_path / "toy.toml", []
    recipe.write_text(RECIPE)
    bench.session.train_step.connect(steps.append)
    future = bench.session.train(recipe, discs, tmp_path / "out")
    bench.until(lambda: bool(steps))
    with ticking():
        before = len(steps)
        bench.until(lambda: len(steps) > before + 10)
    bench.session.cancel()
    bench.until(future.done)
