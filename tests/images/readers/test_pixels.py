from __future__ import annotations

import numpy as np
import pytest

from napari_wsol.errors import ImageError
from napari_wsol.images.readers.pixels import PixelReading, to_rgb8
from napari_wsol.images.readers.values import ValueRange, value_range


def grey(values, dtype):
    return to_rgb8(np.array([values], dtype))[0, :, 0].tolist()


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 7, 255], np.uint8, [0, 7, 255]),
        ([False, True], np.bool_, [0, 255]),
        ([0, 7, 255], np.uint16, [0, 7, 255]),
        ([0, 1023], np.uint16, [0, 255]),
        ([0, 1024, 4095], np.uint16, [0, 64, 255]),
        ([0, 16383], np.uint16, [0, 255]),
        ([0, 257, 514, 65535], np.uint16, [0, 1, 2, 255]),
        ([0, 257, 65535], np.int32, [0, 1, 255]),
        ([0, 1 << 20], np.int64, [0, 255]),
        ([-1, 0, 1], np.int8, [0, 128, 255]),
        ([0, 0.5, 1], np.float32, [0, 128, 255]),
        ([0, 0.5, 1], np.float16, [0, 128, 255]),
        ([0, 100, 254.6], np.float64, [0, 100, 255]),
        ([-1, 0, 1], np.float32, [0, 128, 255]),
        ([0, 500, 1000], np.float64, [0, 128, 255]),
        ([5e9, 5e9], np.float64, [0, 0]),
    ],
)
def test_any_dtype_becomes_8_bit(values, dtype, expected):
    assert grey(values, dtype) == expected


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4)])
def test_any_channels_become_rgb(shape):
    rgb = to_rgb8(np.full(shape, 255, np.uint8))
    assert rgb.shape == (4, 5, 3)
    assert rgb.dtype == np.uint8
    assert (rgb == 255).all()


def test_transparent_parts_lie_on_white():
    pixels = np.array([[[10, 20, 30, 0], [10, 20, 30, 255], [0, 0, 0, 51]]], np.uint8)
    assert to_rgb8(pixels)[0].tolist() == [[255] * 3, [10, 20, 30], [204] * 3]


def test_alpha_of_one_is_opaque_beside_colours_up_to_255():
    pixels = np.full((2, 2, 4), 200, np.float32)
    pixels[..., 3] = 1
    assert (to_rgb8(pixels) == 200).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused(bad):
    pixels = np.zeros((4, 4))
    pixels[2, 1] = bad
    with pytest.raises(ImageError, match="nan_to_num"):
        to_rgb8(pixels)


def test_a_nan_in_any_sample_is_found():
    good, bad = np.zeros((2, 2)), np.full((2, 2), np.nan)
    with pytest.raises(ImageError):
        value_range([good, bad])
    with pytest.raises(ImageError):
        value_range([bad, good])


@pytest.mark.parametrize("dtype", [np.complex64, np.dtype("U3"), object])
def test_what_has_no_order_is_refused(dtype):
    with pytest.raises(ImageError, match="convert"):
        to_rgb8(np.zeros((4, 4), dtype))


@pytest.mark.parametrize("light", [0, 1, 100, 127, 128, 254, 255])
def test_products_of_two_shares_are_rounded_to_the_nearest_grey(light):
    every = np.arange(256)
    wanted = np.rint(every * light / 255).astype(int).tolist()
    ink = np.full((1, 256, 4), 255 - light, np.uint8)
    ink[0, :, :3] = 255 - every[:, None]
    cmyk = PixelReading(colour="cmyk", values=ValueRange(0, 255))
    assert cmyk.to_rgb8(ink)[0, :, 1].tolist() == wanted
    black = np.full((1, 256, 4), 255 - light, np.uint8)  # as opaque as this
    black[0, :, :3] = 0
    black[0, :, 3] = 255 - every
    assert to_rgb8(black)[0, :, 2].tolist() == every.tolist()


def test_a_stack_is_not_an_image():
    with pytest.raises(ImageError, match="height, width, 3"):
        to_rgb8(np.zeros((4, 5, 7), np.uint8))


def test_the_note_says_how_values_were_converted():
    assert value_range([np.array([65535], np.uint16)]).note == "uint16 divided by 257"
    assert "12-bit" in value_range([np.array([4000], np.uint16)]).note
    assert value_range([np.array([9], np.uint8)]).note == ""
