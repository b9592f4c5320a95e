from __future__ import annotations

import dask.array
import numpy as np
import pytest
import zarr

from napari_wsol.errors import ImageError, UnknownNameError
from napari_wsol.images.readers import open_slide
from napari_wsol.images.slide import Slide


def test_an_array_is_read_as_it_is(picture):
    slide = open_slide(picture, name="cut", mpp=0.5)
    assert isinstance(slide, Slide)
    assert (slide.name, slide.reader, slide.mpp, slide.path) == (
        "cut",
        "array",
        0.5,
        None,
    )
    assert slide.shape == (701, 523)
    assert (slide.read(0, 0, 0, 701, 523) == picture).all()


def test_outside_is_white(picture):
    block = open_slide(picture).read(0, -3, 520, 10, 10)
    assert (block[:3] == 255).all()
    assert (block[:, 3:] == 255).all()
    assert (block[3:, :3] == picture[:7, 520:]).all()
    assert (open_slide(picture).read(0, 5000, 5000, 4, 6) == 255).all()


@pytest.mark.parametrize("kind", ["dask", "zarr", "list", "dask list"])
def test_other_arrays_read_like_numpy(picture, kind):
    half = picture[::2, ::2]
    sources = {
        "dask": lambda: dask.array.from_array(picture, chunks=(100, 100, 3)),
        "zarr": lambda: zarr.array(picture, chunks=(100, 100, 3)),
        "list": lambda: [picture, half],
        "dask list": lambda: [dask.array.from_array(a) for a in (picture, half)],
    }
    slide = open_slide(sources[kind]())
    assert (slide.read(0, 11, 13, 300, 200) == picture[11:311, 13:213]).all()
    if "list" in kind:
        assert [level.downsample for level in slide.levels] == [(1, 1), (2, 2)]
        assert (slide.read(1, 1, 2, 50, 60) == half[1:51, 2:62]).all()


def test_a_lazy_16_bit_array_is_judged_as_a_whole(picture):
    deep = picture[..., 0].astype(np.uint16) * 257
    lazy = dask.array.from_array(deep, chunks=100)
    assert (open_slide(lazy).read(0, 0, 0, 99, 98) == picture[:99, :98, :1]).all()
    assert "divided by 257" in open_slide(lazy).notes[0]


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((0, 10), "empty"),
        ((10, 0, 3), "empty"),
        ((1, 1), "at least 8×8"),
        ((7, 900, 3), "at least 8×8"),
        ((12, 40, 50), r"image\[0\]"),
        ((40, 50, 2), r"image\[\.\.\., 0\]"),
        ((2, 5, 40, 50), r"image\[0, 0\]"),
        ((2, 2, 5, 40, 50), r"image\[0, 0, 0\]"),
        ((40,), "height, width"),
    ],
)
def test_what_is_no_image_is_refused_with_advice(shape, says):
    with pytest.raises(ImageError, match=says):
        open_slide(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("wrap", [np.asarray, dask.array.from_array, zarr.array])
def test_colours_may_come_first(picture, wrap):
    slide = open_slide(wrap(np.ascontiguousarray(np.moveaxis(picture, -1, 0))))
    assert slide.shape == picture.shape[:2]
    assert (slide.read(0, 11, 13, 90, 70) == picture[11:101, 13:83]).all()
    assert "first axis was read as colours" in " ".join(slide.notes)


def test_planes_are_no_colours_where_colour_is_denied():
    with pytest.raises(ImageError, match="one plane"):
        open_slide(np.zeros((3, 40, 50), np.uint8), rgb=False)


def test_colour_can_be_denied():
    with pytest.raises(ImageError, match="one plane"):
        open_slide(np.zeros((40, 50, 3), np.uint8), rgb=False)


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        ([(50, 50), (100, 100)], "largest first"),
        ([(50, 50), (50, 50)], "largest first"),
        ([(50, 90), (51, 40)], "largest first"),
        ([(90, 50), (40, 51)], "largest first"),
        ([(50, 50), (25, 25, 3)], "differ"),
        ([], "largest first"),
    ],
)
def test_levels_that_are_no_pyramid_are_refused(levels, says):
    with pytest.raises(ImageError, match=says):
        open_slide([np.zeros(shape, np.uint8) for shape in levels])


@pytest.mark.parametrize("shapes", [[(50, 100), (25, 60)], [(50, 100), (50, 40)]])
def test_levels_need_not_shrink_alike(shapes):
    slide = open_slide([np.zeros(shape, np.uint8) for shape in shapes])
    assert len(slide.levels) == 2
    assert slide.read(1, 0, 0, *shapes[1]).shape[:2] == shapes[1]


@pytest.mark.parametrize("source", [[1, 2, 3], None, 3.5, [[1, 2], [3, 4]]])
def test_what_is_no_array_is_refused(source):
    with pytest.raises(ImageError, match="give an array"):
        open_slide(source)


def test_a_nan_is_refused_at_once():
    pixels = np.zeros((20, 20), np.float32)
    pixels[3, 4] = np.nan
    with pytest.raises(ImageError, match="nan_to_num"):
        open_slide(pixels)


def test_the_fingerprint_is_of_the_pixels_and_not_of_the_name(picture):
    first = open_slide(picture, name="a").fingerprint()
    assert first == open_slide(picture.copy(order="F"), name="b").fingerprint()
    other = picture.copy()
    other[300, 200] ^= 1
    assert first != open_slide(other).fingerprint()
    assert first != open_slide(picture[:-1]).fingerprint()
    assert len(first) == 64


def test_a_closed_array_says_so(picture):
    slide = open_slide(picture)
    slide.close()
    with pytest.raises(ImageError, match="open it again"):
        slide.read(0, 0, 0, 8, 8)


def test_an_array_has_no_pictures_beside(picture):
    slide = open_slide(picture)
    assert slide.associated == ()
    with pytest.raises(UnknownNameError):
        slide.read_associated("label")
