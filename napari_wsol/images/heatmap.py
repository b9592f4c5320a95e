"""A heatmap: values on a coarse grid, and where that grid lies on the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatMap = npt.NDArray[np.float32]

CURRENCIES = ("value", "percentile", "area")
"""What a threshold may be given in: the map's own value, the percentile of its values,
or the share of the area (of tissue) that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap:
    """Where a method sees evidence for a class.

    Cell (i, j) is centred on level-0 pixel ``scale * (i, j) + translate``, where
    integers are pixel centres: a map downsampled by d has ``scale = d`` and
    ``translate = (d - 1) / 2``.

    Attributes:
        values: (h, w) float32 in [0, 1].
        scale: level-0 pixels a cell, (y, x).
        translate: level-0 position of the centre of cell (0, 0), (y, x).
        image_shape: (H, W) of level 0.
        method: name of the method.
        target: name of the class.
        is_probability: True where the values are probabilities; False where they are
            an unbounded score, min-max normalised over this image.
        raw_range: smallest and largest value before that normalisation.
        round: refinement round that made it; 0 is the model as it was loaded.
        notes: what a reader must know, a sentence each.
    """

    values: FloatMap
    scale: tuple[float, float]
    translate: tuple[float, float]
    image_shape: tuple[int, int]
    method: str
    target: str
    is_probability: bool
    raw_range: tuple[float, float] = (0.0, 1.0)
    round: int = 0
    notes: tuple[str, ...] = ()

    def resized(self, shape: tuple[int, int]) -> FloatMap:
        """The map on a grid of ``shape`` cells that covers the whole image.

        Bilinear; beyond the outermost cell centres the border value is kept. Exact at
        any downsampling because it samples in level-0 coordinates.

        Returns:
            (H, W) float32 in [0, 1].
        """
        return self.crop((0, 0), self.image_shape, shape)

    def crop(
        self,
        origin: tuple[float, float],
        size: tuple[float, float],
        shape: tuple[int, int],
    ) -> FloatMap:
        """The map on ``shape`` cells over a level-0 rectangle.

        Args:
            origin: upper left corner in level-0 pixels, (y, x), where pixel 0 covers
                [0, 1].
            size: height and width in level-0 pixels.
            shape: rows and columns of the result.

        Returns:
            (rows, columns) float32 in [0, 1].
        """
        result = np.asarray(self.values, np.float32)
        for axis in (0, 1):
            step = size[axis] / shape[axis]
            # Centre of output cell k in level-0 pixels, whose centres are integers.
            centres = np.arange(shape[axis], dtype=np.float64) + 0.5
            at = origin[axis] + centres * step - 0.5
            result = _interpolate(
                result, (at - self.translate[axis]) / self.scale[axis], axis
            )
        return np.clip(result, 0.0, 1.0)

    def at(self, y: float, x: float) -> float | None:
        """The value at a level-0 position, or None outside the image."""
        height, width = self.image_shape
        if not (-0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5):
            return None
        return float(self.crop((y, x), (1, 1), (1, 1))[0, 0])

    def rank(self, value: float) -> float:
        """Percentile of a value among this map's values, 0 to 100."""
        return float(100.0 * np.mean(self.values <= value))

    def threshold(
        self,
        amount: float,
        currency: str = "value",
        tissue: npt.NDArray[np.bool_] | None = None,
    ) -> float:
        """The value to cut at, so that methods can be compared at equal terms.

        Args:
            amount: in "value" a number in [0, 1]; in "percentile" 0 to 100; in "area"
                the percentage (0 to 100) of the area that stays above.
            currency: one of ``CURRENCIES``.
            tissue: (h, w) bool on this map's grid; percentiles and areas count there.

        Raises:
            ValueError: for an unknown currency.
        """
        if currency == "value":
            return float(min(max(amount, 0.0), 1.0))
        if currency not in CURRENCIES:
            raise ValueError(f"currency is one of {CURRENCIES}, not {currency!r}.")
        values = self.values if tissue is None else self.values[tissue]
        if values.size == 0:
            values = self.values
        percentile = amount if currency == "percentile" else 100.0 - amount
        return float(np.percentile(values, min(max(percentile, 0.0), 100.0)))


def mask_on_grid(
    mask: npt.NDArray[np.bool_], shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """A mask on another grid over the same image (nearest cell)."""
    if mask.shape == shape:
        return mask
    rows = (np.arange(shape[0]) + 0.5) * mask.shape[0] / shape[0]
    columns = (np.arange(shape[1]) + 0.5) * mask.shape[1] / shape[1]
    return mask[np.ix_(rows.astype(int), columns.astype(int))]


def _interpolate(values: FloatMap, at: npt.NDArray[np.float64], axis: int) -> FloatMap:
    """Linear interpolation along one axis at fractional indices, border kept."""
    last = values.shape[axis] - 1
    at = np.clip(at, 0, last)
    low = np.floor(at).astype(np.intp)
    high = np.minimum(low + 1, last)
    weight = (at - low).astype(np.float32)
    weight = weight[:, None] if axis == 0 else weight[None, :]
    lower, upper = values.take(low, axis), values.take(high, axis)
    return (lower + (upper - lower) * weight).astype(np.float32)
