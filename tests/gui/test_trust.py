"""Can I believe this?: the button, its table and sentences, and the badges."""

from __future__ import annotations

from html import unescape

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_wsol.gui.compare.trust import TrustBox

pytestmark = pytest.mark.gui


def square(size: int = 64) -> np.ndarray:
    image = np.full((size, size, 3), 40, np.uint8)
    image[16:32, 32:48] = 220
    return image


@pytest.fixture
def box(bench):
    bench.open(square())
    return bench.widget.compare_panel.findChild(TrustBox)


def test_maps_are_checked_and_told_by_table_sentence_and_badge(bench, box):
    methods = bench.widget.localize_panel.method_list
    assert not box.button.isEnabled()
    assert not box.words.isVisibleTo(box)
    bench.localize()
    bench.until(box.button.isEnabled)
    assert "Not checked" in methods.boxes["pixelcam"].toolTip()
    unchecked = methods.boxes["pixelcam"].icon().pixmap(16).toImage()
    bench.click(box.button)
    bench.until(lambda: "ROAD" in box.words.text())
    words = box.words.text()
    assert words.count("<tr>") == 3
    assert words.count("<p>") == 2
    assert box.words.isVisible()
    tip = methods.boxes["pixelcam"].toolTip()
    said = tip[tip.index("PixelCAM: ") :]  # of a random network it is no good word
    assert said in unescape(words)
    assert methods.boxes["pixelcam"].icon().pixmap(16).toImage() != unchecked
    # Other maps of the same methods were not checked.
    bench.click(bench.widget.localize_panel.localize_button)
    bench.until(lambda: not box.words.text())
    assert "Not checked" in methods.boxes["pixelcam"].toolTip()
    bench.until(lambda: not bench.session.is_busy)
    bench.viewer.layers.remove(bench.widget.layers.image)
    bench.until(lambda: not box.button.isEnabled())
    assert not box.words.text()


# --- Occlude here ------------------------------------------------------------------


@pytest.fixture
def localized(bench, box):
    bench.localize()
    bench.until(box.occlude_button.isEnabled)
    return bench


def drawn(bench):
    return [layer for layer in bench.viewer.layers if layer.name == "Occluded"]


@pytest.mark.slow
def test_a_box_is_dragged_and_the_true_loss_stands_beside_the_claims(localized, box):
    own = localized.viewer.add_points([(5, 5)], name="mine")
    localized.until(lambda: localized.viewer.layers.selection.active == own)
    localized.click(box.occlude_button)
    assert localized.viewer.layers.selection.active == drawn(localized)[0]
    localized.drag((12, 28), (36, 52))
    localized.until(lambda: "probability" in box.words.text())
    corners = drawn(localized)[0].data[0]
    assert np.allclose(np.ptp(corners, axis=0), 24, atol=0.1)
    assert np.allclose(corners.min(0), (12, 28), atol=0.1)
    part = (*corners.min(0) + 0.5, *corners.max(0) + 0.5)
    found = localized.session.occlude(part).result(60)
    assert found.logits[1] < found.logits[0]  # the bright square is in it
    words = box.words.text()
    for number in (*found.probabilities, *found.logits):
        assert f"{number:.3f}" in words or f"{number:.2f}" in words
    for share in found.evidence.values():
        assert f"{share:.0%}" in words
        assert f"{share / found.area:.1f} ×" in words
    assert words.count("<tr>") == 6
    (layer,) = drawn(localized)
    assert (layer.shape_type, len(layer.selected_data)) == (["rectangle"], 0)
    assert str(layer.mode) == "pan_zoom"
    assert not box.occlude_button.isChecked()
    assert localized.viewer.layers.selection.active == own
    assert len(own.data) == 1
    # Whoever pans on its layer moves nothing.
    localized.viewer.layers.selection.active = layer
    localized.drag((50, 50), (40, 40))
    localized.qtbot.wait(50)
    assert np.array_equal(drawn(localized)[0].data[0].min(0), corners.min(0))
    assert not localized.session.is_busy
    localized.viewer.layers.selection.active = own
    # The next one takes its place; other maps, or no image, take it away.
    localized.click(box.occlude_button)
    assert not box.words.isVisible()
    localized.drag((2, 2), (12, 20))
    localized.until(lambda: "probability" in box.words.text())
    assert len(drawn(localized)) == 1
    localized.viewer.layers.remove(localized.widget.layers.image)
    localized.until(lambda: not drawn(localized))


@pytest.mark.slow
def test_pressing_again_escape_and_another_layer_leave(localized, box):
    before = localized.viewer.layers.selection.active
    names = [layer.name for layer in localized.viewer.layers]

    def is_left():
        localized.until(lambda: not box.occlude_button.isChecked())
        assert [layer.name for layer in localized.viewer.layers] == names

    for leave in (
        lambda: localized.click(box.occlude_button),
        lambda: localized.press_key(Qt.Key.Key_Escape),
        lambda: setattr(localized.viewer.layers.selection, "active", before),
        lambda: localized.viewer.layers.remove(drawn(localized)[0]),
    ):
        localized.click(box.occlude_button)
        assert drawn(localized)
        leave()
        is_left()
        assert localized.viewer.layers.selection.active == before


@pytest.mark.slow
def test_the_wall_is_left_and_a_click_is_told_to_be_too_small(localized, box):
    localized.click(localized.widget.compare_panel.side_by_side)
    localized.until(lambda: localized.widget.layers.wall is not None)
    localized.click(box.occlude_button)
    assert localized.widget.layers.wall is None
    assert localized.widget.compare_panel.overlay.isChecked()
    localized.press((20, 20))
    localized.until(lambda: "larger one" in localized.widget.message.text())
    assert not box.words.isVisible()
