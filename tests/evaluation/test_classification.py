import numpy as np
import pytest

from napari_wsol.errors import ImageError
from napari_wsol.evaluation import accuracy

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
