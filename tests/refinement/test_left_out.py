"""Strokes judged by the others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_wsol.config import FinetuneConfig
from napari_wsol.encoders import Features
from napari_wsol.refinement.left_out import Marked, left_out

SIDE, STRIDE = 24, 4


class Bare:
    """A model without a pixel head: nothing else of it is asked for."""

    heads: tuple[str, ...] = ()


@pytest.fixture
def features():
    """Left half like -1, right half like +1, with a little noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.1, (1, 3, SIDE, SIDE))
    x[:, 0, :, : SIDE // 2] -= 1
    x[:, 0, :, SIDE // 2 :] += 1
    maps = (torch.from_numpy(x.astype(np.float32)),)
    return Features(maps, (STRIDE,), ((STRIDE - 1) / 2,), ("only",))


def marked(*strokes):
    """Strokes as (label, row, first column), eight pixels long, in cells."""
    points, labels, owners = [], [], []
    for owner, (label, row, column) in enumerate(strokes):
        for step in range(4):
            points.append((row * STRIDE, (column + step) * STRIDE))
            labels.append(label)
            owners.append(owner)
    return Marked(
        np.array(points, np.float32), np.array(labels), np.array(owners, np.int64)
    )


@pytest.mark.parametrize("local", [False, True])
def test_strokes_that_agree_with_the_others_get_full_marks(features, local):
    strokes = marked((0, 3, 2), (0, 18, 4), (1, 4, 15), (1, 19, 18))
    found = left_out(Bare(), features, strokes, FinetuneConfig(local=local))
    assert found == {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0}


@pytest.mark.parametrize("local", [False, True])
def test_the_stroke_that_contradicts_the_others_is_found(features, local):
    strokes = marked(
        *((0, row, 1 + row % 7) for row in (2, 7, 12, 17, 22)),
        *((1, row, 13 + row % 5) for row in (1, 6, 11, 18, 21)),
        (1, 10, 3),
    )
    found = left_out(Bare(), features, strokes, FinetuneConfig(local=local))
    assert min(found, key=found.get) == 10
    assert found[10] < 0.5


def test_the_only_stroke_of_its_kind_is_not_judged(features):
    strokes = marked((0, 3, 2), (1, 4, 15), (1, 19, 18))
    found = left_out(Bare(), features, strokes, FinetuneConfig())
    assert set(found) == {1, 2}
    assert left_out(Bare(), features, marked((1, 3, 2)), FinetuneConfig()) == {}


def test_it_can_be_stopped(features):
    class StopError(Exception):
        pass

    def stop():
        raise StopError

    strokes = marked((0, 3, 2), (0, 18, 4), (1, 4, 15), (1, 19, 18))
    with pytest.raises(StopError):
        left_out(Bare(), features, strokes, FinetuneConfig(), check=stop)
