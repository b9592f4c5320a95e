"""A heatmap: values on a coarse grid, and where that grid lies on the image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import numpy.typing as npt

FloatMap = npt.NDArray[np.float32]

CURRENCIES = ("value", "percentile", "area")
"""What a threshold may be given in: the map's own value, the percentile of its values,
or the share of the area (of tissue) that is kept."""

_FINER = 4
"""Cells along one of a map that is read anew; then what differs cannot be seen."""

_SAME = 1e-6
"""Of a cell: what is nearer than this is the same place."""


KEPT_CELLS = 16_000_000
"""Of a map that is kept beside those of the model in use: 64 MB."""

NOTHING = 1e-6
"""A map below this is 0: nobody sets a threshold there."""

MARKED = 0.5
"""Evidence or probability from which on a cell is marked."""


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
        signed: whether one half is 0: above it lies evidence for the class, below it
            evidence against it, and the largest of either sign is 1 or 0.
        raw_range: smallest and largest value before that normalisation.
        bias: of a map whose values add up to the verdict's log odds, the rest of them.
        round: refinement round that made it; 0 is the model as it was loaded.
        notes: what a reader must know, a sentence each.
        model: that made it, where that is not the one in use; empty of a map from
            elsewhere, too.
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
    model: str = ""
    signed: bool = False
    bias: float | None = None

    @property
    def evidence(self) -> npt.NDArray[np.float64]:
        """(h, w) of a signed map: its values as the method gave them, about 0."""
        return (2.0 * self.values.astype(np.float64) - 1) * largest(*self.raw_range)

    def cut(self, threshold: float) -> float:
        """The value from which on a map is marked; see :func:`cut_of`."""
        return cut_of(threshold, signed=self.signed)

    @overload
    def strength(self, values: float) -> float: ...
    @overload
    def strength(self, values: FloatMap) -> FloatMap: ...
    def strength(self, values: float | FloatMap) -> float | FloatMap:
        """Values as thresholds are given: of a signed map shares of the strongest."""
        return abs(2 * values - 1) if self.signed else values

    def words(self, value: float) -> str:
        """A value as people read it: “0.91”, or “+0.42” of the evidence itself."""
        if not self.signed:
            return f"{value:.2f}"
        evidence = (2 * value - 1) * largest(*self.raw_range)
        is_tiny = 0 < abs(evidence) < 0.01
        return f"{evidence:+.0e}" if is_tiny else f"{evidence:+.2f}"

    @property
    def key(self) -> str:
        """What it is called among the maps of its image: “cam”, or “cam · glas-b”."""
        return f"{self.method} · {self.model}" if self.model else self.method

    def coarser(self, most: int) -> Heatmap:
        """On no more than ``most`` cells, which a note says."""
        times = math.ceil(math.sqrt(self.values.size / most))
        if times <= 1:
            return self
        height, width = (-(-side // times) for side in self.cells_inside())
        notes = (*self.notes, f"It is kept on {height} × {width} cells.")
        return self._anew((height, width), notes)

    def _anew(self, shape: tuple[int, int], notes: tuple[str, ...]) -> Heatmap:
        """Read on ``shape`` cells that begin and end where the image does."""
        scale, at = covering(self.image_shape, shape)
        values = self.resized(shape)
        return replace(self, values=values, scale=scale, translate=at, notes=notes)

    def resized(self, shape: tuple[int, int]) -> FloatMap:
        """The map on a grid of ``shape`` cells that covers the whole image.

        Bilinear; beyond the outermost cell centres the border value is kept. Exact at
        any downsampling because it samples in level-0 coordinates.

        Returns:
            (H, W) float32 in [0, 1].
        """
        return self.crop((0, 0), self.image_shape, shape)

    def cells_inside(self) -> tuple[int, int]:
        """Rows and columns of cells of this size that cover the whole image."""
        height, width = (
            math.ceil(side / step - _SAME)
            for side, step in zip(self.image_shape, self.scale, strict=True)
        )
        return height, width

    def within_image(self, most: int = 0) -> Heatmap:
        """The same map on a grid that begins and ends exactly where the image does.

        The last cells of a map reach beyond an image whose sides are no multiples of
        them, and some networks give cells that begin inside it. Such a map is read
        anew, bilinear, along the axes where that is so; any other is returned as it is.

        Args:
            most: cells of the result; up to there it is made of finer ones, so that its
                values are those of this map almost everywhere.
        """
        inside = self.cells_inside()
        times = int(math.sqrt(most / max(1, math.prod(inside))))
        times = max(1, min(_FINER, times))
        shape = tuple(
            size if self._fits(axis) else times * inside[axis]
            for axis, size in enumerate(self.values.shape)
        )
        if shape == self.values.shape and self._fits(0) and self._fits(1):
            return self
        return self._anew((shape[0], shape[1]), self.notes)

    def _fits(self, axis: int) -> bool:
        """Whether the cells along an axis begin and end where the image does."""
        step, size = self.scale[axis], self.values.shape[axis]
        low = (self.translate[axis] + 0.5) / step - 0.5
        return max(abs(low), abs(self.image_shape[axis] / step - size)) < _SAME

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
            at = (at - self.translate[axis]) / self.scale[axis]
            result = interpolated(result, at, axis)
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
        """Where to cut, so that methods can be compared at equal terms.

        Args:
            amount: in "value" a number in [0, 1]; in "percentile" 0 to 100; in "area"
                the percentage (0 to 100) of the area that stays above; of a signed map
                what speaks for the class and against it together.
            currency: one of ``CURRENCIES``.
            tissue: (h, w) bool on this map's grid; percentiles and areas count there.

        Raises:
            ValueError: for an unknown currency.

        Returns:
            What :meth:`cut` takes.
        """
        if currency == "value":
            return float(min(max(amount, 0.0), 1.0))
        if currency not in CURRENCIES:
            raise ValueError(f"currency is one of {CURRENCIES}, not {currency!r}.")
        values = self.values if tissue is None else self.values[tissue]
        if values.size == 0:
            values = self.values
        percentile = amount if currency == "percentile" else 100.0 - amount
        strength = self.strength(values)
        return float(np.percentile(strength, min(max(percentile, 0.0), 100.0)))


def cut_of(threshold: float, *, signed: bool) -> float:
    """The value from which on a map is marked.

    On a signed map a threshold is a share of the strongest evidence: 0.5 marks what is
    at least half as strong, for the class at or above 0.75, against it at or below 1
    minus that. What is no evidence is marked by no threshold.
    """
    return 0.5 + max(threshold / 2, NOTHING) if signed else threshold


def largest(low: float, high: float) -> float:
    """The largest of either sign of a signed map, which becomes 1 or 0."""
    return max(-low, high, 0.0)


def on_scale(
    values: FloatMap,
    low: float,
    high: float,
    *,
    from_zero: bool = False,
    signed: bool = False,
) -> FloatMap:
    """A score's values brought to [0, 1]; where all are the same, nothing is marked.

    Args:
        values: any shape, between ``low`` and ``high``.
        low: the smallest; ``high`` the largest.
        high: see there.
        from_zero: divided by the largest, as 0 means nothing.
        signed: 0 becomes one half.
    """
    if signed:
        most = largest(low, high)
        return 0.5 + values / (2 * most) if most else np.full_like(values, 0.5)
    floor = 0.0 if from_zero else low
    return (values - floor) / (high - floor) if high > floor else values * 0


def mask_on_grid(
    mask: npt.NDArray[np.bool_], shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    """A mask on another grid over the same image (nearest cell)."""
    if mask.shape == shape:
        return mask
    rows = (np.arange(shape[0]) + 0.5) * mask.shape[0] / shape[0]
    columns = (np.arange(shape[1]) + 0.5) * mask.shape[1] / shape[1]
    return mask[np.ix_(rows.astype(int), columns.astype(int))]


def covering(
    image_shape: tuple[int, int], shape: tuple[int, int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Scale and translate (as of a :class:`Heatmap`) of a grid over a whole image."""
    height, width = (image_shape[axis] / shape[axis] for axis in (0, 1))
    return (height, width), ((height - 1) / 2, (width - 1) / 2)


def interpolated(values: FloatMap, at: npt.NDArray[np.float64], axis: int) -> FloatMap:
    """Linear interpolation along one axis at fractional indices, border kept.

    Args:
        values: (h, w) float32; NaN makes NaN of what lies beside it.
        at: (n,) places along the axis.
        axis: 0 or 1.

    Returns:
        (n, w) or (h, n) float32; ``values`` themselves where ``at`` are their indices.
    """
    last = values.shape[axis] - 1
    own = np.arange(last + 1, dtype=np.float64)
    if len(at) == last + 1 and np.allclose(at, own, rtol=0, atol=_SAME):
        return values
    at = np.clip(at, 0, last)
    low = np.floor(at).astype(np.intp)
    high = np.minimum(low + 1, last)
    weight = (at - low).astype(np.float32)
    weight = weight[:, None] if axis == 0 else weight[None, :]
    lower, upper = values.take(low, axis), values.take(high, axis)
    return (lower + (upper - lower) * weight).astype(np.float32)
