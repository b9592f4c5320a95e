"""Maps that follow the edges of their image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_wsol.refinement.guided_filter import guided_filter


def by_hand(p, i, radius, epsilon):
    """The equations, window by window."""
    rows, columns = p.shape
    a, b = np.zeros_like(p), np.zeros_like(p)

    def window(values, y, x):
        return values[
            max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1
        ]

    for y in range(rows):
        for x in range(columns):
            own_p, own_i = window(p, y, x), window(i, y, x)
            shared = (own_i * own_p).mean() - own_i.mean() * own_p.mean()
            a[y, x] = shared / (own_i.var() + epsilon)
            b[y, x] = own_p.mean() - a[y, x] * own_i.mean()
    q = np.zeros_like(p)
    for y in range(rows):
        for x in range(columns):
            q[y, x] = window(a, y, x).mean() * i[y, x] + window(b, y, x).mean()
    return q.clip(0, 1)


@pytest.mark.parametrize(
    ("radius", "epsilon", "shape"),
    [(1, 1e-2, (7, 9)), (3, 1e-3, (12, 5)), (20, 0.1, (4, 6))],
)
def test_it_is_the_equations(radius, epsilon, shape):
    rng = np.random.default_rng(0)
    p, i = rng.random(shape), rng.random(shape)
    found = guided_filter(
        torch.from_numpy(p), torch.from_numpy(i), radius=radius, epsilon=epsilon
    )
    assert found.dtype == torch.float32
    assert np.allclose(found.numpy(), by_hand(p, i, radius, epsilon), atol=1e-6)


def test_a_border_moves_to_the_edge_of_the_image():
    """The map is blurred over three cells; the image has a sharp edge in between."""
    guide = torch.zeros(20, 20)
    guide[:, 10:] = 1.0
    blurred = torch.linspace(-3, 3, 20).sigmoid().expand(20, 20)
    found = guided_filter(blurred, guide, radius=4, epsilon=1e-3)
    step = found[:, 10] - found[:, 9]
    assert float(step.min()) > 3 * float(blurred[0, 10] - blurred[0, 9])


def test_a_speck_on_even_ground_goes():
    values, guide = torch.zeros(21, 21), torch.full((21, 21), 0.6)
    values[10, 10] = 1.0
    assert float(guided_filter(values, guide, radius=2).max()) < 0.1


def test_a_constant_map_stays():
    guide = torch.rand(9, 11, generator=torch.Generator().manual_seed(0))
    values = torch.full((9, 11), 0.3)
    torch.testing.assert_close(guided_filter(values, guide), values)
