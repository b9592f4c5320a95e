"""What was measured so far: of one model, or pooled over those of several folds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari_wsol.evaluation.bootstrap import Estimate, mean
from napari_wsol.evaluation.boxes import BoxAccuracyMeter
from napari_wsol.evaluation.classification import ClassificationMeter
from napari_wsol.evaluation.pixels import PxapMeter, iou
from napari_wsol.evaluation.points import (
    HitMeter,
    lies_in_box,
    points_at_region,
    points_into_box,
)
from napari_wsol.evaluation.regions import RegionMeter
from napari_wsol.evaluation.report import MethodReport
from napari_wsol.evaluation.sanity import PARTS
from napari_wsol.images.heatmap import cut_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_wsol.evaluation.benchmark.targets import MapTarget
    from napari_wsol.evaluation.bootstrap import Bootstrap
    from napari_wsol.evaluation.report import Case
    from napari_wsol.evaluation.sanity import Trust
    from napari_wsol.evaluation.scores import FloatArray
    from napari_wsol.evaluation.settings import EvaluationConfig
    from napari_wsol.images.heatmap import FloatMap, Heatmap

IOBB_LEVELS = (0.1, 0.25, 0.5)


class MeterSet:
    """Meters of classes and maps; grows by a few numbers an image.

    Args:
        classes: names.
        config: how.
        multi_label: whether images may have none or several of the classes.

    Attributes:
        images: how many were begun.
        labels: of the images' classes.
        cases: in the order of the images.
        notes: what must be said, and of how many images.
        failed: why an image could not be used, by its id.
    """

    def __init__(
        self,
        classes: Sequence[str],
        config: EvaluationConfig,
        *,
        multi_label: bool,
    ) -> None:
        self.images = 0
        self._config = config
        self._meters: dict[str, MapMeters] = {}
        self.labels = ClassificationMeter(classes, multi_label=multi_label)
        self.cases: list[Case] = []
        self.notes: dict[str, int] = {}
        self.failed: dict[str, str] = {}

    def meter(self, method: str) -> MapMeters:
        """That of a method's maps."""
        return self._meters.setdefault(method, MapMeters(self._config))

    def classify(
        self, scores: Mapping[str, float], labels: Sequence[int], group: str = ""
    ) -> None:
        """Begins an image.

        Args:
            scores: of each class; empty where the model does not classify.
            labels: 0 or 1 a class.
            group: what it belongs to, for example a patient.
        """
        self.images += 1
        if scores:
            self.labels.update(list(scores.values()), labels, group)

    def compare(
        self,
        heatmaps: Mapping[str, Heatmap],
        against: MapTarget,
        target: str,
        trust: Mapping[str, Trust],
    ) -> dict[str, float]:
        """Adds the maps of a class of the image that was begun.

        Args:
            heatmaps: of each method.
            against: what they are compared with.
            target: the class.
            trust: what was measured of each method without a reference.

        Returns:
            For each method IoU at the threshold; empty without a reference.
        """
        overlap: dict[str, float] = {}
        for name, heatmap in heatmaps.items():
            meter, image = self.meter(name), self.images - 1
            value = meter.update(heatmap, against, name=target, image=image)
            if value is not None:
                overlap[name] = value
            if name in trust:
                meter.trust(trust[name])
        return overlap

    def note(self, texts: Sequence[str]) -> None:
        """Counts an image that something has to be said of."""
        for text in dict.fromkeys(texts):
            self.notes[text] = self.notes.get(text, 0) + 1


class MapMeters:
    """The meters of one method; none keeps a map.

    Args:
        config: how.
    """

    def __init__(self, config: EvaluationConfig) -> None:
        self._config = config
        self._pixels = PxapMeter()
        self._pointing = HitMeter(partial(points_at_region, tolerance=config.tolerance))
        self._points = HitMeter(points_into_box)
        self._iobb = {
            level: HitMeter(partial(lies_in_box, threshold=level))
            for level in IOBB_LEVELS
        }
        self._regions = RegionMeter(
            threshold=config.region_threshold, scaled=config.region_scaled
        )
        self._largest = BoxAccuracyMeter((0.5,), all_contours=False)
        self._any_box = BoxAccuracyMeter()
        self._trust: dict[str, list[float]] = {}
        self._boxes, self._signed = 0, False

    def update(
        self, heatmap: Heatmap, against: MapTarget, *, name: str, image: int
    ) -> float | None:
        """Add a map of an image.

        Args:
            heatmap: of the class ``name``.
            against: what it is compared with.
            name: of the class.
            image: its number.

        Returns:
            IoU with the mask or with the boxes' area, at the threshold; None where
            there is neither.
        """
        area = against.area()
        if area is None:
            return None
        scores, self._signed = heatmap.resized(against.grid), heatmap.signed
        if len(against.boxes):
            self._against_boxes(scores, against.boxes, name, image)
        else:
            self._pixels.update(scores, area, against.ignore)
        if area.any():
            self._pointing.update(scores, area, name=name, image=image)
        threshold = heatmap.cut(self._config.threshold)
        return iou(scores, area, threshold=threshold, ignore=against.ignore)

    def _against_boxes(
        self, scores: FloatMap, boxes: FloatArray, name: str, image: int
    ) -> None:
        self._boxes += 1
        for meter in (self._points, *self._iobb.values(), self._regions):
            meter.update(scores, boxes, name=name, image=image)
        corners = boxes.copy()
        corners[:, 2:] += corners[:, :2] - 1  # the last pixels belong to the box
        self._largest.update(scores, corners)
        self._any_box.update(scores, corners)

    def trust(self, found: Trust) -> None:
        """Add what was measured of an image's map without a reference."""
        sanity = {f"sanity_{part}": value for part, value in found.sanity.items()}
        for key, value in {**found.faithful, **sanity}.items():
            self._trust.setdefault(key, []).append(value)

    def report(self, name: str, title: str, draw: Bootstrap) -> MethodReport:
        """All figures that there are references for.

        Raises:
            ImageError: there are masks, but none has foreground.
        """
        figures: dict[str, Estimate] = {}
        per_class: dict[str, Mapping[str, float]] = {}
        best: float | None = None
        if self._pixels.images:
            best = self._pixel_figures(figures, draw)
            figures["pointing_game"] = self._pointing.estimate(draw)
        if self._boxes:
            self._box_figures(figures, per_class, draw)
        figures |= {key: mean(values, draw) for key, values in self._trust.items()}
        own = {part: figures.get(f"sanity_{part}") for part in PARTS}
        return MethodReport(
            name=name,
            title=title,
            figures=figures,
            best_threshold=best,
            sanity={part: one.value for part, one in own.items() if one is not None},
            per_class=per_class,
        )

    def _pixel_figures(self, figures: dict[str, Estimate], draw: Bootstrap) -> float:
        figures["pxap"] = self._pixels.estimate(draw)
        curve = self._pixels.curve()
        best = float(curve.thresholds[curve.best])
        for threshold, pooled, single in (
            (best, "best", "best_image"),
            (cut_of(self._config.threshold, signed=self._signed), "pooled", "image"),
        ):
            at = curve.nearest(threshold)
            for key in ("mean_iou", "iou", "dice"):
                figures[f"{pooled}_{key}"] = Estimate(
                    value=float(getattr(curve, key)[at])
                )
            overlap, twice = self._pixels.overlaps(threshold)
            figures[f"{single}_iou"] = mean(overlap, draw)
            figures[f"{single}_dice"] = mean(twice, draw)
        return 2 * best - 1 if self._signed else best  # as thresholds are given

    def _box_figures(
        self,
        figures: dict[str, Estimate],
        per_class: dict[str, Mapping[str, float]],
        draw: Bootstrap,
    ) -> None:
        meters = {
            "pointing_game": self._pointing,
            "point_localization": self._points,
            **{f"iobb_{level:g}": item for level, item in self._iobb.items()},
        }
        for key, meter in meters.items():
            figures[key] = meter.estimate(draw)
            per_class[key] = meter.value().per_class
        hit, wrong = self._regions.estimates(draw)
        figures["region_iobb_0.5"], figures["region_false_positives"] = hit, wrong
        regions = self._regions.value()
        per_class["region_iobb_0.5"] = regions.accuracy
        per_class["region_false_positives"] = regions.false_positives
        figures["max_box_acc"] = self._largest.estimate(draw)
        figures["max_box_acc_v2"] = self._any_box.estimate(draw)
