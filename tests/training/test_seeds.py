"""The partition of one image by its own features."""

import pytest
import torch

from napari_wsol.training.seeds import fit_eigencam, normalised_cut


def two_textures(height, width):
    """Features of a square (direction 0) on a ground (direction 1), with noise."""
    torch.manual_seed(0)
    features = torch.randn(8, height, width) * 0.2
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[height // 4 : height // 2, width // 3 : 2 * width // 3] = True
    features[0] += inside * 2.0
    features[1] += (~inside) * 2.0
    return features, inside


def test_it_separates_what_looks_different():
    features, inside = two_textures(20, 24)
    side = normalised_cut(features, inside.float())
    assert side.shape == (20, 24)
    assert side.mean().abs() < 1e-4
    assert abs(side.std() - 1) < 0.01
    assert side[inside].min() > side[~inside].max()


def test_the_guide_says_which_side_is_which():
    features, inside = two_textures(20, 24)
    weak = torch.randn(20, 24) + 0.3 * inside
    assert torch.allclose(
        normalised_cut(features, weak), normalised_cut(features, inside * 1.0)
    )
    turned = normalised_cut(features, -(inside * 1.0))
    assert torch.allclose(turned, -normalised_cut(features, inside * 1.0))


def test_large_maps_are_averaged_first_and_constant_ones_have_no_sides():
    features, inside = two_textures(90, 80)
    side = normalised_cut(features, inside * 1.0)
    assert side.shape == (90, 80)
    assert ((side > 0) == inside).float().mean() > 0.95
    assert torch.isfinite(normalised_cut(torch.ones(4, 6, 7), torch.zeros(6, 7))).all()


def test_components_are_weighted_and_turned_to_one_end():
    torch.manual_seed(1)
    shade = torch.randn(1, 12, 14)
    stripe = torch.randn(1, 12, 14)
    basis = torch.randn(6, 2)
    values = torch.einsum("ck,khw->chw", basis, torch.cat([3 * shade, stripe]))
    values = values + 0.05 * torch.randn(6, 12, 14)
    dark = (shade + 0.5 * stripe)[0]
    first = fit_eigencam([values], [dark], "darker")
    second = fit_eigencam([values], [dark], "darker", (0.0, 1.0))
    both = fit_eigencam([values], [dark], "darker", (1.0, -0.5))
    assert abs(float(first.direction.norm()) - 1) < 1e-5
    for fitted in (first, second):
        assert (fitted.project(values) * (dark - dark.mean())).mean() > 0
    expected = first.project(values) - 0.5 * second.project(values)
    assert torch.allclose(both.project(values), expected, atol=1e-3)
    assert first.explained < both.explained <= 1
    assert abs(float(first.project(values).std() / first.spread) - 1) < 0.01


@pytest.mark.parametrize("foreground", ["darker", "lighter"])
def test_whichever_way_features_point_the_foreground_is_at_the_same_end(foreground):
    torch.manual_seed(1)
    values = torch.randn(6, 1, 1) * torch.randn(1, 12, 14)
    dark = 0.01 * values[0]  # however weak
    for turned in (values, -values):
        fitted = fit_eigencam([turned], [dark], foreground)
        agrees = (fitted.project(turned) * (dark - dark.mean())).mean() > 0
        assert agrees == (foreground == "darker")
