"""Point and grow, on features whose regions are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_wsol.encoders import Features
from napari_wsol.errors import ConfigError, ImageError
from napari_wsol.refinement.grow import grow, unlikeness

STRIDE = 4


def blobs(seed: int = 0) -> tuple[Features, np.ndarray]:
    """Two separate discs of one kind in another, as features of 8 channels."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:24, :32]
    kinds = np.zeros((24, 32), int)
    kinds[np.hypot(rows - 8, columns - 8) < 5] = 1
    kinds[np.hypot(rows - 14, columns - 24) < 5] = 1
    centres = rng.normal(size=(2, 8)) * 5
    values = centres[kinds] + rng.normal(size=(24, 32, 8)) * 0.1
    maps = torch.from_numpy(values.transpose(2, 0, 1)[None].astype(np.float32))
    return Features((maps,), (STRIDE,), ((STRIDE - 1) / 2,)), kinds


def on_canvas(mask, origin, shape):
    canvas = np.zeros(shape, bool)
    rows, columns = mask.shape
    canvas[origin[0] : origin[0] + rows, origin[1] : origin[1] + columns] = mask
    return canvas


def grown(features, point, shape=(96, 128), *, scale=1.0, tolerance=0.5):
    translate = (scale - 1) / 2
    mask, origin = grow(
        features,
        point,
        shape=shape,
        scale=(scale, scale),
        translate=(translate, translate),
        tolerance=tolerance,
    )
    return on_canvas(mask, origin, shape)


def test_a_point_grows_to_its_disc_and_not_to_the_other():
    features, kinds = blobs()
    canvas = grown(features, (34, 34))
    wanted = np.kron(kinds == 1, np.ones((STRIDE, STRIDE), bool))
    wanted[:, 64:] = False
    overlap = (canvas & wanted).sum() / (canvas | wanted).sum()
    assert overlap > 0.85
    assert not canvas[:, 64:].any()
    assert ndimage.label(canvas)[1] == 1


def test_the_region_of_a_disc_lies_around_its_centre():
    rows, columns = np.mgrid[:24, :32]
    apart = np.hypot(rows - 8, columns - 12).astype(np.float32)
    features = Features((torch.from_numpy(apart)[None, None],), (STRIDE,), (1.5,))
    found = np.nonzero(grown(features, (33.5, 49.5), tolerance=0.3))
    # Cell (8, 12) covers rows 32 to 35 and columns 48 to 51.
    assert [int(axis.min() + axis.max()) for axis in found] == [67, 99]


@pytest.mark.parametrize("scale", [1.0, 2.0, 8.0])
def test_a_coarser_canvas_shows_the_same_place(scale):
    features, _ = blobs()
    shape = (int(96 / scale), int(128 / scale))
    rows, columns = np.nonzero(grown(features, (34, 34), shape, scale=scale))
    centre = np.array([rows.mean(), columns.mean()]) * scale + (scale - 1) / 2
    assert np.abs(centre - 33.5).max() < 3


def test_more_tolerance_never_shrinks_the_region():
    features, _ = blobs()
    before = np.zeros((96, 128), bool)
    for tolerance in (0.01, 0.1, 0.5, 1.0, 5.0):
        after = grown(features, (34, 34), tolerance=tolerance)
        assert not (before & ~after).any()
        before = after
    assert before.all()


def test_the_point_itself_is_always_in():
    features, _ = blobs()
    for point in ((0, 0), (95, 127), (50, 70), (34, 34)):
        assert grown(features, point, tolerance=1e-6)[point]


def test_the_scale_of_a_feature_does_not_matter():
    features, _ = blobs()
    maps = features.maps[0] * torch.logspace(-3, 3, 8)[None, :, None, None] + 7
    scaled = Features((maps,), features.strides, features.offsets)
    first, second = grown(features, (34, 34)), grown(scaled, (34, 34))
    assert np.array_equal(first, second)


def test_depths_of_different_stride_count_by_their_features():
    features, kinds = blobs()
    coarse = torch.nn.functional.avg_pool2d(features.maps[0], 2)
    both = Features(
        (features.maps[0], coarse), (STRIDE, 2 * STRIDE), (1.5, 2 * STRIDE / 2 - 0.5)
    )
    unlike = unlikeness(both, (34, 34))
    assert unlike.shape == (24, 32)
    assert unlike[kinds == 1].mean() < 0.5 < unlike[kinds == 0].mean()
    assert np.sqrt((unlike**2).mean()) == pytest.approx(1, abs=1e-3)


def test_a_flat_image_grows_everywhere():
    maps = torch.ones(1, 3, 6, 7)
    flat = Features((maps,), (STRIDE,), (1.5,))
    assert grown(flat, (3, 3), (24, 28)).all()


def test_what_cannot_be_is_said():
    features, _ = blobs()
    with pytest.raises(ImageError, match="not on the image"):
        grown(features, (-3, 5))
    with pytest.raises(ConfigError, match="above 0"):
        grown(features, (3, 5), tolerance=0)
