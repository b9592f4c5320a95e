import numpy as np
import pytest

from napari_wsol.errors import ConfigError, ImageError
from napari_wsol.evaluation import Bootstrap, region_localization
from napari_wsol.evaluation.regions import (
    LSE_THRESHOLD,
    RegionMeter,
    box_shares,
    region_boxes,
)


@pytest.fixture
def two_squares():
    scores = np.full((20, 30), 0.5)
    scores[2:6, 4:9] = 0.95
    scores[10:12, 20:30] = 0.9
    return scores


def test_boxes_surround_the_regions(two_squares):
    assert region_boxes(two_squares).tolist() == [[4, 2, 5, 4], [20, 10, 10, 2]]
    assert region_boxes(two_squares, threshold=0.91).tolist() == [[4, 2, 5, 4]]
    assert region_boxes(np.zeros((5, 5))).shape == (0, 4)


def test_corners_join_a_region():
    assert region_boxes(np.eye(4)).tolist() == [[0, 0, 4, 4]]


def test_share_is_of_the_found_box():
    shares = box_shares(np.array([[0, 0, 4, 4.0]]), np.array([[2, 0, 9, 9.0]]))
    assert shares.tolist() == [[0.5]]


def test_one_box_inside_is_a_hit_and_the_other_a_false_positive(two_squares):
    score = region_localization([two_squares], [[0, 0, 12, 8]])
    assert score.macro == 1
    assert score.macro_false_positives == 1


def test_half_inside_is_no_hit(two_squares):
    score = region_localization([two_squares], [[0, 4, 30, 2]])
    assert score.macro == 0
    assert score.macro_false_positives == 2


def test_map_below_the_threshold_has_neither():
    score = region_localization([np.full((9, 9), 0.8)], [[0, 0, 9, 9]])
    assert (score.macro, score.macro_false_positives) == (0, 0)


def test_baseline_scales_each_map(two_squares):
    weak = two_squares / 10
    assert region_boxes(weak).size == 0
    found = region_boxes(weak, threshold=LSE_THRESHOLD, scaled=True)
    assert len(found) == 2
    assert region_boxes(np.full((3, 3), 0.99), scaled=True).size == 0


def test_means_are_taken_class_by_class(two_squares):
    boxes = [[0, 0, 12, 8], [0, 0, 12, 8], [0, 15, 5, 5]]
    score = region_localization([two_squares] * 3, boxes, classes=["a", "a", "b"])
    assert score.accuracy == {"a": 1.0, "b": 0.0}
    assert score.false_positives == {"a": 1.0, "b": 2.0}
    assert score.macro == 0.5
    assert score.macro_false_positives == 1.5


def test_intervals_draw_the_classes_of_an_image_together(two_squares):
    meter = RegionMeter()
    for image in range(6):
        for name in ("a", "b"):
            box = [0, 0, 12, 8] if image % 2 else [0, 15, 5, 5]
            meter.update(two_squares, box, name=name, image=image)
    hit, wrong = meter.estimates(Bootstrap(samples=200))
    assert hit.value == 0.5
    assert wrong.value == 1.5
    assert 0 <= hit.low < 0.5 < hit.high <= 1


def test_what_cannot_be_is_refused(two_squares):
    with pytest.raises(ConfigError, match="above 0"):
        RegionMeter(threshold=0)
    with pytest.raises(ImageError, match="at least one reference box"):
        region_localization([two_squares], [[]])
    with pytest.raises(ImageError, match="no images"):
        RegionMeter().value()
