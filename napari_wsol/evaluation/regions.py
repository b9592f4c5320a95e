"""PCAM's rule: boxes around the regions of a map, against reference boxes.

Ye et al., "Weakly Supervised Lesion Localization With Probabilistic-CAM Pooling", 2020
(arXiv 2005.14480), section 3.3: regions where the probability map reaches 0.9, the box
around each, and IoBB, the share of that box which lies in a reference box.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import ConfigError
from napari_wsol.evaluation.bootstrap import ClassTally
from napari_wsol.evaluation.scores import as_boxes, check_same_length, scores_on
from napari_wsol.export.masks import boxes_of, connected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_wsol.evaluation.bootstrap import Bootstrap, Estimate
    from napari_wsol.evaluation.scores import FloatArray, ScoreMap

PCAM_THRESHOLD = 0.9
"""Of PCAM's probability map."""

HIT = 0.5
"""A predicted box hits when more than this share lies in one reference box."""

LSE_THRESHOLD = 180 / 255
"""Of the paper's LSE baseline, whose maps are scaled to [0, 255] image by image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionScore:
    """How well boxes around a map's regions fit.

    Attributes:
        accuracy: share of the images with a hit, for each class.
        false_positives: predicted boxes that hit nothing, a mean over the images, for
            each class.
        macro: mean of ``accuracy`` over the classes.
        macro_false_positives: mean of ``false_positives`` over the classes.
    """

    accuracy: Mapping[str, float]
    false_positives: Mapping[str, float]
    macro: float
    macro_false_positives: float


def region_boxes(
    scores: FloatArray, *, threshold: float = PCAM_THRESHOLD, scaled: bool = False
) -> FloatArray:
    """(n, 4) x, y, width, height of the boxes around regions.

    A region is foreground that touches, corners included.

    Args:
        scores: (H, W) in [0, 1].
        threshold: foreground is at or above it.
        scaled: whether the map is min–max scaled first, as for the LSE baseline; a
            constant map has no region then.
    """
    if scaled:
        low, high = float(scores.min()), float(scores.max())
        scores = (scores - low) / (high - low) if high > low else np.zeros_like(scores)
    places = boxes_of(connected(scores >= threshold, corners=True))
    boxes = [(c.start, r.start, c.stop - c.start, r.stop - r.start) for r, c in places]
    return np.array(boxes, np.float64).reshape(-1, 4)


def box_shares(found: FloatArray, wanted: FloatArray) -> FloatArray:
    """(n, m) IoBB: share of each found box that lies in each wanted one."""
    a, b = found[:, None, :], wanted[None, :, :]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    return shared / np.prod(a[..., 2:], axis=-1)


class RegionMeter:
    """Hits and false positives heatmap by heatmap; keeps two numbers of each.

    Args:
        threshold: foreground is at or above it.
        scaled: whether maps are min–max scaled first (the paper's LSE baseline, with
            ``LSE_THRESHOLD``).
    """

    def __init__(
        self, *, threshold: float = PCAM_THRESHOLD, scaled: bool = False
    ) -> None:
        if not 0 < threshold <= 1:
            raise ConfigError(f"A threshold lies above 0 up to 1, not at {threshold}.")
        self._threshold, self._scaled = threshold, scaled
        self._tally = ClassTally()

    def update(
        self,
        heatmap: ScoreMap,
        boxes: npt.ArrayLike,
        *,
        name: str = "class",
        shape: tuple[int, int] | None = None,
        image: int | None = None,
    ) -> bool:
        """Add one image and class.

        Args:
            heatmap: values in [0, 1].
            boxes: (n, 4) of x, y, width, height; pixel j covers [j, j + 1].
            name: of the class.
            shape: (H, W) that the boxes lie in; None takes that of the heatmap.
            image: its number; intervals draw the classes of one image together.

        Returns:
            Whether a predicted box hits.

        Raises:
            ImageError: when heatmap and boxes do not fit together.
        """
        found = region_boxes(
            scores_on(heatmap, shape), threshold=self._threshold, scaled=self._scaled
        )
        hits = (box_shares(found, as_boxes(boxes)) > HIT).any(axis=1)
        self._tally.add(image, name, bool(hits.any()), int(np.sum(~hits)))
        return bool(hits.any())

    def value(self) -> RegionScore:
        """The figures so far.

        Raises:
            ImageError: when there was no heatmap.
        """
        means = self._tally.means()
        return RegionScore(
            accuracy={name: float(item[0]) for name, item in means.items()},
            false_positives={name: float(item[1]) for name, item in means.items()},
            macro=float(np.mean([item[0] for item in means.values()])),
            macro_false_positives=float(np.mean([item[1] for item in means.values()])),
        )

    def estimates(self, draw: Bootstrap) -> tuple[Estimate, Estimate]:
        """Macro accuracy and macro false positives with their intervals.

        Raises:
            ImageError: when there was no heatmap.
        """
        hits, wrong = self._tally.estimates(draw)
        return hits, wrong


def region_localization(
    heatmaps: Sequence[ScoreMap],
    boxes: Sequence[npt.ArrayLike],
    *,
    threshold: float = PCAM_THRESHOLD,
    scaled: bool = False,
    classes: Sequence[str] | None = None,
) -> RegionScore:
    """PCAM's localization accuracy and average false positives of a data set.

    Args:
        heatmaps: one for each image and each class that has a box there.
        boxes: for each heatmap (n, 4) of x, y, width, height in image pixels.
        threshold: foreground is at or above it.
        scaled: whether maps are min–max scaled first (the paper's LSE baseline).
        classes: name of each heatmap's class.

    Raises:
        ImageError: when heatmaps and boxes do not fit together.
    """
    check_same_length(heatmaps=heatmaps, classes=classes, references=boxes)
    meter = RegionMeter(threshold=threshold, scaled=scaled)
    for place, heatmap in enumerate(heatmaps):
        name = "class" if classes is None else classes[place]
        meter.update(heatmap, boxes[place], name=name)
    return meter.value()
