from __future__ import annotations

import numpy as np
import pytest
from skimage.data import immunohistochemistry

from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import region_shape
from napari_wsol.images.tissue import tissue_mask


def on_glass(seed: int = 0) -> np.ndarray:
    """A stained disc of 200 pixels radius on slightly noisy glass."""
    rng = np.random.default_rng(seed)
    image = np.full((901, 1203, 3), 240.0) + rng.normal(0, 3, (901, 1203, 3))
    disc = disc_mask()
    image[disc] = np.array([200, 120, 180]) + rng.normal(0, 15, (disc.sum(), 3))
    return image.clip(0, 255).astype(np.uint8)


def disc_mask() -> np.ndarray:
    y, x = np.mgrid[0:901, 0:1203]
    return (y - 450) ** 2 + (x - 500) ** 2 < 200**2


@pytest.mark.parametrize("downsample", [1, 3.7, 8])
def test_the_stained_part_is_tissue(downsample):
    slide = open_slide(on_glass())
    mask = tissue_mask(slide, downsample)
    assert mask.dtype == np.bool_
    assert mask.shape == region_shape(slide.shape, downsample)
    truth = disc_mask()
    at = [
        np.minimum(((np.arange(n) + 0.5) * downsample).astype(int), size - 1)
        for n, size in zip(mask.shape, truth.shape, strict=True)
    ]
    truth = truth[np.ix_(*at)]
    assert mask[truth].all()
    # A rim of about two cells is added, so that no tile with tissue is left out.
    rim = 2 * np.pi * 200 / downsample * 3
    assert (mask & ~truth).sum() < rim


def test_a_fine_mask_of_a_large_slide_comes_from_an_overview():
    wide = np.full((100, 6_000, 3), 245, np.uint8)
    wide[20:80, 1_000:2_500] = (180, 90, 160)
    mask = tissue_mask(open_slide(wide), 1)
    assert mask.shape == (100, 6_000)
    assert mask[25:75, 1_010:2_490].all()
    assert not mask[:, 3_000:].any()


def test_a_pen_mark_does_not_hide_pale_tissue():
    image = on_glass()
    image[disc_mask()] = (225, 195, 215)
    image[50:150, 900:1100] = (10, 10, 30)
    mask = tissue_mask(open_slide(image), 4)
    assert mask[112, 125]
    assert not mask[200, 280]


def test_a_stained_close_up_with_pale_stroma_is_all_tissue():
    assert tissue_mask(open_slide(immunohistochemistry()), 2).all()


@pytest.mark.parametrize("kind", ["close-up", "blank", "fluorescence", "black"])
def test_without_glass_all_is_tissue(kind):
    rng = np.random.default_rng(5)
    tissue = rng.normal((190, 110, 170), 25, (300, 400, 3))
    image = {
        "close-up": tissue,
        "blank": np.full((300, 400, 3), 240),
        "fluorescence": np.where(disc_mask()[:300, :400, None], 180, 5)
        * np.ones((1, 1, 3)),
        "black": np.zeros((300, 400, 3)),
    }[kind]
    assert tissue_mask(open_slide(image.clip(0, 255).astype(np.uint8)), 2).all()


def test_pale_tissue_below_the_stain_is_told_from_glass_by_the_valley_between_them():
    """Glass of 15, pale tissue of 24, stain of 31: Otsu's threshold is above glass."""
    image = np.full((200, 300, 3), 240, np.uint8)
    image[:, 150:210] = 231
    image[:, 210:] = 224
    mask = tissue_mask(open_slide(image), 1)
    assert not mask[:, :140].any()
    assert mask[:, 160:].all()


def test_the_faintest_even_stain_is_told_from_even_glass():
    image = np.full((200, 300, 3), 240, np.uint8)
    image[:, 150:] = 239
    mask = tissue_mask(open_slide(image), 1)
    assert not mask[:, :140].any()
    assert mask[:, 160:].all()


def test_what_does_not_fall_into_two_groups_has_no_glass():
    """Most is of one grey, and the rest lies far on both sides of it."""
    rng = np.random.default_rng(0)
    darkness = (30 + 1.5 * rng.standard_t(1.5, (40, 60))).clip(0, 90)
    image = np.repeat(np.repeat(255 - darkness, 10, axis=0), 10, axis=1)
    assert tissue_mask(open_slide(image.astype(np.uint8)), 1).all()


def test_a_fine_mask_ends_where_its_overview_does():
    wide = np.full((120, 6144, 3), 245, np.uint8)  # seen at a third of its size
    wide[30:90, 3000:-9] = (180, 90, 160)
    mask = tissue_mask(open_slide(wide), 1)
    assert mask[60, -6:].tolist() == [True] * 3 + [False] * 3
    tall = tissue_mask(open_slide(wide.transpose(1, 0, 2)), 1)
    assert np.array_equal(tall, mask.T)
