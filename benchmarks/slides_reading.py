"""How fast slides are read: random windows of a JPEG pyramid, ours beside others.

    python benchmarks/slides_reading.py [--side 20000] [--window 512] [--seconds 20]
        [--threads 1 2] [--file SLIDE] [--readers ours openslide]

Without ``--file`` a 20 000 × 20 000 BigTIFF is written in a temporary folder: JPEG
tiles of 256 × 256, 4:2:0, quality 80, five levels, tissue of skimage's sample repeated.
Windows lie anywhere (off grid) or on corners of tiles (on grid), the same ones for all.
Each candidate reads in short bursts, in turn with the others, so that whatever else the
machine does falls on all of them; the figure is the best burst, and the median beside
it. A busy machine lowers MP/s, but hardly MP a CPU-second (of all threads together).
Readers that are not installed are left out. ``codec`` decodes the same number of tiles
from memory: what cannot be beaten without decoding less.

The ratio is ours to the best other reader; a CPU-second it must be at least 1.5.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import tifffile
from skimage import data

from napari_wsol.images.cache import TileCache
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.tiff_slide import TiffSlide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TILE = 256
CACHE_BYTES = 32 << 20
"""What OpenSlide keeps by default."""

WANTED = 1.5

Read = "Callable[[int, int, int], object]"
"""Reads a square: y, x, side."""


def write_pyramid(path: Path, side: int) -> None:
    """Writes the slide, level by level, tile by tile."""
    sample = data.immunohistochemistry()
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for level in range(5):
            size = side >> level
            picture = np.ascontiguousarray(sample[:: 1 << level, :: 1 << level])
            tif.write(
                tiles(picture, size),
                shape=(size, size, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                compressionargs={"level": 80},
                subfiletype=int(level > 0),
                resolution=(20_000, 20_000),
                resolutionunit="CENTIMETER",
                metadata=None,
            )


def tiles(picture: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Tiles of a picture that is repeated without end."""
    height, width = picture.shape[:2]
    count = -(-size // TILE)
    reach = np.arange(TILE)
    for row in range(count):
        for column in range(count):
            y = (row * TILE + reach) % height
            x = (column * TILE + reach) % width
            yield picture[y[:, None], x[None, :]]


def ours(path: Path) -> Read:
    """This package's own reader."""
    slide = TiffSlide(path, cache=TileCache(CACHE_BYTES))
    return lambda y, x, side: slide.read(0, y, x, side, side)


def with_openslide(path: Path) -> Read:
    """OpenSlide, as RGB."""
    import openslide

    slide = openslide.OpenSlide(path)
    return lambda y, x, side: np.asarray(
        slide.read_region((x, y), 0, (side, side)).convert("RGB")
    )


def with_zarr(path: Path) -> Read:
    """The zarr store of tifffile."""
    import zarr

    store = tifffile.imread(path, aszarr=True, level=0)
    array = zarr.open(store, mode="r")
    return lambda y, x, side: array[y : y + side, x : x + side]


def with_tiffslide(path: Path) -> Read:
    """tiffslide, which reads through zarr."""
    import tiffslide

    slide = tiffslide.TiffSlide(path)
    return lambda y, x, side: slide.read_region((x, y), 0, (side, side), as_array=True)


def codec(path: Path) -> Read:
    """The JPEG codec alone, on tiles in memory: as many as a window touches."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
        tables = page.jpegtables
        pieces = []
        for index in range(0, len(page.dataoffsets), 97):
            tif.filehandle.seek(page.dataoffsets[index])
            pieces.append(tif.filehandle.read(page.databytecounts[index]))

    def read(y: int, x: int, side: int) -> None:
        rows = -(-(y + side) // TILE) - y // TILE
        columns = -(-(x + side) // TILE) - x // TILE
        for index in range(rows * columns):
            imagecodecs.jpeg8_decode(
                pieces[(x + y + index) % len(pieces)], tables=tables
            )

    return read


READERS: dict[str, tuple[str, Callable[[Path], Read]]] = {
    "ours": ("napari_wsol", ours),
    "openslide": ("openslide", with_openslide),
    "zarr": ("zarr", with_zarr),
    "tiffslide": ("tiffslide", with_tiffslide),
    "codec": ("imagecodecs", codec),
}


def burst(
    read: Read, windows: list[tuple[int, int]], side: int, threads: int
) -> tuple[float, float]:
    """MP a second of reading some windows with some threads, and MP a CPU-second."""
    started, used = time.perf_counter(), time.process_time()
    if threads == 1:
        for y, x in windows:
            read(y, x, side)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda at: read(at[0], at[1], side), windows))
    pixels = len(windows) * side * side / 1e6
    return (
        pixels / (time.perf_counter() - started),
        pixels / (time.process_time() - used),
    )


def draw(
    rng: np.random.Generator,
    shape: tuple[int, int],
    window: int,
    step: int,
    count: int,
) -> list[tuple[int, int]]:
    """Corners of windows, on multiples of a step."""
    y = rng.integers(0, (shape[0] - window) // step, count) * step
    x = rng.integers(0, (shape[1] - window) // step, count) * step
    return list(zip(y.tolist(), x.tolist(), strict=True))


def measure(path: Path, options: argparse.Namespace) -> bool:
    """Prints the table; whether ours is fast enough everywhere."""
    shape = open_slide(path).shape
    readers = {
        name: build(path)
        for name, (module, build) in READERS.items()
        if name in options.readers and importlib.util.find_spec(module)
    }
    good = True
    print(f"{'best (median)':34}" + "".join(f"{name:>14}" for name in readers))
    rng = np.random.default_rng(0)
    for grid, step in (("on grid", TILE), ("off grid", 1)):
        for threads in options.threads:
            speeds: dict[str, list[tuple[float, float]]] = {x: [] for x in readers}
            ends = time.perf_counter() + options.seconds
            while time.perf_counter() < ends:
                windows = draw(rng, shape, options.window, step, options.burst)
                for name, read in readers.items():
                    speeds[name].append(burst(read, windows, options.window, threads))
            title = f"{grid}, {threads} thread{'s' * (threads > 1)}, MP/"
            print_row(title + "s", speeds, 0)
            good &= print_row(title + "CPU-s", speeds, 1) >= WANTED
    return good


def print_row(
    title: str, speeds: dict[str, list[tuple[float, float]]], kind: int
) -> float:
    """Prints one row; gives the ratio of ours to the best of the others."""
    best: dict[str, float] = {}
    cells = ""
    for name, pairs in speeds.items():
        values = [pair[kind] for pair in pairs]
        best[name] = max(values)
        cells += f"{f'{max(values):.0f} ({statistics.median(values):.0f})':>14}"
    others = [best[name] for name in best if name not in ("ours", "codec")]
    if not others or "ours" not in best:
        print(f"{title:34}{cells}")
        return WANTED
    ratio = best["ours"] / max(others)
    print(f"{title:34}{cells}   ratio {ratio:.2f}")
    return ratio


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--burst", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--file", type=Path)
    parser.add_argument("--readers", nargs="+", default=list(READERS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or Path(folder, "slide.tif")
        if options.file is None:
            write_pyramid(path, options.side)
        good = measure(path, options)
    print(f"ours at least {WANTED} times the best other: {'yes' if good else 'NO'}")


if __name__ == "__main__":
    main()
