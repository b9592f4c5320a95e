"""From the class maps of a slide to its logits, piece by piece.

The poolings of the heads whose image logits follow from the logits of the cells alone.
A slide has too many cells to hold at once: they come tile by tile, in any order, and
what is kept of them does not grow with their number. Sums are float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
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


_BINS = 1 << 16

Counts = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint32]


class RankedPooling(MapPooling):
    """The mean of the highest cells, plus a weight times that of the lowest, exactly.

    Sorting all cells would need all of them in memory. Instead, float32 numbers are
    counted by the upper half of their bits, made so that their order is that of the
    numbers: that tells in which of 65 536 bins the k-th number lies. The second pass
    counts those of that bin by the lower half, which leaves nothing unknown.

    Args:
        highest: how many of n cells.
        lowest: how many of n cells; 0 for none.
        weight: of the lowest beside the highest, whose weight is 1.
    """

    def __init__(
        self,
        highest: Callable[[int], int],
        lowest: Callable[[int], int],
        weight: float,
    ) -> None:
        super().__init__(passes=2)
        self._how_many = (highest, lowest)
        self._weights = (1.0, weight)
        self._bins: list[tuple[Counts, Sums]] = []
        self._ends: list[list[_End]] = []

    def _take(self, maps: Tensor) -> None:
        values = maps.float().numpy()
        for index, row in enumerate(values):
            keys = _keys(row)
            if self._ends:
                for end in self._ends[index]:
                    end.look(keys)
                continue
            if index == len(self._bins):
                self._bins.append((np.zeros(_BINS, np.int64), np.zeros(_BINS)))
            counts, sums = self._bins[index]
            upper = keys >> np.uint32(16)
            counts += np.bincount(upper, minlength=_BINS)
            sums += np.bincount(upper, row.astype(np.float64), _BINS)

    def _turn(self) -> None:
        for counts, sums in self._bins:
            ends = [
                _End(counts, sums, how_many(self.count), from_top=from_top)
                for how_many, from_top in zip(
                    self._how_many, (True, False), strict=True
                )
            ]
            self._ends.append(ends)

    @override
    def logits(self) -> Tensor:
        values = [
            sum(
                weight * end.mean()
                for end, weight in zip(ends, self._weights, strict=True)
            )
            for ends in self._ends
        ]
        return torch.tensor(values, dtype=torch.float64)


class _End:
    """The k highest, or lowest, numbers of one class, but for those of one bin.

    ``counts`` and ``sums`` are of the bins, from low to high.
    """

    def __init__(self, counts: Counts, sums: Sums, k: int, *, from_top: bool) -> None:
        self._k, self._step = k, -1 if from_top else 1
        counts, sums = counts[:: self._step], sums[:: self._step]
        reached = np.cumsum(counts)
        place = int(np.searchsorted(reached, k))  # the first bin that reaches k
        self._missing = k - int(reached[place] - counts[place]) if k else 0
        self._total = float(sums[:place].sum()) if k else 0.0
        self._bin = place if self._step > 0 else _BINS - 1 - place
        self._inside = np.zeros(_BINS, np.int64)

    def look(self, keys: Keys) -> None:
        """Counts the numbers of the bin in which the last wanted one lies."""
        inside = keys[keys >> np.uint32(16) == self._bin] & np.uint32(_BINS - 1)
        self._inside += np.bincount(inside, minlength=_BINS)

    def mean(self) -> float:
        """Of the k numbers; 0 where none are wanted."""
        if not self._k:
            return 0.0
        lower = np.arange(_BINS, dtype=np.uint32)[:: self._step]
        counts = self._inside[:: self._step]
        before = np.cumsum(counts) - counts
        taken = np.minimum(counts, np.maximum(0, self._missing - before))
        used = taken > 0  # other bit patterns of the bin may be no numbers at all
        values = _numbers((np.uint32(self._bin) << np.uint32(16)) | lower[used])
        return (self._total + float(values @ taken[used])) / self._k


def _keys(values: npt.NDArray[np.float32]) -> Keys:
    """Unsigned numbers in the order of the values."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31))


def _numbers(keys: Keys) -> Sums:
    """The values of keys."""
    bits = np.where(keys >> np.uint32(31), keys & np.uint32((1 << 31) - 1), ~keys)
    return bits.astype(np.uint32).view(np.float32).astype(np.float64)
