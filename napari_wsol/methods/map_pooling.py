"""From the class maps of a slide to its logits, piece by piece.

The poolings of the heads whose image logits follow from the logits of the cells alone.
A slide has too many cells to hold at once: they come tile by tile, in any order, and
what is kept of them does not grow with their number. Sums are float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor


class MapPooling(ABC):
    """Image logits from the class maps of any number of cells.

    Attributes:
        count: cells of a pass.
        passes_left: how often all cells must still be given.
    """

    def __init__(self, passes: int = 1) -> None:
        self.count = 0
        self.passes_left = passes

    def add(self, maps: Tensor) -> None:
        """Takes some cells.

        Args:
            maps: (K, n) class maps of n ≥ 1 cells.
        """
        self.count += maps.shape[1]
        self._take(maps.detach().cpu())

    def end_pass(self) -> None:
        """All cells were given; the next pass, if any, begins."""
        self.passes_left -= 1
        if self.passes_left:
            self._turn()
            self.count = 0

    @abstractmethod
    def logits(self) -> Tensor:
        """(K,) float64, once all passes are over and there was a cell at least."""

    @abstractmethod
    def _take(self, maps: Tensor) -> None:
        """Takes (K, n) on the CPU."""

    def _turn(self) -> None:  # noqa: B027 - most have one pass only
        """Between two passes."""


def pool_pieces(
    pooling: MapPooling, pieces: Callable[[], Iterable[Tensor]]
) -> Tensor | None:
    """(K,) float64 logits of all cells; None where there are none.

    Args:
        pooling: a new one.
        pieces: gives all cells, (K, n) at a time, whenever it is called.
    """
    while pooling.passes_left:
        for maps in pieces():
            pooling.add(maps)
        pooling.end_pass()
    return pooling.logits() if pooling.count else None


class MeanPooling(MapPooling):
    """The mean of each map, times a factor, plus a bias.

    Args:
        bias: (K,); none by default.
        factor: what the maps were divided by.
    """

    def __init__(self, bias: Tensor | None = None, factor: float = 1.0) -> None:
        super().__init__()
        self._bias, self._factor = bias, factor
        self._total = torch.zeros((), dtype=torch.float64)

    def _take(self, maps: Tensor) -> None:
        self._total = self._total + maps.sum(1, dtype=torch.float64)

    @override
    def logits(self) -> Tensor:
        mean = self._total / self.count * self._factor
        return mean if self._bias is None else mean + self._bias.detach().cpu().double()


class MaximumPooling(MapPooling):
    """The maximum of each map."""

    def __init__(self) -> None:
        super().__init__()
        self._highest = torch.tensor(-torch.inf, dtype=torch.float64)

    def _take(self, maps: Tensor) -> None:
        self._highest = torch.maximum(self._highest, maps.amax(1).double())

    @override
    def logits(self) -> Tensor:
        return self._highest


class LogMeanExpPooling(MapPooling):
    """log(mean exp(r · s)) / r, which no large value overflows.

    Args:
        sharpness: r, a number or (K,).
    """

    def __init__(self, sharpness: float | Tensor) -> None:
        super().__init__()
        self._r = torch.as_tensor(sharpness, dtype=torch.float64).detach().cpu()
        self._highest = torch.tensor(-torch.inf, dtype=torch.float64)
        self._total = torch.zeros((), dtype=torch.float64)

    def _take(self, maps: Tensor) -> None:
        scaled = maps.double() * self._r.reshape(-1, 1)
        highest = torch.maximum(self._highest, scaled.amax(1))
        self._total = self._total * (self._highest - highest).exp()
        self._total = self._total + (scaled - highest[:, None]).exp().sum(1)
        self._highest = highest

    @override
    def logits(self) -> Tensor:
        return (self._highest + (self._total / self.count).log()) / self._r


class ProbabilityPooling(MapPooling):
    """Σ σ(s)·s / Σ σ(s): PCAM's equations 3 to 5 without the features.

    The weights are kept relative to the largest so far, so that the quotient is right
    where every probability is too small for a number.
    """

    def __init__(self) -> None:
        super().__init__()
        self._largest = torch.tensor(-torch.inf, dtype=torch.float64)
        self._shares = torch.zeros((), dtype=torch.float64)
        self._total = torch.zeros((), dtype=torch.float64)

    def _take(self, maps: Tensor) -> None:
        values = maps.double()
        weights = torch.nn.functional.logsigmoid(values)
        largest = torch.maximum(self._largest, weights.amax(1))
        before = (self._largest - largest).exp()
        shares = (weights - largest[:, None]).exp()
        self._shares = self._shares * before + shares.sum(1)
        self._total = self._total * before + (shares * values).sum(1)
        self._largest = largest

    @override
    def logits(self) -> Tensor:
        return self._total / self._shares
