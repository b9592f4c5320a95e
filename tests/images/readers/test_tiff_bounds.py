"""A small TIFF does not take minutes or all of the memory."""

import contextlib
import io
import os
import struct
import zlib
from functools import partial

import imagecodecs
import numpy as np
import pytest
import tifffile
from fixtures.memory import peak_mb
from PIL import Image

from napari_wsol.errors import ImageError, UnreadableImageError
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.tiff_bounds import check_directories, check_picture

TAGS = [
    (256, 4, 1, 16),
    (257, 4, 1, 16),
    (258, 3, 1, 8),
    (259, 3, 1, 1),
    (262, 3, 1, 1),
    (273, 4, 1, 8),
    (278, 4, 1, 16),
    (279, 4, 1, 256),
]


def directory(tags, link):
    return (
        struct.pack("<H", len(tags))
        + b"".join(struct.pack("<HHII", *tag) for tag in tags)
        + struct.pack("<I", link)
    )


def chain(count, *, circle=False):
    size = 2 + 12 * len(TAGS) + 4
    links = [8 + size * (index + 1) for index in range(count)]
    links[-1] = 8 if circle else 0
    return struct.pack("<2sHI", b"II", 42, 8) + b"".join(
        directory(TAGS, link) for link in links
    )


def with_below(count):
    size = 2 + 12 * (len(TAGS) + 1) + 4
    below = 8 + size + 4 * count
    first = directory([*TAGS, (330, 4, count, 8 + size)], 0)
    places = struct.pack("<I", below) * count
    return struct.pack("<2sHI", b"II", 42, 8) + first + places + directory(TAGS, 0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (chain(120_000), "more pages than any image"),
        (chain(3, circle=True), "circle"),
        (with_below(100_000), "below its pages"),
    ],
    ids=["in a row", "in a circle", "below"],
)
def test_very_many_directories_are_refused(tmp_path, data, why):
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(UnreadableImageError, match=why):
        open_slide(tmp_path / "a.tif")


@pytest.mark.parametrize("how", [{}, {"bigtiff": True}, {"byteorder": ">"}])
def test_the_directories_of_a_sound_file_are_counted(tmp_path, how):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, **how) as file:
        file.write(np.zeros((64, 64), np.uint8), subifds=2)
        for side in (32, 16):
            file.write(np.zeros((side, side), np.uint8), subfiletype=1)
    data = path.read_bytes()
    check_directories(lambda at, size: data[at : at + size], len(data), "a")
    at = data.find(struct.pack(">H" if "byteorder" in how else "<H", 330))
    wide = ("Q", 4) if "bigtiff" in how else ("I", 4)
    order = ">" if "byteorder" in how else "<"
    many = bytearray(data)
    struct.pack_into(order + wide[0], many, at + wide[1], 5000)
    with pytest.raises(UnreadableImageError, match="5000 pictures below"):
        check_directories(lambda at, size: bytes(many[at : at + size]), len(many), "a")


def extended(pixels):
    """WebP with a profile beside the pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", icc_profile=b"x" * 40)
    return file.getvalue()


ENCODERS = {
    "jpeg": imagecodecs.jpeg_encode,
    "jpeg2000": partial(imagecodecs.jpeg2k_encode, codecformat="j2k"),
    "jp2": partial(imagecodecs.jpeg2k_encode, codecformat="jp2"),
    "png": imagecodecs.png_encode,
    "webp": partial(imagecodecs.webp_encode, level=50, lossless=False),
    "webp lossless": partial(imagecodecs.webp_encode, lossless=True),
    "webp extended": extended,
}


def encoded(side, kind):
    return ENCODERS[kind](np.zeros((side, side + 8, 3), np.uint8))


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_tile_holds_no_larger_picture(kind):
    data = encoded(200, kind)
    check_picture(data, (200, 208))
    check_picture(data, (144, 144))  # codecs fill up their blocks
    for shape in ((64, 208), (200, 64)):
        with pytest.raises(ValueError, match=r"picture of 200×208"):
            check_picture(data, shape)
    for size in range(40):
        check_picture(data[:size], (200, 208))


@pytest.mark.parametrize(
    "codec", ["jpeg", "deflate", "zstd", pytest.param("lzma", marks=pytest.mark.slow)]
)
def test_tiles_that_inflate_are_refused_or_cut(tmp_path, codec):
    """Of a tile of 64×64 pixels; the file itself has some 100 kB."""
    path = tmp_path / "a.tif"
    small = np.zeros((64, 64, 3), np.uint8)
    name = "zlib" if codec == "deflate" else codec
    tifffile.imwrite(path, small, tile=(64, 64), compression=name)
    bomb = {
        "jpeg": lambda: encoded(8000, "jpeg"),
        "deflate": lambda: zlib.compress(bytes(300 << 20), 9),
        "zstd": lambda: imagecodecs.zstd_encode(bytes(300 << 20)),
        "lzma": lambda: imagecodecs.lzma_encode(bytes(300 << 20)),
    }[codec]()
    with tifffile.TiffFile(path, mode="r+b") as file:
        page = file.pages[0]
        page.tags[325].overwrite([len(bomb)])
        page.tags[324].overwrite([path.stat().st_size])
    with path.open("ab") as file:
        file.write(bomb)
    del bomb
    before = peak_mb()
    with contextlib.suppress(ImageError):
        assert not open_slide(path).read(0, 0, 0, 64, 64).any()
    assert peak_mb() - before < 200


def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "a.tif")
    with pytest.raises(UnreadableImageError, match="pipe"):
        open_slide(tmp_path / "a.tif")
    with pytest.raises(UnreadableImageError, match="is a folder"):
        open_slide(tmp_path)
    with pytest.raises(UnreadableImageError, match="device"):
        open_slide("/dev/zero")
