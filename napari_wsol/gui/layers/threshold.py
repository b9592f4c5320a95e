"""The threshold that all panels share: an amount, in a currency to choose."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_wsol.images.heatmap import mask_on_grid

if TYPE_CHECKING:
    from napari_wsol.images.heatmap import Heatmap

Bools = npt.NDArray[np.bool_]

TITLES = {"value": "value", "percentile": "percentile", "area": "share of tissue"}
"""Currency of ``Heatmap.threshold`` → its words in the window."""

COUNTED_CELLS = 300_000
"""Cells that a share or percentile is taken of; the cut moves by less than its digits
show."""

RANGES = {"value": 1.0, "percentile": 100.0, "area": 100.0}
"""Largest amount of each currency; the smallest is 0."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Where to cut heatmaps."""

    amount: float = 0.5
    currency: str = "value"

    def cut(self, heatmap: Heatmap, tissue: Bools | None) -> float:
        """The same in “value”, as exports take it."""
        if self.currency == "value":
            return heatmap.threshold(self.amount)
        heatmap = thinned(heatmap)
        return heatmap.threshold(self.amount, self.currency, _on_map(tissue, heatmap))

    def converted(
        self, currency: str, heatmap: Heatmap | None, tissue: Bools | None
    ) -> Threshold:
        """About the same cut in another currency, so that switching moves nothing."""
        if heatmap is None or currency == self.currency:
            default = {"value": 0.5, "percentile": 90.0, "area": 10.0}[currency]
            same = currency == self.currency
            return Threshold(self.amount if same else default, currency)
        value, heatmap = self.cut(heatmap, tissue), thinned(heatmap)
        if currency == "value":
            return Threshold(round(value, 3), currency)
        on_map = _on_map(tissue, heatmap)
        values = heatmap.values if on_map is None else heatmap.values[on_map]
        values = heatmap.strength(values if values.size else heatmap.values)
        above = 100.0 * float(np.mean(values >= value))
        share = above if currency == "area" else 100.0 - above
        return Threshold(round(share, 1), currency)

    def words(self) -> str:
        """As it stands in the export panel: “share of tissue 10 %”."""
        if self.currency == "value":
            return f"value {self.amount:.2f}"
        unit = " %" if self.currency == "area" else ""
        return f"{TITLES[self.currency]} {self.amount:.1f}{unit}"


def thinned(heatmap: Heatmap) -> Heatmap:
    """Every second, third, … cell of a large map, so that counting takes no frame."""
    step = math.ceil(math.sqrt(heatmap.values.size / COUNTED_CELLS))
    if step <= 1:
        return heatmap
    return replace(heatmap, values=heatmap.values[::step, ::step])


def _on_map(tissue: Bools | None, heatmap: Heatmap) -> Bools | None:
    return None if tissue is None else mask_on_grid(tissue, heatmap.values.shape)
