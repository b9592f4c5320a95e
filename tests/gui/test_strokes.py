"""Strokes by any means: painted, outlined, grown, imported, and taken back."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from fixtures.keys import clashes
from qtpy import QT6
from qtpy.QtCore import QEvent, QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent, QMouseEvent, QTabletEvent, QTouchEvent
from qtpy.QtWidgets import QApplication

from napari_wsol.gui.correct.tools import OUTLINE_KEY, WAND_KEY
from napari_wsol.gui.demo.viewer import open_viewer
from napari_wsol.journal import JournalLibrary

pytestmark = pytest.mark.gui

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
PLAIN = Qt.KeyboardModifier.NoModifier


def square(size: int = 128) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    return image


class Hand:
    """Draws slowly enough for vispy, which leaves out moves in quick succession."""

    def __init__(self, bench) -> None:
        self.bench, self.session = bench, bench.session
        self.canvas = bench.viewer.window._qt_viewer.canvas.native
        self.controller, self.layer = (
            bench.widget.controller.strokes,
            bench.widget.layers.strokes,
        )
        self.tools = self.controller.tools

    def mouse(self, kind, world, button, buttons) -> None:
        point = self.bench._on_canvas(world)
        where = QPointF(self.canvas.mapToGlobal(point.toPoint()))
        event = QMouseEvent(kind, point, where, button, buttons, PLAIN)
        QApplication.sendEvent(self.canvas, event)

    def press(self, world) -> None:
        self.mouse(QEvent.Type.MouseButtonPress, world, LEFT, LEFT)

    def move(self, world, buttons=LEFT) -> None:
        time.sleep(0.012)
        self.mouse(QEvent.Type.MouseMove, world, NONE, buttons)
        self.bench.qtbot.wait(8)  # napari takes them up a little later

    def release(self, world) -> None:
        self.mouse(QEvent.Type.MouseButtonRelease, world, LEFT, NONE)

    def draw(self, *worlds) -> None:
        self.press(worlds[0])
        for world in worlds[1:]:
            self.move(world)
        self.release(worlds[-1])

    def click(self, world) -> None:
        self.press(world)
        self.release(world)

    def key(self, key, modifier=PLAIN) -> None:
        self.bench.qtbot.keyClick(self.canvas, key, modifier=modifier)

    def shows_what_counts(self) -> bool:
        shown = self.layer.layer
        canvas = self.session.scribbles
        if shown is None:
            return canvas is None or not canvas.any()
        return np.array_equal(shown.data, 0 * shown.data if canvas is None else canvas)

    def on_disk(self) -> int:
        assert self.session.journal.flush()
        found = JournalLibrary().find(self.session.drawn_on)
        return 0 if found is None else found.strokes


@pytest.fixture
def hand(bench) -> Hand:
    return Hand(bench)


@pytest.mark.binding
def test_a_stroke_is_told_when_the_mouse_is_lifted_with_its_path(bench, hand):
    place = {"scale": (2, 3), "translate": (10, -20), "rotate": 30}
    source = bench.open(square(), **place)
    hand.key("f")
    way = [source.data_to_world(at) for at in ((40, 20), (60, 40), (60, 60))]
    hand.draw(*way)
    (stroke,) = hand.session.strokes  # at once, without a turn of the event loop
    assert (stroke.label, stroke.tool) == (2, "brush")
    path = np.array(stroke.path)
    assert len(path) >= 3
    assert np.abs(path[[0, -1]] - [(40, 20), (60, 60)]).max() < 1
    assert stroke.width == hand.layer.layer.brush_size
    assert stroke.seconds > 0.03  # the hand rests between its points
    assert hand.session.scribbles[60, 50] == 2
    assert hand.shows_what_counts()
    bench.qtbot.wait(200)  # nothing is told twice
    assert len(hand.session.strokes) == hand.on_disk() == 1
    hand.key("e")
    hand.draw(way[1], way[2])
    assert [item.tool for item in hand.session.strokes] == ["brush", "erase"]
    layer = hand.layer.layer
    layer.data[5:8, 5:8] = 1  # whatever else changes the layer
    layer.refresh()
    bench.until(lambda: len(hand.session.strokes) == 3)
    layer.fill((100, 100), 1)
    bench.until(lambda: len(hand.session.strokes) == 4)
    assert [item.tool for item in hand.session.strokes[2:]] == ["edit", "edit"]
    assert hand.shows_what_counts()
    layer.selected_label = 7
    layer.mode = "paint"
    hand.draw(way[0], way[1])
    bench.until(lambda: bench.widget.message.is_warning)
    assert "0 (nothing), 1 (background)" in bench.widget.message.text()
    assert hand.shows_what_counts()
    assert hand.on_disk() == 4
    hand.key("b")
    hand.press(way[0])
    hand.move(way[1])
    bench.viewer.layers.selection.active = source  # with the mouse still held
    assert hand.session.strokes[-1].tool == "brush"
    assert hand.shows_what_counts()
    hand.release(way[1])
    assert len(hand.session.strokes) == hand.on_disk() == 5


def test_every_step_can_be_taken_back_whatever_made_it(bench, hand):
    image = square()
    bench.open(image)
    ctrl, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    hand.key("b")
    hand.draw((100, 20), (100, 40))
    hand.draw((110, 20), (110, 40))
    hand.session.fill([(5, 5), (5, 25), (25, 15)], 2)  # by a script
    bench.until(hand.shows_what_counts)
    bench.click(hand.tools.clear)
    assert "cleared" in bench.widget.message.text()
    assert not hand.layer.layer.data.any()
    assert hand.tools.undo.text().startswith("↶ Undo 4")
    assert not hand.tools.clear.isEnabled()
    bench.click(hand.tools.undo)
    for left in (2, 1, 0):
        hand.key("z", ctrl)
        assert len(hand.session.strokes) == left
        assert hand.shows_what_counts()
    assert not hand.tools.undo.isEnabled()
    for there in (1, 2, 3):
        hand.key("z", ctrl | shift)
        assert len(hand.session.strokes) == there
    assert hand.shows_what_counts()
    assert "3 strokes · 1 foreground, 2 background" in (
        bench.widget.correct_panel.balance.text()
    )
    own = bench.viewer.add_labels(np.zeros((128, 128), int))  # the person's own
    own.paint((60, 60), 3)
    hand.key("z", ctrl)
    assert not own.data.any()
    assert len(hand.session.strokes) == 3
    strokes = hand.layer.layer
    bench.viewer.layers.remove(strokes)  # deleting is clearing
    bench.until(lambda: not hand.session.scribbles.any())
    bench.click(hand.tools.undo)
    assert hand.layer.layer in bench.viewer.layers
    assert hand.shows_what_counts()
    bench.viewer.layers.clear()  # not what deleting one layer means
    bench.until(lambda: hand.session.slide is None)
    bench.open(image)
    bench.until(lambda: len(hand.session.strokes) == 3)
    assert hand.session.scribbles.any()


@pytest.mark.binding
def test_an_area_is_drawn_freely_or_by_its_corners(bench, hand):
    bench.open(square())
    hand.key("b")
    hand.key("a")
    assert hand.tools.outline.isChecked()
    corners = [(20, 20), (20, 60), (60, 60), (60, 20)]
    hand.draw(*corners, (24, 20))
    (stroke,) = hand.session.strokes
    assert (stroke.label, stroke.tool) == (1, "polygon")
    assert hand.session.scribbles[40, 40] == 1
    assert 1400 < (hand.session.scribbles == 1).sum() < 1800
    assert hand.shows_what_counts()  # also where the line lay outside
    bench.qtbot.wait(200)
    hand.key("f")
    hand.key("a")
    for row, column in ((70, 20), (70, 60), (110, 60)):
        hand.click((row, column))
        hand.move((row + 2, column + 2), NONE)
    hand.mouse(QEvent.Type.MouseButtonDblClick, (110, 20), LEFT, LEFT)
    hand.release((110, 20))
    bench.until(lambda: len(hand.session.strokes) == 2)
    stroke = hand.session.strokes[-1]
    assert (stroke.label, stroke.tool) == (2, "polygon")
    assert np.abs(np.array(stroke.path[:3]) - [(70, 20), (70, 60), (110, 60)]).max() < 1
    assert hand.session.scribbles[80, 50] == 2
    bench.qtbot.wait(200)
    assert len(hand.session.strokes) == hand.on_disk() == 2
    hand.key("a")
    assert hand.layer.tool is None
    assert not clashes([OUTLINE_KEY, WAND_KEY])


@pytest.mark.binding
def test_the_wand_grows_where_the_model_sees_the_same(bench, hand):
    bench.open(square())
    bench.widget.session.live = False
    hand.key("f")
    hand.key("w")
    hand.click((48, 80))
    bench.until(lambda: bench.widget.message.is_warning)
    assert "Localize first" in bench.widget.message.text()
    bench.localize()
    hand.click((48, 80))
    bench.until(lambda: len(hand.session.strokes) == 1)
    (stroke,) = hand.session.strokes
    assert (stroke.label, stroke.tool) == (2, "grow")
    inside = hand.session.scribbles[32:64, 64:96]
    assert inside.mean() > 1.9
    assert (hand.session.scribbles != 0).sum() < 1.2 * inside.size
    bench.until(hand.shows_what_counts)
    hand.tools.reach.setValue(115)
    hand.tools.reach.setValue(120)
    bench.until(lambda: hand.session.strokes[-1].cells > 10_000)
    assert len(hand.session.strokes) == hand.session.undo_steps == 1
    bench.until(hand.shows_what_counts)
    hand.tools.step_reach(-20)
    bench.until(lambda: hand.session.strokes[-1].cells < 2_000)
    bench.click(hand.tools.undo)
    assert not hand.layer.layer.data.any()
    hand.draw((48, 80), (60, 60))  # a drag moves the image and grows nothing
    bench.until(lambda: not hand.session.is_busy)
    assert not hand.session.strokes


@pytest.mark.binding
def test_annotations_become_strokes_and_keep_what_was_painted(bench, hand, tmp_path):
    bench.open(square())
    hand.key("b")
    hand.draw((20, 20), (20, 40))
    painted = hand.session.scribbles.copy()

    def feature(name, *box):
        (x0, y0, x1, y1) = box
        ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": name}},
        }

    features = [feature("Tumor", 10, 10, 60, 30), feature("Normal", 70, 90, 80, 100)]
    features.append(feature("Ignore*", 0, 0, 5, 5))
    path = tmp_path / "qupath.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, mime, NONE, PLAIN, QEvent.Type.Drop
    )
    assert hand.controller.eventFilter(bench.widget, event)
    bench.until(lambda: len(hand.session.strokes) == 3)
    bench.until(lambda: "Imported 2 annotations" in bench.widget.message.text())
    assert "Normal (1) became background" in bench.widget.message.text()
    canvas = hand.session.scribbles
    assert (canvas[painted == 1] == 1).all()
    assert canvas[12, 12] == canvas[29, 59] == 2
    assert canvas[30, 60] == canvas[2, 2] == 0
    assert (canvas[90:100, 70:80] == 1).all()
    assert hand.shows_what_counts()
    hand.controller.undo()  # both at once
    assert np.array_equal(hand.session.scribbles, painted)
    assert hand.on_disk() == 1
    path.write_text("{}")
    hand.controller.load(path)
    bench.until(lambda: bench.widget.message.is_warning)
    assert "no GeoJSON" in bench.widget.message.text()
    assert len(hand.session.strokes) == 1
    # What names do not tell is asked, with what they tell proposed.
    chooser = bench.widget.controller.chooser
    path.write_text(json.dumps([*features, feature("<b>Gland", 0, 60, 9, 70)]))
    hand.controller.load(path)
    bench.until(lambda: chooser.dialog is not None)
    dialog = chooser.dialog
    assert dialog.answers == {
        "Tumor": "foreground", "Normal": "background", "Ignore*": "left out",
        "<b>Gland": "left out",
    }  # fmt: skip
    dialog.reject()
    assert len(hand.session.strokes) == 1
    hand.controller.load(path)
    bench.until(lambda: chooser.dialog is not None)
    chooser.dialog.fields["<b>Gland"].value = "foreground"
    chooser.dialog.accept()
    bench.until(lambda: len(hand.session.strokes) == 4)
    assert (hand.session.scribbles[60:70, :9] == 2).all()
    assert chooser.dialog is None


def tablet(kind, here, where, *, eraser=False):
    buttons = NONE if kind == QEvent.Type.TabletRelease else LEFT
    if QT6:
        from qtpy.QtGui import QInputDevice, QPointingDevice, QPointingDeviceUniqueId

        device = QPointingDevice(
            "pen",
            1,
            QInputDevice.DeviceType.Stylus,
            QPointingDevice.PointerType.Eraser
            if eraser
            else QPointingDevice.PointerType.Pen,
            QInputDevice.Capability.Position | QInputDevice.Capability.Pressure,
            1,
            2,
            "",
            QPointingDeviceUniqueId(),
        )
        event = QTabletEvent(
            kind, device, here, where, 0.5, 0, 0, 0, 0, 0, PLAIN, LEFT, buttons
        )
        event.kept = device  # Qt does not
        return event
    pointer = QTabletEvent.Eraser if eraser else QTabletEvent.Pen
    return QTabletEvent(
        kind, here, where, QTabletEvent.Stylus, pointer, 0.5, 0, 0, 0.0, 0.0, 0, PLAIN,
        1, LEFT, buttons,
    )  # fmt: skip


def touch(kind, here, where):
    from qtpy.QtGui import QEventPoint, QPointingDevice

    state = {
        QEvent.Type.TouchBegin: QEventPoint.State.Pressed,
        QEvent.Type.TouchUpdate: QEventPoint.State.Updated,
        QEvent.Type.TouchEnd: QEventPoint.State.Released,
    }[kind]
    device = QPointingDevice.primaryPointingDevice()
    return QTouchEvent(kind, device, PLAIN, [QEventPoint(1, state, here, where)])


@pytest.mark.binding
def test_pen_and_finger_paint_like_the_mouse_and_without_a_disk(bench, hand):
    journals = hand.session.journals.folder
    journals.parent.mkdir(exist_ok=True)
    journals.write_text("a file where the folder should be")
    bench.open(square())

    def go(make, kinds, *worlds, **facts):
        for kind, world in zip(kinds, (*worlds, worlds[-1]), strict=True):
            here = bench._on_canvas(world)
            where = QPointF(hand.canvas.mapToGlobal(here.toPoint()))
            event = make(kind, here, where, **facts)
            QApplication.sendEvent(hand.canvas, event)
            time.sleep(0.012)
            bench.qtbot.wait(8)

    kind = QEvent.Type
    pen = (kind.TabletPress, kind.TabletMove, kind.TabletMove, kind.TabletRelease)
    finger = (kind.TouchBegin, kind.TouchUpdate, kind.TouchUpdate, kind.TouchEnd)
    way = ((100, 20), (100, 40), (100, 60))
    go(tablet, pen, *way)  # no tool in the hand: Qt's affair
    assert not hand.session.strokes
    hand.key("f")
    go(tablet, pen, *way)
    assert [stroke.label for stroke in hand.session.strokes] == [2]
    assert hand.session.scribbles[100, 22] == hand.session.scribbles[100, 50] == 2
    if QT6:  # PyQt5 cannot make touch points
        go(touch, finger, (110, 20), (110, 40), (110, 60))
        assert len(hand.session.strokes) == 2
        assert hand.session.scribbles[110, 50] == 2
    go(tablet, pen, *way, eraser=True)
    assert hand.session.strokes[-1].tool == "erase"
    assert hand.session.scribbles[100, 50] == 0
    assert hand.layer.tool == "foreground"
    assert hand.shows_what_counts()
    status, count = bench.widget.status, len(hand.session.strokes)
    bench.until(lambda: "only in memory" in status.text())
    assert "background" in status.styleSheet()
    journals.unlink()
    go(tablet, pen, (20, 20), (20, 40), (20, 60))
    bench.until(lambda: "Saved" in status.text())
    assert not status.styleSheet()
    assert len(hand.session.strokes) == hand.on_disk() == count + 1


def test_the_next_day_the_work_is_there(make_bench):
    first = make_bench()
    hand = Hand(first)
    first.open(square())
    bar = first.widget.earlier_bar
    assert not bar.isVisible()
    hand.key("f")
    hand.draw((100, 20), (100, 40))
    hand.draw((110, 20), (110, 40))
    first.until(lambda: "Saved" in first.widget.status.text())
    before = hand.session.scribbles.copy()
    first.close_viewer()
    hand.session.close(wait=True)

    second = make_bench()
    hand = Hand(second)
    second.open(square())
    second.until(second.widget.earlier_bar.isVisible)
    assert "today at" in second.widget.earlier_bar.words.text()
    assert "2 strokes" in second.widget.earlier_bar.words.text()
    assert hand.layer.layer is None
    hand.key("b")  # painting without an answer goes on
    hand.draw((20, 20), (20, 40))
    second.until(lambda: not second.widget.earlier_bar.isVisible())
    assert [stroke.number for stroke in hand.session.strokes] == [1, 2, 3]
    assert (hand.session.scribbles[before == 2] == 2).all()
    assert hand.shows_what_counts()
    second.widget.end()  # the dock is closed, and opened again in the same viewer
    hand.session.close(wait=True)

    from napari_wsol.gui.dock import WsolWidget

    third = WsolWidget(second.proxy)
    second.viewer.window.add_dock_widget(third, area="right")
    second.until(lambda: third.session.scribbles is not None)
    assert len(third.session.strokes) == 3
    assert not third.earlier_bar.isVisible()
    third.end()
    third.session.close(wait=True)


@pytest.mark.binding
def test_the_unattended_story_leaves_the_journals_of_the_user_alone(tmp_path, qtbot):
    del qtbot
    viewer, widget = open_viewer(journals=tmp_path / "elsewhere")
    try:
        assert widget.session.journals.folder == tmp_path / "elsewhere"
    finally:
        widget.end()
        viewer.close()
