import pytest
import torch

from napari_wsol.encoders import Features, on_grid, sample_points


def test_reading_on_a_finer_grid_is_bilinear_resizing():
    values = torch.randn(2, 3, 5, 7)
    ours = on_grid(values, 8, (40, 56), 1)
    theirs = torch.nn.functional.interpolate(values, (40, 56), mode="bilinear")
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_same_grid_is_returned_as_it_is():
    values = torch.randn(1, 2, 4, 4)
    assert on_grid(values, 8, (4, 4), 8) is values


def test_points_are_read_where_the_upsampled_map_has_them():
    features = Features(
        (torch.randn(1, 3, 8, 9), torch.randn(1, 2, 4, 5)), (4, 8), (1.5, 3.5)
    )
    points = torch.tensor([[0.0, 0.0], [7.0, 13.0], [31.0, 35.0], [12.5, 3.25]])
    read = sample_points(features, points)
    assert read.shape == (4, 5)
    full = [
        on_grid(m, s, (32, 36), 1) for m, s in zip(features.maps, (4, 8), strict=True)
    ]
    for row, (y, x) in zip(read[:3], points[:3].long(), strict=True):
        expected = torch.cat([m[0, :, y, x] for m in full])
        assert torch.allclose(row, expected, atol=1e-5)


def test_a_linear_head_commutes_with_interpolation():
    features = Features((torch.randn(1, 3, 6, 6),), (8,), (3.5,))
    weight = torch.randn(2, 3)
    points = torch.rand(20, 2) * 47
    first = sample_points(features, points) @ weight.T
    maps = torch.einsum("oc,nchw->nohw", weight, features.last)
    after = sample_points(Features((maps,), (8,), (3.5,)), points)
    assert torch.allclose(first, after, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 8])
def test_a_bright_cell_stays_where_it_is(stride):
    values = torch.zeros(1, 1, 9, 9)
    values[0, 0, 4, 6] = 1
    full = on_grid(values, stride, (9 * stride, 9 * stride), 1)[0, 0]
    rows = torch.arange(9.0 * stride)
    centre = (full.sum(1) * rows).sum() / full.sum()
    across = (full.sum(0) * rows).sum() / full.sum()
    assert centre == pytest.approx(4 * stride + (stride - 1) / 2, abs=1e-4)
    assert across == pytest.approx(6 * stride + (stride - 1) / 2, abs=1e-4)


def test_a_map_that_looks_aside_is_straightened():
    """Cell i looks at pixel 8 i: what it says of pixel 32 belongs there."""
    values = torch.zeros(1, 1, 9, 9)
    values[0, 0, 4, 4] = 1
    features = Features((values,), (8,), (0.0,))
    straight = features.straight(values)[0, 0]
    centres = torch.arange(9.0) * 8 + 3.5
    assert (straight.sum(1) * centres).sum() / straight.sum() == pytest.approx(
        32, abs=1e-3
    )
    untouched = Features((values,), (8,), (3.5,))
    assert untouched.straight(values) is values
