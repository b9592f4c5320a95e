from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import pytest
import tifffile
from packaging.version import Version
from PIL import Image

from napari_wsol.errors import ImageError, UnknownNameError, UnreadableImageError
from napari_wsol.images.cache import TileCache
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.pixels import to_rgb8
from napari_wsol.images.readers.positioned import PositionedFile
from napari_wsol.images.readers.tiff_slide import TiffSlide

if TYPE_CHECKING:
    from pathlib import Path

LAYOUTS = {
    "one strip": {},
    "strips": {"rowsperstrip": 37},
    "deflate strips": {"rowsperstrip": 64, "compression": "zlib", "predictor": True},
    "one lzw strip": {"rowsperstrip": 701, "compression": "lzw"},
    "tiles": {"tile": (128, 96)},
    "zstd tiles": {"tile": (256, 256), "compression": "zstd"},
    "lzw tiles": {"tile": (64, 64), "compression": "lzw", "predictor": True},
    "bigtiff": {"bigtiff": True, "tile": (128, 128), "compression": "deflate"},
    "big-endian": {"byteorder": ">", "rowsperstrip": 50},
    "big-endian tiles": {"byteorder": ">", "tile": (64, 64), "compression": "lzw"},
}
DTYPES = [np.uint8, np.uint16, np.int16, np.uint32, np.float32]


def check_reads(slide, expected):
    height, width = expected.shape[:2]
    assert slide.shape == (height, width)
    assert np.array_equal(slide.read(0, 0, 0, height, width), expected)
    assert np.array_equal(slide.read(0, 100, 33, 301, 299), expected[100:401, 33:332])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("samples", [1, 3, 4])
def test_every_layout_reads_the_same_pixels(tmp_path, picture, layout, samples):
    alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
    pixels = np.concatenate([picture, alpha], axis=2)[..., :samples].squeeze()
    photometric = "rgb" if samples > 1 else "minisblack"
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric=photometric, **LAYOUTS[layout])
    check_reads(open_slide(path), to_rgb8(pixels))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["strips", "zstd tiles"])
@pytest.mark.parametrize("colour", ["minisblack", "rgb"])
def test_every_dtype_reads_like_the_array(tmp_path, picture, dtype, layout, colour):
    pixels = picture if colour == "rgb" else picture[..., 0]
    if np.dtype(dtype).kind == "f":
        pixels = (pixels / 255).astype(dtype)
    elif np.dtype(dtype).itemsize > 1:
        pixels = pixels.astype(dtype) * 100
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric=colour, **LAYOUTS[layout])
    check_reads(open_slide(path), to_rgb8(pixels))


@pytest.mark.parametrize("layout", ["one strip", "strips", "tiles", "zstd tiles"])
def test_one_bit_images_are_black_and_white(tmp_path, picture, layout):
    pixels = picture[..., 0] > 120
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", **LAYOUTS[layout])
    check_reads(open_slide(path), to_rgb8(pixels))


@pytest.mark.skipif(
    Version(tifffile.__version__) < Version("2026.3.3")
    or Version(imagecodecs.__version__) < Version("2026.3.6"),
    reason="earlier ones refuse fax pages",
)
@pytest.mark.parametrize("code", ["group3", "group4", "tiff_ccitt", "packbits"])
@pytest.mark.parametrize("white", [0, 1])
@pytest.mark.parametrize("order", [1, 2])
def test_fax_pages_are_black_and_white(tmp_path, picture, code, white, order):
    """White is 0 (tag 262 = 0) or 1, bits from the left or the right (tag 266)."""
    pixels = picture[..., 0] > 120
    path = tmp_path / "a.tif"
    tags = {262: white, 266: order, 278: 16}
    Image.fromarray(pixels).save(path, compression=code, tiffinfo=tags)
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image), pixels)
    check_reads(open_slide(path), to_rgb8(pixels))


@pytest.mark.parametrize("layout", ["one strip", "strips", "zstd tiles", "big-endian"])
def test_planes_stored_apart_are_joined(tmp_path, picture, layout):
    path = tmp_path / "a.tif"
    planes = np.moveaxis(picture, -1, 0)
    tifffile.imwrite(
        path, planes, photometric="rgb", planarconfig="separate", **LAYOUTS[layout]
    )
    check_reads(open_slide(path), picture)


def test_jpeg_tiles_decode_to_what_tifffile_gives(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, picture, photometric="rgb", tile=(64, 64), compression="jpeg"
    )
    check_reads(open_slide(path), tifffile.imread(path))


def test_grey_where_0_is_white_is_turned(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture[..., 0], photometric="miniswhite")
    check_reads(open_slide(path), 255 - np.repeat(picture[..., :1], 3, axis=2))


def test_palette_colours_are_looked_up(tmp_path, picture):
    path = tmp_path / "a.tif"
    palette = np.random.default_rng(1).integers(0, 65536, (3, 256)).astype(np.uint16)
    index = picture[..., 0]
    tifffile.imwrite(path, index, photometric="palette", colormap=palette)
    check_reads(open_slide(path), (palette >> 8).astype(np.uint8).T[index])


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_transparent_parts_are_white(tmp_path, picture, kind):
    alpha = np.where(np.arange(701) < 300, 0, 255).astype(np.uint8)[:, None, None]
    shown = np.where(alpha > 0, picture, 0)
    rgba = np.concatenate([shown, np.broadcast_to(alpha, (701, 523, 1))], axis=2)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=[kind])
    check_reads(open_slide(path), np.where(alpha > 0, picture, 255))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_inks_become_colours(tmp_path, picture, compression):
    black = 255 - picture.max(2, keepdims=True).astype(float)
    inks = (255 - black - picture) / np.maximum(255 - black, 1) * 255
    cmyk = np.rint(np.concatenate([inks, black], axis=2)).astype(np.uint8)
    path = tmp_path / "a.tif"
    how = {"photometric": "separated", "tile": (64, 64), "compression": compression}
    tifffile.imwrite(path, cmyk, **how)
    slide = open_slide(path)
    assert slide.reader == "tifffile"
    found = slide.read(0, 0, 0, *picture.shape[:2]).astype(int)
    assert np.abs(found - picture).max() <= 1
    assert "CMYK" in slide.notes[0]


def test_a_fourth_channel_that_is_no_alpha_is_left_out(tmp_path, picture):
    path = tmp_path / "a.tif"
    extra = np.zeros((701, 523, 1), np.uint8)
    pixels = np.concatenate([picture, extra], axis=2)
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=["unspecified"])
    slide = open_slide(path)
    check_reads(slide, picture)
    assert any("ignored" in note for note in slide.notes)


def write_pyramid(path: Path, picture, *, kind: str) -> list[np.ndarray]:
    levels = [picture, picture[::2, ::2][:350, :261], picture[::4, ::4][:175, :130]]
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
    with tifffile.TiffWriter(path, ome=kind == "ome") as tif:
        if kind == "pages":
            for index, level in enumerate(levels):
                tif.write(level, subfiletype=int(index > 0), metadata=None, **options)
        else:
            size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
            tif.write(levels[0], subifds=2, metadata=size, **options)
            for level in levels[1:]:
                tif.write(level, subfiletype=1, **options)
    return levels


@pytest.mark.parametrize("kind", ["pages", "ome", "subifds"])
def test_every_level_of_a_pyramid_is_read(tmp_path, picture, kind):
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    levels = write_pyramid(path, picture, kind=kind)
    slide = open_slide(path)
    assert [level.downsample for level in slide.levels] == [(1, 1), (2, 2), (4, 4)]
    for index, level in enumerate(levels):
        assert np.array_equal(slide.read(index, 0, 0, *level.shape[:2]), level)
    assert slide.mpp == (0.5 if kind == "ome" else None)


def test_a_left_out_tile_is_white(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, picture, photometric="rgb", tile=(128, 128), compression="deflate"
    )
    with tifffile.TiffFile(path, mode="r+") as tif:
        counts = list(tif.pages[0].databytecounts)
        counts[6] = 0
        tif.pages[0].tags["TileByteCounts"].overwrite(counts)
    whole = open_slide(path).read(0, 0, 0, 701, 523)
    row, column = divmod(6, 5)
    hole = (slice(row * 128, row * 128 + 128), slice(column * 128, column * 128 + 128))
    expected = picture.copy()
    expected[hole] = 255
    assert np.array_equal(whole, expected)


def test_outside_is_white(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb", tile=(128, 128))
    slide = open_slide(path)
    frame = slide.read(0, -20, -30, 760, 600)
    assert np.array_equal(frame[20:721, 30:553], picture)
    frame[20:721, 30:553] = 255
    assert (frame == 255).all()
    assert slide.read(0, 9_000, 0, 5, 5).min() == 255
    assert slide.read(0, 0, 0, 0, 5).shape == (0, 5, 3)


def test_a_read_may_be_written_to_and_the_slide_stays_as_it_is(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb", tile=(128, 128))
    slide = open_slide(path)
    slide.read(0, 0, 0, 128, 128)[:] = 0
    check_reads(slide, picture)


def test_threads_read_the_same_pixels(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, picture, photometric="rgb", tile=(64, 64), compression="zstd"
    )
    slide = TiffSlide(path, cache=TileCache(100_000))
    start = threading.Barrier(4)

    def read_all(seed: int) -> bool:
        start.wait()
        at = np.random.default_rng(seed).integers(0, 400, (60, 2))
        return all(
            np.array_equal(slide.read(0, y, x, 90, 95), picture[y : y + 90, x : x + 95])
            for y, x in at
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read_all, range(4)))


@pytest.mark.parametrize("seek", [False, True])
def test_positions_are_read_with_and_without_pread(tmp_path, seek):
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)))
    file = PositionedFile(path, seek=seek)
    assert file.read(10, 3) == bytes([10, 11, 12])
    assert file.read(0, 256) == bytes(range(256))
    with pytest.raises(UnreadableImageError, match="incomplete"):
        file.read(250, 10)
    file.close()
    with pytest.raises(UnreadableImageError, match="open it again"):
        file.read(0, 1)


def test_the_cache_keeps_to_its_budget():
    cache = TileCache(budget_bytes=1_000)
    loads: list[int] = []

    def tile(key: int) -> np.ndarray:
        def load() -> np.ndarray:
            loads.append(key)
            return np.zeros((10, 10, 3), np.uint8)

        return cache.get(key, load)

    for key in (1, 2, 3, 1, 4, 1, 2):
        tile(key)
    assert cache.held_bytes == 900
    assert loads == [1, 2, 3, 4, 2]


def test_a_tile_above_the_budget_is_kept_while_it_is_the_newest():
    cache = TileCache(budget_bytes=10)
    big = cache.get("a", lambda: np.zeros((10, 10, 3), np.uint8))
    assert cache.get("a", lambda: np.ones((1, 1, 3), np.uint8)) is big


def test_a_damaged_tile_is_told_on_reading(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, picture, photometric="rgb", tile=(128, 128), compression="deflate"
    )
    with tifffile.TiffFile(path) as tif:
        offset = tif.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + 20] = b"\0" * 20
    path.write_bytes(data)
    slide = open_slide(path)
    assert np.array_equal(slide.read(0, 200, 200, 50, 50), picture[200:250, 200:250])
    with pytest.raises(UnreadableImageError, match="damaged"):
        slide.read(0, 0, 0, 10, 10)


@pytest.mark.parametrize("keep", [6, 100, 5_000])
def test_a_cut_file_is_refused_or_told_on_reading(tmp_path, picture, keep):
    whole, cut = tmp_path / "a.tif", tmp_path / "b.tif"
    tifffile.imwrite(whole, picture, photometric="rgb", tile=(128, 128))
    cut.write_bytes(whole.read_bytes()[:keep])

    def open_and_read() -> None:
        open_slide(cut).read(0, 0, 0, 701, 523)

    with pytest.raises(UnreadableImageError, match=r"again|choose"):
        open_and_read()


def test_a_nan_in_a_file_is_told(tmp_path):
    pixels = np.zeros((64, 64), np.float32)
    pixels[9, 9] = np.nan
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels)
    with pytest.raises(ImageError, match="nan_to_num"):
        open_slide(path)


def test_a_stack_is_refused_with_its_axes(tmp_path):
    path = tmp_path / "stack.ome.tif"
    stack = np.zeros((5, 40, 50), np.uint8)
    tifffile.imwrite(path, stack, metadata={"axes": "ZYX"}, photometric="minisblack")
    with pytest.raises(ImageError, match=r"stack \(Z = 5\).*stack\[0\]"):
        open_slide(path)


def test_channel_planes_become_colours_when_told(tmp_path, picture):
    path = tmp_path / "channels.ome.tif"
    tifffile.imwrite(
        path,
        np.moveaxis(picture, -1, 0),
        metadata={"axes": "CYX"},
        photometric="minisblack",
        tile=(128, 128),
    )
    with pytest.raises(ImageError, match="rgb=True"):
        open_slide(path)
    check_reads(open_slide(path, rgb=True), picture)


def test_other_colour_spaces_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((40, 50, 3), np.uint8), photometric="cielab")
    with pytest.raises(ImageError, match="save it as RGB"):
        open_slide(path)


def test_a_multichannel_image_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        np.zeros((40, 50, 6), np.uint8),
        photometric="minisblack",
        planarconfig="contig",
        metadata=None,
    )
    with pytest.raises(ImageError, match="6 channels"):
        open_slide(path)


def test_aperio_jpeg_2000_in_ycbcr_becomes_rgb(tmp_path, picture):
    ycbcr = np.asarray(Image.fromarray(picture).convert("YCbCr"))
    path = tmp_path / "a.svs"
    tifffile.imwrite(
        path,
        ycbcr,
        photometric="rgb",
        tile=(256, 256),
        compression="APERIO_JP2000_YCBC",
        compressionargs={"level": 0},
        description="Aperio Image Library v1|MPP = 0.25",
        metadata=None,
    )
    read = open_slide(path).read(0, 0, 0, 701, 523).astype(int)
    assert abs(read - picture).max() <= 3


def test_the_largest_of_several_images_is_shown(tmp_path, picture):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(picture[:100, :90], photometric="rgb", metadata=None)
        tif.write(picture, photometric="rgb", metadata=None)
    slide = open_slide(path)
    check_reads(slide, picture)
    assert any("2 images" in note for note in slide.notes)


def test_label_and_macro_are_kept_apart_whatever_their_size(tmp_path, picture):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as tif:
        for name, pixels in {
            "Macro image": np.zeros((900, 800, 3), np.uint8),
            "Scan": picture,
            "Label": picture[:50, :60],
        }.items():
            tif.write(pixels, photometric="rgb", metadata={"Name": name})
    slide = open_slide(path)
    check_reads(slide, picture)
    assert slide.associated == ("macro image", "label")
    assert np.array_equal(slide.read_associated("label"), picture[:50, :60])


def test_an_unknown_picture_beside_names_the_choices(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb")
    with pytest.raises(UnknownNameError, match="none"):
        open_slide(path).read_associated("label")


def test_a_closed_slide_says_so(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb", tile=(128, 128))
    slide = open_slide(path)
    slide.read(0, 0, 0, 10, 10)
    slide.close()
    with pytest.raises(UnreadableImageError, match="open it again"):
        slide.read(0, 0, 0, 10, 10)


def test_a_name_of_any_alphabet_is_opened(tmp_path, picture):
    path = tmp_path / "切片 🔬.tif"
    tifffile.imwrite(path, picture, photometric="rgb")
    check_reads(open_slide(path), picture)
