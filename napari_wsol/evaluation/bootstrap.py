"""Confidence intervals of a data set's figures: images drawn with replacement.

Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 1979;
percentile intervals. A draw is a weight for each image, how often it was drawn, so
that a statistic of thousands of draws is a product of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import ConfigError
from napari_wsol.evaluation.scores import check_same_length

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_wsol.evaluation.scores import FloatArray

_BLOCK = 1_000_000
"""Weights held at a time, so that memory stays the same for any number of images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its confidence interval.

    Attributes:
        value: of the data set as it is.
        low: lower end; None where there is no interval.
        high: upper end; None where there is no interval.
    """

    value: float
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> Estimate:
        """The same in another unit."""
        return Estimate(
            value=self.value * factor,
            low=None if self.low is None else self.low * factor,
            high=None if self.high is None else self.high * factor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """How intervals are made; the same settings give the same numbers.

    Attributes:
        samples: draws of the data set; 0 for no intervals.
        seed: of the draws.
        level: share of the draws that the interval holds.
    """

    samples: int = 1000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.samples < 0 or not 0 < self.level < 1:
            raise ConfigError(
                "A bootstrap needs 0 or more draws and a level between 0 and 1, not "
                f"{self.samples} and {self.level}."
            )

    def draws(self, images: int) -> Iterator[FloatArray]:
        """Blocks (b, images) of how often each image was drawn."""
        rng = np.random.default_rng(self.seed)
        share = np.full(images, 1 / images)
        block = max(1, _BLOCK // images)
        for start in range(0, self.samples, block):
            count = min(block, self.samples - start)
            yield rng.multinomial(images, share, size=count).astype(np.float64)

    def estimate(
        self, images: int, statistic: Callable[[FloatArray], FloatArray]
    ) -> Estimate:
        """A figure and its percentile interval.

        Args:
            images: how many there are.
            statistic: from weights (b, images) to (b,) values; NaN where a draw has
                none, for example because it holds no image with foreground.
        """
        value = float(statistic(np.ones((1, images)))[0])
        if images < 2 or self.samples == 0:
            return Estimate(value=value)
        values = np.concatenate([statistic(block) for block in self.draws(images)])
        values = values[np.isfinite(values)]
        if not len(values):
            return Estimate(value=value)
        rest = 50 * (1 - self.level)
        low, high = np.percentile(values, [rest, 100 - rest])
        return Estimate(value=value, low=float(low), high=float(high))


def macro_share(hits: FloatArray, counts: FloatArray, draw: Bootstrap) -> Estimate:
    """Mean over classes of hits per count, images drawn together.

    Args:
        hits: (N, K), for each image and class; (N, 1) for a plain mean.
        counts: (N, K) of what could have been hit; 0 where a class does not occur.
        draw: how intervals are made.
    """

    def statistic(weights: FloatArray) -> FloatArray:
        whole = weights @ counts
        shares = np.where(whole > 0, weights @ hits / np.maximum(whole, 1e-12), 0.0)
        classes = np.sum(whole > 0, axis=1)
        mean = shares.sum(axis=1) / np.maximum(classes, 1)
        return np.where(classes > 0, mean, np.nan)

    return draw.estimate(len(hits), statistic)


class ClassTally:
    """Numbers of heatmaps by image and class, for means over the classes."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str, tuple[float, ...]]] = []

    def add(self, image: int | None, name: str, *numbers: float) -> None:
        """Adds a heatmap of a class; without a number its image is one of its own."""
        self.rows.append((len(self.rows) if image is None else image, name, numbers))

    def means(self) -> dict[str, FloatArray]:
        """The mean of each number over the heatmaps of a class, by its name.

        Raises:
            ImageError: there was no heatmap.
        """
        check_same_length(heatmaps=self.rows)
        found: dict[str, list[tuple[float, ...]]] = {}
        for _, name, numbers in self.rows:
            found.setdefault(name, []).append(numbers)
        return {name: np.mean(np.array(found[name]), axis=0) for name in sorted(found)}

    def estimates(self, draw: Bootstrap) -> list[Estimate]:
        """The macro mean of each number, images drawn together.

        Raises:
            ImageError: there was no heatmap.
        """
        names = list(self.means())
        images = np.unique([row[0] for row in self.rows], return_inverse=True)[1]
        sums = np.zeros((1 + len(self.rows[0][2]), int(images.max()) + 1, len(names)))
        for image, (_, name, numbers) in zip(images, self.rows, strict=True):
            sums[:, image, names.index(name)] += (1, *numbers)
        return [macro_share(part, sums[0], draw) for part in sums[1:]]


def mean(values: list[float] | FloatArray, draw: Bootstrap) -> Estimate:
    """The mean over images and its interval."""
    column = np.asarray(values, np.float64)[:, None]
    return macro_share(column, np.ones_like(column), draw)
