"""“Where next?” in the window: a key flies there, a ring marks it, a stroke ends it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsol.gui.layers.marks import our_layers

pytestmark = pytest.mark.gui

UNDECIDED = (124, 116, 104)
"""The mean colour of the images that the tiny model's input is normalised by."""

UPPER_LEFT, RIGHT = (24, 24), (64, 104)
"""Centres of the squares that the tiny model can tell nothing of."""


def doubtful() -> np.ndarray:
    """A dark image with a bright square, which the tiny model is sure of, and two that
    it cannot tell: a larger one and a smaller one."""
    image = np.full((128, 128, 3), 40, np.uint8)
    image[96:120, 8:40] = 220
    image[12:36, 12:36] = UNDECIDED
    image[56:72, 96:112] = UNDECIDED
    return image


def localize(bench) -> None:
    """Press Localize, and wait until the places are found, too."""
    bench.localize()
    bench.until(lambda: not bench.widget.controller.proposals.is_old)


def at(bench) -> np.ndarray:
    """The middle of the view in level-0 pixels."""
    centre = bench.viewer.scene.camera.center[-2:]
    return np.asarray(bench.widget.layers.image.world_to_data(centre))


def rings(bench):
    return our_layers(bench.viewer, "guide")


def press_g(bench) -> None:
    """Press G and wait until the view has moved."""
    before = at(bench)
    bench.press_key("g")
    bench.until(lambda: np.abs(at(bench) - before).max() > 1)


def line(bench) -> str:
    return bench.widget.correct_panel.next_row.words.text()


def test_g_flies_from_place_to_place_and_they_follow_rounds(bench):
    bench.open(doubtful(), scale=(0.5, 0.5), translate=(10, 20))
    assert "Localize first" in line(bench)
    assert not bench.widget.correct_panel.next_row.go_button.isEnabled()
    bench.press_key("g")
    bench.until(lambda: bench.widget.message.is_warning)
    assert "Localize first" in bench.widget.message.text()
    assert rings(bench) == []
    localize(bench)
    assert line(bench).startswith("next: upper left – ")
    selected = bench.viewer.layers.selection.active
    press_g(bench)
    assert np.abs(at(bench) - UPPER_LEFT).max() <= 6
    (ring,) = rings(bench)
    assert ring == bench.viewer.layers[-1]
    assert bench.viewer.layers.selection.active == selected
    middle = ring.data_to_world(ring.data[:, 0].mean(0))
    place = bench.session.propose(1)[0]
    expected = bench.widget.layers.image.data_to_world((place.y, place.x))
    assert np.abs(np.subtract(middle, expected)).max() < 0.5
    assert line(bench).startswith("here: upper left – ")
    assert bench.widget.message.text() == place.reason
    press_g(bench)
    assert np.abs(at(bench) - RIGHT).max() <= 6
    assert len(rings(bench)) == 1
    bench.session.brush([(108, 14), (108, 34)], 2, 6)
    bench.session.brush([(100, 60), (100, 90)], 1, 6)
    bench.session.finetune()
    bench.until(lambda: len(bench.session.rounds) > 1)
    bench.until(lambda: not bench.widget.controller.proposals.is_old)
    found = bench.widget.controller.proposals.places
    assert found == bench.session.propose(8)
    assert len(rings(bench)) == 1
    bench.viewer.layers.remove(bench.widget.layers.image)
    bench.until(lambda: "Localize first" in line(bench))
    assert rings(bench) == []


@pytest.mark.slow
def test_a_stroke_ends_a_place_and_not_here_is_for_good(bench):
    bench.open(doubtful())
    localize(bench)
    bench.click(bench.widget.compare_panel.side_by_side)
    press_g(bench)
    assert np.abs(at(bench) - UPPER_LEFT).max() <= 6
    assert bench.widget.layers.wall is not None
    bench.click(bench.widget.compare_panel.overlay)
    press_g(bench)
    press_g(bench)
    assert len(rings(bench)) == 1
    place = bench.session.propose(1)[0]
    bench.session.brush([(120, 60), (120, 90)], 1, 3)  # somewhere else
    bench.until(lambda: not bench.widget.controller.proposals.is_old)
    assert len(rings(bench)) == 1
    bench.session.brush([(place.y, place.x - 5), (place.y, place.x + 5)], 1, 3)
    bench.until(lambda: rings(bench) == [])
    bench.until(lambda: line(bench).startswith("next: right – "))
    press_g(bench)
    assert np.abs(at(bench) - RIGHT).max() <= 6
    bench.click(bench.widget.correct_panel.next_row.dismiss_button)
    assert rings(bench) == []
    assert len(bench.session.dismissed) == 1
    bench.until(lambda: not line(bench).startswith("here: "))
    for _ in range(5):
        bench.until(lambda: not bench.widget.controller.proposals.is_old)
        if line(bench).startswith("Nothing stands out: "):
            break
        bench.press_key("G")  # with Shift: not there either
        bench.until(lambda: bench.widget.controller.proposals.is_old)
    assert line(bench).startswith("Nothing stands out: ")
    assert not bench.widget.correct_panel.next_row.go_button.isEnabled()
    bench.press_key("g")
    bench.until(lambda: bench.widget.message.text().startswith("Nothing stands out"))


def test_its_keys_are_free_in_napari():
    from fixtures.keys import clashes

    from napari_wsol.gui.correct.proposals import DISMISS_KEY, GO_KEY

    assert clashes([GO_KEY, DISMISS_KEY]) == {}


def test_lines_are_left_out_in_3_d_where_napari_cannot_draw_them(bench):
    image = np.full((128, 128, 3), 40, np.uint8)
    image[32:64, 64:96] = 220
    bench.open(image)
    bench.localize()
    bench.until(lambda: bench.layer("PixelCAM · contour").visible)
    ring = bench.widget.controller.proposals.ring
    ring.show(64, 64, 20)
    bench.viewer.dims.ndisplay = 3
    bench.qtbot.wait(300)  # frames are drawn, or raise
    assert not ring.layer.visible
    assert not bench.layer("PixelCAM · contour").visible
    assert bench.layer("PixelCAM").visible
    bench.viewer.dims.ndisplay = 2
    assert bench.layer("PixelCAM · contour").visible
