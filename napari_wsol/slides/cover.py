"""Which parts of a slide lie on tissue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]


def covered(mask: Bools, row_edges: Floats, column_edges: Floats) -> Bools:
    """The cells of a lattice that hold an element of a mask, be it in part.

    Args:
        mask: (h, w).
        row_edges: (rows + 1,) borders of the lattice's rows, rising, in elements of the
            mask: element 0 is [0, 1].
        column_edges: (columns + 1,) likewise.

    Returns:
        (rows, columns).
    """
    top, bottom = _reach(row_edges, mask.shape[0])
    left, right = _reach(column_edges, mask.shape[1])
    part = mask[top[0] : bottom[-1], left[0] : right[-1]]
    # A table of sums: any rectangle costs four look-ups.
    total = np.zeros((part.shape[0] + 1, part.shape[1] + 1), np.int64)
    total[1:, 1:] = part.cumsum(0, dtype=np.int64).cumsum(1)
    bottom, right = bottom - top[0], right - left[0]
    top, left = top - top[0], left - left[0]
    counts = (
        total[np.ix_(bottom, right)]
        - total[np.ix_(top, right)]
        - total[np.ix_(bottom, left)]
        + total[np.ix_(top, left)]
    )
    return counts > 0


def _reach(edges: Floats, size: int) -> tuple[Places, Places]:
    """First and last-plus-one element under each row or column."""
    first = np.clip(np.floor(edges[:-1] + 1e-6), 0, size - 1).astype(np.intp)
    last = np.clip(np.ceil(edges[1:] - 1e-6), 1, size).astype(np.intp)
    return first, np.maximum(last, first + 1)
