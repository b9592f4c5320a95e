import json
from pathlib import Path

import numpy as np
import pytest

from napari_wsol.errors import ImageError
from napari_wsol.evaluation import (
    Bootstrap,
    HitMeter,
    iobb,
    point_localization,
    pointing_game,
)
from napari_wsol.evaluation.points import points_into_box

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def golden():
    """The published case, as one heatmap for each image and class with a box."""
    case = json.loads((GOLDEN / "pylon_pointloc.json").read_text(encoding="utf-8"))
    arrays = np.load(GOLDEN / "pylon_pointloc.npz")
    pairs = [
        (image, number, [box[:4] for box in boxes if box[4] == number])
        for image, boxes in enumerate(case["bboxes_xywh_cls"])
        for number in sorted({box[4] for box in boxes})
    ]
    return {
        "heatmaps": [arrays["seg"][image, number] for image, number, _ in pairs],
        "boxes": [boxes for *_, boxes in pairs],
        "classes": [str(number) for _, number, _ in pairs],
        "shapes": [(case["H"], case["W"])] * len(pairs),
        "report": case["report"],
        "arrays": arrays,
    }


def check(score, report, name):
    assert score.macro == pytest.approx(report[f"{name}_macro"], abs=1e-6)
    assert score.weighted == pytest.approx(report[f"{name}_weighted"], abs=1e-6)
    for number, value in score.per_class.items():
        assert value == pytest.approx(report[f"{name}_{number}"], abs=1e-6)


def given(golden):
    keys = ("heatmaps", "boxes", "classes", "shapes")
    heatmaps, boxes, classes, shapes = (golden[key] for key in keys)
    return (heatmaps, boxes), {"classes": classes, "shapes": shapes}


def test_point_localization_equals_the_published_code(golden):
    lists, named = given(golden)
    check(point_localization(*lists, **named), golden["report"], "point_acc")


@pytest.mark.parametrize("threshold", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("or_iou", [True, False])
def test_iobb_equals_the_published_code(golden, threshold, or_iou):
    lists, named = given(golden)
    score = iobb(*lists, threshold=threshold, or_iou=or_iou, **named)
    if or_iou:
        check(score, golden["report"], f"iobb{threshold}")
    key = f"iobb{'_or_iou' if or_iou else ''}_t{threshold}_cls"
    for number in "012":
        places = np.array(golden["classes"]) == number
        np.testing.assert_array_equal(
            np.array(score.hits)[places], golden["arrays"][key + number] > 0
        )


def test_borders_belong_to_the_box():
    scores = np.zeros((10, 10))
    scores[6, 8] = 1
    assert point_localization([scores], [[[5, 4, 3, 2]]]).hits == (True,)
    assert point_localization([scores], [[[5, 4, 2.9, 2]]]).hits == (False,)


def test_any_box_of_the_class_will_do():
    scores = np.zeros((10, 10))
    scores[6, 8] = 1
    boxes = [[0, 0, 1, 1], [7, 5, 2, 2]]
    assert point_localization([scores], [boxes]).weighted == 1


def test_classes_count_alike_in_the_macro_mean():
    scores = np.zeros((4, 4))
    scores[0, 0] = 1
    hit, miss = [[0, 0, 1, 1]], [[2, 2, 1, 1]]
    score = point_localization(
        [scores] * 4, [hit, hit, hit, miss], classes=["a", "a", "a", "b"]
    )
    assert score.per_class == {"a": 1.0, "b": 0.0}
    assert score.macro == 0.5
    assert score.weighted == 0.75


def test_empty_map_is_no_hit():
    assert iobb([np.zeros((8, 8))], [[[0, 0, 8, 8]]]).weighted == 0


def test_heatmap_without_a_box_is_refused():
    with pytest.raises(ImageError, match="at least one reference box"):
        point_localization([np.ones((4, 4))], [[]])


def square(y, x):
    mask = np.zeros((60, 60), bool)
    mask[y : y + 10, x : x + 10] = True
    return mask


@pytest.mark.parametrize(("gap", "hit"), [(0, True), (15, True), (16, False)])
def test_pointing_game_forgives_15_pixels(gap, hit):
    scores = np.zeros((60, 60))
    scores[25, 29 + gap] = 1
    assert pointing_game([scores], [square(20, 20)]).hits == (hit,)


def test_pointing_game_measures_a_straight_distance():
    scores = np.zeros((60, 60))
    scores[29 + 11, 29 + 11] = 1  # 15.6 pixels from the corner
    assert pointing_game([scores], [square(20, 20)]).weighted == 0
    assert pointing_game([scores], [square(20, 20)], tolerance=16).weighted == 1


def test_pointing_game_needs_a_region():
    with pytest.raises(ImageError, match="Leave out images without foreground"):
        pointing_game([np.ones((6, 6))], [np.zeros((6, 6), bool)])


def test_meter_gives_what_the_list_gives_and_an_interval(golden):
    (heatmaps, boxes), named = given(golden)
    meter = HitMeter(points_into_box)
    for image, (heatmap, wanted) in enumerate(zip(heatmaps, boxes, strict=True)):
        meter.update(
            heatmap,
            wanted,
            name=named["classes"][image],
            shape=named["shapes"][image],
            image=image // 2,
        )
    assert meter.value() == point_localization(heatmaps, boxes, **named)
    found = meter.estimate(Bootstrap(samples=200))
    assert found.value == pytest.approx(meter.value().macro)
    assert found.low <= found.value <= found.high
