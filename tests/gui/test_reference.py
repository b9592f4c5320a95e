"""A reference in the window: layers and files beside the maps, and their scores."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QFileDialog

pytestmark = pytest.mark.gui

SIDE = 128
SQUARE = np.s_[40:80, 60:100]


def pixels():
    image = np.random.default_rng(0).integers(0, 60, (SIDE, SIDE, 3)).astype(np.uint8)
    image[SQUARE] = 200
    return image


def mask():
    area = np.zeros((SIDE, SIDE), np.uint8)
    area[SQUARE] = 1
    area[30:90, 90:110] = 1  # not all of it is bright
    return area


@pytest.fixture
def localized(bench):
    bench.open(pixels(), name="picture")
    bench.localize()
    return bench


def choose(bench, words: str) -> None:
    """Take an entry of the list of references."""
    box = bench.widget.compare_panel.reference_box
    bench.until(lambda: box.findText(words) >= 0)
    box.setCurrentIndex(box.findText(words))
    box.activated.emit(box.currentIndex())


def column(bench, name: str) -> list[str]:
    table = bench.widget.compare_panel.probe
    heads = [table.horizontalHeaderItem(k).text() for k in range(table.columnCount())]
    at = heads.index(name)
    if table.isColumnHidden(at):
        return []
    return [table.item(row, at).text() for row in range(table.rowCount())]


def figures(bench):
    return bench.session.figures(wait=False)


def measured(bench, *, than=None) -> None:
    """Wait for figures of all maps; of another reference than this one."""
    session = bench.session
    bench.until(lambda: session.reference not in (None, than) and not session.is_busy)
    bench.until(lambda: len(figures(bench)) == 4)
    bench.until(lambda: "–" not in (column(bench, "IoU") or "–"))


def same(bench, area) -> None:
    """The figures in the window are those beside this array."""
    shown, before = figures(bench), bench.session.reference
    bench.session.set_reference(area).result(60)
    measured(bench, than=before)
    for key, one in figures(bench).items():
        assert shown[key].fixed == pytest.approx(one.fixed, abs=1e-6)
        assert shown[key].at(0.4) == pytest.approx(one.at(0.4), abs=1e-6)


def test_a_layer_of_labels_is_the_reference_and_what_is_painted_counts(localized):
    bench = localized
    assert column(bench, "PxAP") == []
    layer = bench.viewer.add_labels(mask(), name="truth")
    choose(bench, "truth")
    measured(bench)
    first = bench.session.reference
    assert first.name == "truth"
    found = figures(bench)
    assert list(found) == ["pixelcam", "cam", "centre", "darkness"]
    assert column(bench, "PxAP") == [f"{x.fixed['pxap']:.1f}" for x in found.values()]
    at = [x.at(bench.widget.layers.cuts["pixelcam"]) for x in found.values()]
    assert column(bench, "Dice")[0] == f"{at[0]['image_dice']:.2f}"
    outline = bench.layer("Reference")
    starts = outline.data[:, 0]  # on the border between pixels
    assert np.allclose(starts.min(0), (29.5, 59.5), atol=0.1)
    assert np.allclose(starts.max(0), (89.5, 109.5), atol=0.1)
    for dimensions in (3, 2):  # napari cannot draw it in 3-D
        bench.viewer.dims.ndisplay = dimensions
        assert outline.visible == (dimensions == 2)
    layer.data_setitem((np.array([5]), np.array([5])), 1)  # as the brush does
    layer.data[0:20, 0:20] = 255
    layer.data = layer.data
    measured(bench, than=first)
    assert bench.session.reference.against.ignore.any()
    layer.data = mask()
    layer.paint((60, 80), 0)
    measured(bench, than=bench.session.reference)
    painted = bench.session.reference
    layer.undo()
    measured(bench, than=painted)
    assert bench.session.reference.area.sum() > painted.area.sum()
    same_still = bench.session.reference
    layer.refresh()  # napari draws it anew: nothing has changed
    bench.qtbot.wait(400)
    bench.until(lambda: not bench.session.is_busy)
    assert bench.session.reference is same_still
    layer.name = "other"
    bench.until(lambda: bench.session.reference.name == "other")
    assert bench.widget.compare_panel.reference_box.currentText() == "other"
    choose(bench, "none")
    bench.until(lambda: bench.session.reference is None)
    assert column(bench, "PxAP") == []
    assert "Reference" not in bench.names


def test_scores_are_those_of_maps_that_were_made_again(localized):
    bench = localized
    panel, layers = bench.widget.compare_panel, bench.widget.layers
    bench.viewer.add_labels(mask(), name="truth")
    choose(bench, "truth")
    measured(bench)
    bench.session.set_pins([(60, 80)])
    bench.until(lambda: panel.pins.topLevelItemCount() == 1)
    told = []  # the class of the maps as each time it was told of them
    layers.values_changed.connect(lambda: told.append(layers.maps()[0].target))
    bench.choose(bench.widget.localize_panel.class_box, "dark")
    bench.localize()
    bench.until(lambda: bench.session.result.target == "dark")
    measured(bench)
    assert set(told) == {"dark"}
    found = bench.session.figures()
    assert column(bench, "PxAP") == [f"{x.fixed['pxap']:.1f}" for x in found.values()]
    value = layers.maps()[0].at(60, 80)
    said = lambda: panel.pins.topLevelItem(0).child(0).text(1)  # noqa: E731
    bench.until(lambda: said() == f"{value:.2f}")
    count = len(told)
    bench.strokes()
    bench.refine()
    bench.until(lambda: len(told) > count)
    bench.until(lambda: len(figures(bench)) == len(layers.maps()) + 2)


def test_a_layer_is_not_the_reference_of_another_image(localized):
    bench = localized
    layer = bench.viewer.add_labels(mask(), name="truth")
    choose(bench, "truth")
    measured(bench)
    other = bench.viewer.add_image(pixels()[::-1].copy(), name="other")
    bench.widget.image_line.choose(other)
    bench.until(lambda: bench.widget.layers.image == other)
    box = bench.widget.compare_panel.reference_box
    bench.until(lambda: box.currentText() == "none")
    layer.paint((5, 5), 1)
    bench.qtbot.wait(400)
    bench.until(lambda: not bench.session.is_busy)
    assert bench.session.reference is None
    assert box.currentText() == "none"


def test_why_a_reference_failed_is_said_until_there_is_another(localized):
    bench = localized
    message = bench.widget.message
    bench.viewer.add_labels(np.zeros((SIDE, SIDE), np.uint8), name="empty")
    bench.viewer.add_labels(mask(), name="truth")
    far = np.array([[0, 200], [0, 240], [40, 240], [40, 200]])
    bench.viewer.add_shapes([far], shape_type="rectangle", name="beside")
    near = [far - (0, 150), far]
    bench.viewer.add_shapes(near, shape_type="rectangle", name="both")
    for failing in ("empty", "beside"):
        choose(bench, failing)
        bench.until(lambda: message.is_warning)
        assert "no foreground" in message.text()
        choose(bench, "none")
        assert message.text() == ""
    choose(bench, "empty")
    bench.until(lambda: message.is_warning)
    choose(bench, "both")
    measured(bench)
    assert message.text() == ""
    assert len(bench.session.reference.against.boxes) == 1


def test_a_layer_counts_where_it_lies_on_the_image(bench):
    """Coarser, moved and turned, over an image that is moved and turned itself."""
    how = {"scale": (2.0, 2.0), "translate": (7.0, -3.0), "rotate": 30.0}
    image = bench.open(pixels(), name="picture", **how)
    bench.localize()
    area = np.zeros((SIDE // 2, SIDE // 2), np.uint8)
    area[20:45, 30:50] = 3
    corner = image.data_to_world((SIDE - 1.5, SIDE - 1.5))
    turned = {"scale": (4.0, 4.0), "translate": corner, "rotate": 30.0 + 180.0}
    bench.viewer.add_labels(area, name="turned", **turned)
    choose(bench, "turned")
    measured(bench)
    same(bench, area[::-1, ::-1])


@pytest.mark.slow
def test_rectangles_are_boxes_and_other_shapes_are_filled(localized):
    bench = localized
    corners = np.array([[39.5, 59.5], [39.5, 99.5], [79.5, 99.5], [79.5, 59.5]])
    layer = bench.viewer.add_shapes([corners], shape_type="rectangle", name="shapes")
    choose(bench, "shapes")
    measured(bench)
    first = bench.session.reference
    expected = np.array([[60, 40, 40, 40]]) * 224 / SIDE
    assert first.against.boxes == pytest.approx(expected)
    assert column(bench, "PxAP") == []  # boxes have none
    assert figures(bench)["cam"].fixed["iobb_0.5"] == 1.0
    layer.add_ellipses([[[0, 0], [0, 20], [30, 20], [30, 0]]])
    measured(bench, than=first)
    mask = bench.session.reference.against.mask
    y, x = (np.indices((224, 224)) + 0.5) * SIDE / 224 - 0.5
    ellipse = ((y - 15) / 15) ** 2 + ((x - 10) / 10) ** 2 <= 1
    square = (abs(y - 59.5) <= 20) & (abs(x - 79.5) <= 20)
    assert (mask != (ellipse | square)).mean() < 0.005
    bench.viewer.layers.remove(layer)
    box = bench.widget.compare_panel.reference_box
    assert box.findText("shapes") < 0 or box.currentText() == "shapes"


def test_a_file_is_read_and_unclear_classes_are_asked(localized, tmp_path, monkeypatch):
    bench = localized
    Image.fromarray(mask()).save(tmp_path / "mask.png")
    given = [tmp_path / "mask.png"]
    name = lambda *_: (str(given[0]), "")  # noqa: E731
    monkeypatch.setattr(QFileDialog, "getOpenFileName", name)
    choose(bench, "File…")
    measured(bench)
    first = bench.session.reference
    assert bench.widget.compare_panel.reference_box.currentText() == "mask.png"
    same(bench, mask())
    ring = [[60, 40], [100, 40], [100, 80], [60, 80], [60, 40]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "Gland"}},
    }
    given[0] = tmp_path / "own.geojson"
    given[0].write_text(json.dumps(feature))
    first = bench.session.reference
    choose(bench, "File…")
    chooser = bench.widget.controller.chooser
    bench.until(lambda: chooser.dialog is not None)
    chooser.dialog.fields["Gland"].value = "foreground"
    chooser.dialog.accept()
    measured(bench, than=first)
    square = np.zeros((SIDE, SIDE), np.uint8)
    square[SQUARE] = 1
    same(bench, square)


def test_scores_follow_the_threshold_and_the_window_shows_them_all(localized):
    bench = localized
    panel = bench.widget.compare_panel
    bench.viewer.add_labels(mask(), name="truth")
    choose(bench, "truth")
    measured(bench)
    window = bench.widget.controller.reference.scores
    bench.click(panel.scores_button)
    bench.until(window.isVisible)
    before = column(bench, "IoU")
    for amount in (0.9, 0.02):
        panel.slider.setValue(round(amount * 1000))
        bench.until(lambda a=amount: bench.widget.layers.cuts["cam"] == a)
        found = figures(bench)
        said = [f"{found[key].at(amount)['image_iou']:.2f}" for key in found]
        assert column(bench, "IoU") == said
        words = window.table.toPlainText()
        assert said[1] in words
    assert column(bench, "IoU") != before
    best = float(found["cam"].fixed["best_image_dice"])
    assert f"{best:.2f} at {found['cam'].best_threshold:.2f}" in words
    assert "Dice, best mIoU cut" in words
    assert window.table.height() < window.chart.height()
    assert window.table.verticalScrollBar().maximum() == 0
    assert "Centre at 0.02" in words
    table = panel.probe
    shown = [float(x) for x in column(bench, "Dice")]
    for row, value in enumerate(shown):
        is_best = row < 2 and value == max(shown[:2])
        assert table.item(row, 4).font().bold() == is_best
    curve = window.chart.rows["PixelCAM"].figures.curve
    assert curve.pxap == pytest.approx(found["pixelcam"].fixed["pxap"])


def test_the_table_reads_in_a_narrow_dock(localized):
    bench = localized
    bench.viewer.add_labels(mask(), name="truth")
    choose(bench, "truth")
    measured(bench)
    table = bench.widget.compare_panel.probe
    dock = bench.widget
    while not isinstance(dock, QDockWidget):
        dock = dock.parent()
    dock.parent().resizeDocks([dock], [320], Qt.Orientation.Horizontal)
    bench.until(lambda: dock.width() == 320)
    assert bench.widget.scroll_area.horizontalScrollBar().maximum() == 0
    assert sum(table.columnWidth(k) for k in range(6)) <= table.viewport().width() + 1
    bench.until(lambda: table.columnWidth(0) >= 80)
    assert table.rowCount() == 4


def test_a_list_is_scored_as_by_the_command(bench, tmp_path):
    lines = ["path,label,mask"]
    for k in range(2):
        Image.fromarray(pixels()).save(tmp_path / f"{k}.png")
        Image.fromarray(mask()).save(tmp_path / f"m{k}.png")
        lines.append(f"{k}.png,bright,m{k}.png")
    (tmp_path / "set.csv").write_text("\n".join(lines) + "\n")
    bench.widget.controller.lists.open_table(tmp_path / "set.csv")
    bench.until(lambda: bench.session.slide is not None)
    bench.until(lambda: len(bench.widget.layers.maps()) == 2)
    bench.until(lambda: not bench.session.is_busy)
    window = bench.widget.controller.reference.scores
    bench.click(bench.widget.compare_panel.scores_button)
    bench.qtbot.mouseClick(window.score_button, Qt.MouseButton.LeftButton)
    bench.until(window.report.isVisible)
    words = window.report.toPlainText()
    assert "2 images, 2 masks" in words
    expected = bench.session.score(["pixelcam", "cam"]).result(60)
    value = expected.methods[0].figures["pxap"]
    assert f"{value.value:.1f} ({value.low:.1f}–{value.high:.1f})" in words
