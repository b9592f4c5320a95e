"""Pixels that a viewer shows, and the file that they may be those of."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.arrays import ArraySlide, ArraySource
    from napari_wsol.images.readers.values import Pixels
    from napari_wsol.images.slide import Slide

_WHOLE_PIXELS = 32 << 20
"""Up to so many are all compared; of more, windows spread evenly."""

_BAND, _WINDOW, _GRID = 256, 256, 6

_DECODED_ALIKE = 2.0
"""Grey levels between two decoders of one JPEG, on average over a window."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """An image that somebody else has read from a file.

    Attributes:
        path: of the file.
        pixels: what was read, as ``open_slide`` takes arrays.
    """

    path: Path
    pixels: ArraySource


def shows(slide: Slide, seen: ArraySlide) -> bool:
    """Whether the pixels that are seen are those of a file.

    Values of 8 bits must be the same, others in the same order: how many of their bits
    count, the file may tell better. Arrays that are read where they are indexed may be
    decoded by another program, which rounds otherwise.

    Args:
        slide: the file.
        seen: the pixels.

    Raises:
        ImageError: either cannot be read.
    """
    if slide.shape != seen.shape:
        return False
    for y, x, height, width in _windows(slide.shape):
        read = slide.read(0, y, x, height, width)
        if seen.dtype != np.uint8:
            stored = seen.stored(slice(y, y + height), slice(x, x + width))
            same = _are_in_order(stored, read)
        elif seen.is_lazy:
            other = seen.read(0, y, x, height, width)
            apart = np.abs(np.subtract(read, other, dtype=np.int16)).mean()
            same = float(apart) <= _DECODED_ALIKE
        else:
            same = np.array_equal(read, seen.read(0, y, x, height, width))
        if not same:
            return False
    return True


def _windows(shape: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Top, left, height and width of the parts that are compared."""
    height, width = shape
    if height * width <= _WHOLE_PIXELS:
        for top in range(0, height, _BAND):
            yield top, 0, min(_BAND, height - top), width
        return
    high, wide = min(_WINDOW, height), min(_WINDOW, width)
    tops = np.linspace(0, height - high, _GRID).astype(int)
    lefts = np.linspace(0, width - wide, _GRID).astype(int)
    for top, left in product(tops, lefts):
        yield int(top), int(left), high, wide


def _are_in_order(stored: Pixels, read: Rgb) -> bool:
    """Whether a colour of 8 bits grows with the value, and with nothing else."""
    if stored.shape[2] not in (1, 3):
        return False
    for channel in range(stored.shape[2]):
        values, colours = stored[..., channel].ravel(), read[..., channel].ravel()
        order = np.argsort(values, kind="stable")
        steps, growth = np.diff(values[order]), np.diff(colours[order].astype(np.int16))
        if (growth < 0).any() or (growth[steps == 0] != 0).any():
            return False
    return True
