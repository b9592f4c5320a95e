"""What goes wrong around the dock: foreign layers, bad images, closing, two viewers."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_wsol.gui.dock import WsolWidget

pytestmark = pytest.mark.gui


def square(size: int = 128) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    return image


def callbacks(viewer) -> int:
    layers = viewer.layers.events
    return (
        len(layers.inserted.callbacks)
        + len(layers.removed.callbacks)
        + len(viewer.layers.selection.events.active.callbacks)
        + len(viewer.scene.camera.events.zoom.callbacks)
        + len(viewer.events.theme.callbacks)
        + len(viewer.mouse_move_callbacks)
        + len(viewer.keymap)
    )


def test_foreign_layers_are_left_alone(bench):
    source = bench.open(square())
    stack = bench.viewer.add_image(np.zeros((2, 3, 4, 32, 32), np.uint8), name="5-D")
    labels = bench.viewer.add_labels(np.zeros((64, 64), np.int32))
    points = bench.viewer.add_points([(3, 3)])
    bench.localize()
    bench.viewer.dims.set_current_step((0, 1), (1, 2))
    bench.strokes()
    assert bench.widget.image_line.layer == source
    assert {stack, labels, points} <= set(bench.viewer.layers)
    assert stack.name == "5-D"


def test_an_image_that_is_chosen_and_cannot_be_used_is_refused_in_words(bench):
    source = bench.open(square())
    bench.localize()
    names = bench.names
    pixels = np.full((3, 64, 64), np.nan, np.float32)
    odd = bench.viewer.add_image(pixels, name="odd", contrast_limits=(0, 255))
    box = bench.widget.image_line.box
    box.setCurrentIndex(box.findText("odd"))
    box.activated.emit(box.currentIndex())
    bench.until(lambda: bench.widget.message.is_warning)
    bench.until(lambda: bench.widget.image_line.layer == source)
    bench.viewer.layers.remove(odd)
    assert bench.names == names
    bench.strokes()  # the image that was open before is still worked on
    bench.refine()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 1, 3), np.uint8),
        np.full((64, 64), np.nan, np.float32),
        np.zeros((1, 64), np.uint8),
    ],
    ids=["1x1", "nan", "one row"],
)
def test_images_that_cannot_be_used_give_words(bench, pixels):
    bench.viewer.add_image(pixels, rgb=pixels.ndim == 3, contrast_limits=(0, 255))
    bench.until(lambda: bench.widget.message.is_warning)
    assert len(bench.widget.message.text()) > 20
    assert "Error" not in bench.widget.message.text()


@pytest.mark.slow
def test_our_layers_may_be_deleted_by_hand(bench):
    bench.open(square())
    bench.localize()
    bench.strokes()
    bench.viewer.layers.remove(bench.layer("Strokes"))
    bench.until(lambda: not bench.session.scribbles.any())
    bench.viewer.layers.remove(bench.layer("CAM · bright"))
    assert not [name for name in bench.names if name.startswith("CAM")]
    bench.widget.compare_panel.amount_box.setValue(0.7)
    bench.localize()


@pytest.mark.slow
def test_another_image_takes_the_maps_away_and_keeps_the_strokes(bench):
    first = bench.open(square(), name="first")
    bench.localize()
    bench.strokes()
    painted = np.array(bench.session.scribbles)
    bench.viewer.add_image(255 - square(), name="second")
    line = bench.widget.image_line
    for name in ("second", "first"):
        line.box.setCurrentIndex(line.box.findText(name))
        line.box.activated.emit(line.box.currentIndex())
        layer = bench.layer(name)
        bench.until(lambda layer=layer: bench.widget.layers.image == layer)
        assert not [x for x in bench.names if x.startswith("PixelCAM")]
    assert line.layer == first
    bench.until(lambda: np.array_equal(bench.session.scribbles, painted))


def test_the_last_of_two_choices_in_a_hurry_is_opened(bench):
    bench.open(square(), name="first")
    bench.viewer.add_image(255 - square(), name="second")
    box = bench.widget.image_line.box
    for name in ("second", "first", "second"):
        box.setCurrentIndex(box.findText(name))
        box.activated.emit(box.currentIndex())
    bench.until(lambda: bench.widget.layers.image == bench.layer("second"))
    bench.until(lambda: not bench.session.is_busy)
    assert bench.session.slide.name == "second"
    assert bench.widget.image_line.layer.name == "second"


def test_deleting_the_image_invites_again(bench):
    source = bench.open(square())
    bench.localize()
    bench.viewer.layers.remove(source)
    assert bench.names == []
    assert "Open an image" in bench.widget.image_line.words.text()


@pytest.mark.binding
def test_closing_the_dock_during_a_job_is_clean(bench):
    bench.open(square(1024))
    bench.widget.controller.localize()
    told, heard = threading.Thread(target=bench.session.model_changed.emit), []
    events = bench.widget._context.events
    events.model_changed.connect(lambda: heard.append("model"))
    told.start()
    told.join()  # and the window has not heard of it yet
    bench.widget.parent().close()
    bench.widget.setParent(None)
    bench.until(lambda: not bench.session.is_busy)
    assert not heard


@pytest.mark.binding
def test_closing_the_viewer_during_a_job_is_clean(bench):
    bench.open(square(1024))
    bench.widget.controller.localize()
    session = bench.session
    bench.close_viewer()
    bench.until(lambda: not session.is_busy)


@pytest.mark.binding
def test_closing_the_viewer_during_refine_is_clean(bench):
    bench.open(square())
    bench.localize()
    bench.strokes()
    session = bench.session
    states = []
    session.job_changed.connect(lambda status: states.append(status.state))
    bench.click(bench.widget.correct_panel.refine_button)
    bench.until(lambda: "running" in states)
    bench.close_viewer()
    bench.until(lambda: not session.is_busy)
    assert "failed" not in states


@pytest.mark.slow
def test_images_come_and_go_with_their_maps(bench):
    for number in range(3):
        before = bench.widget.layers.image
        image = bench.viewer.add_image(np.roll(square(), 20 * number, 0))
        if before is not None:
            bench.viewer.layers.remove(before)
        bench.until(lambda image=image: bench.widget.layers.image == image)
        bench.until(lambda: bench.session.model is not None)
        assert len(bench.names) == 1
        bench.localize()
        bench.qtbot.wait(50)  # drawn


@pytest.mark.slow
@pytest.mark.binding
def test_opening_and_closing_five_times_leaves_nothing_behind(bench):
    bench.open(square())
    bench.localize()
    bench.strokes()
    window, viewer = bench.viewer.window, bench.viewer
    window.remove_dock_widget(bench.widget)
    bench.widget.setParent(None)
    layers, before = len(viewer.layers), callbacks(viewer)
    for _ in range(5):
        widget = open_dock(bench)
        bench.until(lambda w=widget: w.layers.image is not None)
        bench.until(lambda w=widget: w.session.scribbles is not None)  # found again
        widget.controller.localize_when_ready()
        bench.until(lambda w=widget: len(w.layers.maps()) == 2)
        window.remove_dock_widget(widget)
        widget.setParent(None)
    assert len(viewer.layers) == layers
    assert callbacks(viewer) == before


def ours() -> list[str]:
    """Threads of the plugin that run."""
    names = [thread.name for thread in threading.enumerate()]
    return sorted(name for name in names if name.startswith("napari-wsol"))


def open_dock(bench) -> WsolWidget:
    widget = WsolWidget(bench.proxy)
    widget.controller.prefer_model("tiny")
    bench.viewer.window.add_dock_widget(widget, name="again")
    return widget


@pytest.mark.slow
def test_twenty_docks_leave_no_thread_and_no_callback_behind(bench):
    bench.open(square())
    window = bench.viewer.window
    window.remove_dock_widget(bench.widget)
    bench.widget.setParent(None)
    bench.until(lambda: not ours())
    before = callbacks(bench.viewer)
    for number in range(20):
        widget = open_dock(bench)
        if number % 2:  # the others are closed while they open the image
            bench.until(lambda w=widget: w.layers.image is not None)
        window.remove_dock_widget(widget)
        widget.setParent(None)
        widget.deleteLater()
    bench.until(lambda: not ours())
    assert callbacks(bench.viewer) == before


@pytest.mark.slow
def test_twenty_viewers_leave_no_thread_behind(make_bench):
    for _ in range(20):
        bench = make_bench()
        bench.open(square())
        bench.widget.controller.localize()
        bench.close_viewer()
        bench.until(lambda: not ours())


def test_two_viewers_do_not_mix(make_bench):
    one, two = make_bench(), make_bench()
    one.open(square(), name="left")
    two.open(255 - square(), name="right")
    one.localize()
    assert not [name for name in two.names if "PixelCAM" in name]
    two.localize()
    assert one.session.slide.name != two.session.slide.name


@pytest.mark.binding
def test_the_theme_changes_without_a_word(bench):
    bench.viewer.theme = "light"
    bench.widget.message.warn("Something to read.")
    assert bench.widget.message.is_warning


@pytest.mark.binding
def test_keys_clash_with_napari_only_where_it_is_meant():
    from fixtures.keys import clashes

    # Brushes come before napari's fill, protect and erase, on our own strokes only.
    meant = {"B": "Labels", "E": "Labels", "F": "Labels", "Enter": "Labels"}
    assert clashes(["B", "E", "F", "R", "H", "Enter"]) == meant
