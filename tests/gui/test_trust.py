"""Can I believe this?: the button, its table and sentences, and the badges."""

from __future__ import annotations

from html import unescape

import numpy as np
import pytest

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
    bench.viewer.layers.remove(bench.widget.layers.image)
    bench.until(lambda: not box.button.isEnabled())
    assert not box.words.text()
