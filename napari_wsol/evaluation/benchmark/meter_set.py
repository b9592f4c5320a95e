"""What was measured so far: of one model, or pooled over those of several folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.evaluation.classification import ClassificationMeter
from napari_wsol.evaluation.meters import MapMeters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_wsol.evaluation.faithfulness import Faithfulness
    from napari_wsol.evaluation.report import Case
    from napari_wsol.evaluation.settings import EvaluationConfig, MapTarget
    from napari_wsol.images.heatmap import Heatmap


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

    def meter(self, method: str) -> MapMeters:
        """That of a method's maps."""
        return self._meters.setdefault(method, MapMeters(self._config))

    def classify(self, scores: Mapping[str, float], labels: Sequence[int]) -> None:
        """Begins an image.

        Args:
            scores: of each class; empty where the model does not classify.
            labels: 0 or 1 a class.
        """
        self.images += 1
        if scores:
            self.labels.update(list(scores.values()), labels)

    def compare(
        self,
        heatmaps: Mapping[str, Heatmap],
        against: MapTarget,
        target: str,
        faithful: Mapping[str, Faithfulness],
    ) -> dict[str, float]:
        """Adds the maps of a class of the image that was begun.

        Args:
            heatmaps: of each method.
            against: what they are compared with.
            target: the class.
            faithful: insertion and deletion of each method, where they were measured.

        Returns:
            For each method IoU at the threshold; empty without a reference.
        """
        overlap: dict[str, float] = {}
        for name, heatmap in heatmaps.items():
            meter, image = self.meter(name), self.images - 1
            value = meter.update(heatmap, against, name=target, image=image)
            if value is not None:
                overlap[name] = value
            if name in faithful:
                meter.faithful(faithful[name])
        return overlap

    def note(self, texts: Sequence[str]) -> None:
        """Counts an image that something has to be said of."""
        for text in dict.fromkeys(texts):
            self.notes[text] = self.notes.get(text, 0) + 1
