"""Turns pixels of any kind into 8-bit RGB, and says in words how it was done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import ImageError
from napari_wsol.images.readers.values import ValueRange, value_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.values import Pixels


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


def _spread(pixels: Pixels) -> Pixels:
    """(h, w, 2) of grey and alpha as (h, w, 4)."""
    return pixels[..., [0, 0, 0, 1]]


def _grey_on_white(reading: PixelReading, pixels: Pixels) -> Rgb:
    return _on_white(reading, _spread(pixels))


def _premultiplied_grey(reading: PixelReading, pixels: Pixels) -> Rgb:
    return _premultiplied(reading, _spread(pixels))


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
    "grey with alpha": _grey_on_white,
    "premultiplied grey": _premultiplied_grey,
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
    "grey with alpha": "Y×X grey, transparent parts white",
    "premultiplied grey": "Y×X grey, transparent parts white",
    "ycbcr": "Y×X×YCbCr, converted to RGB",
    "cmyk": "Y×X×CMYK, converted to RGB without a colour profile",
    "indexed": "Y×X palette colours",
}
_ALPHA = {
    "rgba": 3,
    "premultiplied": 3,
    "grey with alpha": 1,
    "premultiplied grey": 1,
}
"""Which sample says how opaque a pixel is."""

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
    at = _ALPHA.get(colour)
    kept = 3 if at is None else at
    values = value_range((sample[..., :kept] for sample in samples), bits=bits)
    if at is None:
        return PixelReading(colour=colour, values=values)
    alpha = value_range((sample[..., at : at + 1] for sample in samples), bits=bits)
    return PixelReading(colour=colour, values=values, alpha=alpha)


def colour_of(shape: tuple[int, ...]) -> str:
    """The kind of colour of an array of shape (h, w) or (h, w, 1 | 3 | 4)."""
    channels = shape[2] if len(shape) == 3 else 1
    return {1: "grey", 3: "rgb", 4: "rgba"}[channels]


def to_rgb8(pixels: Pixels) -> Rgb:
    """An image in memory as 8-bit RGB.

    RGBA is laid on white, grey repeated; how values of more than 8 bits are converted,
    :func:`~napari_wsol.images.readers.values.value_range` tells.

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
