"""Which images are slides: too large to be held whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.errors import MethodUnavailableError
from napari_wsol.inference.encode import geometry

if TYPE_CHECKING:
    from napari_wsol.images.slide import Slide
    from napari_wsol.methods import Model

LARGE_PIXELS = 12_000_000
"""Of the network's input: above, an image is read tile by tile and never held whole."""

BESIDE = 60
"""Bytes a pixel of the network's input beside the features: pixels, colour, a refit."""


def is_large(
    slide: Slide,
    model: Model,
    mpp: float | None = None,
    memory_bytes: int | None = None,
) -> bool:
    """Whether an image is read as a slide: tile by tile, with its maps on the disk.

    Args:
        slide: the image.
        model: that looks at it.
        mpp: µm a level-0 pixel, where the person knows better than the file.
        memory_bytes: what it may take in memory: its features as float32, its pixels,
            and a refit on both; no matter if None.
    """
    if model.in_one_piece:
        return False
    rows, columns = geometry(slide, model, mpp).shape
    pixels = rows * columns
    if memory_bytes is not None:
        taps = zip(model.encoder.channels, model.encoder.strides, strict=True)
        a_pixel = sum(4 * channels / stride**2 for channels, stride in taps)
        if pixels * (a_pixel + BESIDE) > memory_bytes:
            return True
    return pixels > LARGE_PIXELS


def check_slide_views(views: int) -> None:
    """Refuses to average over views of a slide: hours would become days.

    Raises:
        MethodUnavailableError: more than one is wanted; says what to do.
    """
    if views != 1:
        raise MethodUnavailableError(
            "Averaging over views is for images that are read at once, and this one is "
            "read tile by tile: choose one view, or crop the part that matters."
        )
