"""How values become grey levels: no single pixel decides."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile

from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.pixels import to_rgb8
from napari_wsol.images.readers.values import value_range


def noisy(low: float, high: float, side: int, dtype: object) -> np.ndarray:
    """A gradient with noise, all of it between two values."""
    rng = np.random.default_rng(side)
    y, x = np.mgrid[0:side, 0:side] / (2 * (side - 1))
    wave = (y + x) * 0.8 + rng.uniform(0, 0.2, (side, side))
    return (low + wave * (high - low)).astype(dtype)


def scan(side: int) -> np.ndarray:
    """Air, tissue and bone in Hounsfield units, with noise."""
    rng = np.random.default_rng(side)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    far = np.hypot(y, x)
    tissue = np.select([far > 0.45, far > 0.4], [-1000, 700], 40)
    return (tissue + rng.normal(0, 15, (side, side))).astype(np.int16)


SIDES = (64, 200, 512)
KINDS = {
    "0..1": lambda side: noisy(0.31, 1, side, np.float32),
    "0..255": lambda side: noisy(0, 255, side, np.float64),
    "8 of 16 bits": lambda side: noisy(0, 255, side, np.uint16),
    "10 bits": lambda side: noisy(0, 1023, side, np.uint16),
    "12 bits": lambda side: noisy(0, 4095, side, np.uint16),
    "16 bits": lambda side: noisy(0, 65535, side, np.int32),
    "CT": scan,
    "any real": lambda side: noisy(-3e4, 7e5, side, np.float32),
    "24 bits": lambda side: noisy(0, 1 << 24, side, np.uint32),
    "half empty": lambda side: (
        noisy(-3, 5, side, np.float32) * (np.arange(side) > 0.7 * side)
    ),
    "a mask": lambda side: (noisy(0, 1, side, np.float32) > 0.5).astype(np.float32),
    "one value": lambda side: np.full((side, side), 1000, np.float32),
}
EXTREMES = (1.001, -0.001, 256, 1024, 4096, 30000, -30000, 65535, 1e9)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", KINDS)
def test_one_extreme_pixel_changes_no_other(kind, side):
    pixels = KINDS[kind](side)
    before = to_rgb8(pixels).astype(int)
    limits = np.iinfo(pixels.dtype) if pixels.dtype.kind in "ui" else None
    others = np.ones(pixels.shape, bool)
    others[side // 3, side // 2] = False
    for extreme in EXTREMES:
        if limits and not limits.min <= extreme <= limits.max:
            continue
        hot = pixels.copy()
        hot[~others] = extreme
        after = to_rgb8(hot).astype(int)
        assert np.abs(after - before)[others].max() <= 1, extreme


@pytest.mark.parametrize("kind", ["0..1", "CT", "half empty"])
def test_one_extreme_pixel_in_a_colour_image_changes_no_other(kind):
    grey = KINDS[kind](128)
    pixels = np.stack([grey, grey[::-1], grey.T], -1)
    before = to_rgb8(pixels).astype(int)
    pixels[40, 50] = 30000
    changed = np.abs(to_rgb8(pixels).astype(int) - before).max(-1) > 1
    assert np.argwhere(changed).tolist() in ([], [[40, 50]])


def test_the_extreme_pixel_itself_is_clipped():
    pixels = scan(128)
    pixels[5, 6], pixels[7, 8] = 30000, -30000
    grey = to_rgb8(pixels)[..., 0]
    assert (grey[5, 6], grey[7, 8]) == (255, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_read_like_the_whole(kind):
    pixels = KINDS[kind](300)
    pixels[17, 200] = pixels.max() + 1
    slide = open_slide(pixels)
    whole = slide.read(0, 0, 0, 300, 300)
    for y, x in [(0, 190), (100, 0), (250, 250)]:
        window = slide.read(0, y, x, 50, 50)
        assert np.array_equal(window, whole[y : y + 50, x : x + 50])
    slide.close()


def test_a_few_bright_cells_in_the_dark_are_seen():
    pixels = np.full((400, 400), -1, np.int32)
    pixels[100:104, 200:204] = np.arange(16).reshape(4, 4) + 1_000_000
    grey = to_rgb8(pixels)[..., 0]
    assert grey[0, 0] == 0
    assert (grey[100:104, 200:204] >= 254).all()


def test_an_image_of_one_value_is_black_whatever_stands_out():
    pixels = np.full((50, 50), -7.0)
    pixels[3, 4] = 900
    grey = to_rgb8(pixels)[..., 0]
    assert grey[3, 4] == 255
    assert grey.sum() == 255


def test_what_a_filter_pushed_beyond_is_clipped():
    """Splines and sharpening leave 0 to 1 in many pixels at once."""
    pixels = noisy(-0.04, 1.06, 200, np.float32)
    grey = to_rgb8(pixels)[..., 0]
    assert np.array_equal(grey, np.rint(np.clip(pixels.astype(float), 0, 1) * 255))


def test_the_depth_that_is_told_decides():
    pixels = noisy(0, 900, 64, np.uint16)
    assert value_range([pixels], bits=12).high == 4095
    assert value_range([pixels]).high == 1023
    assert value_range([pixels], bits=16).high == 1023, "of any 16-bit file"
    assert value_range([pixels * 50], bits=12).high == 65535, "it is wrong"


def png(pixels: np.ndarray, significant: int) -> bytes:
    """A PNG whose sBIT chunk tells the significant bits."""
    data = imagecodecs.png_encode(pixels)
    chunk = b"sBIT" + bytes([significant])
    told = struct.pack(">I", 1) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data[:33] + told + data[33:]  # behind the header


DECLARED = {
    "a.ome.tif": lambda path, pixels: tifffile.imwrite(
        path, pixels, metadata={"SignificantBits": 12}
    ),
    "a.tif": lambda path, pixels: tifffile.imwrite(
        path, pixels, extratags=[(281, "H", 1, 4095, True)], photometric="minisblack"
    ),
    "a.png": lambda path, pixels: path.write_bytes(png(pixels, 12)),
}


@pytest.mark.parametrize("name", DECLARED)
def test_the_depth_that_a_file_tells_decides(tmp_path, name):
    pixels = noisy(0, 900, 64, np.uint16)
    DECLARED[name](tmp_path / name, pixels)
    slide = open_slide(tmp_path / name)
    grey = slide.read(0, 0, 0, 64, 64)[..., 0]
    assert np.array_equal(grey, np.rint(pixels * (255 / 4095)))
    assert "12-bit" in slide.notes[0]
    slide.close()


def test_the_note_says_what_is_cut_off():
    pixels = noisy(0, 1023, 64, np.uint16)
    pixels[0, 0] = 1024
    assert "cut off" in value_range([pixels]).note
    assert "1024" in value_range([pixels]).note
    pixels[0, 0] = 1023
    assert "cut off" not in value_range([pixels]).note
