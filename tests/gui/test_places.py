"""The wall by models, pins, the order of maps, layers of doubt, and the tour."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from qtpy.QtCore import QPointF, Qt
from qtpy.QtWidgets import QFileDialog

from napari_wsol.gui.compat import camera_of, cell_size, centre_on
from napari_wsol.gui.correct import proposals
from napari_wsol.gui.layers.marks import our_layers

pytestmark = pytest.mark.gui

NONE, LEFT = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton


def square() -> np.ndarray:
    pixels = np.full((128, 128, 3), 40, np.uint8)
    pixels[32:64, 64:96] = 220
    return pixels


def opposite() -> np.ndarray:
    """A map that is high in the lower left, where ours are not."""
    values = np.zeros((128, 128), np.float32)
    values[80:120, 8:48] = 1.0
    return values


def add(bench, values, name: str) -> None:
    bench.session.add_map(values, name=name)
    bench.until(lambda: name in bench.widget.layers.heatmaps.pairs)
    bench.until(lambda: not bench.widget.layers.is_adding)


def enter(bench):
    bench.click(bench.widget.compare_panel.side_by_side)
    bench.until(lambda: bench.widget.layers.wall.is_settled)
    return bench.widget.layers.wall


def middle(wall, index: int) -> QPointF:
    return QPointF(wall.rect_of(index).center())


def pin_rows(bench) -> list[str]:
    tree = bench.widget.compare_panel.pins
    return [tree.topLevelItem(k).text(0) for k in range(tree.topLevelItemCount())]


@pytest.mark.usefixtures("layers_model")
@pytest.mark.slow
def test_each_model_has_rows_of_its_own_and_maps_from_elsewhere_theirs(bench):
    bench.open(square())
    bench.localize()
    alone = enter(bench)
    assert alone.rect_of(0).top() == alone.rect_of(1).top() or (
        alone.rect_of(0).left() == alone.rect_of(1).left()
    )
    bench.click(bench.widget.compare_panel.overlay)
    bench.use("layers")
    former = ["pixelcam · tiny", "cam · tiny"]
    bench.localize_keys("cam", *former)
    pairs = bench.widget.layers.heatmaps.pairs
    assert [key for key, pair in pairs.items() if pair.image.visible] == ["cam"]
    assert bench.widget.compare_panel.method_box.method == "cam"
    assert bench.widget.export_panel.method_box.method == "cam"
    add(bench, opposite(), "theirs")
    add(bench, opposite(), "more")
    wall = enter(bench)
    assert [words.split(" · ")[0] for words in wall.captions] == [
        "CAM",
        "PixelCAM",
        "CAM",
        "theirs",
        "more",
    ]
    tops = [wall.rect_of(k).top() for k in range(5)]
    assert tops[0] < tops[1] <= tops[2] < tops[3] <= tops[4]
    assert wall.rect_of(0).left() == wall.rect_of(1).left() == wall.rect_of(3).left()
    # A caption is dragged onto another cell: it takes its place, in tables, too.
    start, end = wall.rect_of(4), wall.rect_of(3)
    grip = QPointF(start.left() + 5, start.top() + 5)
    bench.mouse(wall, "MouseButtonPress", grip, LEFT, LEFT)
    bench.mouse(wall, "MouseMove", QPointF(end.center()), NONE, LEFT)
    bench.mouse(wall, "MouseButtonRelease", QPointF(end.center()), LEFT, NONE)
    bench.until(lambda: wall.captions[3].startswith("more"))
    assert wall.captions[4].startswith("theirs")
    assert [heatmap.key for heatmap in bench.widget.layers.maps()][3:] == [
        "more",
        "theirs",
    ]
    table = bench.widget.compare_panel.probe
    assert table.item(3, 0).text() == "more · from elsewhere"
    assert [words.split("\n")[1:] for words in wall.captions] == [
        ["layers"],
        ["tiny"],
        ["tiny"],
        [],
        [],
    ]
    # Other rows, other cells: none of them is empty meanwhile.
    bench.until(lambda: wall.is_settled)
    bench.widget.layers.set_order(["theirs", former[0], "more", "cam", former[1]])
    keys = ["theirs", "more", *former, "cam"]
    assert [heatmap.key for heatmap in bench.widget.layers.maps()] == keys
    assert wall.captions[0].startswith("theirs")
    shown = wall.grab().toImage()
    for index in range(5):
        at = wall.rect_of(index).center() * shown.devicePixelRatio()
        around = [shown.pixelColor(at.x() + k, at.y()) for k in range(-20, 20, 2)]
        assert len({colour.rgb() for colour in around}) > 1, index


def test_p_pins_the_place_under_the_mouse_with_what_the_maps_say(bench):
    bench.open(square(), scale=(0.5, 0.5), translate=(10, 20))
    panel = bench.widget.compare_panel
    bench.press_key("p")
    bench.until(lambda: bench.widget.message.is_warning)
    assert "Point at the image" in bench.widget.message.text()
    bench.localize()
    bench.move_to((10 + 24, 20 + 40))  # level-0 pixel (48, 80)
    bench.press_key("p")
    bench.until(lambda: len(pin_rows(bench)) == 1)
    assert np.allclose(bench.session.pins, [(48, 80)], atol=0.6)
    (layer,) = our_layers(bench.viewer, "pins")
    assert np.allclose(layer.data_to_world(layer.data[0]), (34, 60), atol=0.5)
    assert list(layer.features["number"]) == ["1"]
    first = panel.pins.topLevelItem(0)
    assert first.text(0).startswith("1   48, 80 px")
    said = [first.child(k) for k in range(first.childCount())]
    assert [item.text(0) for item in said] == ["PixelCAM", "CAM"]
    for item, heatmap in zip(said, bench.widget.layers.maps(), strict=True):
        value = heatmap.at(*bench.session.pins[0])
        assert item.text(1) == f"{value:.2f}"
        assert item.text(2) == f"{heatmap.rank(value):.0f}"
        assert item.text(3) == "●"


def test_pins_are_marked_in_every_cell_listed_saved_and_removed(
    bench, tmp_path, monkeypatch
):
    bench.open(square())
    bench.localize()
    panel = bench.widget.compare_panel
    bench.session.set_pins([(48, 80)])
    wall = enter(bench)
    rect = wall.rect_of(1)
    bare = wall.grab().toImage()
    at = QPointF(rect.center().x() - 40, rect.center().y() + 50)
    bench.mouse(wall, "MouseMove", at, NONE, NONE)
    bench.press_key("p")
    bench.until(lambda: len(pin_rows(bench)) == 2 and wall.is_settled)
    wall.cross = None
    marked, dots = wall.grab().toImage(), bare.devicePixelRatio()
    for index in (0, 1):  # the edge of the badge, white, at the same place of both
        corner = wall.rect_of(index).topLeft() + (at.toPoint() - rect.topLeft())
        edge = [
            marked.pixelColor(
                int((corner.x() + dx) * dots), int(corner.y() * dots)
            ).lightness()
            for dx in range(-11, -6)
        ]
        assert max(edge) > 240, edge
        assert (
            bare.pixelColor(
                int((corner.x() - 9) * dots), int(corner.y() * dots)
            ).lightness()
            < 100
        )
    # A click flies there; its place is in the middle of the cells then.
    bench.until(panel.pins.isVisible)
    bench.widget.scroll_area.ensureWidgetVisible(panel.pins)
    item = panel.pins.topLevelItem(1)
    spot = panel.pins.visualItemRect(item).center()
    bench.qtbot.mouseClick(panel.pins.viewport(), LEFT, pos=spot)
    centre = bench.widget.layers.image.world_to_data(
        bench.viewer.scene.camera.center[-2:]
    )
    assert np.allclose(centre, bench.session.pins[1], atol=1)
    assert panel.probe.item(0, 1).text() != "–"
    name = tmp_path / "places.csv"
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(name), "")
    )
    for path in (name, tmp_path / "places-2.csv"):  # nothing is overwritten
        bench.click(panel.places_csv)
        bench.until(path.exists)
    with name.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "pinned"]
    assert [(row["place"], row["method"]) for row in rows] == [
        (place, method) for place in "12" for method in ("PixelCAM", "CAM")
    ]
    y, x = bench.session.pins[1]
    cam = bench.session.heatmaps["cam"]
    assert float(rows[3]["y_px"]) == pytest.approx(y)
    assert float(rows[3]["value"]) == pytest.approx(cam.at(y, x), abs=1e-6)
    assert rows[0]["above"] == "True"
    bench.qtbot.keyClick(panel.pins, Qt.Key.Key_Delete)
    bench.until(lambda: len(pin_rows(bench)) == 1)
    assert bench.session.pins == ((48, 80),)
    bench.viewer.layers.remove(bench.widget.layers.image)
    bench.open(square()[::-1].copy())
    bench.until(lambda: bench.session.pins == () and not pin_rows(bench))
    assert our_layers(bench.viewer, "pins") == []


def test_delete_harms_nothing_where_no_pin_is_chosen_or_none_is_left(bench):
    bench.open(square())
    bench.localize()
    tree = bench.widget.compare_panel.pins
    bench.session.set_pins([(48, 80)])
    bench.until(lambda: len(pin_rows(bench)) == 1)
    bench.qtbot.keyClick(tree, Qt.Key.Key_Delete)
    tree.wanted.emit(tree.chosen)
    assert bench.session.pins == ((48, 80),)
    tree.setCurrentItem(tree.topLevelItem(0))
    bench.session.set_pins([])  # what is listed is older
    bench.qtbot.keyClick(tree, Qt.Key.Key_Delete)
    tree.wanted.emit(0)
    bench.until(lambda: not pin_rows(bench))
    bench.qtbot.keyClick(tree, Qt.Key.Key_Delete)
    assert bench.session.pins == ()


def test_scores_stand_in_captions_and_order_the_maps(bench):
    bench.open(square())
    bench.localize()
    add(bench, opposite(), "wrong")
    panel, session = bench.widget.compare_panel, bench.session
    bench.until(lambda: not panel.best_first.isEnabled())
    assert "reference" in panel.best_first.toolTip()
    mask = np.zeros((128, 128), np.uint8)
    mask[80:120, 8:48] = 1  # where only the last map is high
    session.set_reference(mask, name="truth").result(60)
    figures = session.figures()
    bench.until(panel.best_first.isEnabled)
    wall = enter(bench)
    cuts = bench.widget.layers.cuts
    for caption, (key, one) in zip(wall.captions, list(figures.items()), strict=False):
        iou = one.at(cuts[key])["image_iou"]
        line = f"PxAP {one.fixed['pxap']:.1f} · IoU {iou:.2f}"
        assert caption.split("\n")[1] == line
    bench.until(lambda: wall.is_settled)
    outlined = wall.grab().toImage()  # mask[80:120, 8:48], in dashes, in every cell
    for index in range(3):
        view = wall._to_cell()
        corner, dots = wall.rect_of(index).topLeft(), outlined.devicePixelRatio()
        edge = [
            (view.map(QPointF(x, 120.0)) + QPointF(corner)) * dots
            for x in np.linspace(12, 44, 200)
        ]
        lightness = [outlined.pixelColor(at.toPoint()).lightness() for at in edge]
        assert max(lightness) > 200
        assert min(lightness) < 60
    bench.click(panel.best_first)
    bench.until(lambda: wall.captions[0].startswith("wrong"))
    assert panel.probe.item(0, 0).text().startswith("wrong")
    best = [figures[one.key].fixed["pxap"] for one in bench.widget.layers.maps()]
    assert best == sorted(best, reverse=True)
    session.clear_reference()
    bench.until(lambda: not panel.best_first.isEnabled())


@pytest.mark.slow
def test_doubt_lies_on_the_image_and_follows_new_maps(bench):
    bench.open(square(), scale=(0.5, 0.5), translate=(10, 20))
    bench.localize()
    panel = bench.widget.compare_panel
    bench.click(panel.doubts["disagreement"])
    bench.until(lambda: len(our_layers(bench.viewer, "disagreement")) == 1)
    (layer,) = our_layers(bench.viewer, "disagreement")
    image = bench.widget.layers.image
    for part in (layer, image):
        half = part.extent.step / 2
        low, high = part.extent.world[0] - half, part.extent.world[1] + half
        assert np.allclose((low, high), ((9.75, 19.75), (73.75, 83.75)))
    assert layer.data.max() < 0.3  # both follow the brightness
    add(bench, opposite(), "wrong")
    bench.until(lambda: our_layers(bench.viewer, "disagreement")[0].data.max() > 0.4)
    (layer,) = our_layers(bench.viewer, "disagreement")
    known, _ = bench.session.doubt()
    assert np.array_equal(layer.data, known.disagreement * known.tissue)
    bench.click(panel.doubts["uncertainty"])
    bench.until(lambda: len(our_layers(bench.viewer, "uncertainty")) == 1)
    assert not panel.doubts["disagreement"].isChecked()
    bench.until(lambda: our_layers(bench.viewer, "disagreement") == [])
    bench.viewer.layers.remove(our_layers(bench.viewer, "uncertainty")[0])
    assert not panel.doubts["uncertainty"].isChecked()
    for key in ("cam", "wrong"):
        bench.viewer.layers.remove(bench.widget.layers.heatmaps.pairs[key].image)


def test_t_walks_the_places_where_the_maps_disagree(bench):
    bench.open(square())
    bench.press_key("t")
    bench.until(lambda: bench.widget.message.is_warning)
    assert "two maps" in bench.widget.message.text()
    bench.localize()
    add(bench, opposite(), "wrong")
    _, places = bench.session.doubt(8)
    assert len(places) > 1

    def walk(shift: bool, number: int) -> None:
        how = (
            Qt.KeyboardModifier.ShiftModifier
            if shift
            else Qt.KeyboardModifier.NoModifier
        )
        canvas = bench.viewer.window._qt_viewer.canvas.native
        bench.qtbot.keyClick(canvas, Qt.Key.Key_T, how)
        words = f"{number + 1} of {len(places)}: {places[number].reason}."
        bench.until(lambda: bench.widget.message.text() == words)
        place, view = places[number], bench.viewer.scene.camera.center[-2:]
        at = bench.widget.layers.image.world_to_data(view)
        assert np.allclose(at, (place.y, place.x), atol=1)
        assert len(our_layers(bench.viewer, "guide")) == 1

    walk(False, 0)
    walk(False, 1)
    walk(True, 0)
    walk(True, len(places) - 1)
    walk(False, 0)


def test_doubt_waits_for_maps_and_the_only_place_is_called_so(bench, monkeypatch):
    bench.open(square())
    box = bench.widget.compare_panel.doubts["disagreement"]
    bench.click(box)
    bench.qtbot.wait(300)
    assert box.isChecked()
    assert not bench.widget.message.is_warning
    bench.localize()
    bench.until(lambda: len(our_layers(bench.viewer, "disagreement")) == 1)
    add(bench, opposite(), "wrong")
    monkeypatch.setattr(proposals, "COUNT", 1)
    bench.press_key("t")
    bench.until(lambda: " place: " in bench.widget.message.text())


@pytest.mark.slow
def test_keys_work_on_the_wall_whichever_layer_was_chosen(bench):
    bench.open(square())
    bench.localize()
    add(bench, opposite(), "wrong")
    bench.viewer.add_labels(np.zeros((128, 128), np.uint8))
    points = bench.viewer.add_points([(5, 5)])
    bench.viewer.layers.selection.active = points
    wall = enter(bench)
    assert bench.viewer.layers.selection.active == bench.widget.layers.image
    bench.mouse(wall, "MouseMove", middle(wall, 0), NONE, NONE)
    bench.press_key("p")
    bench.until(lambda: len(pin_rows(bench)) == 1)
    wall.cross = None
    bench.press_key("t")
    bench.until(lambda: wall.cross is not None)
    (first, *_), image = bench.session.doubt()[1], bench.widget.layers.image
    at = image.world_to_data(wall.cross)
    assert np.allclose(at, (first.y, first.x), atol=1)


def test_an_image_of_which_a_few_pixels_are_not_seen_fills_the_cells(bench):
    bench.open(square())
    bench.localize()
    camera = camera_of(bench.viewer)
    y, x = camera.center[-2:]
    side = min(cell_size(bench.viewer))
    camera.zoom = side / 127  # a pixel less than all of it
    wall = enter(bench)
    bench.until(lambda: wall._seen() == (0, 0, 128, 128))
    cell = wall.rect_of(0)
    assert 128 * wall._zoom == pytest.approx(
        0.96 * min(cell.width(), cell.height()), 0.02
    )
    bench.click(bench.widget.compare_panel.overlay)
    camera.zoom = 2 * max(cell_size(bench.viewer)) / 128  # half of it, at most
    centre_on(bench.viewer, (y, x))
    wall = enter(bench)
    bench.until(lambda: wall._seen() != (0, 0, 128, 128))
