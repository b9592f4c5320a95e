"""The places where a slide's map is highest: a gallery, and a way to jump there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_wsol.errors import ConfigError
from napari_wsol.files import whole_folder
from napari_wsol.files.tables import write_table
from napari_wsol.images.heatmap import largest
from napari_wsol.images.resample import read_region

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide

Means = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]

_PARTS = 4
"""Windows begin at multiples of this part of their side."""
_BAND_CELLS = 1 << 22

COLUMNS = ("rank", "value", "y", "x", "height", "width", "file")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopTile:
    """One of the places where a map is highest.

    Positions are in level-0 pixels measured from the image's upper left corner, as
    those of :class:`~napari_wsol.export.regions.Region`.

    Attributes:
        rank: 1 is the highest.
        value: mean of the map over the window, in [0, 1]; of a signed map as its method
            gave it.
        y: upper border.
        x: left border.
        height: of the part that lies on the image.
        width: of the part that lies on the image.
    """

    rank: int
    value: float
    y: float
    x: float
    height: float
    width: float


def top_tiles(
    heatmap: Heatmap,
    count: int = 12,
    side: float | None = None,
    *,
    against: bool = False,
) -> list[TopTile]:
    """The windows with the highest mean, none of which overlap.

    The highest window is taken, all that overlap it are left out, and so on. Windows
    begin at multiples of a quarter of their side.

    Args:
        heatmap: of one method.
        count: how many at most; fewer where the map is 0 elsewhere.
        side: of a window in level-0 pixels, rounded to whole cells; one cell without,
            which is a tile of attention MIL.
        against: of a signed map, the windows with the lowest mean.

    Raises:
        ConfigError: a count or side that cannot be.
    """
    if count < 1 or (side is not None and side <= 0):
        raise ConfigError(f"There are no {count} tiles of {side} pixels to choose.")
    cells, step = _window(heatmap, side)
    rows, columns = (
        _starts(*sizes, step) for sizes in zip(heatmap.values.shape, cells, strict=True)
    )
    sign, values, unit = -1 if against else 1, heatmap.values, 1.0
    if heatmap.signed:  # about 0, so that only what has the sign counts
        values, unit = sign * (2 * values - 1), sign * largest(*heatmap.raw_range)
    means = _means(values, cells, rows, columns)
    found: list[TopTile] = []
    while len(found) < count:
        row, column = divmod(int(means.argmax()), len(columns))
        value = float(means[row, column])
        if value <= 0:
            break
        start = (int(rows[row]), int(columns[column]))
        found.append(_placed(heatmap, start, cells, len(found) + 1, value * unit))
        overlapping = np.ix_(
            np.abs(rows - start[0]) < cells[0], np.abs(columns - start[1]) < cells[1]
        )
        means[overlapping] = -1
    return found


def _window(heatmap: Heatmap, side: float | None) -> tuple[tuple[int, int], int]:
    """Rows and columns of cells of a window, and cells from one to the next."""
    wanted = 1 if side is None else max(1, round(side / max(heatmap.scale)))
    step = max(1, wanted // _PARTS)
    wanted = max(1, round(wanted / step)) * step
    rows, columns = (min(wanted, length) for length in heatmap.values.shape)
    return (rows, columns), step


def _starts(length: int, size: int, step: int) -> Places:
    """Where windows begin along an axis; the last one ends where the map ends."""
    return np.unique(np.append(np.arange(0, length - size, step), length - size))


def _means(
    values: Means, cells: tuple[int, int], rows: Places, columns: Places
) -> Means:
    """(rows, columns) mean of the windows that begin there."""
    if cells == (1, 1):
        return values.astype(np.float32)  # a copy
    result = np.empty((len(rows), len(columns)), np.float32)
    band = max(1, _BAND_CELLS // (values.shape[1] * cells[0]))  # windows at once
    for first in range(0, len(rows), band):
        tops = rows[first : first + band]
        part = values[tops[0] : tops[-1] + cells[0]]
        total = np.zeros((part.shape[0] + 1, part.shape[1] + 1))
        total[1:, 1:] = part.cumsum(0, dtype=np.float64).cumsum(1)
        top = tops - tops[0]
        sums = (
            total[np.ix_(top + cells[0], columns + cells[1])]
            - total[np.ix_(top, columns + cells[1])]
            - total[np.ix_(top + cells[0], columns)]
            + total[np.ix_(top, columns)]
        )
        result[first : first + len(tops)] = sums / (cells[0] * cells[1])
    result[result < 1e-6] = 0  # rounding must not make something of nothing
    return result


def _placed(
    heatmap: Heatmap,
    start: tuple[int, int],
    cells: tuple[int, int],
    rank: int,
    value: float,
) -> TopTile:
    spans: list[tuple[float, float]] = []
    for axis in (0, 1):
        scale, size = heatmap.scale[axis], heatmap.image_shape[axis]
        # Half a pixel more: the heatmap counts pixel centres, a window borders.
        first = heatmap.translate[axis] + 0.5 + scale * (start[axis] - 0.5)
        last = first + scale * cells[axis]
        first, last = (min(max(edge, 0.0), float(size)) for edge in (first, last))
        spans.append((first, last - first))
    (y, height), (x, width) = spans
    return TopTile(rank=rank, value=value, y=y, x=x, height=height, width=width)


def thumbnail(slide: Slide, tile: TopTile, side: int = 256) -> Rgb:
    """What is there: (side, side) pixels at most, (h, w, 3) uint8.

    Args:
        slide: the slide.
        tile: where.
        side: of the longer edge, in pixels.

    Raises:
        UnreadableImageError: the file is damaged there.
    """
    step = max(tile.height, tile.width, 1.0) / side
    rows, columns = (max(1, round(size / step)) for size in (tile.height, tile.width))
    return read_region(
        slide, round(tile.y / step), round(tile.x / step), rows, columns, step
    )


def write_top_tiles(
    folder: Path,
    slide: Slide,
    tiles: Sequence[TopTile],
    side: int = 256,
    *,
    check: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Writes pictures of places, and a table of them, into a folder of their own.

    Args:
        folder: must not exist; appears when it is complete.
        slide: what to show.
        tiles: from :func:`top_tiles`.
        side: of the pictures, in pixels.
        check: called once a picture; raises to stop.

    Returns:
        The pictures in order, then the table.

    Raises:
        UnreadableImageError: the file is damaged in one of the places.
    """
    names: list[str] = []
    with whole_folder(folder) as draft:
        for tile in tiles:
            check()
            names.append(f"{tile.rank:03d}.png")
            Image.fromarray(thumbnail(slide, tile, side)).save(draft / names[-1])
        write_table(draft / "tiles.csv", COLUMNS, map(_cells, tiles, names))
    return [folder / name for name in (*names, "tiles.csv")]


def _cells(tile: TopTile, name: str) -> tuple[object, ...]:
    place = (tile.y, tile.x, tile.height, tile.width)
    return tile.rank, f"{tile.value:.6g}", *(f"{v:.10g}" for v in place), name
