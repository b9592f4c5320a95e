"""Grey-level operations that give what OpenCV gives, bit for bit, on 8-bit images.

Networks for chest X-rays were trained on images that OpenCV prepared. It works mostly
in fixed point on 8-bit images, so another library's blur or resize differs by a grey
level here and there. These are its rules in numpy, checked against OpenCV 4.5 and 5.0
on x86-64: equal everywhere, but for cubic resizing, where about one pixel in 10⁵ lies
so close to half a grey level that the order of a sum decides.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Pixels = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]
Tap = tuple[npt.NDArray[np.intp], Numbers]

_LINEAR_BITS = 11
"""Fractional bits of the weights of the linear resize."""

_CUBIC_A = -0.75
"""The free parameter of the cubic kernel (Keys 1981), as OpenCV sets it."""

_BLUR_BITS = 8
"""Fractional bits of the weights of the Gaussian kernel."""

_SMALL_KERNELS = {
    1: (256,),
    3: (64, 128, 64),
    5: (16, 64, 96, 64, 16),
    7: (8, 28, 56, 72, 56, 28, 8),
    9: (4, 13, 30, 51, 60, 51, 30, 13, 4),
}
"""Kernels without a given sigma that are tabled, in 1/256."""

_BAND = 1024
"""Rows that are blurred at once, so that a large image needs little memory."""


def equalize(grey: Pixels) -> Pixels:
    """Spreads the grey levels so that their cumulative histogram becomes a ramp.

    Args:
        grey: (H, W) uint8.

    Returns:
        (H, W) uint8; an image of one single value stays as it is.
    """
    counts = np.bincount(grey.ravel(), minlength=256)
    darkest = int(np.argmax(counts > 0))
    above = int(grey.size - counts[darkest])
    if above == 0:
        return grey
    counts[darkest] = 0
    scale = np.float32(255) / np.float32(above)
    levels = np.rint(np.cumsum(counts).astype(np.float32) * scale)
    return levels.clip(0, 255).astype(np.uint8)[grey]


def gaussian_kernel(side: int) -> tuple[int, ...]:
    """Weights of a Gaussian of ``side`` pixels in 1/256; their sum is exactly 256.

    Sigma is 0.3 · ((side - 1) / 2 - 1) + 0.8, as OpenCV takes it where none is given.
    What rounding takes from one weight it adds to the next, and the middle one gets
    the rest.

    Args:
        side: odd.
    """
    if side in _SMALL_KERNELS:
        return _SMALL_KERNELS[side]
    sigma = 0.15 * side + 0.35
    half = side // 2
    values = [math.exp(-0.5 * ((i - half) / sigma) ** 2) for i in range(side)]
    total, error = sum(values), 0.0
    weights: list[int] = []
    for value in values[:half]:
        exact = value / total * (1 << _BLUR_BITS) + error
        weights.append(round(exact))
        error = exact - weights[-1]
    middle = (1 << _BLUR_BITS) - 2 * sum(weights)
    return (*weights, middle, *reversed(weights))


def gaussian_blur(grey: Pixels, side: int) -> Pixels:
    """Smooths with a Gaussian; beyond the border the image is mirrored.

    Args:
        grey: (H, W) uint8.
        side: of the kernel, odd.

    Returns:
        (H, W) uint8.
    """
    weights, reach = gaussian_kernel(side), side // 2
    padded = np.pad(grey, reach, mode="reflect")
    result = np.empty_like(grey)
    height, width = grey.shape
    for top in range(0, height, _BAND):
        bottom = min(top + _BAND, height)
        rows = padded[top : bottom + 2 * reach].astype(np.int32)
        across = _total(w * rows[:, i : i + width] for i, w in enumerate(weights))
        down = _total(w * across[i : i + bottom - top] for i, w in enumerate(weights))
        half = 1 << (2 * _BLUR_BITS - 1)
        result[top:bottom] = (down + half) >> (2 * _BLUR_BITS)
    return result


def resize_linear(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """INTER_LINEAR: resizes without antialiasing.

    Args:
        pixels: (H, W) or (H, W, C) uint8.
        shape: rows and columns wanted.

    Returns:
        ``shape`` (and C) uint8.
    """
    height, width = pixels.shape[:2]
    if (height, width) == (2 * shape[0], 2 * shape[1]):
        return _halve(pixels)
    columns = _linear_axis(width, shape[1], pixels.ndim - 2)
    rows = _linear_axis(height, shape[0], pixels.ndim - 1)
    across = _total(pixels[:, source] * weight for source, weight in columns)
    # It drops 4 bits before the product and 16 after, to stay within 16-bit lanes.
    down = _total((weight * (across[source] >> 4)) >> 16 for source, weight in rows)
    return ((down + 2) >> 2).astype(np.uint8)


def _halve(pixels: Pixels) -> Pixels:
    """Half the size exactly: there it takes the mean of 2 × 2 pixels."""
    wide = pixels.astype(np.uint16)
    rows = wide[::2] + wide[1::2]
    return ((rows[:, ::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)


def _linear_axis(length: int, wanted: int, trailing: int) -> list[Tap]:
    """(index, weight in 1/2048) of the pixels before and after each position.

    The weights have ``trailing`` more axes of length 1.
    """
    scale = 1.0 / (wanted / length)
    at = ((np.arange(wanted) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(at)
    one = 1 << _LINEAR_BITS
    after = np.rint((at - first) * np.float32(one)).astype(np.int32)
    return _taps(first, (one - after, after), 0, length, trailing)


def resize_cubic(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """INTER_CUBIC: resizes without antialiasing, by Keys' kernel of four pixels.

    On x86-64 this is the one operation that OpenCV computes in floating point (by IPP).

    Args:
        pixels: (H, W) or (H, W, C) uint8.
        shape: rows and columns wanted.

    Returns:
        ``shape`` (and C) uint8.
    """
    trailing = pixels.ndim - 2
    columns = _cubic_axis(pixels.shape[1], shape[1], trailing)
    rows = _cubic_axis(pixels.shape[0], shape[0], trailing + 1)
    across = _total(pixels[:, source] * weight for source, weight in columns)
    values = _total(across[source] * weight for source, weight in rows)
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _cubic_axis(length: int, wanted: int, trailing: int) -> list[Tap]:
    """(index, weight) of each of the four pixels about each position."""
    at = (np.arange(wanted) + 0.5) * (length / wanted) - 0.5
    first = np.floor(at)
    x, a = at - first, _CUBIC_A
    y = 1 - x
    far = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    after = ((a + 2) * y - (a + 3)) * y * y + 1
    weights = (far, near, after, 1 - far - near - after)
    return _taps(first, weights, -1, length, trailing)


def _taps(
    first: npt.NDArray[np.floating],
    weights: Sequence[Numbers],
    start: int,
    length: int,
    trailing: int,
) -> list[Tap]:
    """Each weight with its pixel; beyond the border the border pixel is repeated."""
    return [
        (
            (first.astype(np.intp) + step).clip(0, length - 1),
            weight.reshape(-1, *[1] * trailing),
        )
        for step, weight in enumerate(weights, start=start)
    ]


def _total(terms: Iterable[Numbers]) -> Numbers:
    return reduce(np.add, terms)
