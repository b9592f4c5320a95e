"""How quick the wall is with twelve maps of two models and from elsewhere.

    xvfb-run -a python benchmarks/wall.py [--side 2048] [--steps 40]

Opens the real window on an image of 2048 × 2048 pixels with five maps of each of the
bundled models, and two from elsewhere with a value for every pixel. It prints the
medians of

* entering: from the click on “side by side” until every cell is drawn;
* a move of the mouse over the cells: its handlers, with the table that they fill; and
  until the window has painted it, for which software OpenGL composes it anew;
* a step of the threshold, by value and by share of tissue: from the slider until every
  cell, list and table has been drawn.

The journal is written to a temporary folder if NAPARI_WSOL_HOME is not set.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QEventLoop, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication
from responsiveness import Person, pause
from skimage import data

from napari_wsol.gui.demo.tour import run_until
from napari_wsol.gui.demo.viewer import open_viewer
from napari_wsol.methods import list_methods, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

MODELS = ("malignancy-mobilenetv2", "glands-mobilenetv2")
EACH = 5
"""Maps of a model."""


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.environ.setdefault("NAPARI_WSOL_HOME", home.name)
    person = Person(*open_viewer())
    fill_wall(person, options.side)
    print(f"{len(person.session.heatmaps)} maps on {options.side}² pixels", flush=True)
    entering(person)
    moving(person, options.steps)
    for currency in ("value", "area"):
        dragging(person, currency, options.steps)
    person.viewer.close()


def fill_wall(person: Person, side: int) -> None:
    """Maps of two models and from elsewhere."""
    tile = data.immunohistochemistry()
    count = -(-side // tile.shape[0])
    image = np.tile(tile, (count, count, 1))[:side, :side].copy()
    session = person.session
    person.open(image)
    for name in MODELS:
        model = session.use(name).result()
        methods = [
            method
            for method in list_methods()
            if not unavailable(model, method)
            and "score" not in method  # minutes on such an image
        ]
        session.localize(methods[:EACH]).result()
    rng = np.random.default_rng(0)
    for name in ("one", "another"):
        session.add_map(rng.random((side, side), np.float32), name=name).result()
    shown, layers = person.widget.layers.heatmaps, person.widget.layers
    run_until(lambda: len(shown.pairs) == len(session.heatmaps), 60)
    run_until(lambda: not layers.is_adding, 60)
    pause(3)


def entering(person: Person, times: int = 5) -> None:
    """Side by side, and back."""
    panel, layers, seconds = person.widget.compare_panel, person.widget.layers, []
    for _ in range(times):
        panel.overlay.click()
        pause(1)
        started = time.perf_counter()
        panel.side_by_side.click()
        live_until(lambda: layers.wall.is_settled)
        seconds.append(time.perf_counter() - started)
        pause(1)
    say("entering", seconds)


def moving(person: Person, steps: int) -> None:
    """The mouse over a cell."""
    wall, seconds, painted = person.widget.layers.wall, [], []
    rect = wall.rect_of(0)
    for step in range(steps):
        share = (step + 1) / (steps + 1)
        place = QPointF(rect.left() + share * rect.width(), rect.center().y())
        started = time.perf_counter()
        send_move(wall, place)
        seconds.append(time.perf_counter() - started)
        QApplication.processEvents()
        painted.append(time.perf_counter() - started)
        pause(0.03)
    say("a move of the mouse: handlers", seconds)
    say("a move of the mouse: until painted", painted)


def dragging(person: Person, currency: str, steps: int) -> None:
    """The slider of the threshold, step by step."""
    panel, layers, seconds = person.widget.compare_panel, person.widget.layers, []
    box = panel.currency_box
    box.setCurrentIndex(box.findData(currency))
    box.activated.emit(box.currentIndex())
    pause(2)
    middle = panel.slider.value()
    for step in range(steps):
        before = dict(layers.cuts)
        started = time.perf_counter()
        panel.slider.setValue(middle + 10 * (1 + step % 20))
        live_until(lambda: layers.cuts != before)  # noqa: B023
        QApplication.processEvents()  # the cells hear of it
        live_until(lambda: layers.wall.is_settled)
        seconds.append(time.perf_counter() - started)
        pause(0.05)
    say(f"a step of the threshold, by {currency}", seconds)


def live_until(condition: Callable[[], bool]) -> None:
    """Lets the window live without a pause, until a condition holds."""
    while not condition():
        QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 1)
    QApplication.processEvents()  # what was drawn is painted


def send_move(widget: QWidget, place: QPointF) -> None:
    """The mouse comes to a point of a widget."""
    none, bare = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    where = QPointF(widget.mapToGlobal(place.toPoint()))
    kind = QEvent.Type.MouseMove
    QApplication.sendEvent(widget, QMouseEvent(kind, place, where, none, none, bare))


def say(what: str, seconds: list[float]) -> None:
    """Prints the figures of one thing."""
    times = 1000 * np.array(seconds)
    print(
        f"{what:36s} median {np.median(times):6.1f}  "
        f"p90 {np.percentile(times, 90):6.1f}  worst {times.max():7.1f} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
