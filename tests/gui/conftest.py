"""A real viewer, a real dock, and a real model with known answers."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("napari", reason="the window needs the napari extra")
pytest.importorskip("pytestqt", reason="the window is tested with pytest-qt")

import torch
from fixtures.colours import CELL, colour_model
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication
from torch import nn

from napari_wsol.encoders import Encoder, list_encoders, register_encoder
from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.widgets.panel import Panel
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.card import Card
from napari_wsol.zoo import save_model

if TYPE_CHECKING:
    from pathlib import Path

WAIT = 60_000
WIDE = 2048
"""Channels of the last layer of the model with two."""


@pytest.fixture(scope="session", autouse=True)
def imported_is_kept():
    """napari collects garbage after each viewer; modules need not be walked then."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


if "tiny-layers" not in list_encoders():

    @register_encoder("tiny-layers")
    class Layers(Encoder):
        """Mean colours at two depths, the deeper one spread over many channels."""

        def __init__(self, *, output_stride=CELL, taps=None, in_channels=3):
            super().__init__()
            del output_stride
            self.fine = nn.AvgPool2d(2)
            self.coarse = nn.Sequential(
                nn.AvgPool2d(2), nn.Conv2d(in_channels, WIDE, 1), nn.ReLU()
            )
            self.choose(taps, {"fine": in_channels, "coarse": WIDE})

        def stages(self):
            yield "fine", self.fine
            yield "coarse", self.coarse

        def path(self):
            yield "fine", (2, 2, 1), 0
            yield "coarse", (2, 2, 1), 0


def save_layers_model(folder: Path, **changes) -> Card:
    """A classifier with two layers and no pixel head, into the user's zoo."""
    torch.manual_seed(0)
    spec = ModelSpec(encoder="tiny-layers", classes=("dark", "bright"), heads=("cam",))
    card = Card(
        name="layers",
        title="Tiny layers",
        summary="A classifier with two layers.",
        spec=spec,
        methods=("cam",),
        primary="cam",
    )
    return save_model(Model(spec), replace(card, **changes), folder / "models")


def tiny_model() -> tuple[Model, Card]:
    """Bright is foreground: CAM and PixelCAM follow the brightness."""
    model = colour_model(("dark", "bright"), (1.0, 1.0, 1.0), 20.0)
    card = Card(
        name="tiny",
        title="Tiny brightness",
        summary="Finds bright things. Made for tests.",
        spec=model.spec,
        methods=("pixelcam", "cam"),
        primary="pixelcam",
        finds="a bright thing",
        license="CC0-1.0",
        limits=("Knows nothing but brightness.",),
    )
    return model, card


@pytest.fixture(autouse=True)
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of the user with the tiny model in it."""
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    # napari's copy of our preferences is another one, too.
    settings = str(tmp_path / "napari" / "settings.yaml")
    monkeypatch.setattr("napari.settings._CFG_PATH", settings, raising=False)
    monkeypatch.setattr("napari.settings._PLUGIN_SETTINGS", {}, raising=False)
    model, card = tiny_model()
    save_model(model, card, tmp_path / "home" / "models")
    return tmp_path / "home"


class Bench:
    """A person's hands and eyes."""

    def __init__(self, proxy, qtbot) -> None:
        self.proxy = proxy
        self.viewer = proxy.__wrapped__  # for the canvas, to which events are sent
        self.qtbot = qtbot
        # Plugins get the proxy from napari, so the dock must work with one.
        self.widget = WsolWidget(proxy)
        self.widget.controller.prefer_model("tiny")
        self.viewer.window.add_dock_widget(self.widget, name="wsol", area="right")
        self.session = self.widget.session
        # Tests press Refine themselves; those of rounds let the map follow.
        self.session.live = False
        self.is_open = True

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]

    def layer(self, start: str):
        return next(x for x in self.viewer.layers if x.name.startswith(start))

    def until(self, condition) -> None:
        self.qtbot.waitUntil(condition, timeout=WAIT)

    def click(self, button) -> None:
        """Press a button, in a panel that is opened where it is folded."""
        for panel in self.widget.findChildren(Panel):
            if panel.content().isAncestorOf(button) and not panel.isExpanded():
                self.click(panel.toggleButton())

        def can_be_seen() -> bool:
            self.widget.scroll_area.ensureWidgetVisible(button)
            return button.visibleRegion().contains(button.rect().center())

        self.until(can_be_seen)
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def open(self, data, **options):
        """Add an image layer and wait until the dock works on it."""
        layer = self.viewer.add_image(data, **options)
        self.until(lambda: self.widget.layers.image == layer)
        self.until(lambda: self.session.model is not None)
        return layer

    def close_viewer(self) -> None:
        """Close the whole window; its widgets are gone afterwards."""
        self.is_open = False
        self.viewer.close()

    def localize(self) -> None:
        self.click(self.widget.localize_panel.localize_button)
        self.until(lambda: len(self.widget.layers.maps()) == 2)
        self.until(lambda: not self.session.is_busy)
        self.until(lambda: not self.widget.layers.is_adding)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Paint from one world position to another with the left mouse button."""
        canvas = self.viewer.window._qt_viewer.canvas.native
        points = [
            self._on_canvas(np.add(start, share * np.subtract(end, start)))
            for share in np.linspace(0, 1, 9)
        ]
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        send_mouse(canvas, "MouseMove", points[0], none, none)
        send_mouse(canvas, "MouseButtonPress", points[0], left, left)
        for point in points[1:]:
            send_mouse(canvas, "MouseMove", point, none, left)
        send_mouse(canvas, "MouseButtonRelease", points[-1], left, none)

    def press(self, position: tuple[float, float]) -> None:
        """A click on a world position."""
        canvas = self.viewer.window._qt_viewer.canvas.native
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        point = self._on_canvas(position)
        send_mouse(canvas, "MouseMove", point, none, none)
        send_mouse(canvas, "MouseButtonPress", point, left, left)
        send_mouse(canvas, "MouseButtonRelease", point, left, none)

    def move_to(self, position: tuple[float, float]) -> None:
        """Rest the mouse over a world position."""
        canvas, none = (
            self.viewer.window._qt_viewer.canvas.native,
            Qt.MouseButton.NoButton,
        )
        send_mouse(canvas, "MouseMove", self._on_canvas(position), none, none)

    def mouse(self, widget, kind: str, point: QPointF, button, buttons) -> None:
        """An event of the mouse at a point of a widget."""
        send_mouse(widget, kind, point, button, buttons)

    def press_key(self, key: str) -> None:
        """Press a letter while the canvas has the focus."""
        canvas = self.viewer.window._qt_viewer.canvas.native
        self.qtbot.keyClick(canvas, key)

    def choose(self, box, data) -> None:
        """Take an entry of a list by what it stands for."""
        box.setCurrentIndex(box.findData(data))
        box.activated.emit(box.currentIndex())

    def use(self, name: str) -> None:
        """Choose a model of the list and wait until it is loaded."""
        self.choose(self.widget.localize_panel.model_box, name)
        self.until(lambda: getattr(self.session.model, "card", None) is not None)
        self.until(lambda: self.session.model.card.name == name)
        self.until(lambda: not self.session.is_busy)
        self.qtbot.wait(20)  # the list hears of it

    def localize_keys(self, *keys: str) -> None:
        """Press Localize and wait for these maps and no others."""
        self.click(self.widget.localize_panel.localize_button)
        self.until(lambda: set(self.widget.layers.heatmaps.pairs) == set(keys))
        self.until(lambda: not self.session.is_busy)
        self.until(lambda: not self.widget.layers.is_adding)

    def strokes(self) -> None:
        """A foreground stroke on the dark left and a background one in the square."""
        self.click(self.widget.correct_panel.tools["foreground"])
        self.drag((100, 10), (100, 40))
        self.click(self.widget.correct_panel.tools["background"])
        self.drag((45, 70), (45, 90))
        self.until(lambda: set(np.unique(self.session.scribbles)) == {0, 1, 2})

    def refine(self) -> None:
        rounds = len(self.session.rounds)
        self.click(self.widget.correct_panel.refine_button)
        self.until(lambda: len(self.session.rounds) > rounds)
        self.until(lambda: not self.session.is_busy)

    def _on_canvas(self, world) -> QPointF:
        camera = self.viewer.scene.camera
        height, width = self.viewer.canvas.size
        y, x = np.subtract(world, camera.center[-2:]) * camera.zoom
        return QPointF(width / 2 + x, height / 2 + y)


def send_mouse(widget, kind: str, point: QPointF, button, buttons) -> None:
    """An event of the mouse, as the system would send it."""
    where = QPointF(widget.mapToGlobal(point.toPoint()))
    bare = Qt.KeyboardModifier.NoModifier
    kind = getattr(QEvent.Type, kind)
    event = QMouseEvent(kind, point, where, button, buttons, bare)
    QApplication.sendEvent(widget, event)


@pytest.fixture
def make_bench(make_napari_viewer_proxy, qtbot):
    """Opens viewers with docks, and ends the docks' work afterwards."""
    made = []

    def make() -> Bench:
        made.append(Bench(make_napari_viewer_proxy(show=True), qtbot))
        return made[-1]

    yield make
    for bench in made:
        if bench.is_open:
            bench.widget.end()
        bench.session.close(wait=True)


@pytest.fixture
def bench(make_bench) -> Bench:
    """One viewer with its dock."""
    return make_bench()


@pytest.fixture
def layers_model(zoo: Path, bench: Bench) -> Card:
    """A second model in the list, with two layers to choose from."""
    card = save_layers_model(zoo)
    before = bench.widget.localize_panel.model_box
    bench.until(lambda: before.count() > 0)
    bench.widget.controller.read_catalogue()
    bench.until(lambda: before.findData("layers") >= 0)
    return card
