"""Insertion and deletion: whether a map shows what the model looks at. No mask needed.

Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models",
BMVC 2018 (arXiv 1806.07421), section 4.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_wsol.errors import ConfigError, ImageError

Pixels = npt.NDArray[np.float32]
Probability = Callable[[Pixels], npt.ArrayLike]
"""From (n, C, H, W) inputs to (n,) probabilities of the class that the map is of."""

FILLS = ("zero", "mean")

BLUR_SIGMA, BLUR_RADIUS = 5.0, 5
"""The published kernel: 11 pixels wide, a standard deviation of 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faithfulness:
    """What the probability does as pixels come and go, the strongest first.

    Attributes:
        insertion: area under ``inserted``, 0 to 1; high is good.
        deletion: area under ``deleted``, 0 to 1; low is good.
        inserted: (steps + 1,) from the blurred input to the whole one.
        deleted: (steps + 1,) from the whole input to the empty one.
    """

    insertion: float
    deletion: float
    inserted: npt.NDArray[np.float64]
    deleted: npt.NDArray[np.float64]


def insertion_deletion(
    probability: Probability,
    pixels: Pixels,
    heatmap: npt.NDArray[np.floating],
    *,
    steps: int = 224,
    fill: str = "zero",
    batch: int = 16,
) -> Faithfulness:
    """Insertion and deletion curves of one map.

    Args:
        probability: of the class; called with at most ``batch`` inputs.
        pixels: (C, H, W) the network's input.
        heatmap: (H, W) on the same grid; only its order counts, and of equal values
            the first in reading order goes first.
        steps: parts that the pixels are divided into; published with 224.
        fill: what replaces deleted pixels: "zero", which of a normalised input is the
            mean colour of the training images (as published), or "mean", this image's.
        batch: inputs at a time.

    Raises:
        ImageError: pixels and heatmap do not fit.
        ConfigError: ``steps``, ``fill`` or ``batch`` cannot be.
    """
    if heatmap.ndim != 2 or pixels.ndim != 3 or pixels.shape[1:] != heatmap.shape:
        raise ImageError(
            f"The input has the shape {pixels.shape} and the map {heatmap.shape}. Pass "
            "(C, H, W) pixels and an (H, W) map on the same grid."
        )
    if not 1 <= steps <= heatmap.size or fill not in FILLS or batch < 1:
        raise ConfigError(
            f"Pixels go in 1 to {heatmap.size} steps, replaced by one of "
            f"{', '.join(FILLS)}, in batches of 1 or more, not in {steps} steps, by "
            f"{fill}, in batches of {batch}."
        )
    blurred = np.empty_like(pixels)
    ndimage.gaussian_filter(
        pixels,
        (0.0, BLUR_SIGMA, BLUR_SIGMA),
        output=blurred,
        mode="nearest",
        radius=(0, BLUR_RADIUS, BLUR_RADIUS),
    )
    empty = np.zeros_like(pixels)
    if fill == "mean":
        empty += pixels.mean(axis=(1, 2), keepdims=True)
    # The step at which each pixel goes, from 0.
    order = np.argsort(-heatmap, axis=None, kind="stable")
    turns = np.empty(heatmap.shape, np.int64)
    turns.flat[order] = np.arange(heatmap.size) * steps // heatmap.size
    inserted = _curve(probability, (blurred, pixels), turns, steps, batch)
    deleted = _curve(probability, (pixels, empty), turns, steps, batch)
    return Faithfulness(
        insertion=_area(inserted),
        deletion=_area(deleted),
        inserted=inserted,
        deleted=deleted,
    )


def _curve(
    probability: Probability,
    between: tuple[Pixels, Pixels],
    turns: npt.NDArray[np.int64],
    steps: int,
    batch: int,
) -> npt.NDArray[np.float64]:
    """(steps + 1,) probabilities while pixels go over from one image to the other."""
    before, after = between
    values: list[npt.NDArray[np.float64]] = []
    for start in range(0, steps + 1, batch):
        done = range(start, min(start + batch, steps + 1))
        stack = [np.where(turns < step, after, before) for step in done]
        found = np.asarray(probability(np.stack(stack)), np.float64).reshape(-1)
        if len(found) != len(stack) or not np.isfinite(found).all():
            raise ImageError(
                f"The model gave {len(found)} probabilities for {len(stack)} inputs, "
                "or some are not numbers. Pass a function from (n, C, H, W) to (n,)."
            )
        values.append(found)
    return np.concatenate(values)


def _area(curve: npt.NDArray[np.float64]) -> float:
    """By trapezia, over a unit length."""
    return float(np.mean((curve[1:] + curve[:-1]) / 2))
