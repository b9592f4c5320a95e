"""One map against one reference: the numbers of ``evaluate`` on a set of one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import ConfigError
from napari_wsol.evaluation.benchmark.meter_set import MapMeters
from napari_wsol.evaluation.bootstrap import Bootstrap
from napari_wsol.evaluation.pixels import PxapMeter
from napari_wsol.evaluation.points import paint
from napari_wsol.images.heatmap import cut_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.evaluation.benchmark.targets import MapTarget
    from napari_wsol.evaluation.pixels import PixelCurve
    from napari_wsol.evaluation.scores import FloatArray
    from napari_wsol.evaluation.settings import EvaluationConfig
    from napari_wsol.images.heatmap import Heatmap


@dataclass(frozen=True, slots=True, kw_only=True)
class MapFigures:
    """One map against one reference.

    Attributes:
        curve: precision and recall at every threshold; None against boxes.
        best_threshold: of the best mean IoU of the two sides; None against boxes.
        fixed: what depends on no threshold, under the names of ``evaluate``'s JSON.
        overlap: (2, n) IoU and Dice with the reference's area where the map is cut at n
            values, evenly from 1 down to 0.
        signed: whether one half of the map's values is 0.
    """

    curve: PixelCurve | None
    best_threshold: float | None
    fixed: Mapping[str, float]
    overlap: FloatArray
    signed: bool = False

    @property
    def headline(self) -> tuple[str, float]:
        """The figure that maps are put in order by, in percent, after its name."""
        boxes = self.curve is None
        name, key = ("MaxBoxAcc", "max_box_acc") if boxes else ("PxAP", "pxap")
        return name, self.fixed[key]

    def at(self, threshold: float) -> Mapping[str, float]:
        """``image_iou`` and ``image_dice``, 0 to 1, at the nearest threshold.

        Raises:
            ConfigError: it is none from 0 to 1.
        """
        if not 0 <= threshold <= 1:
            raise ConfigError(f"A threshold lies between 0 and 1, not at {threshold}.")
        steps, cut = self.overlap.shape[1] - 1, cut_of(threshold, signed=self.signed)
        iou, dice = self.overlap[:, steps - round(cut * steps)]
        return {"image_iou": float(iou), "image_dice": float(dice)}


def measure(
    heatmap: Heatmap, against: MapTarget, config: EvaluationConfig
) -> MapFigures:
    """All figures of a map, beside a reference that has foreground."""
    meters, pixels = MapMeters(config), PxapMeter()
    meters.update(heatmap, against, name=heatmap.target, image=0)
    found = meters.report("", "", Bootstrap(samples=0))
    area = paint(against.boxes, against.grid) if against.mask is None else against.mask
    pixels.update(heatmap.resized(against.grid), area, against.ignore)
    curve = pixels.curve()
    fixed = {
        name: item.value
        for name, item in found.figures.items()
        if not name.startswith(("pooled_", "image_"))
    }
    return MapFigures(
        curve=None if len(against.boxes) else curve,
        best_threshold=found.best_threshold,
        fixed=fixed,
        overlap=np.stack([curve.iou, curve.dice]),
        signed=heatmap.signed,
    )
