"""A monkey at the window: presses what can be pressed, in an order that a seed gives.

``test_monkey.py`` runs it in a process of its own, at home in an empty folder: it types
into fields, and exports where they say. It fails where anything raises, an error is
logged, Qt complains, or the window does not answer for :data:`HANG` seconds, and prints
what it did last. Timers decide with it when an answer arrives: a seed gives the same
actions, not always the same fault.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import random
import re
import sys
import threading
import time
import traceback
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import napari
import numpy as np
from conftest import save_layers_model, send_mouse, tiny_model
from fixtures.load import busy
from PIL import Image
from qtpy.QtCore import QObject, QPointF, Qt, QTimer, QUrl, Slot, qInstallMessageHandler
from qtpy.QtGui import QDesktopServices
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QFileDialog,
    QLineEdit,
    QMenu,
    QScrollBar,
)

from napari_wsol.gui.correct.panel import balance_words
from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.layers.marks import file_of
from napari_wsol.paths import models_folder
from napari_wsol.slides import large
from napari_wsol.zoo import save_model

if TYPE_CHECKING:
    from qtpy.QtWidgets import (
        QWidget,
    )

HANG = 5.0
"""Seconds without an answer of the window that count as a hang; where more runs than
there are processors, everything takes so much longer."""

MOST_LAYERS = 14
SHOWN = 40
"""Actions that are printed where one fails."""

PATIENCE = 8
"""Looks at a menu or a dialog until it is closed, whatever it wants."""

HARMLESS = (
    "propagateSizeHints",
    "This plugin does not support",
    "XDG_RUNTIME_DIR",
    "QStandardPaths",
    "Populating font family aliases",
)
"""What Qt says about displays that are simulated."""

TEXTS = ("7", "0.25", "-3", "1e9", "nan", "µm ✓", "a name", "", "../x", "<b>[/b]")
NAMES = ("Strokes", "image", "PixelCAM · bright", "", "ä/ö\\[red]", "x" * 300)
LEFT = Qt.MouseButton.LeftButton


class FaultError(Exception):
    """Something that must never happen."""


# ------------------------------------------------------------------------ what it opens


def square(side: int = 96) -> np.ndarray:
    """(side, side, 3) uint8: dark with a bright square."""
    image = np.full((side, side, 3), 40, np.uint8)
    image[side // 4 : side // 2, side // 2 : 3 * side // 4] = 220
    return image


def images(rng: np.random.Generator) -> dict[str, tuple]:
    """Data and options of a layer, by a name that says what is odd about it."""
    noise = rng.integers(0, 255, (90, 70), np.uint8)
    return {
        "colour": (square(), {}),
        "grey": (noise, {}),
        "wide": (rng.integers(0, 255, (40, 220, 3), np.uint8), {}),
        "one row": (noise[:1], {}),
        "one column": (noise[:, :1], {}),
        "one pixel": (noise[:1, :1], {}),
        "float": (rng.random((64, 64), np.float32), {}),
        "float colour": (rng.random((64, 48, 3)), {}),
        "nan": (np.full((32, 32), np.nan, np.float32), {"contrast_limits": (0, 1)}),
        "some nan": (np.where(noise > 9, noise, np.nan).astype(np.float32), {}),
        "rgba": (rng.integers(0, 255, (64, 80, 4), np.uint8), {}),
        "16 bit": (noise.astype(np.uint16) * 200, {}),
        "signed": (noise.astype(np.int32) - 128, {}),
        "constant": (np.full((50, 50, 3), 255, np.uint8), {}),
        "yes and no": (noise > 99, {}),
        "stack": (rng.integers(0, 255, (4, 40, 50), np.uint8), {}),
        "five axes": (np.zeros((2, 2, 3, 24, 24), np.uint8), {}),
        "pyramid": ([square(256), square(256)[::2, ::2]], {"multiscale": True}),
        "turned": (square(), {"rotate": 30, "scale": (0.5, 2), "translate": (9, -40)}),
        "micrometres": (square(), {"scale": (0.5, 0.5), "units": ("um", "um")}),
        "larger": (square(320), {}),
    }


def playground(folder: Path) -> list[Path]:
    """Files to choose in dialogs, of all kinds, most of them wrong."""
    many = folder / "images"
    many.mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.roll(square(), 20 * number, 0)).save(many / f"{number}.png")
    ring = [[10, 10], [40, 10], [40, 40], [10, 10]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Tumor"}},
    }
    (folder / "good.geojson").write_text(json.dumps([feature]))
    (folder / "bad.geojson").write_text('{"type": "Feature", "geometry": 3}')
    (folder / "garbage.pt").write_bytes(b"\x80\x02garbage")
    (folder / "empty.png").touch()
    (folder / "list.csv").write_text("image\nimages/0.png\nimages/none.png\n")
    (folder / "recipe.toml").write_text('name = "toy"\n[data]\ntrain = 3\n')
    return [
        *sorted(folder.iterdir()),
        folder,
        folder / "not there",
        folder / "new.toml",
    ]


# ------------------------------------------------------------------------ what it hears


FLAT_LINES = "Last dimension should be 3 not 4"
"""What napari 0.9 raises where a person shows flat Vectors in 3-D. The dock hides its
own there, and cannot once it is closed."""


class Ears(logging.Handler):
    """Hears everything that must not be said; whatever it hears is a fault."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []
        logging.getLogger().addHandler(self)
        sys.excepthook = self._on_exception
        threading.excepthook = lambda args: self._on_exception(
            args.exc_type, args.exc_value, args.exc_traceback
        )
        sys.unraisablehook = lambda args: self._on_exception(
            args.exc_type, args.exc_value, args.exc_traceback
        )
        qInstallMessageHandler(self._on_qt)

    def check(self) -> None:
        """Raises what was heard."""
        if self.heard:
            raise FaultError("\n".join(self.heard))

    def emit(self, record: logging.LogRecord) -> None:
        """A logged error."""
        self.heard.append(f"logged: {logging.Formatter().format(record)}")

    def _on_exception(self, kind, error, trace) -> None:
        if str(error) == FLAT_LINES:
            return
        lines = traceback.format_exception(kind, error, trace)
        self.heard.append("raised: " + "".join(lines))
        say(self.heard[-1])

    def _on_qt(self, kind, context, message: str) -> None:
        del kind, context
        if not any(known in message for known in HARMLESS):
            self.heard.append(f"Qt: {message}")


class Watch:
    """Ends the process with the stacks of all threads where the window hangs."""

    def __init__(self) -> None:
        self._last, self._worked = time.monotonic(), time.thread_time()
        self.longest = self.work = 0.0
        self._timer = QTimer()
        self._timer.timeout.connect(self._tick)
        self._timer.start(50)
        threading.Thread(target=self._look, daemon=True).start()

    def _tick(self) -> None:
        now, worked = time.monotonic(), time.thread_time()
        self.longest = max(self.longest, now - self._last)
        if worked - self._worked > max(1.0, self.work):
            say(f"  (the window computed for {worked - self._worked:.1f} s)")
        self.work = max(self.work, worked - self._worked)
        self._last, self._worked = now, worked

    def _look(self) -> None:
        while True:
            time.sleep(0.1)
            gap = time.monotonic() - self._last
            if gap > HANG * busy():
                say(f"FAULT: the window did not answer for {gap:.1f} s")
                faulthandler.dump_traceback(sys.stdout, all_threads=True)
                os._exit(3)


class Files(QObject):
    """Takes what the window would open with another program."""

    @Slot(QUrl)
    def open(self, url: QUrl) -> None:
        """Nothing is opened."""
        del url


def say(line: str) -> None:
    """Tell the parent at once: this process may die."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# ------------------------------------------------------------------------- what it does


class Monkey:
    """A window, and somebody who does not know what it is for."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.at_dialogs = random.Random(seed + 1)
        self.numbers = np.random.default_rng(seed)
        self.files = playground(Path("files").absolute())
        self.done: deque[str] = deque(maxlen=SHOWN)
        self.counts: dict[str, int] = {}
        self.dock: WsolWidget | None = None
        self.viewer = napari.Viewer(show=True)
        self.open_dock()
        self._seen: tuple[QWidget | None, int] = (None, 0)
        QTimer.singleShot(120, self.attend)
        self.ways = {
            self.press_button: 30,
            self.turn_control: 14,
            self.press_key: 14,
            self.paint: 14,
            self.move_mouse: 4,
            self.type_text: 4,
            self.click_list: 4,
            self.add_image: 6,
            self.choose_image: 5,
            self.change_layer: 9,
            self.drop_layer: 4,
            self.change_pixels: 2,
            self.change_view: 2,
            self.close_dock: 2,
            self.rest: 12,
        }

    def warm_up(self) -> None:
        """torch is imported, shaders are compiled: it takes seconds, but once."""
        self.viewer.add_image(square(), name="first")
        end = time.monotonic() + 60
        while time.monotonic() < end and (
            self.dock.session.model is None or self.dock.session.is_busy
        ):
            QTest.qWait(50)

    def step(self) -> None:
        """One thing, then a while in which the window may answer."""
        way = self.rng.choices(list(self.ways), list(self.ways.values()))[0]
        words = way()
        if words:
            self.counts[way.__name__] = self.counts.get(way.__name__, 0) + 1
        QTest.qWait(self.rng.choice((0, 0, 5, 20, 60)))

    def note(self, words: str) -> str:
        """Say what is about to be done."""
        self.done.append(words)
        say(f"- {words}")
        return words

    # ----------------------------------------------------------------- in the dock

    def widgets(self, kind: type) -> list:
        """What can be seen and used of a kind, in the dock and its dialogs."""
        places = [self.dock] if self.dock is not None else []
        places += [top for top in self.dialogs() if top.isVisible()]
        return [
            widget
            for place in places
            for widget in place.findChildren(kind)
            if widget.isVisible() and widget.isEnabled()
        ]

    def dialogs(self) -> list[QDialog]:
        """Those that the dock has opened."""
        tops = QApplication.topLevelWidgets()
        return [
            top
            for top in tops
            if isinstance(top, QDialog)
            and not isinstance(top, QFileDialog)
            and self.dock is not None
            and self.dock.isAncestorOf(top)
        ]

    def show(self, widget: QWidget) -> None:
        """Scroll to it."""
        if self.dock is not None and self.dock.scroll_area.isAncestorOf(widget):
            self.dock.scroll_area.ensureWidgetVisible(widget)

    def press_button(self) -> str | None:
        """Click anything that can be clicked."""
        buttons = self.widgets(QAbstractButton)
        if not buttons:
            return None
        button = self.rng.choice(buttons)
        words = self.note(f"click {named(button)}")
        self.show(button)
        QTest.mouseClick(button, LEFT)
        return words

    def turn_control(self) -> str | None:
        """Keys on a choice, a slider or a number."""
        kinds = (QComboBox, QAbstractSlider, QAbstractSpinBox)
        found = [widget for kind in kinds for widget in self.widgets(kind)]
        found = [widget for widget in found if not isinstance(widget, QScrollBar)]
        if not found:
            return None
        widget = self.rng.choice(found)
        keys = ("Down", "Up", "Left", "Right", "Home", "End", "PageUp", "PageDown")
        key = self.rng.choice(keys)
        words = self.note(f"{key} on {named(widget)}")
        self.show(widget)
        for _ in range(self.rng.randint(1, 4)):
            QTest.keyClick(widget, getattr(Qt.Key, f"Key_{key}"))
        return words

    def type_text(self) -> str | None:
        """Something into a field."""
        found = [field for field in self.widgets(QLineEdit) if not field.isReadOnly()]
        if not found:
            return None
        field, text = self.rng.choice(found), self.rng.choice(TEXTS)
        words = self.note(f"type {text!r} into {named(field)}")
        self.show(field)
        field.selectAll()
        for sign in text:  # letters that have no key are put in, as input methods do
            if sign.isascii():
                QTest.keyClicks(field, sign)
            else:
                field.insert(sign)
        QTest.keyClick(field, Qt.Key.Key_Return)
        return words

    def click_list(self) -> str | None:
        """A row of a list or table."""
        found = self.widgets(QAbstractItemView)
        if not found:
            return None
        view = self.rng.choice(found)
        words = self.note(f"click in {named(view)}")
        self.show(view)
        area = view.viewport()
        where = area.rect().topLeft()
        where.setX(self.rng.randrange(max(1, area.width())))
        where.setY(self.rng.randrange(max(1, area.height())))
        click = self.rng.choice((QTest.mouseClick, QTest.mouseDClick))
        click(area, LEFT, Qt.KeyboardModifier.NoModifier, where)
        return words

    # --------------------------------------------------------------- on the canvas

    @property
    def canvas(self) -> QWidget:
        """Where the image is shown."""
        return self.viewer.window._qt_viewer.canvas.native

    def press_key(self) -> str | None:
        """One of the plugin's keys, over the image."""
        if self.dock is None:
            return None
        key = self.rng.choice(self.dock._key_table()).key
        words = self.note(f"key {key}")
        *held, name = re.split("[-+]", key.replace("Ctrl", "Control"))
        modifiers = Qt.KeyboardModifier.NoModifier
        for modifier in held:
            modifiers |= getattr(Qt.KeyboardModifier, f"{modifier}Modifier")
        code = getattr(Qt.Key, f"Key_{name}")
        QTest.keyPress(self.canvas, code, modifiers)
        QTest.qWait(self.rng.choice((0, 0, 30, 120)))
        QTest.keyRelease(self.canvas, code, modifiers)
        return words

    def paint(self) -> str:
        """A stroke with whatever is in the hand, now and then a click only."""
        if self.viewer.dims.ndisplay == 3:
            return "no stroke: napari itself fails beside a flat image seen from aside"
        places = [self.place() for _ in range(self.rng.choice((1, 2, 2, 5)))]
        words = self.note(f"paint {[(p.x(), p.y()) for p in places]}")
        none = Qt.MouseButton.NoButton
        self.mouse("MouseMove", places[0], none, none)
        self.mouse("MouseButtonPress", places[0], LEFT, LEFT)
        for before, after in pairwise(places):
            for share in np.linspace(0, 1, 7):
                self.mouse("MouseMove", before + (after - before) * share, none, LEFT)
                if self.rng.random() < 0.1:
                    QTest.qWait(10)
        if self.rng.random() < 0.1:
            self.drop_layer()
        self.mouse("MouseButtonRelease", places[-1], LEFT, none)
        if self.rng.random() < 0.2:
            self.mouse("MouseButtonDblClick", places[-1], LEFT, LEFT)
            self.mouse("MouseButtonRelease", places[-1], LEFT, none)
        return words

    def move_mouse(self) -> str:
        """Look here and there."""
        none = Qt.MouseButton.NoButton
        for _ in range(4):
            self.mouse("MouseMove", self.place(), none, none)
            QTest.qWait(5)
        return "look"

    def place(self) -> QPointF:
        """A place on the canvas, often in its middle, where the image is."""
        size = self.canvas.rect()
        margin = self.rng.choice((0.0, 0.25, 0.4))
        y, x = (self.rng.uniform(margin, 1 - margin) for _ in range(2))
        return QPointF(x * size.width(), y * size.height())

    def mouse(self, kind: str, point, button, buttons) -> None:
        """A real event of the mouse."""
        send_mouse(self.canvas, kind, point, button, buttons)

    # ------------------------------------------------------------ napari's own things

    def add_image(self) -> str:
        """An image, often an odd one, sometimes two at once; not too many."""
        while len(self.viewer.layers) > MOST_LAYERS:
            self.drop_layer()
        kinds = images(self.numbers)
        name = self.rng.choice([*kinds, "colour", "colour", "colour"])
        words = self.note(f"open “{name}”")
        data, options = kinds[name]
        self.viewer.add_image(data, name=name, **options)
        return words

    def choose_image(self) -> str | None:
        """Another image of the list in the dock."""
        if self.dock is None:
            return None
        box = self.dock.image_line.box
        if not box.isVisible() or not box.count():
            return None
        words = self.note("choose another image")
        QTest.keyClick(box, self.rng.choice((Qt.Key.Key_Down, Qt.Key.Key_Up)))
        return words

    def drop_layer(self) -> str | None:
        """Delete a layer, ours or not."""
        if not self.viewer.layers:
            return None
        if self.rng.random() < 0.05:
            words = self.note("delete all layers")
            self.viewer.layers.clear()
            return words
        layer = self.rng.choice(list(self.viewer.layers))
        words = self.note(f"delete “{layer.name}”")
        self.viewer.layers.remove(layer)
        return words

    def change_layer(self) -> str | None:
        """Rename, reorder, hide, select, take back, move in space."""
        if not self.viewer.layers:
            return None
        layers = self.viewer.layers
        layer = self.rng.choice(list(layers))
        change = self.rng.choice(
            ("rename", "reorder", "hide", "select", "undo", "scale", "select none")
        )
        words = self.note(f"{change} “{layer.name}”")
        if change == "rename":
            layer.name = self.rng.choice(NAMES)
        elif change == "reorder":
            layers.move(layers.index(layer), self.rng.randint(0, len(layers)))
        elif change == "hide":
            layer.visible = not layer.visible
        elif change == "select":
            layers.selection.active = layer
        elif change == "undo" and hasattr(layer, "undo"):
            self.rng.choice((layer.undo, layer.redo))()
        elif change == "scale":
            layer.scale = [self.rng.choice((0.5, 1, 3))] * layer.ndim
        elif change == "select none":
            layers.selection.clear()
        return words

    def change_pixels(self) -> str | None:
        """Other pixels in the same layer, of the same or another shape."""
        found = [x for x in self.viewer.layers if type(x) is napari.layers.Image]
        found = [x for x in found if not x.multiscale and x.ndim == 2]
        if not found:
            return None
        layer = self.rng.choice(found)
        words = self.note(f"other pixels in “{layer.name}”")
        data = np.asarray(layer.data)
        layer.data = (
            data[::-1] if self.rng.random() < 0.5 else data[: len(data) // 2 + 1]
        )
        return words

    def change_view(self) -> str:
        """Grid, theme, 3-D, home, zoom."""
        change = self.rng.choice(("grid", "theme", "3-D", "home", "zoom"))
        words = self.note(f"change {change}")
        if change == "grid":
            self.viewer.canvas.grid.enabled = not self.viewer.canvas.grid.enabled
        elif change == "theme":
            self.viewer.theme = self.rng.choice(("dark", "light"))
        elif change == "3-D":
            self.viewer.dims.ndisplay = 5 - self.viewer.dims.ndisplay
        elif change == "home":
            self.viewer.fit_to_view()
        else:
            self.viewer.scene.camera.zoom *= self.rng.choice((0.3, 3.0))
        return words

    def open_dock(self) -> None:
        """As napari opens it from its menu."""
        self.dock = WsolWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.dock, name="wsol", area="right")

    def close_dock(self) -> str:
        """Close the dock, whatever it does, and open another one now or later."""
        if self.dock is None:
            words = self.note("open the dock")
            self.open_dock()
            return words
        words = self.note("close the dock")
        dock, self.dock = self.dock, None
        self.viewer.window.remove_dock_widget(dock)
        dock.setParent(None)
        dock.deleteLater()
        if self.rng.random() < 0.6:
            QTest.qWait(self.rng.choice((0, 50)))
            self.open_dock()
        return words

    def rest(self) -> str:
        """Let the window work for a while; then it and the session say the same."""
        QTest.qWait(self.rng.choice((200, 600)))
        end = time.monotonic() + HANG * busy()
        while self.dock is not None and not self.dock.session.is_busy:
            told = [words for words, agrees in self.sayings().items() if not agrees]
            if not told:
                break
            if time.monotonic() > end:
                raise FaultError(f"window and session do not agree on {told}")
            QTest.qWait(50)  # what was told is on its way
        return "rest"

    def sayings(self) -> dict[str, bool]:
        """What the window says of its image, and whether the session says so, too."""
        dock, session, layers = self.dock, self.dock.session, self.dock.layers
        maps, result, strokes = session.heatmaps, session.result, layers.strokes
        if layers.image is None:
            return {"no image": session.slide is None and not maps}
        box, panel = dock.localize_panel.class_box, dock.correct_panel
        known = {box.itemData(place) for place in range(box.count())}
        shown = {} if result is None else result.scores
        best = max(shown, key=shown.get, default=None)
        shown_as = box.itemText(0)
        canvas, layer = session.scribbles, strokes.layer
        painted = canvas is not None and bool(canvas.any())
        return {
            "the image": session.drawn_on == strokes.fingerprint,
            "the class": all(
                session.is_replaced or one.target == result.target
                for one in maps.values()
            ),
            "the classes": known <= {None, *session.model.classes},
            "the most probable": best is None or f": {best}" in shown_as,
            "probabilities": (best is None) == (":" not in shown_as),
            "maps": set(layers.heatmaps.pairs) <= set(maps),
            "rows": dock.compare_panel.probe.rowCount() == len(layers.heatmaps.pairs),
            "strokes": np.array_equal(layer.data, canvas)
            if layer is not None and canvas is not None
            else not painted,
            "counts": panel.balance.text()
            == balance_words(*session.stroke_counts, live=panel.live.isChecked()),
            "rounds": len(panel.rounds.dots.buttons) in (0, len(session.rounds)),
            "file": session.slide.path in (None, file_of(layers.image)),
        }

    # ------------------------------------------------------------- menus and dialogs

    def attend(self) -> None:
        """What stands in front of everything gets an answer, or is closed."""
        # Another timer each time: a timer does not fire while its own answer opens the
        # next dialog, and waits for that.
        QTimer.singleShot(120, self.attend)
        front = QApplication.activePopupWidget() or QApplication.activeModalWidget()
        before, times = self._seen
        times = times + 1 if front is before else 0
        self._seen = front, times
        if front is None:
            return
        if times > PATIENCE:
            self.note(f"close {named(front)}")
            front.close()
        elif isinstance(front, QMenu):
            self._choose_entry(front)
        elif isinstance(front, QFileDialog):
            self._choose_file(front)
        else:
            self._answer(front)

    def _choose_entry(self, menu: QMenu) -> None:
        actions = [x for x in menu.actions() if x.isEnabled() and not x.isSeparator()]
        if not actions or self.at_dialogs.random() < 0.2:
            menu.close()
            return
        action = self.at_dialogs.choice(actions)
        self.note(f"choose “{action.text()}”")
        menu.setActiveAction(action)
        QTest.keyClick(menu, Qt.Key.Key_Return)

    def _choose_file(self, dialog: QFileDialog) -> None:
        chosen = self.at_dialogs.choice([None, *self.files])
        self.note(f"in “{dialog.windowTitle()}”: {chosen and chosen.name}")
        field = dialog.findChild(QLineEdit, "fileNameEdit")
        if chosen is None or field is None:
            dialog.reject()
            return
        field.setText(str(chosen))
        QTest.keyClick(field, Qt.Key.Key_Return)

    def _answer(self, dialog: QWidget) -> None:
        buttons = [
            x
            for x in dialog.findChildren(QAbstractButton)
            if x.isVisible() and x.isEnabled()
        ]
        if not buttons or self.at_dialogs.random() < 0.3:
            self.note(f"leave {named(dialog)}")
            QTest.keyClick(dialog, Qt.Key.Key_Escape)
            return
        button = self.at_dialogs.choice(buttons)
        self.note(f"click {named(button)} in {named(dialog)}")
        QTest.mouseClick(button, LEFT)


def named(widget: QWidget) -> str:
    """What a person would call it."""
    for name in ("text", "title", "windowTitle", "toolTip"):
        told = getattr(widget, name, None)
        words = told() if callable(told) else ""
        if words:
            return f"{type(widget).__name__} “{' '.join(words.split())[:50]}”"
    return type(widget).__name__


# ------------------------------------------------------------------------------ the run


def run(seed: int, seconds: float) -> int:
    """Plays for so long.

    Returns:
        The exit status: 0 where nothing happened that must not.
    """
    application = napari.qt.get_qapp()
    ears, files = Ears(), Files()
    QDesktopServices.setUrlHandler("file", files, "open")
    model, card = tiny_model()
    save_model(model, card, models_folder())
    save_layers_model(models_folder().parent)
    if seed % 2:
        large.LARGE_PIXELS = 20_000  # then some of its images are slides
    monkey = Monkey(seed)
    monkey.warm_up()
    watch, begin, steps = Watch(), time.monotonic(), 0
    try:
        while time.monotonic() < begin + seconds:
            monkey.step()
            steps += 1
            ears.check()
        monkey.note("close the window")
        monkey.viewer.close()
        QTest.qWait(500)
        ears.check()
    except Exception:  # noqa: BLE001 - whatever it is, it is the answer
        say(f"FAULT after {steps} steps: {traceback.format_exc()}")
        return 1
    application.processEvents()
    waits = f"longest wait {watch.longest:.2f} s, {watch.work:.2f} s of computing"
    say(f"{steps} steps, {waits}: {monkey.counts}")
    return 0


if __name__ == "__main__":
    faulthandler.enable(sys.stdout)
    status = run(int(sys.argv[1]), float(sys.argv[2]))
    sys.stdout.flush()
    os._exit(status)  # threads of jobs that were stopped may still run
