"""A slide without coarse levels is decoded once, whoever looks at it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

from napari_wsol.images.cache import PatientCache
from napari_wsol.images.level_arrays import level_arrays
from napari_wsol.images.overviews import computed_downsamples, kept_downsample
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region, region_shape
from napari_wsol.images.tissue import tissue_mask

SIDE = 4500


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A tiled TIFF of one level: glass, and a stained square of which all is known."""
    path = tmp_path_factory.mktemp("large") / "one.tif"
    pixels = np.full((SIDE, SIDE), 240, np.uint8)
    pixels[1600:3200, 800:2400] = 90
    tifffile.imwrite(path, pixels, tile=(512, 512), compression="zlib")
    return path


class Counted:
    """A slide that counts the pixels of level 0 that were read."""

    def __init__(self, slide):
        self._slide = slide
        self.pixels = 0

    def __getattr__(self, name):
        return getattr(self._slide, name)

    def read(self, level, y, x, height, width):
        self.pixels += height * width
        return self._slide.read(level, y, x, height, width)


def test_mask_and_viewer_cost_one_pass_together(large):
    slide = Counted(open_slide(large))
    levels = level_arrays(slide)
    assert [level.shape[0] for level in levels] == [SIDE, 1125]
    coarse = levels[-1][...]
    first = slide.pixels
    assert first <= 1.2 * SIDE * SIDE
    mask = tissue_mask(slide, 16)
    assert np.array_equal(levels[-1][100:900, 50:70], coarse[100:900, 50:70])
    assert slide.pixels == first
    assert (coarse[410:790, 210:590] == 90).all()
    assert mask[105:195, 55:145].all()
    assert not mask[:95].any()


def test_a_file_that_is_opened_twice_is_still_decoded_once(large):
    tissue_mask(open_slide(large), 8)
    again = Counted(open_slide(large))
    assert tissue_mask(again, 8).any()
    assert again.pixels == 0


def test_a_changed_file_is_read_again(large, tmp_path):
    path = tmp_path / "copy.tif"
    path.write_bytes(large.read_bytes())
    assert tissue_mask(open_slide(path), 16).any()
    tifffile.imwrite(path, np.full((SIDE, SIDE), 70, np.uint8), tile=(512, 512),
                     compression="zlib")  # fmt: skip
    os.utime(path, ns=(1, 1))
    slide = open_slide(path)
    assert (read_region(slide, 0, 0, 50, 50, 16) == 70).all()


def test_finer_regions_still_come_from_level_0(large):
    slide = Counted(open_slide(large))
    part = read_region(slide, 790, 395, 20, 10, 2)
    assert 0 < slide.pixels < 300_000
    assert (part[11:, 6:] == 90).all()
    assert (part[:9] == 240).all()


@pytest.mark.parametrize(
    ("shape", "computed", "kept"),
    [
        ((4096, 4096), [], None),
        ((4097, 10), [4], 4),
        ((40_000, 40_000), [4, 16], 16),
        ((20_000, 20_000), [4, 16], 4),
    ],
)
def test_which_levels_are_computed(shape, computed, kept):
    class Zeros:
        dtype = np.dtype(np.uint8)

        def __init__(self):
            self.shape = shape

        def __getitem__(self, key):
            rows, columns = (
                range(*k.indices(n)) for k, n in zip(key, shape, strict=True)
            )
            return np.zeros((len(rows), len(columns)), np.uint8)

    # Sizes below 8 pixels are no image, so the thin one is widened.
    shape = (shape[0], max(shape[1], 10))
    slide = open_slide(Zeros())
    assert computed_downsamples(slide) == computed
    assert kept_downsample(slide) == kept
    assert all(min(region_shape(slide.shape, one)) >= 1 for one in computed)


def test_who_misses_what_is_being_computed_waits_for_it():
    cache = PatientCache(1 << 20)
    made: list[int] = []

    def make():
        made.append(1)
        return np.zeros((4, 4, 3), np.uint8)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.get("a", make), range(50)))
    assert len(made) == 1
    assert all(one is found[0] for one in found)
