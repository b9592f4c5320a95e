"""Lines, polygons and changes as cells of a canvas, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import ndimage

from napari_wsol.errors import ImageError
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND, UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_wsol.strokes.canvas import Canvas, Scribbles
    from napari_wsol.strokes.stroke import Stroke, StrokeList, Tool

    Points = Sequence[tuple[float, float]] | npt.NDArray[np.float64]

MOST_PIECES = 200
"""More pieces than this are noise: they are taken as one."""

MOST_CELLS = 400_000_000
"""That a line may look at: a hand moves the brush by less than the canvas at a time."""

MOST_CROSSINGS = 8_000_000
"""Of an outline with rows of the canvas: a thousand times across the largest one."""

ONLY_THREE = (
    "Strokes hold 0 (nothing), 1 (background) and 2 (foreground) only. Choose one of "
    "the brushes of the dock."
)


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is said of a change of the canvas.

    Attributes:
        label: what was painted: 0 erased, 1 background, 2 foreground.
        tool: what with.
        path: points (y, x) in level-0 pixels.
        width: of the brush in level-0 pixels.
        seconds: how long it took.
    """

    label: int = 0
    tool: Tool = "edit"
    path: tuple[tuple[float, float], ...] = ()
    width: float = 0.0
    seconds: float = 0.0


def brushed(
    path: Points, width: float, canvas: Canvas
) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
    """Cells whose centres lie within half a width of a line; at least those under it.

    Args:
        path: points (y, x) in level-0 pixels; one is a dot.
        width: in level-0 pixels.
        canvas: the grid.

    Returns:
        (h, w) bool, and the canvas row and column of its first cell. It is cut to the
        canvas; (0, 0) in size where nothing of it lies there.

    Raises:
        ImageError: no points, one that is no number, or too long a line.
    """
    points = _on_canvas(path, canvas, least=1)
    radius = max(0.5, width / 2 / canvas.scale[0])
    mask, origin = _part(points, radius, canvas)
    if not mask.size:
        return mask, origin
    points = points - np.array(origin)
    starts, ends = (points[:-1], points[1:]) if len(points) > 1 else (points, points)
    lows = np.floor(np.minimum(starts, ends) - radius).clip(0, mask.shape)
    highs = (np.ceil(np.maximum(starts, ends) + radius) + 1).clip(lows, mask.shape)
    if np.prod(highs - lows, axis=1).sum() > MOST_CELLS:
        raise ImageError("The line is too long to be drawn: draw it in parts.")
    for start, end, low, high in zip(starts, ends, lows, highs, strict=True):
        rows = np.arange(int(low[0]), int(high[0]))
        columns = np.arange(int(low[1]), int(high[1]))
        if not (rows.size and columns.size):
            continue
        near = _distance(rows[:, None], columns[None], start, end) <= radius
        mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] |= near
    # A thin dot may lie more than half a cell from the centre of its own cell.
    under = np.floor(points + 0.5).astype(int)
    under = under[((under >= 0) & (under < mask.shape)).all(axis=1)]
    mask[under[:, 0], under[:, 1]] = True
    return mask, origin


def filled(
    corners: Points, canvas: Canvas
) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
    """Cells whose centres lie in a polygon (even-odd rule, its border included).

    Args:
        corners: (y, x) in level-0 pixels, in order.
        canvas: the grid.

    Returns:
        As for :func:`brushed`.

    Raises:
        ImageError: fewer than three corners, one that is no number, or a tangle.
    """
    points = _on_canvas(corners, canvas, least=3)
    mask, origin = _part(points, 0.0, canvas)
    if not mask.size:
        return mask, origin
    points = points - np.array(origin)
    # A row through a corner is counted from above, then from below: borders are in.
    inside = _between(points, mask.shape, above=True)
    inside |= _between(points, mask.shape, above=False)
    return inside, origin


def changed(
    strokes: StrokeList,
    part: npt.NDArray[np.bool_],
    origin: tuple[int, int],
    drawing: Drawing,
    labels: npt.NDArray[np.uint8] | None = None,
    *,
    keep: bool = False,
) -> Stroke | None:
    """The stroke that labels the cells of a mask, as ``Session.put`` does.

    Raises:
        ImageError: a label is none.
    """
    canvas = strokes.canvas
    top, left = max(0, origin[0]), max(0, origin[1])
    bottom = min(canvas.shape[0], origin[0] + part.shape[0])
    right = min(canvas.shape[1], origin[1] + part.shape[1])
    if bottom <= top or right <= left:
        return None
    place = (
        slice(top - origin[0], bottom - origin[0]),
        slice(left - origin[1], right - origin[1]),
    )
    inside, after = part[place], canvas[top:bottom, left:right].copy()
    if keep:
        inside = inside & (after == 0)
    after[inside] = drawing.label if labels is None else labels[place][inside]
    if after.max(initial=0) > FOREGROUND:
        raise ImageError(ONLY_THREE)
    return strokes.made(
        after,
        label=drawing.label,
        tool=drawing.tool,
        path=drawing.path,
        width=drawing.width,
        seconds=drawing.seconds,
        origin=(top, left),
    )


def _between(
    points: npt.NDArray[np.float64], shape: tuple[int, ...], *, above: bool
) -> npt.NDArray[np.bool_]:
    """Cells between the first and second, third and fourth … edge of each row.

    The time grows with the rows that edges cross, not with cells times corners. An edge
    begins with the row of its upper end (``above``), or ends with that of its lower.
    """
    begin, end = points, np.roll(points, -1, axis=0)
    low, high = np.minimum(begin, end)[:, 0], np.maximum(begin, end)[:, 0]
    if above:
        first, after = np.ceil(low), np.ceil(high)
    else:
        first, after = np.floor(low) + 1, np.floor(high) + 1
    first = first.clip(0, shape[0]).astype(np.intp)
    counts = (after.clip(0, shape[0]).astype(np.intp) - first).clip(0)
    if counts.sum() > MOST_CROSSINGS:
        raise ImageError("The outline crosses itself too often to be an area.")
    edge = np.repeat(np.arange(len(points)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    row = row + first[edge]
    (y, x), (to_y, to_x) = begin[edge].T, end[edge].T
    across = x + (row - y) / (to_y - y) * (to_x - x)
    order = np.lexsort((across, row))
    row, across = row[order][::2], across[order]
    left = np.ceil(across[::2]).clip(0, shape[1]).astype(np.intp)
    right = (np.floor(across[1::2]) + 1).clip(0, shape[1]).astype(np.intp)
    wide = right > left
    turns = np.zeros((shape[0], shape[1] + 1), np.int16)
    np.add.at(turns, (row[wide], left[wide]), 1)
    np.subtract.at(turns, (row[wide], right[wide]), 1)
    return np.cumsum(turns, axis=1, dtype=np.int16)[:, :-1] > 0


def _on_canvas(
    points: Points, canvas: Canvas, *, least: int
) -> npt.NDArray[np.float64]:
    found = np.asarray(points, np.float64)
    if found.ndim != 2 or found.shape[1] != 2 or len(found) < least:
        raise ImageError(
            f"A line needs at least {least} point{'s' if least > 1 else ''} (y, x)."
        )
    if not np.isfinite(found).all():
        raise ImageError("A point of the line is no number.")
    return (found - np.array(canvas.translate)) / np.array(canvas.scale)


def _part(
    points: npt.NDArray[np.float64], margin: float, canvas: Canvas
) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
    """An empty mask over the part of the canvas that the points can reach."""
    low = np.floor(points.min(0) - margin).astype(int)
    high = np.ceil(points.max(0) + margin).astype(int) + 1
    low = np.clip(low, 0, canvas.shape)
    high = np.clip(high, low, canvas.shape)
    shape = (int(high[0] - low[0]), int(high[1] - low[1]))
    return np.zeros(shape, bool), (int(low[0]), int(low[1]))


def _distance(
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """How far cells lie from a piece of a line."""
    along = end - start
    length = float(along @ along)
    y, x = rows - start[0], columns - start[1]
    if length == 0:
        return np.hypot(y, x)
    share = np.clip((y * along[0] + x * along[1]) / length, 0.0, 1.0)
    return np.hypot(y - share * along[0], x - share * along[1])


def pieces(
    before: Scribbles, after: Scribbles
) -> Iterator[tuple[int, npt.NDArray[np.bool_], tuple[int, int]]]:
    """Connected pieces that differ: new label, cells, and where they begin.

    What was erased is one piece, and so is what comes in very many: noise.
    """
    rows = np.flatnonzero((before != after).any(axis=1))
    if not len(rows):
        return
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    old, new = before[top:bottom], after[top:bottom]
    for label in (UNLABELLED, BACKGROUND, FOREGROUND):
        changed = (new == label) & (old != label)
        if not changed.any():
            continue
        count, numbered = 1, changed.astype(np.int32)
        if label != UNLABELLED:
            numbered, count = cast(
                "tuple[npt.NDArray[np.int32], int]",
                ndimage.label(changed, np.ones((3, 3), int)),
            )
        if count > MOST_PIECES:
            count, numbered = 1, changed.astype(np.int32)
        found = cast("list[tuple[slice, slice]]", ndimage.find_objects(numbered, count))
        for number, box in enumerate(found, 1):
            origin = (top + box[0].start, box[1].start)
            yield label, numbered[box] == number, origin
