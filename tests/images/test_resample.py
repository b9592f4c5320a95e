from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsol.errors import ImageError
from napari_wsol.images.cache import TileCache
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.tiff_slide import TiffSlide
from napari_wsol.images.resample import choose_level, read_region, region_shape

DOWNSAMPLES = [0.5, 0.93, 1, 1.002, 1.5, 1.6, 1.61, 2, 2.7, 3.99, 4, 7.3, 16, 100, 2000]


@pytest.fixture(scope="module")
def pyramid(tmp_path_factory, picture):
    path = tmp_path_factory.mktemp("pyramid") / "a.ome.tif"
    half = np.asarray(Image.fromarray(picture[:700, :522]).reduce(2))
    fourth = np.asarray(Image.fromarray(picture[:700, :520]).reduce(4))
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(picture, subifds=2, **options)
        tif.write(half, subfiletype=1, **options)
        tif.write(fourth, subfiletype=1, **options)
    return open_slide(path)


@pytest.mark.parametrize("downsample", DOWNSAMPLES)
@pytest.mark.parametrize("kind", ["array", "pyramid"])
def test_a_region_does_not_depend_on_how_it_is_cut(picture, pyramid, downsample, kind):
    slide = pyramid if kind == "pyramid" else open_slide(picture)
    height, width = region_shape(slide.shape, downsample)
    frame = 9
    whole = read_region(
        slide, -frame, -frame, height + 2 * frame, width + 2 * frame, downsample
    )
    rng = np.random.default_rng(3)
    for _ in range(12):
        y, x = rng.integers(-frame, [height, width])
        h, w = rng.integers(1, 150, 2)
        h, w = min(h, height + frame - y), min(w, width + frame - x)
        part = read_region(slide, y, x, h, w, downsample)
        expected = whole[y + frame :, x + frame :][:h, :w]
        assert np.array_equal(part, expected)


@pytest.mark.parametrize("downsample", [1.6, 1.61, 4.3])
def test_odd_strips_join_to_the_whole(pyramid, downsample):
    height, width = region_shape(pyramid.shape, downsample)
    whole = read_region(pyramid, 0, 0, height, width, downsample)
    cuts = [0, 1, 8, 77, 128, 129, height]
    rows = [
        read_region(pyramid, a, 0, b - a, width, downsample)
        for a, b in pairwise(cuts)
        if b > a
    ]
    assert np.array_equal(np.concatenate(rows)[:height], whole)


@pytest.mark.parametrize("downsample", [1.6, 2, 3.7, 10])
def test_a_region_is_the_antialiased_mean_of_level_0(picture, downsample):
    slide = open_slide(picture)
    height, width = region_shape(slide.shape, downsample)
    region = read_region(slide, 0, 0, height, width, downsample)
    box = (0, 0, width * downsample, height * downsample)
    padded = np.pad(picture, ((0, 20), (0, 20), (0, 0)), mode="edge")
    expected = Image.fromarray(padded).resize(
        (width, height), Image.Resampling.BILINEAR, box=box
    )
    inner = (slice(2, -3), slice(2, -3))
    difference = region[inner].astype(int) - np.asarray(expected)[inner]
    assert abs(difference).max() <= 1


@pytest.mark.parametrize("downsample", [1, 1.61, 2, 2.5, 4, 8, 13])
def test_things_stay_where_they_are(downsample):
    """The centroid of a bright square, in level-0 pixels, at any downsampling."""
    canvas = np.zeros((640, 512), np.uint8)
    canvas[200:360, 96:224] = 255
    for source in (canvas, [canvas, canvas[::2, ::2], canvas[::4, ::4]]):
        slide = open_slide(source)
        shape = region_shape(slide.shape, downsample)
        region = read_region(slide, 0, 0, *shape, downsample)[..., 0].astype(float)
        for axis, centre in ((0, 279.5), (1, 159.5)):
            profile = region.sum(axis=1 - axis)
            at = (profile * np.arange(len(profile))).sum() / profile.sum()
            level0 = at * downsample + (downsample - 1) / 2
            # Levels by decimation lie up to (4 - 1) / 2 pixels off by themselves.
            slack = 0.5 if isinstance(source, np.ndarray) else 2.0
            assert level0 == pytest.approx(centre, abs=slack)


def test_the_level_depends_on_the_downsampling_alone(pyramid):
    chosen = [choose_level(pyramid, d) for d in (0.5, 1, 1.9, 2, 3.9, 4, 50)]
    assert chosen == [0, 0, 0, 1, 1, 2, 2]
    # A measured pixel size is never exact: 3.99 is the level of 4.
    assert choose_level(pyramid, 3.99) == 2


def test_a_level_is_given_as_it_is(pyramid):
    for index in range(3):
        level = pyramid.levels[index]
        region = read_region(pyramid, 5, 7, level.height - 5, level.width - 7, 2**index)
        assert np.array_equal(
            region, pyramid.read(index, 5, 7, level.height - 5, level.width - 7)
        )


def test_outside_is_white_and_the_border_is_not():
    black = open_slide(np.zeros((701, 523), np.uint8))
    for downsample in (1, 1.61, 2, 8):
        height, width = region_shape(black.shape, downsample)
        frame = read_region(black, -5, -6, height + 10, width + 12, downsample)
        assert frame[5:-5, 6:-6].max() == 0
        frame[5:-5, 6:-6] = 255
        assert frame.min() == 255


@pytest.mark.parametrize(
    ("shape", "downsample", "expected"),
    [
        ((2967, 2220), 1, (2967, 2220)),
        ((2967, 2220), 2.5, (1187, 888)),
        ((10, 10), 100, (1, 1)),
        ((10, 20), 0.5, (20, 40)),
    ],
)
def test_the_grid_of_a_downsampling(shape, downsample, expected):
    assert region_shape(shape, downsample) == expected


@pytest.mark.parametrize("downsample", [0, -2, float("nan"), float("inf")])
def test_an_impossible_downsampling_is_refused(picture, downsample):
    with pytest.raises(ImageError, match="give"):
        read_region(open_slide(picture), 0, 0, 4, 4, downsample)


def test_a_large_image_without_pyramid_is_read_in_bands(tmp_path):
    path = tmp_path / "wide.tif"
    pixels = np.zeros((1200, 12_000), np.uint8)
    pixels[:, 6000:] = 240
    tifffile.imwrite(path, pixels, rowsperstrip=16, compression="zlib")
    cache = TileCache(8 << 20)
    slide = Watched(TiffSlide(path, cache=cache))
    shape = region_shape(slide.shape, 64)
    coarse = read_region(slide, 0, 0, *shape, 64)
    assert (coarse[:, :92] == 0).all()
    assert (coarse[:, 95:] == 240).all()
    assert cache.held_bytes <= 8 << 20
    assert slide.largest <= 64 << 20
    assert slide.largest < pixels.size


class Watched:
    """A slide that remembers the largest rectangle it gave."""

    def __init__(self, slide):
        self.shape, self.levels = slide.shape, slide.levels
        self.largest = 0
        self._slide = slide

    def read(self, level, y, x, height, width):
        self.largest = max(self.largest, height * width * 3)
        return self._slide.read(level, y, x, height, width)
