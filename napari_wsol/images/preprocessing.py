"""From an image's pixels to a network's input: part of the model, not of the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_wsol.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from napari_wsol.images.slide import Slide

Rgb = npt.NDArray[np.uint8]
FloatPixels = npt.NDArray[np.float32]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

LARGEST = 100_000_000
"""Pixels of the largest level that is read in one piece."""

FITS = ("stretch", "pad")
RESAMPLERS = ("pillow-linear", "opencv-linear", "opencv-cubic")


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
        pad: "mean", "zero", or a mode of ``numpy.pad``.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
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
        if self.fit not in FITS or self.resample not in RESAMPLERS:
            raise ConfigError(
                f"An image is fitted by one of {', '.join(FITS)} and resampled by one "
                f"of {', '.join(RESAMPLERS)}, not {self.fit} and {self.resample}."
            )
        if self.size is None and (self.equalize or self.blur):
            raise ConfigError(
                "Equalising and blurring need the whole image: give a size."
            )


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
    # Python's round() to even, as the authors' code rounds.
    fitted = [max(1, round(side * how.size / longer)) for side in shape]
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
    """(H, W) uint8 grey of (H, W, 3): ITU-R BT.601 luma; grey images stay as they are."""
    if np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(
        pixels[..., 1], pixels[..., 2]
    ):
        return pixels[..., 0]
    luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.rint(luma).astype(np.uint8)


def prepare(pixels: Rgb, how: Preprocessing) -> FloatPixels:
    """An image as the network's input.

    Args:
        pixels: (H, W, 3) uint8.
        how: with a size.

    Returns:
        (C, size, size) float32.
    """
    raise NotImplementedError
