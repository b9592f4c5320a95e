"""The loop that minimizes, and when it ends."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from napari_wsol.refinement.lbfgs import minimized


def run(steps, flat, least=0.0):
    """Minimizes (x - 3)⁴ + 1 from 0: slow enough for many calls."""
    x = torch.zeros(1, requires_grad=True)
    told = list(
        minimized(
            [x], lambda: ((x - 3) ** 4).sum() + 1, steps=steps, flat=flat, least=least
        )
    )
    return float(x.detach()), told


@pytest.mark.parametrize(("steps", "calls"), [(1, 1), (5, 1), (6, 2), (11, 3), (15, 3)])
def test_steps_are_taken_five_at_a_time(steps, calls):
    _, told = run(steps, flat=-1.0)
    assert len(told) == calls
    assert told[0] == 82


def test_it_finds_the_minimum_and_ends_where_it_is_flat():
    x, told = run(1000, flat=1e-4)
    assert x == pytest.approx(3, abs=0.1)
    assert told == sorted(told, reverse=True)
    assert 2 <= len(told) < 200
    changes = [before - after for before, after in pairwise(told)]
    assert changes[-1] <= 1e-4 * told[-1]
    assert all(
        change > 1e-4 * loss
        for change, loss in zip(changes[:-1], told[1:-1], strict=True)
    )


def test_a_small_loss_counts_as_the_least():
    assert len(run(1000, flat=0.01, least=1e6)[1]) == 2
