"""From an image's pixels to a network's input: part of the model, not of the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_wsol.errors import ConfigError, ImageError
from napari_wsol.files.parsing import Finite
from napari_wsol.images.opencv_like import (
    equalize,
    gaussian_blur,
    resize_cubic,
    resize_linear,
)

if TYPE_CHECKING:
    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.slide import Slide

FloatPixels = npt.NDArray[np.float32]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

LARGEST = 100_000_000
"""Pixels of the largest level that is read in one piece."""

LARGEST_SIDE = 16_384
"""Of a network's input: its 800 MB of numbers are the most that one piece may take."""

FITS = ("stretch", "pad")
RESAMPLERS = ("pillow-linear", "opencv-linear", "opencv-cubic")
CONSTANT_PADS = ("mean", "zero")
NUMPY_PADS = (
    "edge",
    "linear_ramp",
    "maximum",
    "median",
    "minimum",
    "reflect",
    "symmetric",
    "wrap",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a model wants its input.

    Attributes:
        mean: subtracted, per channel, on the scale [0, 1].
        std: divided by, per channel.
        channels: 3 for RGB, 1 for grey.
        size: side of the square that every image is brought to; None for models that
            take any size, tile by tile.
        fit: "stretch" changes the aspect; "pad" keeps it, makes the longer side
            ``size`` and pads below and right.
        resample: whose interpolation: "pillow-linear" antialiases (PixelCAM),
            "opencv-linear" (PCAM) and "opencv-cubic" (PYLON) do not.
        grey: whether colour is dropped first (all channels become the grey value).
        equalize: whether the grey histogram is equalised first (PCAM).
        blur: side of the Gaussian kernel that the grey image is smoothed with; 0 none.
        pad: "mean", "zero", or a mode of ``numpy.pad`` that is not called "mean".
    """

    mean: tuple[Finite, ...] = IMAGENET_MEAN
    std: tuple[Finite, ...] = IMAGENET_STD
    channels: int = 3
    size: int | None = None
    fit: str = "stretch"
    resample: str = "pillow-linear"
    grey: bool = False
    equalize: bool = False
    blur: int = 0
    pad: str = "mean"

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ConfigError(f"A network reads 1 or 3 channels, not {self.channels}.")
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ConfigError("Mean and std have one value a channel.")
        if min(self.std) <= 0:
            raise ConfigError("A std is above 0: the input is divided by it.")
        if self.size is not None and not 1 <= self.size <= LARGEST_SIDE:
            raise ConfigError(
                f"An input has 1 to {LARGEST_SIDE} pixels a side, not {self.size}."
            )
        if self.fit not in FITS or self.resample not in RESAMPLERS:
            raise ConfigError(
                f"An image is fitted by one of {', '.join(FITS)} and resampled by one "
                f"of {', '.join(RESAMPLERS)}, not {self.fit} and {self.resample}."
            )
        if self.size is None and (self.equalize or self.blur):
            raise ConfigError(
                "Equalising and blurring need the whole image: give a size."
            )
        if (self.equalize or self.blur) and not self.is_grey:
            raise ConfigError("Equalising and blurring are for grey images: set grey.")
        if not 0 <= self.blur <= 99 or (self.blur and self.blur % 2 == 0):
            raise ConfigError(
                f"The blur's kernel has an odd number of pixels to 99, "
                f"not {self.blur}; 0 for none."
            )
        if self.pad not in CONSTANT_PADS + NUMPY_PADS:
            raise ConfigError(
                f"An image is padded by one of "
                f"{', '.join(CONSTANT_PADS + NUMPY_PADS)}, not {self.pad}."
            )

    @property
    def is_grey(self) -> bool:
        """Whether the network sees the grey value only."""
        return self.grey or self.channels == 1


def fitted_shape(shape: tuple[int, int], how: Preprocessing) -> tuple[int, int]:
    """Rows and columns that an image takes in a fixed input, without its padding.

    Args:
        shape: (H, W) of the image.
        how: with a size.

    Raises:
        ConfigError: it has no fixed size.
    """
    if how.size is None:
        raise ConfigError("This model takes images at any size.")
    if how.fit == "stretch":
        return how.size, how.size
    longer = max(shape)
    # Python's round() to even of a quotient by the ratio, as the authors' code has it:
    # side * size / longer would now and then round a tie the other way.
    fitted = [max(1, round(how.size / (longer / side))) for side in shape]
    return fitted[0], fitted[1]


def read_whole(slide: Slide, how: Preprocessing) -> Rgb:
    """(H, W, 3) uint8: the image at the level that a fixed input is made from.

    Level 0, unless that is larger than ``LARGEST`` pixels: then the coarsest level
    that is still twice as fine as the input.

    Raises:
        ImageError: even the coarsest level is too large.
    """
    least = 2 * (how.size or 0)
    for index, level in enumerate(slide.levels):
        if level.height * level.width <= LARGEST:
            return slide.read(index, 0, 0, level.height, level.width)
        coarser = slide.levels[index + 1 :]
        if not coarser or max(coarser[0].height, coarser[0].width) < least:
            break
    raise ImageError(
        f"{slide.name} is too large to be brought to {how.size} pixels in one piece, "
        "and it has no smaller level. Crop the part that you want to look at."
    )


def to_grey(pixels: Rgb) -> Rgb:
    """(H, W) uint8 grey of (H, W, 3): ITU-R BT.601 luma; grey stays as it is."""
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(
        pixels[..., 1], pixels[..., 2]
    ):
        return pixels[..., 0]
    luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma).astype(np.uint8)


def prepare(pixels: Rgb, how: Preprocessing) -> FloatPixels:
    """An image as the network's input.

    Grey, equalised, blurred, resized, padded, normalised: in this order, each step
    where it is asked for. All but the last are done on uint8, as the authors do.

    Args:
        pixels: (H, W, 3) uint8.
        how: with a size.

    Returns:
        (C, size, size) float32.

    Raises:
        ConfigError: it has no fixed size.
    """
    shape = fitted_shape((pixels.shape[0], pixels.shape[1]), how)
    if how.is_grey:
        pixels = to_grey(pixels)
        if how.equalize:
            pixels = equalize(pixels)
        if how.blur:
            pixels = gaussian_blur(pixels, how.blur)
        pixels = pixels[..., None]
    if pixels.shape[:2] != shape:
        pixels = _RESIZE[how.resample](pixels, shape)
    pixels = np.broadcast_to(pixels, (*shape, how.channels))
    pixels = _padded(pixels, how)
    # In grey levels, where the authors' means and deviations are round numbers.
    mean = np.array(how.mean) * 255.0
    std = np.array(how.std) * 255.0
    normalised = (pixels - mean) / std
    return np.ascontiguousarray(normalised.transpose(2, 0, 1), np.float32)


def _padded(pixels: Rgb, how: Preprocessing) -> Rgb:
    """Filled up below and right to a square."""
    side = how.size or 0
    margins = ((0, side - pixels.shape[0]), (0, side - pixels.shape[1]), (0, 0))
    if how.pad not in CONSTANT_PADS:
        return np.pad(pixels, margins, mode=cast("Any", how.pad))
    result = np.zeros((side, side, how.channels), np.uint8)
    if how.pad == "mean":
        # Whole grey levels, as in an 8-bit image; 128 / 255 may come back as 127.99….
        result[:] = np.floor(np.array(how.mean) * 255.0 + 1e-6).astype(np.uint8)
    result[: pixels.shape[0], : pixels.shape[1]] = pixels
    return result


def _resize_pillow(pixels: Rgb, shape: tuple[int, int]) -> Rgb:
    """Antialiased linear interpolation, (H, W, C) uint8."""
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(
            (shape[1], shape[0]), Image.Resampling.BILINEAR
        )
        for plane in np.moveaxis(pixels, -1, 0)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


_RESIZE = {
    "pillow-linear": _resize_pillow,
    "opencv-linear": resize_linear,
    "opencv-cubic": resize_cubic,
}
