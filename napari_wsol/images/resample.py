"""Reads a slide at any resolution, with pixels that do not depend on how it is cut."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_wsol.images.geometry import Level, paste, region_shape
from napari_wsol.images.overviews import kept_downsample, overview

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.slide import Slide


_BLOCK = 128
_BLOCK_SOURCE = 2048
_BAND_BYTES = 64 << 20
_LEVEL_TOLERANCE = 0.99
"""A level this much coarser than asked still counts as fine enough: level sizes are
rounded, and pixel sizes measured."""
_OVERVIEW_ROWS = 256
_OVERVIEW_THREADS = 2


def choose_level(slide: Slide, downsample: float) -> int:
    """The coarsest level that is as fine as asked; only ``downsample`` counts."""
    fine = [
        index
        for index, level in enumerate(slide.levels)
        if max(level.downsample) * _LEVEL_TOLERANCE <= downsample
    ]
    return fine[-1] if fine else 0


def read_region(  # noqa: PLR0917 - a rectangle takes four numbers
    slide: Slide, y: int, x: int, height: int, width: int, downsample: float
) -> Rgb:
    """A rectangle of the slide downsampled by any factor.

    Grid pixel i covers level-0 pixels [i·d, (i+1)·d). It is an antialiased (triangle)
    mean of the nearest finer level, taken by Pillow. A large slide without coarse
    levels has one computed when it is first needed, and kept in memory. The grid is
    resampled in fixed blocks, each from the same source pixels whatever is asked for:
    two adjacent regions are exactly one larger region.

    Args:
        slide: what to read.
        y: first row, in pixels of the downsampled grid.
        x: first column, in pixels of the downsampled grid.
        height: rows.
        width: columns.
        downsample: level-0 pixels a grid pixel; may be a fraction, or below 1.

    Returns:
        (height, width, 3) uint8 RGB, white outside the image.

    Raises:
        UnreadableImageError: the file is damaged there.
        ImageError: a pixel is not a number, or the downsampling impossible.
    """
    source = _Source.stored(slide, choose_level(slide, downsample))
    kept = kept_downsample(slide)
    if kept is not None and kept * _LEVEL_TOLERANCE <= downsample:
        source = _Source.overview(slide, kept)
    return _read_grid(source, slide.shape, (y, x, height, width), downsample)


@dataclass(frozen=True, slots=True)
class _Source:
    """The level that a grid is computed from."""

    size: Level
    read: Callable[[int, int, int, int], Rgb]

    @classmethod
    def stored(cls, slide: Slide, index: int) -> _Source:
        return cls(slide.levels[index], partial(slide.read, index))

    @classmethod
    def overview(cls, slide: Slide, downsample: float) -> _Source:
        pixels = overview(slide, partial(_compute_overview, slide, downsample))
        size = Level(pixels.shape[0], pixels.shape[1], (downsample, downsample))
        return cls(
            size, lambda y, x, height, width: pixels[y : y + height, x : x + width]
        )


def _compute_overview(slide: Slide, downsample: float) -> Rgb:
    """All of a slide at a coarse resolution, in one pass by bands, side by side."""
    height, width = region_shape(slide.shape, downsample)
    source = _Source.stored(slide, choose_level(slide, downsample))
    result = np.empty((height, width, 3), np.uint8)

    def fill(y: int) -> None:
        rows = min(_OVERVIEW_ROWS, height - y)
        band = (y, 0, rows, width)
        result[y : y + rows] = _read_grid(source, slide.shape, band, downsample)

    threads = min(os.cpu_count() or 1, _OVERVIEW_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(fill, range(0, height, _OVERVIEW_ROWS)):
            pass
    return result


def _read_grid(
    source: _Source,
    slide_shape: tuple[int, int],
    rectangle: tuple[int, int, int, int],
    downsample: float,
) -> Rgb:
    """A rectangle (y, x, height, width) of the grid, white outside the image."""
    y, x, height, width = rectangle
    result = np.full((max(height, 0), max(width, 0), 3), 255, np.uint8)
    grid = region_shape(slide_shape, downsample)
    wanted = (
        range(max(y, 0), min(y + height, grid[0])),
        range(max(x, 0), min(x + width, grid[1])),
    )
    if wanted[0] and wanted[1]:
        for pixels, at in _pieces(source, downsample, grid, wanted):
            paste(result, (y, x), pixels, at)
    return result


def _pieces(
    source: _Source,
    downsample: float,
    grid: tuple[int, int],
    wanted: tuple[range, range],
) -> Iterator[tuple[Rgb, tuple[int, int]]]:
    """Pixels that cover what is wanted of the grid, and where they lie on it."""
    level = source.size
    rows = _Axis.plan(downsample / level.downsample[0], grid[0], level.height)
    columns = _Axis.plan(downsample / level.downsample[1], grid[1], level.width)
    if rows.ratio == columns.ratio == 1:
        at = (wanted[0].start, wanted[1].start)
        yield _read_repeating(source, *wanted), at
        return
    # The height of a block is bounded by a full-width band as well: strips are read
    # whole, and those of one band of blocks must fit in the tile cache.
    rows = rows.limited(_BAND_BYTES // (3 * level.width))
    for row in rows.blocks(wanted[0]):
        for group in columns.groups(wanted[1]):
            left = group[0].source.start
            across = range(left, group[-1].source.stop)
            band = _read_repeating(source, row.source, across)
            for column in group:
                cut = band[:, column.source.start - left : column.source.stop - left]
                yield _resize(cut, row, column), (row.at, column.at)


@dataclass(frozen=True, slots=True)
class _Span:
    """One block along one axis: output pixels, source pixels, and the exact box."""

    at: int
    count: int
    source: range
    box: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Axis:
    """How one axis of the grid comes from one axis of a level."""

    ratio: float
    grid: int
    source: int
    block: int

    @classmethod
    def plan(cls, ratio: float, grid: int, source: int) -> _Axis:
        block = min(_BLOCK, int(_BLOCK_SOURCE / ratio))
        return cls(ratio, grid, source, max(1, block))

    def limited(self, source_pixels: int) -> _Axis:
        block = max(1, min(self.block, int(source_pixels / self.ratio)))
        return _Axis(self.ratio, self.grid, self.source, block)

    def blocks(self, wanted: range) -> Iterator[_Span]:
        last = -(-wanted.stop // self.block)
        return map(self._span, range(wanted.start // self.block, last))

    def groups(self, wanted: range) -> Iterator[list[_Span]]:
        """Neighbouring blocks whose source is read at once."""
        group: list[_Span] = []
        for span in self.blocks(wanted):
            if group and span.source.stop - group[0].source.start > _BLOCK_SOURCE:
                yield group
                group = []
            group.append(span)
        if group:
            yield group

    def _span(self, index: int) -> _Span:
        at = index * self.block
        count = min(self.block, self.grid - at)
        low, high = at * self.ratio, (at + count) * self.ratio
        # Room for the filter on both sides; at the image's border Pillow leaves out
        # what is missing, as it does for a whole image.
        margin = math.ceil(max(1.0, self.ratio)) + 1
        start = max(0, math.floor(low) - margin)
        # Rounded sizes may ask for a pixel beyond the level; it repeats the last one.
        stop = max(min(math.ceil(high) + margin, self.source), math.ceil(high))
        return _Span(at, count, range(start, stop), (low - start, high - start))


def _read_repeating(source: _Source, rows: range, columns: range) -> Rgb:
    """Pixels of a level, its last row and column repeated beyond its end."""
    size = source.size
    y, x = min(rows.start, size.height - 1), min(columns.start, size.width - 1)
    height = max(1, min(rows.stop, size.height) - y)
    width = max(1, min(columns.stop, size.width) - x)
    pixels = source.read(y, x, height, width)
    below, beyond = len(rows) - height, len(columns) - width
    if below or beyond:
        pixels = np.pad(pixels, ((0, below), (0, beyond), (0, 0)), mode="edge")
    return pixels


def _resize(source: Rgb, row: _Span, column: _Span) -> Rgb:
    box = (column.box[0], row.box[0], column.box[1], row.box[1])
    image = Image.fromarray(np.ascontiguousarray(source))
    resized = image.resize(
        (column.count, row.count), Image.Resampling.BILINEAR, box=box
    )
    return np.asarray(resized)


__all__ = ["choose_level", "read_region", "region_shape"]
