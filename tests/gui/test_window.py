"""The person's way through the dock: real buttons are clicked, real layers are read."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QEnterEvent, QWheelEvent
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QPushButton,
    QSlider,
    QWidget,
)

pytestmark = pytest.mark.gui

STALE = "older than your last stroke"


def square(size: int = 128) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    return image


def centroid(layer) -> np.ndarray:
    """World position of the weighted centre of what is above one half."""
    values = np.asarray(layer.data) * (np.asarray(layer.data) > 0.5)
    cells = np.argwhere(values > 0)
    weights = values[values > 0]
    centre = (cells * weights[:, None]).sum(0) / weights.sum()
    return np.asarray(layer.data_to_world(centre))


def test_the_dock_opens_without_torch():
    code = "import sys, napari_wsol.gui.dock; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.binding
def test_an_empty_viewer_invites(bench):
    line = bench.widget.image_line
    assert "Open an image" in line.words.text()
    assert not bench.widget.localize_panel.localize_button.isEnabled()
    bench.until(line.sample_button.isVisible)
    bench.click(line.sample_button)
    bench.until(lambda: bench.widget.layers.image is not None)
    assert "512" in line.words.text()


@pytest.mark.parametrize(
    ("scale", "translate"),
    [((1, 1), (0, 0)), ((0.5, 0.5), (0, 0)), ((0.25, 0.25), (30, -7))],
)
def test_maps_lie_on_their_image_to_half_a_cell(bench, scale, translate):
    source = bench.open(square(), scale=scale, translate=translate)
    bench.localize()
    expected = np.asarray(source.data_to_world((47.5, 79.5)))
    for start in ("PixelCAM · bright", "CAM · bright"):
        layer = bench.layer(start)
        assert layer.data.shape == (32, 32)  # feature resolution, never upsampled
        assert tuple(layer.contrast_limits) == (0, 1)
        assert np.abs(centroid(layer) - expected).max() <= 0.5 * 4 * scale[0]


def test_maps_follow_a_rotated_sheared_multiscale_image(bench):
    levels = [square(256), square(256)[::2, ::2]]
    source = bench.open(levels, multiscale=True, rotate=30, shear=[0.2], scale=(2, 3))
    bench.localize()
    layer = bench.layer("PixelCAM")
    expected = np.asarray(source.data_to_world((47.5, 79.5)))
    assert np.abs(centroid(layer) - expected).max() < 1e-3 + 2 * 3


def test_maps_are_cropped_to_their_image_to_the_pixel(bench):
    bench.open(square()[:101, :94])
    bench.localize()
    panel, camera = bench.widget.compare_panel, bench.viewer.scene.camera
    panel.opacity.setValue(100)
    panel.amount_box.setValue(0.0)
    panel.contours.setChecked(False)  # their lines are as thick outside as inside
    pair = bench.widget.layers.heatmaps.pairs["pixelcam"]
    bench.until(lambda: pair.cut == 0.0 and not pair.contour.visible)
    camera.center, camera.zoom = (50, 46.5), 2

    def coloured() -> np.ndarray:
        """First and last row and column of the screen that show anything."""
        shown = bench.viewer.screenshot(canvas_only=True, flash=False)
        bare = np.abs(shown.astype(int) - shown[0, 0]).max(axis=2) == 0
        rows, columns = (~bare.all(axis=1 - k) for k in (0, 1))
        return np.array([np.flatnonzero(x)[[0, -1]] for x in (rows, columns)])

    pair.image.visible = False
    alone = coloured()
    assert np.abs(np.ptp(alone, axis=1) - (2 * 101, 2 * 94)).max() <= 2
    pair.image.visible = True
    assert np.array_equal(coloured(), alone)
    assert np.allclose(
        pair.image.data_to_world(np.array(pair.image.data.shape) - 0.5), (100.5, 93.5)
    )


def test_the_contour_follows_the_threshold(bench):
    image = np.zeros((128, 128, 3), np.uint8)
    image[...] = np.linspace(0, 255, 128)[None, :, None]
    bench.open(image)
    bench.localize()
    contour, panel = bench.layer("PixelCAM · contour"), bench.widget.compare_panel

    def left_edge() -> float:
        return float(contour.data[:, 0, 1].min())

    bench.until(lambda: len(contour.data) > 0)
    before = left_edge()
    panel.amount_box.setValue(0.9)
    bench.until(lambda: left_edge() > before + 2)
    bench.click(panel.contours)
    bench.until(lambda: not contour.visible)


def test_share_of_tissue_cuts_every_method_at_equal_terms(bench):
    bench.open(square())
    bench.localize()
    panel = bench.widget.compare_panel
    panel.currency_box.setCurrentIndex(panel.currency_box.findData("area"))
    panel.currency_box.activated.emit(panel.currency_box.currentIndex())
    panel.amount_box.setValue(6.0)
    bench.until(lambda: panel.threshold.currency == "area")

    def shares():
        cuts = bench.widget.layers.cuts
        return [
            float((heatmap.values >= cuts[heatmap.method]).mean())
            for heatmap in bench.widget.layers.maps()
        ]

    bench.until(lambda: all(abs(share - 0.06) < 0.02 for share in shares()))


@pytest.mark.binding
def test_a_click_on_a_region_marks_it_and_two_fly_there(bench):
    bench.open(square())
    bench.localize()
    panel = bench.widget.compare_panel
    regions, camera = panel.regions, bench.viewer.scene.camera
    bench.until(lambda: regions.count() == 1)
    assert "1 region" in panel.summary.text()
    assert regions.item(0, 1).text().endswith(" px")
    row = regions.visualItemRect(regions.item(0, 0)).center()
    left, before = Qt.MouseButton.LeftButton, (camera.center, camera.zoom)
    bench.qtbot.mouseClick(regions.viewport(), left, pos=row)
    mark = bench.layer("Region 1")
    assert (camera.center, camera.zoom) == before
    from_middle = np.abs(mark.data - (47.5, 79.5)).max(axis=1)
    assert from_middle[0] < 8  # the number
    sides = from_middle[1:]
    assert 15 <= sides.min() <= sides.max() <= 16.1  # all around the square
    assert list(mark.text.values) == ["1"] + [""] * (len(mark.data) - 1)
    # Out of sight it is brought into view; the zoom stays.
    camera.center, camera.zoom = (*camera.center[:-2], 500.0, 500.0), 4.0
    bench.qtbot.mouseClick(regions.viewport(), left, pos=row)
    assert np.abs(np.asarray(camera.center[-2:]) - (47.5, 79.5)).max() <= 2
    assert camera.zoom == 4.0
    bench.qtbot.mouseDClick(regions.viewport(), left, pos=row)
    assert camera.zoom != 4.0
    panel.amount_box.setValue(0.999)  # other regions: none of them is marked
    bench.until(lambda: not mark.visible)


@pytest.mark.binding
def test_localize_folds_when_it_is_done_and_nothing_moves_under_the_mouse(bench):
    bench.open(square())
    panel, widget = bench.widget.localize_panel, bench.widget
    send = QApplication.sendEvent
    here = QPointF(5, 5)
    send(widget, QEnterEvent(here, here, here))  # the mouse is over the dock
    place = panel.localize_button.mapTo(widget, QPoint(0, 0))
    bench.localize()
    assert panel.isExpanded()
    send(widget, QEvent(QEvent.Type.Leave))
    assert not panel.isExpanded()
    assert "bright 1.00" in panel.text()
    assert "Tiny brightness" in panel.text()
    assert panel.localize_button.mapTo(widget, QPoint(0, 0)) == place
    bench.qtbot.mouseClick(panel.toggleButton(), Qt.MouseButton.LeftButton)
    bench.press_key("\r")
    bench.until(lambda: bench.session.is_busy)
    bench.until(lambda: not bench.session.is_busy)
    assert panel.isExpanded()  # whoever opens it again keeps it open


def test_the_probe_reads_every_method_at_the_cursor(bench):
    bench.open(square())
    bench.localize()
    table = bench.widget.compare_panel.probe
    bench.until(table.isVisible)

    def above(position) -> str:
        bench.move_to(
            position
        )  # again and again: vispy skips moves in quick succession
        return table.item(0, 1).text()

    bench.until(lambda: above((48, 80)).endswith("●"))
    assert float(table.item(0, 1).text()[:4]) > 0.9
    bench.until(lambda: above((110, 20)).endswith("○"))
    assert float(table.item(0, 1).text()[:4]) < 0.1


def test_leaving_an_image_while_its_maps_are_added_leaves_none(bench):
    source = bench.open(square())

    def on_inserted() -> None:
        QTimer.singleShot(0, leave)

    def leave() -> None:
        if source in bench.viewer.layers:
            bench.viewer.layers.remove(source)

    bench.viewer.layers.events.inserted.connect(on_inserted)
    bench.click(bench.widget.localize_panel.localize_button)
    bench.until(lambda: source not in bench.viewer.layers)
    bench.until(lambda: not bench.session.is_busy)
    bench.until(lambda: len(bench.viewer.layers) == 0)
    assert not bench.widget.layers.maps()


def turn_wheel(widget, at: QPointF, by: int) -> None:
    """An event of the mouse wheel, as the system would send it."""
    event = QWheelEvent(
        at,
        QPointF(widget.mapToGlobal(at.toPoint())),
        QPoint(),
        QPoint(0, by),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(widget, event)


def pixel(wall, index: int, world) -> np.ndarray:
    """What a person sees in a cell at a place of the image: RGB."""
    centre = np.asarray(wall._viewer.scene.camera.center[-2:])
    rect = wall.rect_of(index)
    y, x = (np.asarray(world) - centre) * wall._zoom + (
        rect.height() / 2,
        rect.width() / 2,
    )
    shown = wall.grab().toImage()
    dots = shown.devicePixelRatio()
    colour = shown.pixelColor(
        int((rect.left() + x) * dots), int((rect.top() + y) * dots)
    )
    return np.array(colour.getRgb()[:3])


@pytest.fixture
def wall(bench):
    """Two methods side by side."""
    bench.open(square())
    bench.localize()
    before = list(bench.viewer.layers)
    bench.click(bench.widget.compare_panel.side_by_side)
    shown = bench.widget.layers.wall
    bench.until(lambda: shown.is_settled)
    assert list(bench.viewer.layers) == before  # no copies
    return shown


def test_side_by_side_shows_every_method_over_the_one_image(bench, wall):
    assert wall.captions == ["PixelCAM · bright · 1.00", "CAM · bright · 1.00"]
    assert wall.geometry() == wall._canvas.geometry()

    def shows(index: int) -> bool:
        """The bare image, and light added over it where the map is."""
        bare = np.abs(pixel(wall, index, (100, 20)) - 40).max() <= 3
        return bare and pixel(wall, index, (47, 79)).min() > 250

    bench.until(lambda: wall.is_settled and shows(0) and shows(1))
    for index in (0, 1):  # all of the image, as large as its cell allows
        rect = wall.rect_of(index)
        assert wall.rect().contains(rect)
        side = 128 * wall._zoom
        assert 0.9 * min(rect.width(), rect.height()) <= side <= rect.height()
    assert not wall.rect_of(0).intersects(wall.rect_of(1))
    panel = bench.widget.compare_panel
    panel.opacity.setValue(0)
    bench.until(lambda: np.abs(pixel(wall, 1, (47, 79)) - 220).max() <= 3)
    bench.click(panel.overlay)
    assert bench.widget.layers.wall is None
    assert bench.layer("PixelCAM · bright").visible
    assert not bench.layer("CAM · bright").visible


@pytest.mark.binding
def test_the_mouse_moves_all_cells_and_marks_one_place_in_each(bench, wall):
    none, left = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton
    table, camera = bench.widget.compare_panel.probe, bench.viewer.scene.camera
    rect = wall.rect_of(1)
    middle = QPointF(rect.center())
    bench.mouse(wall, "MouseMove", middle, none, none)
    assert np.abs(np.subtract(wall.cross, camera.center[-2:])).max() < 2 / wall._zoom
    bench.until(lambda: table.item(0, 1).text() != "–")
    cross = wall.grab().toImage()
    dots = cross.devicePixelRatio()
    for index in (0, 1):  # white at the same place of both
        at = wall.rect_of(index).center()
        column = [
            cross.pixelColor(
                int((at.x() + dx) * dots), int((at.y() + 8) * dots)
            ).lightness()
            for dx in (-1, 0, 1)
        ]
        assert max(column) > 240
    before = np.array(camera.center[-2:])
    bench.mouse(wall, "MouseButtonPress", middle, left, left)
    bench.mouse(wall, "MouseMove", middle + QPointF(20, -10), none, left)
    bench.mouse(wall, "MouseButtonRelease", middle + QPointF(20, -10), left, none)
    moved = (np.array(camera.center[-2:]) - before) * wall._zoom
    assert np.allclose(moved, (10, -20), atol=0.01)
    zoom, under = camera.zoom, np.array(wall._world(middle))
    turn_wheel(wall, middle, 240)
    assert camera.zoom > 1.15 * zoom
    assert np.allclose(wall._world(middle), under, atol=0.01)


@pytest.mark.binding
def test_a_brush_leaves_side_by_side_and_a_deleted_map_leaves_its_cell(bench, wall):
    bench.viewer.layers.remove(bench.layer("CAM · bright"))
    bench.until(lambda: len(wall.captions) == 1)
    rect = wall.rect_of(0)  # all of the wall, and the image still as large as fits
    assert rect.size() == wall.size()
    assert 128 * wall._zoom > 0.9 * min(rect.width(), rect.height())
    bench.press_key("f")
    bench.until(lambda: bench.widget.layers.wall is None)
    assert bench.widget.compare_panel.overlay.isChecked()
    assert bench.widget.layers.strokes.tool == "foreground"


def test_strokes_refine_the_map_and_revert_brings_it_back(bench):
    bench.open(square())
    bench.localize()
    layer = bench.layer("PixelCAM · bright")
    before = np.array(layer.data)
    bench.strokes()
    bench.until(lambda: STALE in layer.name)
    assert "2 strokes · 1 foreground, 1 background" in (
        bench.widget.correct_panel.balance.text()
    )
    bench.refine()
    bench.until(lambda: STALE not in layer.name)
    assert bench.layer("PixelCAM · bright") == layer  # the same layer, in place
    after = np.array(layer.data)
    assert np.abs(after - before).max() > 0.2
    assert layer.metadata["napari-wsol"]["round"] == 1
    assert len(bench.widget.correct_panel.rounds.curve.values) > 1
    dots = bench.widget.correct_panel.rounds.dots
    bench.until(lambda: len(dots.buttons) == 2)
    bench.click(dots.buttons[0])
    bench.until(lambda: bench.session.round_index == 0)
    bench.until(lambda: np.array_equal(layer.data, before))
    assert len(bench.session.rounds) == 2


def test_undo_reaches_the_session(bench):
    bench.open(square())
    bench.localize()
    bench.strokes()
    painted = np.array(bench.session.scribbles)
    strokes = bench.widget.layers.strokes.layer
    strokes.undo()
    bench.until(lambda: 1 not in bench.session.scribbles)
    strokes.redo()
    bench.until(lambda: np.array_equal(bench.session.scribbles, painted))


def test_cancel_leaves_everything_as_it_was(bench):
    bench.open(square())
    bench.localize()
    names = bench.names
    before = np.array(bench.layer("PixelCAM · bright").data)
    bench.widget.controller.localize()
    bench.widget.controller.cancel()
    bench.until(lambda: not bench.session.is_busy)
    assert bench.names == names
    assert np.array_equal(bench.layer("PixelCAM · bright").data, before)


@pytest.mark.binding
def test_the_cancel_button_stops_localizing_and_nothing_changes(bench):
    bench.open(square(4096))
    names, panel = bench.names, bench.widget.localize_panel
    bench.click(panel.localize_button)
    bench.until(panel.job_bar.cancel_button.isVisible)
    bench.click(panel.job_bar.cancel_button)
    bench.until(lambda: not bench.session.is_busy)
    bench.until(panel.localize_button.isVisible)
    assert bench.session.job.state == "cancelled"
    assert bench.names == names
    assert bench.session.result is None
    assert bench.widget.message.text().startswith("Stopped.")


@pytest.mark.binding
def test_all_tools_are_in_reach_on_a_low_screen_wherever_the_dock_is_scrolled(bench):
    bench.open(square())
    bench.widget.export_panel.expand(animate=False)
    bench.widget.parent().parent().resize(960, 500)  # 1920 × 1080 at twice the scale
    bar = bench.widget.scroll_area.verticalScrollBar()
    bench.until(lambda: bar.maximum() > 0)
    hand = bench.widget.correct_panel.more_tools
    buttons = (*hand.brushes.values(), hand.outline, hand.wand, hand.undo, hand.redo)
    bench.until(hand.wand.isEnabled)
    for place in (0, bar.maximum()):
        bar.setValue(place)
        for button in buttons:
            assert button.visibleRegion().boundingRect() == button.rect()
    bar.setValue(0)
    bench.press_key("f")
    assert hand.brushes["foreground"].isChecked()
    assert bar.value() == 0


@pytest.mark.binding
def test_enter_localizes_right_after_an_image_was_opened(bench):
    bench.open(square())
    bench.press_key("\r")
    bench.until(lambda: len(bench.widget.layers.maps()) == 2)


@pytest.mark.binding
def test_words_that_do_not_fit_end_in_dots_and_are_all_in_the_tooltip(qtbot):
    from napari_wsol.gui.widgets.elided import Words

    words = Words(lines=2)
    qtbot.addWidget(words)
    words.resize(120, 60)
    long = "many words " * 20
    words.setText(long)
    assert words.text() == words.toolTip() == long
    assert words.heightForWidth(120) < 4 * words.fontMetrics().height()
    words.setText("few words")
    assert words.toolTip() == ""


@pytest.mark.binding
def test_brush_keys_work_on_the_canvas_and_napari_keeps_its_own(bench):
    bench.open(square())
    shapes = bench.viewer.add_shapes()
    bench.viewer.layers.selection.active = bench.viewer.layers[0]
    bench.press_key("f")
    bench.until(lambda: bench.widget.layers.strokes.tool == "foreground")
    bench.press_key("b")
    assert bench.widget.layers.strokes.tool == "background"
    bench.press_key("e")
    assert bench.widget.layers.strokes.tool == "erase"
    assert bench.widget.correct_panel.tools["erase"].isChecked()
    bench.viewer.layers.selection.active = shapes
    bench.press_key("b")  # napari: move the shape to the back
    assert bench.widget.layers.strokes.tool is None
    bench.viewer.layers.selection.active = bench.viewer.layers[0]
    bench.press_key("\r")
    bench.until(lambda: len(bench.widget.layers.maps()) == 2)


def test_export_writes_the_files_and_names_them(bench, tmp_path):
    bench.open(square(), name="one square")
    bench.localize()
    panel = bench.widget.export_panel
    panel.expand(animate=False)
    panel.form.fields["folder"].line_edit.native.setText(str(tmp_path / "out"))
    for name in ("zarr", "ome-tiff", "tiles-gz"):
        panel.form.fields["formats"].boxes[name].value = True
    bench.until(panel.export_button.isVisible)
    bench.click(panel.export_button)
    bench.until(lambda: panel.recent.count() == 1)
    written = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert {".png", ".tiff", ".geojson", ".csv", ".json", ".zarr", ".gz"} <= written
    assert "mask.png" in bench.widget.message.text()


@pytest.mark.binding
def test_no_control_is_wider_than_the_dock_and_each_says_what_it_does(bench):
    bench.open(square())
    bench.localize()
    widget = bench.widget
    widget.export_panel.expand(animate=False)
    widget.setFixedWidth(320)
    inner, view = widget.scroll_area.widget(), widget.scroll_area.viewport()
    bench.until(lambda: inner.width() == view.width())
    for panel in (widget.localize_panel, widget.compare_panel, widget.export_panel):
        assert panel.minimumSizeHint().width() <= view.width()
    kinds = (QPushButton, QCheckBox, QComboBox, QSlider, QDoubleSpinBox)
    silent = [
        child
        for child in inner.findChildren(QWidget)
        if isinstance(child, kinds) and not child.toolTip()
    ]
    assert not silent


def test_release_gives_the_device_back_and_keeps_everything(bench):
    panel = bench.widget.localize_panel
    assert not panel.release_button.isVisible()  # there is but the processor
    bench.open(square())
    bench.localize()
    bench.strokes()
    drawn, names = np.array(bench.session.scribbles), bench.names
    panel.show_devices([("choose by itself", "auto"), ("processor", "cpu")], "cpu")
    assert panel.device_box.currentData() == "cpu"
    bench.click(panel.release_button)
    bench.until(lambda: "No graphics card was in use" in bench.widget.message.text())
    assert not bench.widget.message.is_warning
    assert bench.names == names
    assert np.array_equal(bench.session.scribbles, drawn)
    bench.refine()
