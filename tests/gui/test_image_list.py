"""Many images: a list is clicked through, and what was done stays with each."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from fixtures.keys import clashes
from napari.utils.notifications import notification_manager
from PIL import Image
from qtpy.QtCore import Qt

from napari_wsol.gui.demo.viewer import open_viewer
from napari_wsol.gui.images.list_model import NAME, STATUS
from napari_wsol.gui.images.list_panel import BEFORE, NEXT, UNTOUCHED
from napari_wsol.paths import lists_folder
from napari_wsol.worklist.items import WorkList
from napari_wsol.worklist.saved import remember_list

pytestmark = pytest.mark.gui

PLACES = ((32, 64), (72, 16), (16, 16))


def picture(place):
    image = np.full((128, 128, 3), 40, np.uint8)
    image[place[0] : place[0] + 32, place[1] : place[1] + 32] = 220
    return image


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for number, place in enumerate(PLACES, 1):
        Image.fromarray(picture(place)).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


class Hands:
    """What a person does with a list."""

    def __init__(self, bench) -> None:
        self.bench = bench
        self.widget = bench.widget
        self.panel = bench.widget.image_list
        self.session = bench.session

    @property
    def images(self) -> list[str]:
        return [name for name in self.bench.names if name.endswith(".png")]

    def until_open(self, name: str) -> None:
        """The image is worked on, and localized without being asked."""
        until, stage = self.bench.until, self.widget.layers
        until(lambda: stage.image is not None and stage.image.name == name)
        until(lambda: len(stage.maps()) == 2)
        until(lambda: not self.session.is_busy)

    def open_folder(self, folder) -> None:
        self.bench.until(lambda: self.session.model is not None)
        self.widget.image_line.list_button.folder_wanted.emit(folder, False)
        self.until_open("1.png")

    def click_row(self, row: int) -> None:
        table = self.panel.table
        place = table.visualRect(self.panel.model.index(row, NAME)).center()
        self.bench.qtbot.mouseClick(
            table.viewport(), Qt.MouseButton.LeftButton, pos=place
        )

    def shown(self, row: int) -> str:
        return self.panel.model.index(row, STATUS).data()


@pytest.fixture
def hands(bench) -> Hands:
    return Hands(bench)


def test_a_list_is_walked_through(hands, folder):
    bench, message = hands.bench, hands.widget.message
    (folder / "4.png").write_bytes(b"no image")
    assert hands.panel.isHidden()
    hands.open_folder(folder)
    bench.until(hands.panel.table.isVisible)
    model = hands.panel.model
    names = [model.index(row, NAME).data() for row in range(model.rowCount())]
    assert names == ["1.png", "2.png", "3.png", "4.png"]
    assert "4\u00a0images · all\u00a0untouched" in hands.panel.summary.text()
    assert hands.shown(0) == "untouched"
    for _ in range(2):  # whoever is quick waits for the last one only
        bench.press_key(NEXT)
    hands.until_open("3.png")
    assert hands.images == ["3.png"]
    assert hands.session.worklist.current == 2
    hands.click_row(3)
    bench.until(lambda: hands.shown(3) == "cannot be read")
    assert message.is_warning
    assert hands.widget.layers.image.name == "3.png"  # the one before stays
    bench.press_key(NEXT)
    assert "last image" in message.text()


@pytest.mark.slow
def test_the_brush_stays_in_the_hand_from_image_to_image(hands, folder):
    bench, layer = hands.bench, hands.widget.layers.strokes
    hands.open_folder(folder)
    bench.press_key("b")
    for _ in range(2):
        bench.press_key(NEXT)  # whoever is quick
    hands.until_open("3.png")
    assert layer.tool == "background"
    assert hands.widget.correct_panel.tools["background"].isChecked()
    bench.drag((100, 10), (100, 40))
    bench.until(lambda: hands.session.stroke_counts == (0, 1))
    bench.click(hands.widget.correct_panel.tools["background"])
    assert layer.tool is None
    hands.click_row(2)  # the image that is open
    bench.click(hands.panel.before_button)
    hands.until_open("2.png")
    assert layer.tool is None  # it was put away


@pytest.mark.slow
def test_a_stack_in_a_list_asks_which_plane_is_shown(hands, folder):
    bench = hands.bench
    planes = np.stack([picture(place)[..., 0] for place in PLACES])
    tifffile.imwrite(folder / "4.tif", planes, photometric="minisblack")
    hands.open_folder(folder)
    hands.click_row(3)
    chooser = hands.widget.controller.chooser
    bench.until(lambda: chooser.dialog is not None and chooser.dialog.isVisible())
    (asked,) = chooser.dialog.fields.values()
    asked.value = "2"
    chooser.dialog.accept()
    hands.until_open("4.tif")
    shown = hands.session.slide.read(0, 0, 0, 128, 128)
    assert np.array_equal(shown[..., 0], planes[2])


def test_a_folder_of_films_is_a_list_and_another_window_is_a_click(hands, tmp_path):
    pytest.importorskip("pylibjpeg", reason="films are decoded by the dicom extra")
    from fixtures.films import write_film

    folder = tmp_path / "films"
    folder.mkdir()
    windows = {"WindowCenter": [2000, 600], "WindowWidth": [4000, 100]}
    for number, place in enumerate(PLACES):
        grey = picture(place)[..., 0].astype(np.uint16) * 16
        write_film(folder / f"IM{number}", grey, bits=12, **windows)
    bench, session = hands.bench, hands.session
    bench.until(lambda: session.model is not None)
    hands.widget.image_line.list_button.folder_wanted.emit(folder, False)
    bench.until(lambda: len(hands.widget.layers.maps()) == 2)
    bench.until(lambda: not session.is_busy)
    assert [hands.panel.model.index(row, NAME).data() for row in range(3)] == [
        "IM0",
        "IM1",
        "IM2",
    ]
    assert session.slide.path == folder / "IM0"
    assert session.slide.name.startswith("film-")
    assert not [name for name in bench.names if "IM0" in name]
    menu = hands.widget.image_line.reader_button.menu()
    menu.aboutToShow.emit()
    menu.actions()[-1].trigger()
    chooser = hands.widget.controller.chooser
    bench.until(lambda: chooser.dialog is not None and chooser.dialog.isVisible())
    chooser.dialog.fields["window"].value = "1 (window, centre 600 and width 100)"
    chooser.dialog.accept()
    bench.until(lambda: "Plane 1 (window" in " ".join(session.slide.notes))
    shown = session.slide.read(0, 0, 0, 128, 128)
    assert set(np.unique(shown)) == {255, round((640 - 599.5) / 99 * 255 + 127.5)}


@pytest.mark.slow
def test_an_afternoon_of_strokes_and_next(hands, folder):
    bench, session = hands.bench, hands.session
    mine = bench.viewer.add_points(np.array([[5, 5]]), name="mine")
    hands.open_folder(folder)
    bench.strokes()
    bench.until(lambda: hands.shown(0) == "stroked")
    bench.refine()
    bench.until(lambda: hands.shown(0) == "refined")
    strokes = session.scribbles.copy()
    camera = bench.viewer.scene.camera
    camera.zoom, camera.center = 20.0, (0, 50, 60)
    bench.press_key(NEXT)
    hands.until_open("2.png")
    view = min(bench.viewer.canvas.viewbox_size(bench.viewer.layers))
    assert 0.8 < camera.zoom * 128 / view < 1.0  # all of it is seen
    assert np.allclose(camera.center[-2:], 63.5, atol=1)
    assert hands.images == ["2.png"]  # the one before is gone, with all of ours on it
    assert mine in bench.viewer.layers
    assert not np.any(session.scribbles)
    bench.until(lambda: len(session.rounds) == 2)
    assert len(session.rounds[1].others) == 1  # the first one has taught
    assert hands.shown(1) == "untouched"
    assert session.worklist.current == 1
    hands.click_row(0)
    hands.until_open("1.png")
    assert camera.zoom == pytest.approx(20)  # where one was
    assert np.allclose(camera.center[-2:], (50, 60), atol=1)
    # The work goes on silently, and the strokes are seen again.
    assert np.array_equal(session.scribbles, strokes)
    assert session.earlier is None
    layer = bench.layer("Strokes")
    bench.until(lambda: np.array_equal(np.asarray(layer.data), strokes))
    bench.until(lambda: len(session.rounds) > 1)
    assert hands.shown(0) == "refined"


def test_marks_and_untouched(hands, folder):
    bench, session, panel = hands.bench, hands.session, hands.panel
    hands.open_folder(folder)
    bench.click(panel.reviewed_button)
    bench.until(lambda: hands.shown(0) == "reviewed")
    assert session.status == "reviewed"
    bench.click(panel.reviewed_button)
    bench.until(lambda: hands.shown(0) == "untouched")
    bench.click(panel.reviewed_button)
    panel.choose(1)
    bench.click(panel.aside_button)
    bench.until(lambda: hands.shown(1) == "set aside")
    assert "draw strokes on them" in panel.score_words.text()
    assert session.worklist.current == 0  # choosing opens nothing
    bench.press_key(UNTOUCHED)
    hands.until_open("2.png")
    assert panel.aside_button.isChecked()
    assert not panel.reviewed_button.isChecked()
    bench.qtbot.keyClick(
        bench.viewer.window._qt_viewer.canvas.native,
        "N",
        Qt.KeyboardModifier.ShiftModifier,
    )
    hands.until_open("1.png")
    assert panel.reviewed_button.isChecked()
    bench.until(lambda: len(session.remembered_lists()) == 1)
    bench.until(lambda: session.remembered_lists()[0].held_out == {"2.png"})


@pytest.mark.slow
def test_strokes_on_an_image_set_aside_score_without_a_warning(hands, folder):
    bench, session, panel = hands.bench, hands.session, hands.panel
    correct, message = hands.widget.correct_panel, hands.widget.message
    hands.open_folder(folder)
    bench.click(correct.live)
    bench.strokes()
    bench.until(lambda: len(session.rounds) == 2)
    bench.press_key(NEXT)
    hands.until_open("2.png")
    bench.until(
        lambda: "starts from 2 strokes on 1 image" in correct.rounds.words.text()
    )
    told = len(notification_manager.records)
    assert "Draw on what" in correct.balance.text()
    bench.click(panel.aside_button)
    bench.until(
        lambda: "strokes on it tell how right the map is" in correct.balance.text()
    )
    bench.strokes()
    bench.until(
        lambda: "(1 foreground, 1 background on 0" not in panel.score_words.text()
    )
    bench.until(lambda: "too few strokes to tell" in panel.score_words.text())
    assert "They score the map" in correct.balance.text()
    bench.until(lambda: not session.is_busy)
    assert correct.refine_button.text() == "Score  R"
    bench.press_key("r")
    bench.until(lambda: "too few strokes to tell" in message.text())
    assert not message.is_warning
    assert len(notification_manager.records) == told
    assert [item.learnt_from for item in session.rounds] == [(), ()]
    assert session.stale == frozenset()
    bench.click(panel.aside_button)  # now they teach, and the map follows
    bench.until(lambda: len(session.rounds) == 3)
    assert correct.refine_button.text() == "Refine  R"
    bench.until(
        lambda: "2 strokes and 2 on 1 other image" in correct.rounds.words.text()
    )


def test_tomorrow_the_dock_offers_to_go_on(make_bench, folder):
    worklist = WorkList.of_folder(folder)
    worklist.set_aside(0)
    worklist.go_to(1)
    remember_list(worklist, lists_folder())
    hands = Hands(make_bench())
    button = hands.widget.image_line.go_on_button
    hands.bench.until(button.isVisible)
    assert "3 images" in button.text()
    hands.bench.until(lambda: hands.session.model is not None)
    hands.bench.click(button)
    hands.until_open("2.png")
    assert hands.shown(0) == "set aside"
    assert button.isHidden()


def test_what_was_learnt_joins_the_list_of_models(hands, folder):
    bench, saving = hands.bench, hands.widget.controller.save_model
    hands.open_folder(folder)
    assert not saving.button.isEnabled()
    bench.strokes()
    bench.refine()
    bench.until(saving.button.isEnabled)
    saving.button.click()
    dialog = saving.chooser.dialog
    assert dialog.answer("name") == "tiny-refined"
    dialog.fields["name"].value = ""
    assert not dialog.ok_button.isEnabled()
    dialog.fields["name"].value = "no good/name"
    dialog.accept()
    bench.until(lambda: "no good/name" in hands.widget.message.text())
    saving.button.click()
    dialog = saving.chooser.dialog
    dialog.fields["name"].value = "squares"
    dialog.fields["title"].value = "Squares"
    dialog.accept()
    box = hands.widget.localize_panel.model_box
    bench.until(lambda: box.findData("squares") >= 0)
    assert "is saved" in hands.widget.message.text()


def test_the_keys_are_free():
    assert clashes([NEXT, BEFORE, UNTOUCHED]) == {}


def test_a_folder_that_is_viewed_is_a_list(folder, qtbot):
    viewer, widget = open_viewer([folder])
    try:
        qtbot.waitUntil(lambda: bool(viewer.layers), timeout=60_000)
        assert len(widget.session.worklist) == 3
        assert viewer.layers[0].name == "1.png"
        assert not {"2.png", "3.png"} & {layer.name for layer in viewer.layers}
    finally:
        widget.end()
        viewer.close()
