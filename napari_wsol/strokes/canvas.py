"""The grid that strokes are painted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_wsol.errors import ImageError

CANVAS_PIXELS = 16_000_000
"""A stroke must cost one frame however large the image is."""

Scribbles = npt.NDArray[np.uint8]
"""Strokes on a canvas: 0 unlabelled, 1 background, 2 foreground."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """The grid that strokes are painted on.

    Attributes:
        shape: rows and columns, at most ``CANVAS_PIXELS`` in all.
        scale: level-0 pixels a canvas pixel, (y, x).
        translate: level-0 position of the centre of canvas pixel (0, 0).
    """

    shape: tuple[int, int]
    scale: tuple[float, float]
    translate: tuple[float, float]

    @classmethod
    def over(cls, shape: tuple[int, int]) -> Canvas:
        """The finest canvas for an image: downsampled by a power of two if need be."""
        step = 1
        while -(-shape[0] // step) * -(-shape[1] // step) > CANVAS_PIXELS:
            step *= 2
        size = (-(-shape[0] // step), -(-shape[1] // step))
        return cls(size, (step, step), ((step - 1) / 2, (step - 1) / 2))

    def checked(
        self, labels: npt.NDArray[np.generic], image_shape: tuple[int, int]
    ) -> Scribbles:
        """A copy of strokes on this canvas, brought from level 0 if need be.

        Raises:
            ImageError: another size, or values other than 0, 1, 2.
        """
        if labels.shape not in (self.shape, image_shape):
            raise ImageError(
                f"The strokes are {labels.shape} but the image is {image_shape} and "
                f"its canvas {self.shape}; give one of these sizes."
            )
        if not _holds_labels(labels):
            raise ImageError(
                "Strokes hold 0 (unlabelled), 1 (background) and 2 (foreground) only, "
                "as whole numbers."
            )
        result = labels.astype(np.uint8)
        if result.shape != self.shape:
            return _shrink(result, int(self.scale[0]), self.shape)
        return result


def _holds_labels(labels: npt.NDArray[np.generic]) -> bool:
    """Whether all values are 0, 1 or 2: quickly, as it is asked at every stroke."""
    if not np.issubdtype(labels.dtype, np.integer):
        return False
    return labels.size == 0 or bool(labels.max() <= 2 and labels.min() >= 0)


def _shrink(labels: Scribbles, step: int, shape: tuple[int, int]) -> Scribbles:
    """Downsamples strokes so that a thin one does not vanish: any label beats none."""
    padded = np.zeros((shape[0] * step, shape[1] * step), np.uint8)
    padded[: labels.shape[0], : labels.shape[1]] = labels
    return padded.reshape(shape[0], step, shape[1], step).max(axis=(1, 3))
