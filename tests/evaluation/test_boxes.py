import json
from pathlib import Path

import numpy as np
import pytest

from napari_wsol.errors import ImageError
from napari_wsol.evaluation import Bootstrap, BoxAccuracyMeter, max_box_acc

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
    text = (GOLDEN / "metric_boxacc.json").read_text(encoding="utf-8")
    return json.loads(text), np.load(GOLDEN / "metric_boxacc.npz")


@pytest.mark.parametrize("all_contours", [False, True])
def test_max_box_acc_equals_the_published_code(golden, all_contours):
    case, arrays = golden
    result = max_box_acc(
        arrays["maps_u16"] / 1024.0,
        list(case["gt_boxes"].values()),
        all_contours=all_contours,
    )
    number = int(all_contours)
    wanted = case["report"][f"multi_contour_{number}"]
    for percent, tau in zip((30, 50, 70), wanted["best_tau"], strict=True):
        iou = percent / 100
        assert result.accuracy[iou] == wanted["MaxBoxAcc"][str(percent)]
        assert result.threshold[iou] == pytest.approx(tau)
        np.testing.assert_allclose(
            result.curves[iou], arrays[f"curve_mc{number}_iou{percent}"]
        )
    assert result.mean == pytest.approx(250 / 3)


def test_box_of_a_bright_square_fits():
    scores = np.zeros((40, 40))
    scores[10:20, 5:25] = 1.0
    result = max_box_acc([scores], [[5, 10, 24, 19]], ious=(0.5, 0.8))
    assert result.accuracy == {0.5: 100.0, 0.8: 100.0}


def test_a_box_that_overlaps_by_just_what_is_asked_fits():
    scores = np.zeros((40, 40))
    scores[10:20, 5:25] = 1.0  # its box is 5 to 25 and 10 to 20, the last included
    result = max_box_acc([scores], [[5, 10, 25, 31]], ious=(0.5, 0.5001))
    assert result.accuracy == {0.5: 100.0, 0.5001: 0.0}


def test_largest_contour_is_the_one_with_the_largest_area():
    scores = np.zeros((40, 40))
    scores[2:8, 2:8] = 1.0
    scores[20, 1:39] = 1.0  # a long line encloses no area
    square, line = [2, 2, 7, 7], [1, 20, 38, 21]
    largest = {"ious": (0.5,), "all_contours": False}
    assert max_box_acc([scores], [square], **largest).accuracy[0.5] == 100
    assert max_box_acc([scores], [line], **largest).accuracy[0.5] == 0
    assert max_box_acc([scores], [line], ious=(0.5,)).accuracy[0.5] == 100


@pytest.mark.parametrize(
    ("rows", "columns", "box"),
    [
        (slice(39, 40), slice(5, 25), [5, 39, 25, 39]),  # the last row
        (slice(5, 25), slice(49, 50), [49, 5, 49, 25]),  # the last column
        (slice(30, 40), slice(40, 50), [40, 30, 49, 39]),
        (slice(0, 40), slice(0, 50), [0, 0, 49, 39]),
    ],
)
def test_a_box_ends_with_the_image(rows, columns, box):
    scores = np.zeros((40, 50))
    scores[rows, columns] = 1.0
    assert max_box_acc([scores], [box], ious=(1.0,)).accuracy == {1.0: 100.0}


def test_a_long_diagonal_encloses_less_than_a_square():
    scores = np.zeros((40, 40))
    scores[2:10, 2:10] = 1.0
    along = np.arange(15, 38)
    scores[along, along] = scores[along, along - 1] = 1.0
    found = max_box_acc([scores], [[2, 2, 9, 9]], ious=(0.5,), all_contours=False)
    assert found.accuracy[0.5] == 100


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize(("side", "larger"), [(8, False), (9, True)])
def test_half_a_block_counts_where_the_contour_cuts_it(turns, side, larger):
    """A staircase of 12 pixels encloses 11² / 2, a square of 8 7², one of 9 8²."""
    scores = np.zeros((40, 40))
    scores[2:14, 2:14] = np.rot90(np.tri(12), turns)
    scores[20 : 20 + side, 20 : 20 + side] = 1.0
    square = [20, 20, 19 + side, 19 + side]
    found = max_box_acc([scores], [square], ious=(0.5,), all_contours=False)
    assert found.accuracy[0.5] == (100 if larger else 0)


def test_constant_map_has_the_box_of_the_whole_image_or_of_a_corner():
    flat = np.full((20, 20), 0.5)
    assert max_box_acc([flat], [[0, 0, 19, 19]]).accuracy[0.7] == 100
    nothing = np.zeros((20, 20))
    assert max_box_acc([nothing], [[5, 5, 9, 9]]).accuracy[0.3] == 0


@pytest.mark.parametrize("boxes", [[], [[1, 2, 3]]])
def test_image_without_a_box_is_refused(boxes):
    with pytest.raises(ImageError, match="at least one reference box"):
        max_box_acc([np.ones((4, 4))], [boxes])


def test_interval_is_over_images():
    meter = BoxAccuracyMeter((0.5,))
    for image in range(8):
        scores = np.zeros((30, 30))
        scores[10:20, 5:25] = 1.0
        meter.update(scores, [5, 10, 24, 19] if image % 2 else [0, 0, 3, 3])
    found = meter.estimate(Bootstrap(samples=200))
    assert found.value == meter.value().mean == 50
    assert 0 <= found.low < 50 < found.high <= 100


def test_map_is_brought_to_the_grid_of_the_boxes():
    scores = np.zeros((20, 20))
    scores[5:10, 5:15] = 1.0
    meter = BoxAccuracyMeter((0.5,))
    meter.update(scores, [10, 10, 29, 19], shape=(40, 40))
    assert meter.value().accuracy[0.5] == 100
