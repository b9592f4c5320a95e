"""Turns pixels of any kind into 8-bit RGB, and says in words how it was done."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_wsol.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_wsol.images.geometry import Rgb

Pixels = npt.NDArray[np.generic]

_NOT_FINITE = (
    "The image has pixels that are not numbers (NaN or infinite): replace them first, "
    "for instance with numpy.nan_to_num(image)."
)
_DEPTHS = (10, 12, 14, 16)


@dataclass(frozen=True)
class ValueRange:
    """Which stored value becomes black and which becomes white.

    Attributes:
        low: value that becomes 0.
        high: value that becomes 255.
        note: how values are converted, as a part of a sentence; empty where as is.
    """

    low: float
    high: float
    note: str = ""

    @cached_property
    def _table(self) -> Rgb:
        values = np.arange(1 << 16, dtype=np.float64)
        return _scaled(values, self.low, self.high)

    def to_uint8(self, pixels: Pixels) -> Rgb:
        """Pixels of any shape and real dtype as uint8.

        Raises:
            ImageError: a value is NaN or infinite.
        """
        if pixels.dtype == np.uint8 and (self.low, self.high) == (0, 255):
            return pixels.astype(np.uint8, copy=False)
        if pixels.dtype == np.uint16:
            return self._table[pixels.astype(np.uint16, copy=False)]
        if pixels.dtype.kind == "f" and not np.isfinite(_real(pixels)).all():
            raise ImageError(_NOT_FINITE)
        # float32 holds integers to 2**24 only.
        wide = np.float64 if pixels.dtype.itemsize > 2 else np.float32
        return _scaled(pixels.astype(wide), self.low, self.high)


def _real(pixels: Pixels) -> npt.NDArray[np.float64]:
    return pixels.astype(np.float64, copy=False)


def _scaled(values: npt.NDArray[np.floating], low: float, high: float) -> Rgb:
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    scaled = (values - low) * (255.0 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def value_range(samples: Iterable[Pixels], *, bits: int | None = None) -> ValueRange:
    """Decides the conversion from pixels that stand for the whole image.

    Args:
        samples: arrays of one dtype; all of the image, or parts spread over it.
        bits: significant bits where the file tells.

    Raises:
        ImageError: a value is NaN or infinite, or values are not real numbers.
    """
    low, high = np.inf, -np.inf
    dtype = np.dtype(np.uint8)
    for sample in samples:
        dtype = sample.dtype
        if dtype.kind not in "buif":
            raise ImageError(
                f"Pixels of type {dtype} cannot be shown as an image: "
                "convert them to integers or real numbers first."
            )
        if dtype in (np.dtype(np.uint8), np.dtype(np.bool_)):
            break
        if sample.size:
            bottom, top = _extent(sample)
            low, high = min(low, bottom), max(high, top)
    if dtype == np.uint8:
        top = 255 if bits is None else (1 << bits) - 1
        return ValueRange(0, top, "" if top == 255 else f"taken as {bits}-bit")
    if dtype == np.bool_:
        return ValueRange(0, 1, "true is white")
    return _range(dtype, low, high, bits)


def _extent(sample: Pixels) -> tuple[float, float]:
    """Smallest and largest value; a NaN anywhere shows in both."""
    bottom, top = float(np.min(sample)), float(np.max(sample))
    if not (math.isfinite(bottom) and math.isfinite(top)):
        raise ImageError(_NOT_FINITE)
    return bottom, top


def _range(
    dtype: np.dtype[np.generic], low: float, high: float, bits: int | None
) -> ValueRange:
    is_real = dtype.kind == "f"
    if low >= 0 and is_real and high <= 1:
        return ValueRange(0, 1, f"{dtype} multiplied by 255")
    if low >= 0 and not is_real and bits is not None:
        return ValueRange(0, (1 << bits) - 1, f"{dtype} taken as {bits}-bit")
    if low >= 0 and high <= 255:
        return ValueRange(0, 255, f"{dtype} values kept as they are")
    for depth in () if is_real else _DEPTHS:
        if low >= 0 and high < 1 << depth:
            how = "divided by 257" if depth == 16 else f"taken as {depth}-bit"
            return ValueRange(0, (1 << depth) - 1, f"{dtype} {how}")
    return ValueRange(
        low, high, f"{dtype} stretched from {low:.6g} (black) to {high:.6g} (white)"
    )


@dataclass(frozen=True, kw_only=True)
class PixelReading:
    """How the stored samples of an image become RGB; the same for all its tiles.

    Attributes:
        colour: one of ``COLOURS``.
        values: conversion of grey or colour samples.
        alpha: conversion of the alpha sample, where there is one.
        palette: (n, 3) uint8 colours of an indexed image.
    """

    colour: str
    values: ValueRange
    alpha: ValueRange = field(default=ValueRange(0, 255))
    palette: Rgb | None = None

    def to_rgb8(self, pixels: Pixels) -> Rgb:
        """(h, w, samples) of the stored dtype as (h, w, 3) uint8 RGB.

        Raises:
            ImageError: a value is NaN or infinite.
        """
        return _CONVERSIONS[self.colour](self, pixels)

    @property
    def note(self) -> str:
        """One sentence for the user."""
        how = f", {self.values.note}" if self.values.note else ""
        return f"Read as {_WORDS[self.colour]}{how}."


def _grey(reading: PixelReading, pixels: Pixels) -> Rgb:
    grey = reading.values.to_uint8(pixels[..., :1])
    return np.repeat(grey, 3, axis=2)


def _inverted(reading: PixelReading, pixels: Pixels) -> Rgb:
    return np.uint8(255) - _grey(reading, pixels)


def _rgb(reading: PixelReading, pixels: Pixels) -> Rgb:
    return reading.values.to_uint8(pixels[..., :3])


def _on_white(reading: PixelReading, pixels: Pixels) -> Rgb:
    colour = _rgb(reading, pixels).astype(np.uint16)
    alpha = reading.alpha.to_uint8(pixels[..., 3:4]).astype(np.uint16)
    return ((colour * alpha + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)


def _premultiplied(reading: PixelReading, pixels: Pixels) -> Rgb:
    colour = _rgb(reading, pixels).astype(np.uint16)
    alpha = reading.alpha.to_uint8(pixels[..., 3:4]).astype(np.uint16)
    return np.minimum(colour + (255 - alpha), 255).astype(np.uint8)


def _ycbcr(reading: PixelReading, pixels: Pixels) -> Rgb:
    stored = reading.values.to_uint8(pixels[..., :3]).astype(np.float32)
    luma, blue, red = stored[..., 0], stored[..., 1] - 128, stored[..., 2] - 128
    channels = (
        luma + 1.402 * red,
        luma - 0.344136 * blue - 0.714136 * red,
        luma + 1.772 * blue,
    )
    return np.rint(np.clip(np.stack(channels, axis=-1), 0, 255)).astype(np.uint8)


def _cmyk(reading: PixelReading, pixels: Pixels) -> Rgb:
    # Ink on white paper, without a profile: what viewers show.
    light = 255 - reading.values.to_uint8(pixels[..., :4]).astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)


def _indexed(reading: PixelReading, pixels: Pixels) -> Rgb:
    if reading.palette is None:
        raise ImageError("The image has colour indices and no palette: save it as RGB.")
    index = pixels[..., 0].astype(np.intp)
    return reading.palette[np.clip(index, 0, len(reading.palette) - 1)]


_CONVERSIONS: dict[str, Callable[[PixelReading, Pixels], Rgb]] = {
    "grey": _grey,
    "inverted": _inverted,
    "rgb": _rgb,
    "rgba": _on_white,
    "premultiplied": _premultiplied,
    "ycbcr": _ycbcr,
    "cmyk": _cmyk,
    "indexed": _indexed,
}
_WORDS = {
    "grey": "Y×X grey",
    "inverted": "Y×X grey where 0 is white",
    "rgb": "Y×X×RGB",
    "rgba": "Y×X×RGBA, transparent parts white",
    "premultiplied": "Y×X×RGBA, transparent parts white",
    "ycbcr": "Y×X×YCbCr, converted to RGB",
    "cmyk": "Y×X×CMYK, converted to RGB without a colour profile",
    "indexed": "Y×X palette colours",
}
COLOURS = tuple(_CONVERSIONS)
"""Kinds of colour that a :class:`PixelReading` converts."""


def plan_reading(
    samples: list[Pixels],
    colour: str,
    *,
    bits: int | None = None,
    palette: Rgb | None = None,
) -> PixelReading:
    """Decides how to read an image from parts of it.

    Args:
        samples: (h, w, channels) arrays of the stored dtype.
        colour: one of ``COLOURS``.
        bits: significant bits where the file tells.
        palette: (n, 3) uint8 colours of an indexed image.

    Raises:
        ImageError: a value is NaN or infinite.
    """
    if colour == "indexed":
        return PixelReading(colour=colour, values=ValueRange(0, 255), palette=palette)
    values = value_range((sample[..., :3] for sample in samples), bits=bits)
    if colour not in ("rgba", "premultiplied"):
        return PixelReading(colour=colour, values=values)
    alpha = value_range((sample[..., 3:4] for sample in samples), bits=bits)
    return PixelReading(colour=colour, values=values, alpha=alpha)


def colour_of(shape: tuple[int, ...]) -> str:
    """The kind of colour of an array of shape (h, w) or (h, w, 1 | 3 | 4)."""
    channels = shape[2] if len(shape) == 3 else 1
    return {1: "grey", 3: "rgb", 4: "rgba"}[channels]


def to_rgb8(pixels: Pixels) -> Rgb:
    """An image in memory as 8-bit RGB.

    RGBA is laid on white, grey repeated. uint16 up to 255 is kept, and else divided by
    the 10, 12, 14 or 16 bits that hold its maximum; real numbers up to 1 are multiplied
    by 255, up to 255 kept, and else stretched from minimum to maximum.

    Args:
        pixels: (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) of any real dtype.

    Returns:
        (h, w, 3) uint8.

    Raises:
        ImageError: not such a shape, or a value is NaN or infinite.
    """
    if pixels.ndim not in (2, 3) or (
        pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)
    ):
        raise ImageError(
            f"An array of shape {pixels.shape} is not an image: give (height, width), "
            "(height, width, 3) or (height, width, 4)."
        )
    cube = pixels[..., None] if pixels.ndim == 2 else pixels
    return plan_reading([cube], colour_of(pixels.shape)).to_rgb8(cube)
