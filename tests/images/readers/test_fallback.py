"""TIFFs that one reader cannot decode go to the next, or are told in words."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsol.errors import UnreadableImageError
from napari_wsol.images.readers import open_slide

RAW, OLD_JPEG, LZW, DEFLATE = 1, 6, 5, 8
OFFSET = object()


def write(path, shape, code: bytes, compression: int, *more: tuple) -> None:
    """A TIFF of one strip of YCbCr, with tags that no library writes any more."""
    height, width = shape
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, OFFSET),
        (259, 3, 1, compression),
        (262, 3, 1, 6),
        (273, 4, 1, OFFSET),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, len(code)),
        *more,
    ]
    behind = 8 + 2 + 12 * len(tags) + 4
    out = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for tag, kind, count, value in tags:
        known = behind if tag == 258 else behind + 6 if value is OFFSET else value
        out += struct.pack("<HHII", tag, kind, count, known)
    path.write_bytes(out + bytes(4) + struct.pack("<3H", 8, 8, 8) + code)


def at_half_size(picture: np.ndarray) -> bytes:
    """2 × 2 values of luma, then the two colours of all four (TIFF 6.0, page 92)."""
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    stored = np.asarray(Image.fromarray(picture).convert("YCbCr"))
    luma = stored[..., 0].reshape(height, 2, width, 2).transpose(0, 2, 1, 3)
    both = [luma.reshape(height, width, 4), stored[::2, ::2, 1:]]
    return np.concatenate(both, axis=2).astype(np.uint8).tobytes()


@pytest.fixture
def smooth() -> np.ndarray:
    """(64, 96, 3) uint8 without edges, so that colours of half size are close."""
    y, x = np.mgrid[0:64, 0:96]
    return np.stack([y * 3, x * 2, y + x], axis=-1).astype(np.uint8)


HALF = (530, 3, 2, 2 | 2 << 16)


@pytest.mark.parametrize(
    ("compression", "encode"),
    [(LZW, imagecodecs.lzw_encode), (DEFLATE, imagecodecs.zlib_encode)],
)
def test_colours_at_half_size_are_read(tmp_path, smooth, compression, encode):
    path = tmp_path / "a.tif"
    write(path, (64, 96), encode(at_half_size(smooth)), compression, HALF)
    slide = open_slide(path)
    assert np.abs(slide.read(0, 0, 0, 64, 96).astype(int) - smooth).max() <= 5
    slide.close()


def test_old_style_jpeg_is_read(tmp_path, smooth):
    buffer = io.BytesIO()
    Image.fromarray(smooth).save(buffer, "JPEG", quality=95, subsampling=0)
    code = buffer.getvalue()
    path = tmp_path / "a.tif"
    marks = [(512, 3, 1, 1), (513, 4, 1, OFFSET), (514, 4, 1, len(code))]
    write(path, (64, 96), code, OLD_JPEG, *marks, (530, 3, 2, 1 | 1 << 16))
    slide = open_slide(path)
    assert np.abs(slide.read(0, 0, 0, 64, 96).astype(int) - smooth).max() <= 5
    slide.close()


def test_what_only_one_reader_knows_is_not_called_damaged(tmp_path, smooth):
    path = tmp_path / "a.tif"
    write(path, (64, 96), at_half_size(smooth), RAW, HALF)
    with pytest.raises(UnreadableImageError, match=r"not supported.*RGB") as told:
        open_slide(path)
    assert "damaged" not in str(told.value)


def test_what_two_readers_cannot_decode_is_damaged(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, compression="zlib", rowsperstrip=64)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        (page,) = tif.pages
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            data[offset : offset + count] = b"\x55" * count
    path.write_bytes(data)
    with pytest.raises(UnreadableImageError, match="is damaged: two readers"):
        open_slide(path)


def test_one_damaged_tile_does_not_hide_the_others(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, compression="zlib", tile=(128, 128))
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        first, count = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    data[first : first + count] = b"\x55" * count
    path.write_bytes(data)
    slide = open_slide(path)
    assert slide.reader == "tifffile"
    part = slide.read(0, 300, 300, 100, 100)
    assert np.array_equal(part, picture[300:400, 300:400])
    with pytest.raises(UnreadableImageError, match="damaged"):
        slide.read(0, 0, 0, 10, 10)
    slide.close()
