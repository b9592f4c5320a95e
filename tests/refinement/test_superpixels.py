"""Strokes that spread over superpixels."""

from __future__ import annotations

import numpy as np
import torch

from napari_wsol.refinement.finetune import Labelled
from napari_wsol.refinement.superpixels import (
    MOST_SPREAD,
    WEIGHT,
    Superpixels,
    superpixels,
)

STRIDE = 4.0


def marked(*cells):
    """Labelled middles of (row, column, label)."""
    table = np.array(cells)
    points = table[:, :2] * STRIDE + (STRIDE - 1) / 2
    labels = torch.from_numpy(table[:, 2].astype(np.int64))
    return Labelled(torch.from_numpy(points.astype(np.float32)), labels)


def quarters():
    """Four superpixels of 3 × 3 cells."""
    numbers = np.repeat(np.repeat([[0, 1], [2, 3]], 3, axis=0), 3, axis=1)
    return Superpixels(numbers.astype(np.int64), STRIDE)


def test_a_superpixel_of_one_kind_is_marked_as_a_whole():
    strokes = marked((0, 0, 1), (1, 1, 1), (0, 4, 0), (5, 5, 1), (4, 4, 0))
    found, counts = quarters().spread(strokes)
    assert torch.equal(found.points[:5], strokes.points)
    assert torch.equal(found.labels[:5], strokes.labels)
    assert counts[:5].tolist() == [1] * 5
    # 9 - 2 cells of the first, 9 - 1 of the second; both kinds lie on the last.
    assert len(found.labels) == 5 + 7 + 8
    assert torch.allclose(counts[5:], torch.tensor(WEIGHT))
    cells = ((found.points[5:] - (STRIDE - 1) / 2) / STRIDE).round().long()
    for (row, column), label in zip(cells.tolist(), found.labels[5:], strict=True):
        assert row < 3
        assert int(label) == (1 if column < 3 else 0)


def test_strokes_beyond_the_grid_count_at_its_border():
    found, _ = quarters().spread(marked((-2, 0, 1), (0, 40, 0)))
    assert len(found.labels) == 2 + 8 + 8


def test_what_is_spread_is_bounded():
    one = Superpixels(np.zeros((60, 60), np.int64), STRIDE)
    found, counts = one.spread(marked((3, 3, 1)))
    assert len(found.labels) == len(counts) == 1 + MOST_SPREAD


def test_superpixels_keep_to_the_colours():
    cells = torch.full((3, 24, 32), 0.8)
    cells[:, :, 15:] = torch.tensor([0.5, 0.2, 0.5]).view(3, 1, 1)
    found = superpixels(cells, STRIDE)
    assert found.numbers.shape == (24, 32)
    assert not set(found.numbers[:, :15].flat) & set(found.numbers[:, 15:].flat)
    assert 100 < found.numbers.max() < 300  # 192 squares of 2 × 2 cells
    assert np.array_equal(superpixels(cells, STRIDE).numbers, found.numbers)
