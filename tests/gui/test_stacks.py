"""Stacks: the plane under napari's sliders is an image of its own."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.gui

PLACES = ((80, 16), (32, 64), (80, 80))


def stack() -> np.ndarray:
    """(3, 128, 128) uint8: dark planes, each with a bright square of 32 pixels."""
    planes = np.full((3, 128, 128), 40, np.uint8)
    for plane, (top, left) in zip(planes, PLACES, strict=True):
        plane[top : top + 32, left : left + 32] = 220
    return planes


def go_to(bench, *planes: int) -> None:
    """Move napari's sliders; the dock follows when they rest."""
    bench.viewer.dims.set_current_step(tuple(range(len(planes))), planes)
    words = [f"Plane {plane} of" for plane in planes]
    bench.until(lambda: all(x in bench.widget.image_line.notes.text() for x in words))
    bench.until(lambda: not bench.session.is_busy)


def found_at(bench) -> np.ndarray:
    """World position of the middle of what is found, on the last two axes."""
    layer = bench.layer("PixelCAM · bright")
    return np.array(layer.data_to_world(np.argwhere(layer.data > 0.5).mean(0)))


def test_the_plane_under_the_slider_is_worked_on_and_said(bench):
    place = {"scale": (4, 0.5, 0.5), "translate": (3, 30, -7)}
    layer = bench.open(stack(), **place)
    mine = bench.viewer.add_points(np.ones((1, 3)), name="mine", **place)
    for plane in (1, 2):
        go_to(bench, plane)
        assert bench.session.heatmaps == {}
        assert not [name for name in bench.names if "PixelCAM" in name]
        bench.localize()
        middle = layer.data_to_world((plane, *np.add(PLACES[plane], 15.5)))
        assert np.abs(found_at(bench) - middle[-2:]).max() <= 1
    assert mine in bench.viewer.layers
    assert np.array_equal(mine.data, np.ones((1, 3)))
    bench.viewer.dims.set_current_step(0, 0)
    bench.localize()  # at once: it is meant for what is seen
    bench.until(lambda: bench.session.result is not None)
    assert "Plane 0 of 3" in " ".join(bench.session.slide.notes)


@pytest.mark.slow
def test_each_plane_keeps_its_own_strokes_map_and_rounds(bench):
    bench.open(stack())
    go_to(bench, 1)
    bench.localize()
    bench.strokes()
    bench.refine()
    canvas = bench.session.scribbles.copy()
    values = bench.session.heatmap("pixelcam").values.copy()
    layer = bench.widget.layers.strokes.layer
    go_to(bench, 0)
    assert bench.session.strokes == bench.session.rounds == ()
    assert not layer.visible
    assert "another plane" in layer.name
    go_to(bench, 1)
    bench.until(lambda: len(bench.session.rounds) == 2)
    assert np.array_equal(bench.session.scribbles, canvas)
    assert np.array_equal(bench.session.heatmap("pixelcam").values, values)
    bench.until(lambda: len(bench.widget.layers.maps()) == 2)
    assert bench.widget.layers.strokes.layer == layer
    assert layer.visible
    assert layer.name == "Strokes"
    assert np.array_equal(layer.data, canvas)


def test_five_axes_have_two_sliders_and_colours(bench):
    colours = np.repeat(stack()[..., None], 3, axis=-1)
    data = np.stack([colours, colours[::-1]])[:, None]
    bench.open(data, rgb=True)  # 2 × 1 × 3 planes of 128 × 128 colours
    bench.viewer.dims.set_current_step((0, 2), (1, 0))
    notes = bench.widget.image_line.notes
    bench.until(lambda: "Plane 1 of 2" in notes.text())
    bench.until(lambda: "Plane 0 of 3" in notes.text())
    bench.until(lambda: not bench.session.is_busy)
    bench.localize()
    assert np.abs(found_at(bench) - np.add(PLACES[2], 15.5)).max() <= 2
