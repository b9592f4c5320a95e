"""Rectangles from tiles: thin rims, many tiles at once, damaged ones."""

from __future__ import annotations

import multiprocessing
import sys
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_wsol.errors import UnreadableImageError
from napari_wsol.images.cache import TileCache
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.tiled import TiledLevel

TILE = 16


def tiled(picture) -> TiledLevel:
    def load(row, column):
        tile = np.zeros((TILE, TILE, 3), np.uint8)
        part = picture[row * TILE :, column * TILE :][:TILE, :TILE]
        tile[: part.shape[0], : part.shape[1]] = part
        return tile

    cache = TileCache(1 << 20)
    return TiledLevel(picture.shape[:2], (TILE, TILE), load, cache)


@pytest.mark.parametrize(
    "corner", [(0, 0, 701, 523), (-9, -7, 730, 540), (17, 31, 300, 1), (700, 522, 5, 5)]
)
def test_any_rectangle_is_cut_from_the_tiles(picture, corner):
    y, x, height, width = corner
    framed = np.full((801, 623, 3), 255, np.uint8)
    framed[50:751, 50:573] = picture
    found = tiled(picture).read(*corner)
    assert np.array_equal(found, framed[y + 50 :, x + 50 :][:height, :width])


def test_nothing_is_read_of_what_lies_outside(picture):
    assert tiled(picture).read(5000, -90, 20, 30).tolist() == [[[255] * 3] * 30] * 20
    assert tiled(picture).read(5, 5, -1, 7).shape == (0, 7, 3)


def test_many_tiles_are_decoded_side_by_side_and_each_once():
    loaded: list[tuple[int, int]] = []
    lock = threading.Lock()

    def load(row, column):
        with lock:
            loaded.append((row, column))
        return np.full((TILE, TILE, 3), row, np.uint8)

    level = TiledLevel((320, 320), (TILE, TILE), load, TileCache())
    whole = level.read(0, 0, 320, 320)
    assert np.array_equal(whole[:, 7, 1], np.repeat(np.arange(20), TILE))
    assert np.array_equal(level.read(3, 3, 300, 300), whole[3:303, 3:303])
    assert sorted(loaded) == [
        (row, column) for row in range(20) for column in range(20)
    ]


def test_one_damaged_tile_among_many_is_told():
    def load(row, column):
        if (row, column) == (3, 4):
            raise UnreadableImageError("This piece is damaged.")
        return np.zeros((TILE, TILE, 3), np.uint8)

    level = TiledLevel((320, 320), (TILE, TILE), load, TileCache())
    with pytest.raises(UnreadableImageError, match="damaged"):
        level.read(0, 0, 320, 320)
    assert level.read(0, 0, 40, 40).shape == (40, 40, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks by itself")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_decodes_with_threads_of_its_own(tmp_path, picture):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture, photometric="rgb", tile=(64, 64))
    open_slide(path).read(0, 0, 0, 701, 523)  # The threads are there now.
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        total = pool.apply_async(total_of, (path,)).get(timeout=60)
    assert total == int(picture.sum(dtype=np.int64))


def total_of(path) -> int:
    return int(open_slide(path).read(0, 0, 0, 701, 523).sum(dtype=np.int64))


@pytest.mark.parametrize("shape", [(65, 129), (64, 65), (129, 64)])
def test_tiles_of_which_one_pixel_shows(tmp_path, picture, shape):
    part = picture[: shape[0], : shape[1]]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, part, photometric="rgb", tile=(64, 64), compression="zlib")
    slide = open_slide(path)
    assert np.array_equal(slide.read(0, 0, 0, *shape), part)
    assert np.array_equal(slide.read(0, shape[0] - 1, 0, 1, 9), part[-1:, :9])


def test_a_cmyk_jpeg_becomes_rgb(tmp_path):
    path = tmp_path / "a.jpg"
    colours = Image.new("RGB", (32, 32), (200, 60, 40)).convert("CMYK")
    colours.save(path, quality=95)
    found = open_slide(path).read(0, 8, 8, 8, 8).reshape(-1, 3).mean(0)
    assert np.abs(found - (200, 60, 40)).max() < 6
