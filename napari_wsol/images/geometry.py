"""Sizes of images and levels, and rectangles on their grids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_wsol.errors import ImageError

Rgb = npt.NDArray[np.uint8]
"""(height, width, 3) uint8, red green blue."""

_SMALLEST = 8
LONGEST_SIDE = 1 << 23
"""Of an image: eight million pixels of 0.1 µm are 84 cm."""


@dataclass(frozen=True, slots=True)
class Level:
    """Size of one resolution of a slide.

    Attributes:
        height: rows.
        width: columns.
        downsample: level-0 pixels a pixel of this level, (y, x).
    """

    height: int
    width: int
    downsample: tuple[float, float]


def check_size(shape: tuple[int, int], name: str) -> None:
    """Refuses images in which nothing can be localized.

    Raises:
        ImageError: empty, smaller than 8×8, or larger than any image is.
    """
    if max(shape) > LONGEST_SIDE:
        raise ImageError(
            f"“{name}” says that it has {shape[0]}×{shape[1]} pixels, more than any "
            "scanner makes: it is damaged. Copy or download it again."
        )
    if 0 in shape:
        raise ImageError(f"“{name}” is empty: choose an image that has pixels.")
    if min(shape) < _SMALLEST:
        raise ImageError(
            f"“{name}” has only {shape[0]}×{shape[1]} pixels: choose an image of at "
            f"least {_SMALLEST}×{_SMALLEST}."
        )


def region_shape(slide_shape: tuple[int, int], downsample: float) -> tuple[int, int]:
    """(height, width) of the grid of a slide downsampled by ``downsample``.

    Raises:
        ImageError: not a positive number.
    """
    if not (math.isfinite(downsample) and downsample > 0):
        raise ImageError(f"A downsampling of {downsample} is not possible: give > 0.")
    height, width = slide_shape
    return (max(1, round(height / downsample)), max(1, round(width / downsample)))


def build_levels(shapes: list[tuple[int, int]]) -> tuple[Level, ...]:
    """Levels of a pyramid from the (height, width) of each, largest first."""
    height, width = shapes[0]
    return tuple(Level(h, w, _downsample((height, width), (h, w))) for h, w in shapes)


def _downsample(full: tuple[int, int], shape: tuple[int, int]) -> tuple[float, float]:
    ratios = (full[0] / shape[0], full[1] / shape[1])
    # Levels are cut to whole pixels: 2967 rows halve to 1483, and yet the factor is 2.
    # The ratio of the sizes would let a map drift by a pixel across the slide.
    step = round(max(ratios))
    if all(abs(f / step - s) < 1 for f, s in zip(full, shape, strict=True)):
        return (float(step), float(step))
    return ratios


def paste(
    target: npt.NDArray[Any],
    origin: tuple[int, int],
    source: npt.NDArray[Any],
    at: tuple[int, int],
) -> None:
    """Copies what two rectangles of one grid share.

    Args:
        target: written in place.
        origin: (y, x) of the target's first pixel on the grid.
        source: pixels to copy.
        at: (y, x) of the source's first pixel on the grid.
    """
    spans: list[tuple[slice, slice]] = []
    for axis in (0, 1):
        start = max(origin[axis], at[axis])
        stop = min(origin[axis] + target.shape[axis], at[axis] + source.shape[axis])
        if stop <= start:
            return
        spans.append(
            (
                slice(start - origin[axis], stop - origin[axis]),
                slice(start - at[axis], stop - at[axis]),
            )
        )
    (target_y, source_y), (target_x, source_x) = spans
    target[target_y, target_x] = source[source_y, source_x]
