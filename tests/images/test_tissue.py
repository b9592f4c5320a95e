from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
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


@pytest.mark.parametrize("kind", ["close-up", "fluorescence", "black"])
def test_without_glass_all_is_tissue(kind):
    rng = np.random.default_rng(5)
    tissue = rng.normal((190, 110, 170), 25, (300, 400, 3))
    image = {
        "close-up": tissue,
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


# Glass as scanners give it, with what lies on it. Each answer is known.

SHAPE = (420, 600)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
PIECES = (np.hypot(Y - 220, X - 200) < 110) | (np.hypot(Y - 180, X - 430) < 70)
STAINS = {
    "eosin": ((205, 130, 185), 1.0),
    "pale": ((236, 218, 232), 0.5),
    "DAB": ((90, 50, 30), 0.5),
    "haematoxylin": ((130, 150, 200), 0.6),
    "trichrome": ((80, 110, 190), 0.7),
}
LAMPS = {
    "white": ((243, 243, 243), 0.0),
    "clipped": ((275, 275, 275), 0.0),
    "yellowish": ((222, 216, 200), 0.05),
    "grey": ((196, 192, 180), 0.0),
    "bluish": ((214, 222, 236), 0.0),
    "shaded": ((225, 220, 205), 0.4),
}
INKS = {
    "blue": (40, 60, 170),
    "light blue": (90, 150, 220),
    "green": (30, 140, 80),
    "dark green": (20, 70, 50),
    "black": (35, 35, 40),
}


def scanned(lamp: str = "yellowish", stain: str | None = "eosin") -> np.ndarray:
    """Two textured pieces on noisy glass, darker towards the rim where it is so."""
    rng = np.random.default_rng(3)
    colour, shade = LAMPS[lamp]
    away = ((Y / 210 - 1) ** 2 + (X / 300 - 1) ** 2) / 2
    image = (1 - shade * away)[..., None] * colour + rng.normal(0, 2.5, (*SHAPE, 3))
    if stain is not None:
        tint, depth = STAINS[stain]
        texture = ndimage.gaussian_filter(rng.normal(0, 1, SHAPE), 1.5)
        density = 1 + 0.35 * depth * texture / texture.std()
        density = -np.log(np.divide(tint, 255)) * density[..., None]
        stained = image * np.exp(-density.clip(0.02)) + rng.normal(0, 3, image.shape)
        image[PIECES] = stained[PIECES]
    return image


def found_in(image: np.ndarray) -> np.ndarray:
    return tissue_mask(open_slide(image.clip(0, 255).astype(np.uint8)), 1)


def is_right(mask: np.ndarray, truth: np.ndarray = PIECES) -> bool:
    """Nearly all of the tissue, and nothing beyond its rim."""
    beyond = mask & ~ndimage.binary_dilation(truth, iterations=6)
    return bool(mask[truth].mean() > 0.98 and beyond.mean() < 0.001)


@pytest.mark.parametrize("lamp", LAMPS)
@pytest.mark.parametrize("stain", ["eosin", "pale"])
def test_tissue_is_told_by_the_light_of_its_own_glass(lamp, stain):
    assert is_right(found_in(scanned(lamp, stain)))


@pytest.mark.parametrize("stain", ["DAB", "haematoxylin", "trichrome"])
def test_a_dark_or_blue_stain_is_no_ink(stain):
    assert is_right(found_in(scanned(stain=stain)))


@pytest.mark.parametrize("ink", INKS)
def test_ink_is_no_tissue(ink):
    image, rng = scanned(), np.random.default_rng(0)
    marks = (np.abs(np.hypot(Y - 220, X - 200) - 150) < 7) & (X < 340)
    marks |= (np.abs(Y - 40 - 0.1 * X) < 8) & (X > 330) & (X < 570)
    image[marks] *= np.divide(INKS[ink], 255)
    image[marks] += rng.normal(0, 4, (marks.sum(), 3))
    soft = ndimage.gaussian_filter(image, (1.2, 1.2, 0))
    rim = ndimage.binary_dilation(marks, iterations=3)
    image[rim] = soft[rim]
    mask = found_in(image)
    assert mask[marks].mean() < 0.01  # the tips are too thin to be told
    assert is_right(mask)


@pytest.mark.parametrize("level", [6, 255])
def test_what_was_not_scanned_is_no_tissue(level):
    image = scanned()
    outside = (Y < 50) | (Y > 390) | (X < 70)
    image[outside] = level + np.random.default_rng(0).normal(0, 2, (outside.sum(), 3))
    if level == 255:
        image[outside] = 255
    mask = found_in(image)
    assert not mask[outside].any()
    assert is_right(mask, PIECES & ~outside)


def test_fat_is_a_mesh_as_bright_as_glass():
    image = scanned("white", None)
    walls = (np.abs(np.sin(X / 5 + 0.7 * np.sin(Y / 17))) < 0.18) | (
        np.abs(np.sin(Y / 5.5 + 0.6 * np.sin(X / 13))) < 0.18
    )
    image[PIECES & walls] *= (0.95, 0.89, 0.93)
    mask = found_in(image)
    assert mask[PIECES].mean() > 0.9  # its walls alone are two fifths
    assert not mask[~ndimage.binary_dilation(PIECES, iterations=6)].any()


@pytest.mark.parametrize("lamp", LAMPS)
def test_an_empty_slide_shows_no_tissue(lamp):
    assert not found_in(scanned(lamp, None)).any()


def test_a_blank_image_shows_no_tissue():
    assert not found_in(np.full((300, 400, 3), 240)).any()


def test_lumina_in_a_close_up_are_not_left_out():
    rng = np.random.default_rng(0)
    image = rng.normal((190, 110, 170), 25, (*SHAPE, 3))
    for y, x in ((100, 100), (300, 200), (200, 450)):
        lumen = np.hypot(Y - y, X - x) < 40
        image[lumen] = rng.normal(238, 2, (lumen.sum(), 3))
    assert found_in(image).all()


def test_the_lamp_is_found_beside_large_tissue():
    image = scanned("shaded")
    mask = found_in(image[60:380, 60:540])
    assert is_right(mask, PIECES[60:380, 60:540])
