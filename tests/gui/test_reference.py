"""A reference in the window: layers and files beside the maps, and their scores."""

from __future__ import annotations

import numpy as np
import pytest

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
    bench.until(lambda: "–" not in column(bench, "IoU")[:2])


def of_mask(bench, area) -> dict:
    """Figures of the same maps beside an array, in a session without a window."""
    from napari_wsol.evaluation.settings import EvaluationConfig
    from napari_wsol.evaluation.single import measure

    bench.session.set_reference(area).result(60)
    return {
        key: measure(one, bench.session.reference.against, EvaluationConfig())
        for key, one in bench.session.heatmaps.items()
    }


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
    assert bench.layer("Reference").visible
    layer.data_setitem((np.array([5]), np.array([5])), 1)  # as the brush does
    layer.data[0:20, 0:20] = 255
    layer.data = layer.data
    measured(bench, than=first)
    assert bench.session.reference.against.ignore.any()
    choose(bench, "none")
    bench.until(lambda: bench.session.reference is None)
    assert column(bench, "PxAP") == []
    assert "Reference" not in bench.names
