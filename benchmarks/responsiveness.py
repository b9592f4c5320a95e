"""How late a 10 ms timer of the window is while the worker computes.

    xvfb-run -a python benchmarks/responsiveness.py [--side 2048]
        [--only first|cells|strokes|live]

Opens the real window and uses it the way a person does: images are chosen, buttons are
pressed, strokes are painted. For every job it prints the lateness of the timer while
the job runs and, apart from that, while its results appear; beside them that of the
idle window, how soon Cancel takes effect, and the time from Refine to the refreshed
layer. With software OpenGL the drawing counts too.

With ``live`` a stroke is drawn every second and the map follows each. Beside it stands
what napari needs by itself for the same window, strokes and layers: software OpenGL
alone draws a frame in 40 ms.

With ``cells`` it prints how long side by side takes to come and go with twelve methods,
and how late the timer is meanwhile.

First of all it prints how long a person waits after the dock was opened: until Localize
can be pressed on an image of 775 × 522 pixels, and from there to the first map, cold
(torch, model and shaders are loaded on the way) and warm (another image).

Strokes are drawn with real mouse events on a slide of 100 000 × 100 000 pixels; of each
event it prints how long its handlers took, at the end of a stroke with the comparison,
the record and the entry of the journal. The journal is written to a temporary folder
if NAPARI_WSOL_HOME is not set.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import napari
import numpy as np
from qtpy.QtCore import QEvent, QPointF, Qt, QTimer
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication
from skimage import data

from napari_wsol.gui.demo.tour import run_until
from napari_wsol.gui.demo.viewer import open_viewer
from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.layers.touch import canvas_beside
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from qtpy.QtCore import QSize
    from qtpy.QtWidgets import QWidget

    from napari_wsol.jobs import JobStatus

INTERVAL = 0.010
SETTLED = 1.0
"""Seconds after a job in which its results are drawn."""


class Lateness:
    """Records when each tick of a 10 ms timer came, and by how much it was late."""

    def __init__(self) -> None:
        self.ticks: list[tuple[float, float]] = []
        self._due = 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._tick)

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._due:
            self.ticks.append((now, max(0.0, now - self._due)))
        self._due = now + INTERVAL

    def __enter__(self) -> Lateness:
        self.ticks, self._due = [], 0.0
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def split(self, at: float) -> tuple[list[float], list[float]]:
        """Seconds late of the ticks before a moment, and of those after it."""
        before = [late for now, late in self.ticks if now <= at]
        return before, [late for now, late in self.ticks if now > at]


def say(phase: str, seconds: list[float]) -> None:
    """Prints the figures of a phase."""
    late = 1000 * np.array(seconds or [0.0])
    print(
        f"{phase:34s} {len(late):5d} ticks  median {np.median(late):6.1f}  "
        f"p99 {np.percentile(late, 99):6.1f}  worst {late.max():7.1f} ms",
        flush=True,
    )


class Person:
    """Presses buttons and waits for what they do."""

    def __init__(self, viewer: napari.Viewer, widget: WsolWidget) -> None:
        self.viewer, self.widget, self.session = viewer, widget, widget.session
        self.ended = 0.0
        self.session.job_changed.connect(self._on_job)

    def _on_job(self, status: JobStatus) -> None:
        # On the worker's thread: the moment at which the job is over, not the one at
        # which the window hears of it.
        if not status.is_active:
            self.ended = time.perf_counter()

    def open(self, pixels: np.ndarray, settle: float = SETTLED) -> None:
        """Adds an image and chooses it; the one before stays, hidden."""
        before = self.widget.layers.image
        layer = self.viewer.add_image(pixels, name="tissue", rgb=True)
        if before is not None:
            before.visible = False
            box = self.widget.image_line.box
            box.setCurrentIndex(box.count() - 1)
            box.activated.emit(box.currentIndex())
        panel = self.widget.localize_panel
        ready = lambda: (  # noqa: E731
            self.widget.layers.image == layer
            and panel.localize_button.isEnabled()
            and self.session.model is not None
            and not self.session.is_busy
        )
        if not run_until(ready, 120):
            raise SystemExit(f"No image: {self.widget.message.text()}")
        pause(settle)

    def tick(self, *names: str) -> None:
        """Ticks these methods and no other; the model's own when none is named."""
        panel = self.widget.localize_panel
        wanted = names or (panel.card.methods if panel.card is not None else ())
        for name, box in panel.method_list.boxes.items():
            box.setChecked(box.isEnabled() and name in wanted)

    def localize(self) -> None:
        """Presses Localize and waits until the maps are shown."""
        self.widget.localize_panel.localize_button.click()
        wanted = set(self.widget.localize_panel.method_list.ticked)
        shown = self.widget.layers.heatmaps.pairs
        if not run_until(
            lambda: not self.session.is_busy and set(shown) == wanted, 300
        ):
            raise SystemExit(f"No maps: {self.widget.message.text()}")
        pause(SETTLED)

    def start_localizing(self) -> None:
        """Presses Localize and waits until it is well under way."""
        self.widget.localize_panel.localize_button.click()
        run_until(lambda: self.session.job.kind is JobKind.LOCALIZE
                  and self.session.job.state == "running", 60)  # fmt: skip
        pause(0.3)

    def paint(self, rng: np.random.Generator) -> None:
        """One more stroke of each kind, by brush."""
        for tool, label in (("background", 1), ("foreground", 2)):
            self.widget.correct_panel.tools[tool].click()
            layer = self.widget.layers.strokes.layer
            height, width = layer.data.shape
            y, x = rng.integers(50, height - 50), rng.integers(50, width - 250)
            with layer.block_history():
                for step in range(0, 200, 8):
                    layer.paint((y, x + step), label)
            self.widget.layers.strokes.flush()

    def refine(self) -> float:
        """Presses Refine; gives the seconds until the refined layer is there."""
        layer = self.widget.layers.heatmaps.pairs["pixelcam"].image
        shown: list[float] = []
        layer.events.data.connect(stamp := lambda _: shown.append(time.perf_counter()))
        started = time.perf_counter()
        self.widget.correct_panel.refine_button.click()
        run_until(lambda: bool(shown) and not self.session.is_busy, 60)
        layer.events.data.disconnect(stamp)
        pause(0.3)
        return shown[0] - started if shown else float("nan")


def pause(seconds: float) -> None:
    """Lets the window live."""
    run_until(lambda: False, seconds)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument(
        "--only", choices=("all", "first", "cells", "strokes", "live"), default="all"
    )
    options = parser.parse_args()
    home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.environ.setdefault("NAPARI_WSOL_HOME", home.name)
    if options.only == "first":
        first_map()
        return
    if options.only == "cells":
        side_by_side()
        return
    if options.only == "strokes":
        stroking(Person(*open_viewer()))
        return
    tile = data.immunohistochemistry()
    count = -(-options.side // tile.shape[0])
    image = np.tile(tile, (count, count, 1))[: options.side, : options.side]
    person, timer = Person(*open_viewer()), Lateness()
    if options.only == "live":
        following(person, timer, image, options.rounds)
        canvas = canvas_beside(person.widget).size()
        person.viewer.close()
        by_itself(timer, image, options.rounds, canvas)
        return
    person.open(image)
    with timer:
        pause(3)
    say("idle window", timer.split(time.perf_counter())[0])
    localizing(person, timer, image)
    cancelling(person, image)
    refining(person, timer, image, options.rounds)
    following(person, timer, image[::-1, ::-1].copy(), options.rounds)
    stroking(person)


def first_map() -> None:
    """From the dock that opens to the first map, cold, then on four more images."""
    image = np.tile(data.immunohistochemistry(), (2, 2, 1))[:522, :775]
    viewer = napari.Viewer(title="napari-wsol")
    pause(SETTLED)
    started = time.perf_counter()
    widget = WsolWidget(viewer)
    viewer.window.add_dock_widget(widget, name="napari-wsol", area="right")
    person = Person(viewer, widget)
    pause(0)
    print(f"dock opened: {time.perf_counter() - started:.2f} s")
    for shift in range(5):
        before = set(map(id, viewer.layers))
        started = time.perf_counter()
        person.open(np.roll(image, shift, 1), settle=0)
        ready = time.perf_counter() - started
        started = time.perf_counter()
        widget.localize_panel.localize_button.click()
        if not run_until(partial(has_new_map, widget, before), 300):
            raise SystemExit(f"No maps: {widget.message.text()}")
        waited = time.perf_counter() - started
        words = "warm" if shift else "cold"
        print(f"{words}: ready after {ready:.2f} s, Localize -> map {waited:.2f} s")
        run_until(lambda: not person.session.is_busy, 60)
        pause(SETTLED)


def side_by_side(methods: int = 12) -> None:
    """Entering and leaving side by side, with the map of a model for all methods."""
    image = np.tile(data.immunohistochemistry(), (2, 2, 1))[:522, :775].copy()
    person, timer = Person(*open_viewer()), Lateness()
    person.open(image)
    person.tick("pixelcam")
    person.localize()
    layers, (heatmap,) = person.widget.layers, person.session.heatmaps.values()
    for number in range(1, methods):
        named = replace(heatmap, method=f"method {number}")
        mark = {"method": named.method}
        for _ in layers.heatmaps.show(
            named, 0.5, title=named.method, mark=mark, badge=""
        ):
            pause(0)
    pause(SETTLED)
    for _ in range(3):
        with timer:
            started = time.perf_counter()
            layers.show_cells(True)
            run_until(lambda: layers.wall.is_settled, 60)
            entered = time.perf_counter() - started
            pause(SETTLED)
            started = time.perf_counter()
            layers.show_cells(False)
            left = time.perf_counter() - started
            pause(SETTLED)
        say(f"side by side, {methods} methods", timer.split(time.perf_counter())[0])
        print(f"entered in {entered:.2f} s, left in {left:.2f} s")
    person.viewer.close()


def has_new_map(widget: WsolWidget, before: set[int]) -> bool:
    """Whether a map is there that was no layer before."""
    shown = widget.layers.heatmaps.pairs.values()
    return any(id(pair.image) not in before for pair in shown)


def localizing(person: Person, timer: Lateness, image: np.ndarray) -> None:
    """One method, then all, each on an image that was not encoded yet."""
    for words, methods, pixels in (
        ("one method", ("pixelcam",), image),
        ("all methods", (), image[::-1].copy()),
        ("all methods again", (), image[:, ::-1].copy()),
    ):
        if person.widget.layers.image is None or methods != ("pixelcam",):
            person.open(pixels)
        person.tick(*methods)
        with timer:
            person.localize()
        runs, appears = timer.split(person.ended)
        say(f"localize, {words}: runs", runs)
        say(f"localize, {words}: results", appears)


def cancelling(person: Person, image: np.ndarray) -> None:
    """Stops a localization that has just begun, five times."""
    waits: list[float] = []
    for shift in range(1, 6):
        person.open(np.roll(image, shift, 0))
        person.start_localizing()
        started = time.perf_counter()
        person.widget.localize_panel.job_bar.cancel_button.click()
        run_until(lambda: not person.session.is_busy, 60)
        waits.append(person.ended - started)
    state = person.session.job.state
    print(f"Cancel takes effect after at most {max(waits):.2f} s ({state})")


def refining(person: Person, timer: Lateness, image: np.ndarray, rounds: int) -> None:
    """A stroke of each kind and a round, again and again."""
    person.open(image)
    person.localize()
    person.session.live = False
    rng = np.random.default_rng(0)
    seconds: list[float] = []
    runs, appears = [], []
    for _ in range(rounds):
        person.paint(rng)
        pause(0.3)
        with timer:
            seconds.append(person.refine())
        first, then = timer.split(person.ended)
        runs += first
        appears += then
    say(f"refine, {rounds} rounds: runs", runs)
    say(f"refine, {rounds} rounds: results", appears)
    print(
        f"Refine -> refreshed map: median {statistics.median(seconds):.2f} s, "
        f"worst {max(seconds):.2f} s"
    )


def following(person: Person, timer: Lateness, image: np.ndarray, rounds: int) -> None:
    """Strokes by mouse at a person's pace, while the map follows each of them."""
    person.open(image)
    person.tick("pixelcam")
    person.localize()
    session, strokes = person.session, person.widget.layers.strokes
    session.live = True
    canvas = canvas_beside(person.widget)
    size = np.array([canvas.width(), canvas.height()])
    rng = np.random.default_rng(0)
    mouse, before = Mouse(canvas), len(session.rounds)
    strokes.choose("background")
    draw(mouse, np.array([0.45, 0.45]) * size, rng)
    with timer:
        for number in range(2 * rounds):
            strokes.choose("foreground" if number % 2 else "background")
            pause(0.2)  # from the key to the mouse
            draw(mouse, rng.uniform(0.4, 0.6, 2) * size, rng)
            pause(0.6)
        run_until(lambda: not session.is_busy, 60)
    made = len(session.rounds) - before
    say(
        f"live, {2 * rounds} strokes, {made} rounds",
        timer.split(time.perf_counter())[0],
    )
    seconds = [item.seconds for item in session.rounds[before:]]
    print(
        f"live: a refit takes {statistics.median(seconds):.2f} s (median), "
        f"{max(seconds):.2f} s at most"
    )
    session.live = False


def by_itself(
    timer: Lateness, image: np.ndarray, rounds: int, canvas_size: QSize
) -> None:
    """The same strokes and layers in napari without this plugin, refit or worker.

    A quarter of a second after each stroke an image of 128 × 128 cells and 2,000 lines
    get other values, as a heatmap and its contour do.
    """
    viewer = napari.Viewer(title="napari")
    viewer.add_image(image, rgb=True)
    scale = (image.shape[0] / 128, image.shape[1] / 128)
    rng = np.random.default_rng(1)
    heatmap = viewer.add_image(
        rng.random((128, 128), np.float32), scale=scale, opacity=0.5, colormap="magma"
    )
    lines = viewer.add_vectors(lines_of(rng), scale=scale, vector_style="line")
    strokes = viewer.add_labels(np.zeros(image.shape[:2], np.uint8))
    strokes.mode, strokes.brush_size = "paint", 12
    canvas = canvas_beside(viewer.window._qt_viewer)  # noqa: SLF001 - napari's own
    canvas.setFixedSize(canvas_size)
    pause(SETTLED)
    size = np.array([canvas.width(), canvas.height()])
    mouse, strokes_at = Mouse(canvas), np.random.default_rng(0)
    with timer:
        for number in range(2 * rounds):
            strokes.selected_label = 1 + number % 2
            pause(0.2)
            draw(mouse, strokes_at.uniform(0.4, 0.6, 2) * size, strokes_at)
            pause(0.25)
            heatmap.data = rng.random((128, 128), np.float32)
            lines.data = lines_of(rng)
            pause(0.35)
    words = f"napari by itself, {2 * rounds} strokes"
    say(words, timer.split(time.perf_counter())[0])
    viewer.close()


def lines_of(rng: np.random.Generator) -> np.ndarray:
    """2,000 short lines on 128 × 128 cells."""
    ends = rng.uniform(0, 128, (2000, 1, 2))
    return np.concatenate([ends, rng.uniform(-1, 1, ends.shape)], 1).astype(np.float32)


class Mouse:
    """Sends mouse events to napari's canvas and keeps how long each took."""

    def __init__(self, canvas: QWidget) -> None:
        self._canvas = canvas
        self.seconds: dict[str, list[float]] = {}

    def send(self, name: str, x: float, y: float) -> None:
        """A press, move or release at a point of the canvas."""
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        kind, button, held = {
            "press": (QEvent.Type.MouseButtonPress, left, left),
            "move": (QEvent.Type.MouseMove, none, left),
            "release": (QEvent.Type.MouseButtonRelease, left, none),
        }[name]
        here = QPointF(x, y)
        where = QPointF(self._canvas.mapToGlobal(here.toPoint()))
        modifiers = Qt.KeyboardModifier.NoModifier
        event = QMouseEvent(kind, here, where, button, held, modifiers)
        started = time.perf_counter()
        QApplication.sendEvent(self._canvas, event)
        self.seconds.setdefault(name, []).append(time.perf_counter() - started)


def slide_of(side: int) -> list[np.ndarray]:
    """A pyramid of one colour that takes no memory."""
    levels, colour = [], np.array([225, 190, 215], np.uint8)
    while side > 500:
        levels.append(np.broadcast_to(colour, (side, side, 3)))
        side = -(-side // 2)
    return levels


def stroking(person: Person, side: int = 100_000, strokes: int = 40) -> None:
    """Strokes and areas by mouse on a large slide."""
    widget, session = person.widget, person.session
    layer = person.viewer.add_image(slide_of(side), rgb=True, multiscale=True)
    box = widget.image_line.box
    box.setCurrentIndex(box.count() - 1)
    box.activated.emit(box.currentIndex())
    if not run_until(lambda: widget.layers.image == layer, 120):
        raise SystemExit(f"No slide: {widget.message.text()}")
    pause(SETTLED)
    canvas = canvas_beside(widget)
    rng = np.random.default_rng(0)
    for tool in ("foreground", "outline"):
        widget.layers.strokes.choose(tool)
        pause(0.3)
        mouse, before = Mouse(canvas), len(session.strokes)
        size = np.array([canvas.width(), canvas.height()])
        for _ in range(strokes):
            draw(mouse, rng.uniform(0.3, 0.7, 2) * size, rng)
        pause(0.5)
        made = len(session.strokes) - before
        for name, seconds in mouse.seconds.items():
            milliseconds = 1000 * np.array(seconds)
            print(
                f"{tool}, {made} strokes, {name:8s} {len(milliseconds):5d} events  "
                f"p50 {np.percentile(milliseconds, 50):5.1f}  "
                f"p95 {np.percentile(milliseconds, 95):5.1f}  "
                f"max {milliseconds.max():5.1f} ms",
                flush=True,
            )
    print(f"canvas {session.canvas.shape}, saved: {session.saved}")
    person.viewer.close()


def draw(mouse: Mouse, start: np.ndarray, rng: np.random.Generator) -> None:
    """A wavy line at the pace of a hand."""
    mouse.send("press", *start)
    heading, at = rng.uniform(0, 2 * np.pi), start
    for _ in range(20):
        heading += rng.normal(0, 0.5)
        at = at + 9 * np.array([np.cos(heading), np.sin(heading)])
        pause(0.016)
        mouse.send("move", *at)
    pause(0.016)
    mouse.send("release", *at)
    pause(0.05)


if __name__ == "__main__":
    main()
