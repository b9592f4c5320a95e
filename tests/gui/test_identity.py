"""What belongs to an image stays with it, however it was opened, and goes with it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from fixtures.colours import colour_model
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QLabel,
    QListWidget,
    QTableWidget,
)

from napari_wsol.gui.images.reader import layer_of
from napari_wsol.journal import JournalLibrary
from napari_wsol.methods.card import Card
from napari_wsol.zoo import save_model

if TYPE_CHECKING:
    from pathlib import Path

    from qtpy.QtWidgets import QWidget

pytestmark = pytest.mark.gui

METHODS = ("pixelcam", "cam")


def square(ground: int = 40, top: int = 32) -> np.ndarray:
    """(128, 128, 3) uint8: of one grey, with a square that is brighter."""
    image = np.full((128, 128, 3), ground, np.uint8)
    image[top : top + 32, 64:96] = min(255, ground + 180)
    return image


@pytest.fixture
def fair(zoo: Path) -> str:
    """A model that finds dark images dark and bright ones bright."""
    model = colour_model(("dark", "bright"), (1, 1, 1), 0)
    about = {"title": "Fair", "summary": "Made for tests.", "methods": METHODS}
    card = Card(name="fair", spec=model.spec, primary="pixelcam", **about)
    save_model(model, card, zoo / "models")
    return "fair"


def go_to(bench, layer) -> None:
    """Take another image from the list, by key."""
    box = bench.widget.image_line.box
    step = box.findText(layer.name) - box.currentIndex()
    key = Qt.Key.Key_Down if step > 0 else Qt.Key.Key_Up
    for _ in range(abs(step)):
        bench.qtbot.keyClick(box, key)
    bench.until(lambda: bench.widget.layers.image == layer)
    bench.until(lambda: not bench.session.is_busy)


def entries(box: QComboBox) -> list[str]:
    return [box.itemText(place) for place in range(box.count())]


def figures(box: QComboBox) -> bool:
    """Whether a class is shown with its probability."""
    return any("0." in words or "1." in words for words in entries(box))


def said(widget: QWidget) -> set[tuple[str, ...]]:
    """All that can be read in the dock, and what can be pressed."""
    found = {
        ("words", label.text(), label.toolTip())
        for label in widget.findChildren(QLabel)
        if label.isVisibleTo(widget)
    }
    found |= {
        ("button", button.text(), str(button.isEnabled()), str(button.isChecked()))
        for button in widget.findChildren(QAbstractButton)
        if button.isVisibleTo(widget)
    }
    found |= {
        ("choice", box.currentText(), *entries(box))
        for box in widget.findChildren(QComboBox)
        if box.isVisibleTo(widget)
    }
    tables = [x for x in widget.findChildren(QTableWidget) if x.isVisibleTo(widget)]
    found |= {("rows", str(table.rowCount())) for table in tables}
    lists = [x for x in widget.findChildren(QListWidget) if x.isVisibleTo(widget)]
    return found | {("items", str(item.count())) for item in lists}


def settled(bench) -> set[tuple[str, ...]]:
    """All that the dock says once no more answers come in."""
    seen: set[tuple[str, ...]] = set()
    while seen != (seen := said(bench.widget)) or bench.session.is_busy:
        bench.qtbot.wait(300)
    return seen


def until_said(bench, wanted: set) -> None:
    """Wait for what the dock shall say; what it says instead is told."""

    def is_said() -> None:
        assert said(bench.widget) == wanted

    bench.until(is_said)


@pytest.mark.slow
def test_the_class_belongs_to_the_image_and_is_the_most_probable_until_picked(
    fair, bench
):
    box = bench.widget.localize_panel.class_box
    dark = bench.open(square(20), name="dark")
    bench.use(fair)
    bench.localize()
    assert bench.session.result.target == "dark"
    assert box.currentText().startswith("most probable: dark")
    bright = bench.viewer.add_image(square(200), name="bright")
    go_to(bench, bright)
    bench.until(lambda: not figures(box))
    assert box.currentText() == "most probable"
    bench.localize()
    assert {item.target for item in bench.session.heatmaps.values()} == {"bright"}
    bench.until(lambda: box.currentText().startswith("most probable: bright"))
    place = next(k for k, words in enumerate(entries(box)) if words.startswith("dark"))
    for _ in range(place):
        bench.qtbot.keyClick(box, Qt.Key.Key_Down)
    for _ in range(2):  # a pick stays
        bench.localize()
        bench.until(lambda: bench.session.result.target == "dark")
        assert box.currentText().startswith("dark  0.")
    bench.use("tiny")
    bench.until(lambda: not figures(box))
    assert box.currentText() == "most probable"
    go_to(bench, dark)
    assert box.currentText() == "most probable"


@pytest.mark.slow
def test_an_image_that_is_left_leaves_nothing_behind_in_the_dock(bench):
    widget, session = bench.widget, bench.session
    bench.until(lambda: session.model is not None)
    panel = widget.localize_panel  # it hears of the model a little later
    bench.until(lambda: bool(panel.method_list.boxes) and panel.class_box.count() == 3)
    bench.until(panel.method_list.boxes["pixelcam"].isVisible)
    widget.compare_panel.summary.setChecked(True)
    empty = settled(bench)
    other = bench.open(square(60, top=70), name="other")
    bench.until(lambda: not session.is_busy)
    work = bench.viewer.add_image(square(), name="work")
    fresh = settled(bench)

    def work_on_it() -> None:
        go_to(bench, work)
        bench.localize()
        if not session.strokes:
            bench.strokes()
            bench.click(widget.correct_panel.tools["background"])  # put away
        bench.refine()
        bench.until(lambda: widget.compare_panel.regions.count() > 0)
        bench.until(widget.correct_panel.next_row.go_button.isEnabled)
        assert said(widget) != fresh

    work_on_it()
    go_to(bench, other)
    until_said(bench, fresh)
    work_on_it()
    session_was = session.drawn_on
    bench.viewer.layers.remove(other)
    bench.viewer.layers.remove(work)
    bench.until(lambda: session.slide is None)
    assert session.heatmaps == {}
    assert session.rounds == session.strokes == ()
    until_said(bench, empty)
    assert session.drawn_on != session_was
    bench.open(square(), name="work")  # nothing is lost
    bench.until(lambda: len(session.strokes) == 2)


def test_an_image_between_two_that_was_never_shown_is_left_again(bench):
    first = bench.open(square(), name="first")
    second = bench.viewer.add_image(square(90), name="second")
    nothing = np.full((64, 64), np.nan, np.float32)
    bench.viewer.add_image(nothing, name="nothing", contrast_limits=(0, 1))
    bench.until(lambda: not bench.session.is_busy)
    shown, box = bench.session.drawn_on, bench.widget.image_line.box
    for name in (second.name, "nothing"):
        box.setCurrentIndex(box.findText(name))
        box.activated.emit(box.currentIndex())
        # Opened before the window hears of it, as where it has more to do.
        while bench.session.is_busy:
            time.sleep(0.01)
    bench.until(lambda: "not numbers" in bench.widget.message.text())
    bench.until(lambda: bench.session.drawn_on == shown)
    assert bench.widget.layers.image == first
    assert bench.widget.image_line.layer == first


@pytest.mark.slow
def test_a_map_that_is_deleted_leaves_the_lists_and_comes_back_with_the_next(bench):
    bench.open(square())
    bench.localize()
    panel, export = bench.widget.compare_panel, bench.widget.export_panel
    bench.until(lambda: panel.regions.count() > 0)
    bench.viewer.layers.remove(bench.layer("PixelCAM · contour"))
    for box in (panel.method_box, export.method_box):
        bench.until(lambda box=box: entries(box) == ["CAM"])
    assert panel.probe.rowCount() == 1
    bench.viewer.layers.remove(bench.layer("CAM"))
    bench.until(lambda: panel.regions.count() == 0)
    bench.until(lambda: not export.export_button.isEnabled())
    bench.strokes()
    bench.refine()
    bench.until(lambda: len(bench.widget.layers.heatmaps.pairs) == 2)
    bench.until(lambda: bench.layer("PixelCAM").visible)
    bench.until(export.export_button.isEnabled)


def opened_by_napari(bench, path):
    """As a file that is dropped, or opened from its menu."""
    (layer,) = bench.viewer.open(path, plugin="napari")
    return layer


def opened_by_us(bench, path):
    data, options, _ = layer_of(path)
    return bench.viewer.add_image(data, **options)


def opened_from_a_folder(bench, path):
    bench.widget.image_line.list_button.folder_wanted.emit(path.parent, False)
    bench.until(lambda: bench.widget.layers.image is not None)
    return bench.widget.layers.image


@pytest.mark.slow
def test_a_file_is_the_same_work_however_it_is_opened(make_bench, tmp_path):
    path = tmp_path / "in" / "one.png"
    path.parent.mkdir()
    Image.fromarray(square()).save(path)
    bench = make_bench()
    bench.until(lambda: bench.session.model is not None)
    layer = opened_by_napari(bench, path)
    bench.until(lambda: bench.widget.layers.image == layer)
    bench.localize()
    bench.strokes()
    bench.refine()
    maps = bench.session.heatmap("pixelcam").values.copy()
    strokes, mark = bench.session.scribbles.copy(), bench.session.drawn_on
    written = bench.session.export(tmp_path / "out").result(60)
    record = next(x for x in written if "provenance" in x.name).read_text("utf-8")
    assert json.loads(record)["provenance"]["image"]["file"] == "one.png"
    assert {x.name[:8] for x in written} == {"one_pixe"}
    bench.widget.end()
    bench.close_viewer()
    for way in (opened_by_us, opened_from_a_folder):  # on other days
        bench = make_bench()
        session, widget = bench.session, bench.widget
        bench.until(lambda session=session: session.model is not None)
        way(bench, path)
        bench.until(lambda session=session: session.drawn_on == mark)
        if way is not opened_from_a_folder:  # there one goes on silently
            bench.until(widget.earlier_bar.isVisible)
            bench.click(widget.earlier_bar.resume_button)
        bench.until(lambda session=session: len(session.rounds) == 2)
        bench.until(lambda widget=widget: len(widget.layers.maps()) == 2)
        assert np.array_equal(session.scribbles, strokes)
        assert np.array_equal(session.heatmap("pixelcam").values, maps)
        assert session.slide.name == "one.png"
        shown = bench.layer("PixelCAM")
        bench.until(lambda shown=shown: np.array_equal(shown.data, maps))
        bench.until(lambda session=session: not session.is_busy)
        bench.widget.end()
        bench.close_viewer()
    assert len(list(JournalLibrary().folder.glob("*/"))) == 1


def test_pixels_that_are_painted_over_are_no_longer_those_of_the_file(bench, tmp_path):
    path = tmp_path / "one.png"
    Image.fromarray(square()).save(path)
    layer = opened_by_napari(bench, path)
    bench.until(lambda: bench.widget.layers.image == layer)
    bench.until(lambda: bench.session.model is not None)
    assert bench.session.slide.path == path
    layer.data[80:112, 8:40] = 250
    bench.localize()
    assert bench.session.slide.path is None
    assert bench.session.heatmap("pixelcam").at(96, 24) > 0.9


@pytest.mark.slow
def test_going_on_asks_for_the_class_that_was_worked_on(make_bench, fair):
    def day() -> tuple:
        bench = make_bench()
        bench.until(lambda: bench.session.model is not None)
        bench.use(fair)
        bench.open(square())
        return bench, bench.session, bench.widget.localize_panel.class_box

    bench, _, box = day()
    bench.choose(box, "bright")
    bench.localize()
    bench.strokes()
    bench.refine()
    bench.widget.end()
    bench.close_viewer()
    bench, session, box = day()
    bench.until(bench.widget.earlier_bar.isVisible)
    bench.click(bench.widget.earlier_bar.resume_button)
    bench.until(lambda: len(session.rounds) == 2)
    scores = session.result.scores
    assert session.result.target == "bright" != max(scores, key=scores.get)
    bench.until(lambda: box.currentData() == "bright")
    bench.localize()  # and goes on doing so
    assert session.result.target == "bright"
    assert len(session.rounds) == 2
