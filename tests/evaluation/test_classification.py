import numpy as np
import pytest

from napari_wsol.errors import ImageError
from napari_wsol.evaluation import Bootstrap, ClassificationMeter, accuracy, roc_auc

SCORES = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]]


def test_share_of_right_classes_in_percent():
    assert accuracy(SCORES, [0, 1, 1, 1]) == 75
    assert accuracy(SCORES, [[1, 0], [0, 1], [0, 1], [0, 1]]) == 75


def test_one_of_several_classes_is_right():
    assert accuracy(SCORES, [[1, 1], [0, 1], [1, 1], [1, 0]]) == 75


@pytest.mark.parametrize(
    ("scores", "labels"),
    [([], []), (SCORES, [0, 1]), (SCORES, np.ones((4, 3))), ([[np.nan, 0]], [0])],
)
def test_what_does_not_fit_is_refused(scores, labels):
    with pytest.raises(ImageError):
        accuracy(scores, labels)


def pairs_won(scores, labels):
    """Share of the pairs of a positive and a negative image that are in order."""
    wins = [
        (a > b) + (a == b) / 2
        for a, one in zip(scores, labels, strict=True)
        for b, other in zip(scores, labels, strict=True)
        if one and not other
    ]
    return float(np.mean(wins))


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_roc_auc_is_the_share_of_pairs_in_order(levels):
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, 60) / levels
    labels = rng.random(60) < 0.3
    assert roc_auc(scores, labels) == pytest.approx(pairs_won(scores, labels))


def test_roc_auc_of_known_cases():
    assert roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == 0.75
    assert roc_auc([0.5, 0.5, 0.5], [0, 1, 0]) == 0.5
    assert roc_auc([0.9, 0.1], [0, 1]) == 0


@pytest.mark.parametrize(
    ("scores", "labels"),
    [([0.1, 0.2], [1, 1]), ([0.1], [0, 1]), ([np.nan, 0.2], [0, 1])],
)
def test_roc_curve_needs_both_kinds(scores, labels):
    with pytest.raises(ImageError):
        roc_auc(scores, labels)


def test_meter_gives_accuracy_and_the_mean_auc_of_known_classes():
    rng = np.random.default_rng(0)
    scores = rng.random((40, 3))
    labels = np.eye(3, dtype=int)[rng.integers(0, 2, 40)]  # the third never occurs
    meter = ClassificationMeter(("a", "b", "c"), multi_label=False)
    for item in zip(scores, labels, strict=True):
        meter.update(*item)
    found = meter.value(Bootstrap(samples=300))
    assert found.accuracy.value == pytest.approx(accuracy(scores, labels))
    assert found.accuracy.low < found.accuracy.value < found.accuracy.high
    areas = [pairs_won(scores[:, k], labels[:, k]) for k in (0, 1)]
    assert set(found.auc) == {"a", "b"}
    assert found.auc["b"].value == pytest.approx(areas[1])
    assert found.macro_auc.value == pytest.approx(np.mean(areas))
    assert found.macro_auc.low < found.macro_auc.value < found.macro_auc.high


def test_several_labels_have_no_accuracy():
    meter = ClassificationMeter(("a", "b"), multi_label=True)
    meter.update([0.1, 0.2], [0, 0])
    meter.update([0.3, 0.1], [1, 0])
    found = meter.value(Bootstrap(samples=0))
    assert found.accuracy is None
    assert found.auc["a"].value == 1
    assert set(found.auc) == {"a"}


def test_meter_refuses_what_does_not_fit():
    meter = ClassificationMeter(("a", "b"), multi_label=True)
    with pytest.raises(ImageError, match="3 scores"):
        meter.update([0.1, 0.2, 0.3], [0, 0])
    with pytest.raises(ImageError, match="no images"):
        meter.value(Bootstrap())


def test_patients_are_judged_by_the_mean_of_their_slides():
    meter = ClassificationMeter(("normal", "tumour"), multi_label=False)
    slides = [
        ("a", 0, 0.2), ("a", 0, 0.6), ("b", 0, 0.3), ("c", 1, 0.9), ("c", 1, 0.1),
        ("d", 1, 0.45),
    ]  # fmt: skip
    for group, label, p in slides:
        meter.update([1 - p, p], [1 - label, label], group)
    found = meter.value(Bootstrap(samples=200))
    # By slide: of 3 × 3 pairs, .9 wins 3, .45 wins 2, .1 none.
    assert found.macro_auc.value == pytest.approx(5 / 9)
    # By patient .4 and .3 against .5 and .45: all pairs.
    assert found.group_macro_auc.value == 1.0
    assert found.macro_auc.low < found.macro_auc.high
    own = ClassificationMeter(("normal", "tumour"), multi_label=False)
    own.update([0.2, 0.8], [0, 1], "a")
    own.update([0.9, 0.1], [1, 0], "b")
    each = own.value(Bootstrap(samples=0))
    assert each.group_macro_auc is None  # no patient has several
    assert each.group_accuracy.value == 100.0
