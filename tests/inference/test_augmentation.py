"""Averages over flips and sizes: where each view's map belongs, and what is refused."""

import numpy as np
import pytest
import torch

from napari_wsol.config import InferenceConfig
from napari_wsol.errors import ConfigError, MethodUnavailableError
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.augmentation import (
    AS_IT_IS,
    Augmentation,
    augmentations,
)
from napari_wsol.inference.cache import FeatureCache
from napari_wsol.inference.encode import Geometry, encode
from napari_wsol.inference.registration import registered
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec

STRIDE = 8
"""Pixels a cell of the small model's deepest map."""


def padded(image: np.ndarray) -> np.ndarray:
    """Filled up to whole cells by mirroring, as the network's input is."""
    down, right = (-side % STRIDE for side in image.shape[:2])
    return np.pad(image, ((0, down), (0, right), (0, 0)), mode="symmetric")


@pytest.mark.parametrize("stride", [4, 7.5, 16])
@pytest.mark.parametrize("scale", [1.0, 0.8, 1.25])
@pytest.mark.parametrize("missing", [0, 2])
def test_every_view_is_brought_to_its_place(stride, scale, missing):
    """A map whose cells hold their own place shows the same place on every view.

    ``missing`` cells are what a network that does not pad leaves out at each end.
    """
    onto = Geometry((2.0, 3.0), (131, 157), (5, 9), padded=(136, 160))
    shape, own = (9, 11), 12
    for mirrored in ((False, False), (False, True), (True, False), (True, True)):
        down = (onto.downsample[0] / scale, onto.downsample[1] / scale)
        side = tuple(round(scale * item) for item in onto.padded)
        seen = Geometry(down, (100, 100), (4, 7), padded=side, mirrored=mirrored)
        for axis in (0, 1):
            count = int(side[axis] // stride) - missing
            at = np.arange(count) * stride + (stride - 1) / 2  # of the view's input
            if mirrored[axis]:
                at = side[axis] - 1 - at
            place = (at + 0.5 + seen.origin[axis]) * down[axis] - 0.5
            values = torch.tensor(place, dtype=torch.float64)
            grid = values[:, None] if axis == 0 else values[None, :]
            grid = grid.expand(count, 40) if axis == 0 else grid.expand(40, count)
            found = registered(
                grid, stride, seen, onto=onto, onto_stride=own, shape=shape
            )
            scale_, start = onto.place((own, own))
            wanted = start[axis] + scale_[axis] * np.arange(shape[axis])
            wanted = np.clip(wanted, place.min(), place.max())
            line = found[:, 0] if axis == 0 else found[0]
            assert np.abs(line.numpy() - wanted).max() < 1e-3


def test_sizes_that_divide_by_nothing_are_read_like_their_filled_input(
    small_model, tissue
):
    """Flips of 131 × 157 pixels show the same as those of 136 × 160, cell by cell."""
    odd = localize(small_model, tissue, target="dark", views=4)
    even = localize(small_model, padded(tissue), target="dark", views=4)
    assert odd.scores == pytest.approx(even.scores, abs=1e-6)
    for name in ("cam", "pixelcam"):
        found, filled = odd.heatmaps[name].values, even.heatmaps[name].values
        assert np.abs(found - filled[: found.shape[0], : found.shape[1]]).max() < 1e-4


def test_the_average_of_flips_turns_with_the_image(small_model, tissue):
    image = padded(tissue)
    upright = localize(small_model, image, target="dark", views=4)
    turned = localize(small_model, image[::-1, ::-1].copy(), target="dark", views=4)
    assert turned.scores == pytest.approx(upright.scores, abs=1e-5)
    for name, heatmap in upright.heatmaps.items():
        back = turned.heatmaps[name].values[::-1, ::-1]
        assert np.abs(back - heatmap.values).max() < 1e-3, name
    one = localize(small_model, image, target="dark").heatmaps["cam"].values
    assert np.abs(one - upright.heatmaps["cam"].values).max() > 0.05


def test_probabilities_are_the_mean_of_the_views(small_model, tissue):
    image = padded(tissue)
    flips = [image[::down, ::right].copy() for down in (1, -1) for right in (1, -1)]
    each = [localize(small_model, item).scores["dark"] for item in flips]
    found = localize(small_model, image, views=4)
    assert found.scores["dark"] == pytest.approx(np.mean(each), abs=1e-5)
    assert found.target == max(found.scores, key=found.scores.__getitem__)
    assert found.views == 4
    assert "4 views" in found.heatmaps["pcam"].notes[-1]
    named = localize(small_model, image, target=found.target, views=4)
    assert named.scores == pytest.approx(found.scores, abs=1e-6)


@pytest.mark.parametrize("view", augmentations(12)[1:6:2])
def test_a_view_is_the_same_in_tiles(small_model, tissue, view):
    slide = open_slide(tissue)
    whole, seen = encode(slide, small_model, augmentation=view)
    cut = InferenceConfig(whole=1, core=32)
    tiled, _ = encode(slide, small_model, augmentation=view, config=cut)
    assert seen.mirrored == view.mirrored
    for one, other in zip(whole.maps, tiled.maps, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_every_view_is_encoded_once_and_kept_by_itself(small_model, tissue):
    passes = []
    small_model.encoder.register_forward_hook(lambda *_: passes.append(1))
    heard = []
    found = localize(
        small_model,
        tissue,
        views=12,
        report=lambda done, total, text: heard.append((done, total, text)),
    )
    assert len(passes) == 12
    assert "view 12 of 12" in heard[-1][2]
    assert heard[-1][0] == heard[-1][1]
    assert found.heatmaps["cam"].scale == (8, 8)
    cache, slide = FeatureCache(), open_slide(tissue)
    plain, _ = encode(slide, small_model, cache=cache)
    turned, _ = encode(
        slide, small_model, cache=cache, augmentation=Augmentation((True, False))
    )
    again, _ = encode(slide, small_model, cache=cache, augmentation=AS_IT_IS)
    assert torch.equal(plain.last, again.last)
    assert not torch.equal(plain.last, turned.last)


def test_what_cannot_be_averaged_says_what_can(small_model, tissue):
    with pytest.raises(ConfigError, match="4 or of 12"):
        localize(small_model, tissue, views=3)
    fixed = Model(
        ModelSpec(
            encoder="mobilenet_v2",
            classes=("dark", "bright"),
            preprocessing=Preprocessing(size=64, fit="pad"),
        )
    ).eval()
    with pytest.raises(MethodUnavailableError, match="choose 4 views"):
        localize(fixed, tissue, views=12)
    assert localize(fixed, tissue, views=4).views == 4
