"""Where two canvases differ, as boxes of cells."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.strokes.stroke import Stroke

Box = tuple[int, int, int, int]
"""Top, left, bottom, right in canvas cells; the latter two exclusive."""

ROWS_AT_ONCE = 256


def united(first: Box | None, second: Box | None) -> Box | None:
    """The smallest box around two."""
    if first is None or second is None:
        return second if first is None else first
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def differing(data: np.ndarray, shown: np.ndarray) -> Box | None:
    """The box around all cells that differ."""
    box = None
    for top in range(0, len(data), ROWS_AT_ONCE):
        # In bands that fit the processor's cache: most are equal.
        new, old = data[top : top + ROWS_AT_ONCE], shown[top : top + ROWS_AT_ONCE]
        if np.array_equal(new, old):
            continue
        different = new != old
        rows = np.flatnonzero(different.any(axis=1))
        columns = np.flatnonzero(different.any(axis=0))
        band = (
            top + int(rows[0]),
            int(columns[0]),
            top + int(rows[-1]) + 1,
            int(columns[-1]) + 1,
        )
        box = united(box, band)
    return box


def changed_box(before: Sequence[Stroke], after: Sequence[Stroke]) -> Box | None:
    """Where the canvases of two lists of strokes can differ: top, left, bottom, right.

    None where they do not differ.
    """
    same = 0
    for old, new in zip(before, after, strict=False):
        if old is not new:
            break
        same += 1
    boxes = [stroke.box for stroke in (*before[same:], *after[same:])]
    if not boxes:
        return None
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    return min(tops), min(lefts), max(bottoms), max(rights)
