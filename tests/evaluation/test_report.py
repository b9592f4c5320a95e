"""How the figures of a report are written."""

from __future__ import annotations

import pytest

from napari_wsol.evaluation import Estimate
from napari_wsol.evaluation.report import shown, title_of


@pytest.mark.parametrize(
    ("name", "estimate", "text"),
    [
        ("pxap", Estimate(value=81.56, low=79.94, high=83.04), "81.6 (79.9–83.0)"),
        ("image_iou", Estimate(value=0.5, low=0.4321, high=1), "0.500 (0.432–1.000)"),
        ("image_iou", Estimate(value=0.12345), "0.123"),
        ("image_iou", Estimate(value=0.1, low=0.0), "0.100"),
        ("image_iou", None, "–"),
    ],
)
def test_a_figure_is_shown_with_its_interval(name, estimate, text):
    assert shown(name, estimate) == text


def test_a_percentage_says_so():
    assert title_of("pxap") == "PxAP (%)"
    assert title_of("pointing_game") == "Pointing game"


def test_another_unit_is_another_unit_for_the_interval_too():
    found = Estimate(value=0.5, low=0.25, high=0.75).times(100)
    assert (found.value, found.low, found.high) == (50, 25, 75)
    assert Estimate(value=0.5).times(100) == Estimate(value=50)
