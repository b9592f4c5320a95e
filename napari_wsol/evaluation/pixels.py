"""Pixel metrics: PxAP and its curve over a data set; IoU and Dice of one mask.

PxAP is that of Choe et al., "Evaluating Weakly Supervised Object Localization Methods
Right", CVPR 2020 (arXiv 2001.07437), section 4, as run by the histology survey
of Rony et al. (arXiv 1909.03354) and by PixelCAM. The threshold of the best mean IoU
is the true one; their code reports its mirror image.
"""

from __future__ import annotations

import io
import tempfile
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_wsol.errors import ImageError
from napari_wsol.evaluation.scores import (
    as_mask,
    check_same_length,
    counted,
    scores_on,
)
from napari_wsol.images.heatmap import Heatmap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_wsol.evaluation.bootstrap import Bootstrap, Estimate
    from napari_wsol.evaluation.scores import AnyMask, BoolArray, FloatArray, ScoreMap

    Counts = npt.NDArray[np.int64]

SPOOL_BYTES = 16_000_000
"""Histograms of single images that are kept in memory, about 2000 images."""

_BLOCK = 256
"""Images whose histograms are read at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelCurve:
    """What happens to the pooled pixels of a data set as the threshold falls.

    All arrays have one entry a threshold, from high to low; foreground is
    ``value >= threshold``.

    Attributes:
        thresholds: 1, then down to 0.
        precision: share of the predicted pixels that are right; 1 where none is.
        recall: share of the foreground that is found.
        iou: of the foreground.
        mean_iou: mean of the IoU of foreground and of background.
        dice: of the foreground.
    """

    thresholds: FloatArray
    precision: FloatArray
    recall: FloatArray
    iou: FloatArray
    mean_iou: FloatArray
    dice: FloatArray

    @property
    def pxap(self) -> float:
        """Area under precision over recall, in percent."""
        gained = np.diff(self.recall, prepend=0.0)
        return float(100.0 * np.sum(self.precision * gained))

    @property
    def best(self) -> int:
        """Index of the threshold with the best mean IoU; the highest of equals."""
        return int(np.argmax(self.mean_iou))

    def nearest(self, threshold: float) -> int:
        """Index of the threshold that is nearest to a given one."""
        return int(np.argmin(np.abs(self.thresholds - threshold)))


class PxapMeter:
    """Pools the pixels of a data set image by image; keeps histograms only.

    Memory does not grow with the images: each leaves two histograms (8 kB with 1000
    bins) for the intervals and the figures of single images, and beyond
    ``SPOOL_BYTES`` these go to a temporary file.

    Args:
        bins: number of thresholds in [0, 1); 1000 in the literature.

    Attributes:
        images: how many were added.
    """

    def __init__(self, bins: int = 1000) -> None:
        # The very numbers of np.arange(0, 1, 0.001): values on an edge must fall into
        # the same bin as in the published code. The last bin holds exactly 1.
        self._edges = np.append(np.arange(bins) * (1 / bins), [1.0, 2.0])
        self._true = np.zeros(bins + 1, np.int64)
        self._false = np.zeros(bins + 1, np.int64)
        # Closed with the meter, so no context manager.
        self._file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self.images = 0

    def update(
        self, heatmap: ScoreMap, mask: AnyMask, ignore: AnyMask | None = None
    ) -> None:
        """Add one image.

        Args:
            heatmap: values in [0, 1]; brought to the mask's grid if it has another.
            mask: (H, W) foreground of the image; may be empty.
            ignore: (H, W) pixels that do not count, unless they are foreground.

        Raises:
            ImageError: when values are not numbers, outside [0, 1], or do not fit.
        """
        truth = as_mask(mask)
        scores = scores_on(heatmap, truth.shape)
        counts = counted(truth, ignore)
        true = self._histogram(scores[truth])
        false = self._histogram(scores[counts & ~truth])
        self._true += true
        self._false += false
        self._file.seek(0, io.SEEK_END)
        self._file.write(np.stack([true, false]).astype(np.uint32).tobytes())
        self.images += 1

    def _histogram(self, scores: FloatArray) -> Counts:
        """As np.histogram with these edges, ten times faster."""
        bins = len(self._true) - 1
        index = (scores * bins).astype(np.int64)
        index -= scores < self._edges[index]
        index += scores >= self._edges[index + 1]
        return np.bincount(index, minlength=bins + 1).astype(np.int64)

    def curve(self) -> PixelCurve:
        """Precision, recall, mean IoU and Dice at every threshold.

        Raises:
            ImageError: when no image had any foreground, as recall has no meaning then.
        """
        foreground, background = self._true.sum(), self._false.sum()
        if foreground == 0:
            raise ImageError(
                "No reference mask has any foreground, so precision and recall have "
                "no meaning. Check that masks and images belong together."
            )
        tp = np.cumsum(self._true[::-1])
        fp = np.cumsum(self._false[::-1])
        fn, tn = foreground - tp, background - fp
        iou = _ratio(tp, tp + fp + fn)
        background_iou = _ratio(tn, tn + fp + fn)
        return PixelCurve(
            thresholds=self._edges[-2::-1],
            precision=_ratio(tp, tp + fp),
            recall=tp / foreground,
            iou=iou,
            mean_iou=(iou + background_iou) / 2,
            dice=_ratio(2 * tp, 2 * tp + fp + fn),
        )

    def value(self) -> float:
        """PxAP in percent.

        Raises:
            ImageError: when no image had any foreground.
        """
        return self.curve().pxap

    def estimate(self, draw: Bootstrap) -> Estimate:
        """PxAP in percent and its interval, images drawn with replacement.

        Raises:
            ImageError: when no image had any foreground.
        """
        self.curve()  # says so where there is no foreground
        return draw.estimate(self.images, self._areas)

    def overlaps(self, threshold: float) -> tuple[FloatArray, FloatArray]:
        """IoU and Dice of each image, (N,) each, in the order they were added.

        Two empty masks agree: 1.

        Args:
            threshold: foreground is at or above it; the nearest of the curve's.
        """
        start = round(threshold * (len(self._true) - 1))
        found = [
            np.stack([block[..., start:].sum(-1), block.sum(-1)], axis=-1)
            for block in self._blocks()
        ]
        counts = np.concatenate(found) if found else np.zeros((0, 2, 2), np.int64)
        tp, foreground = counts[:, 0, 0], counts[:, 0, 1]
        fp = counts[:, 1, 0]
        return (
            _ratio(tp, foreground + fp),
            _ratio(2 * tp, tp + fp + foreground),
        )

    def _blocks(self) -> Iterator[Counts]:
        """(n, 2, bins + 1): histograms of foreground and background, in order."""
        size = 2 * len(self._true) * 4
        self._file.seek(0)
        while data := self._file.read(_BLOCK * size):
            block = np.frombuffer(data, np.uint32).reshape(-1, 2, len(self._true))
            yield block.astype(np.int64)

    def _areas(self, weights: FloatArray) -> FloatArray:
        """(b,) PxAP in percent of data sets with every image that often."""
        bins = len(self._true)
        pooled = np.zeros((len(weights), 2 * bins))
        start = 0
        for block in self._blocks():
            part = weights[:, start : start + len(block)]
            pooled += part @ block.reshape(len(block), -1).astype(np.float64)
            start += len(block)
        tp = np.cumsum(pooled[:, bins - 1 :: -1], axis=1)
        fp = np.cumsum(pooled[:, : bins - 1 : -1], axis=1)
        foreground = tp[:, -1:]
        precision = tp / np.maximum(tp + fp, 1)
        gained = np.diff(tp, prepend=0.0, axis=1) / np.maximum(foreground, 1)
        area = 100.0 * np.sum(precision * gained, axis=1)
        return np.where(foreground[:, 0] > 0, area, np.nan)


def _ratio(part: Counts, whole: Counts) -> FloatArray:
    """Part of whole; 1 where there is nothing to get wrong."""
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)


def pixel_curve(
    heatmaps: Sequence[ScoreMap],
    masks: Sequence[AnyMask],
    ignore: Sequence[AnyMask | None] | None = None,
) -> PixelCurve:
    """The pixel precision-recall curve of a data set.

    Args:
        heatmaps: one an image, values in [0, 1].
        masks: (H, W) foreground of each image, of any shape.
        ignore: (H, W) pixels that do not count, or None, for each image.

    Raises:
        ImageError: when something does not fit or no mask has foreground.
    """
    check_same_length(heatmaps=heatmaps, masks=masks, **{"ignore maps": ignore})
    meter = PxapMeter()
    for place, (heatmap, mask) in enumerate(zip(heatmaps, masks, strict=True)):
        meter.update(heatmap, mask, None if ignore is None else ignore[place])
    return meter.curve()


def pxap(
    heatmaps: Sequence[ScoreMap],
    masks: Sequence[AnyMask],
    ignore: Sequence[AnyMask | None] | None = None,
) -> float:
    """Pixel average precision of a data set in percent, all pixels pooled.

    Takes and raises what ``pixel_curve`` does.
    """
    return pixel_curve(heatmaps, masks, ignore).pxap


def best_threshold(
    heatmaps: Sequence[ScoreMap],
    masks: Sequence[AnyMask],
    ignore: Sequence[AnyMask | None] | None = None,
) -> float:
    """The threshold with the best mean IoU of foreground and background.

    Takes and raises what ``pixel_curve`` does.
    """
    curve = pixel_curve(heatmaps, masks, ignore)
    return float(curve.thresholds[curve.best])


def iou(
    prediction: ScoreMap | AnyMask,
    mask: AnyMask,
    *,
    threshold: float = 0.5,
    ignore: AnyMask | None = None,
) -> float:
    """Intersection over union of one image's foreground, 0 to 1.

    Two empty masks agree: 1.

    Args:
        prediction: a mask (bool or whole numbers), or a heatmap to cut.
        mask: (H, W) reference.
        threshold: where a heatmap is cut, ``value >= threshold``.
        ignore: (H, W) pixels that do not count, unless they are foreground.

    Raises:
        ImageError: when the two do not fit.
    """
    both, either, _ = _overlap(prediction, mask, threshold, ignore)
    return both / either if either else 1.0


def dice(
    prediction: ScoreMap | AnyMask,
    mask: AnyMask,
    *,
    threshold: float = 0.5,
    ignore: AnyMask | None = None,
) -> float:
    """Dice coefficient of one image's foreground, 0 to 1; arguments as ``iou``."""
    both, _, total = _overlap(prediction, mask, threshold, ignore)
    return 2 * both / total if total else 1.0


def _overlap(
    prediction: ScoreMap | AnyMask,
    mask: AnyMask,
    threshold: float,
    ignore: AnyMask | None,
) -> tuple[int, int, int]:
    """Pixels in both, in either, and in each added up."""
    truth = as_mask(mask)
    found = _as_prediction(prediction, truth.shape, threshold)
    counts = counted(truth, ignore)
    found &= counts
    return (
        int(np.sum(found & truth)),
        int(np.sum(found | truth)),
        int(found.sum()) + int(truth.sum()),
    )


def _as_prediction(
    prediction: ScoreMap | AnyMask, shape: tuple[int, ...], threshold: float
) -> BoolArray:
    if isinstance(prediction, Heatmap) or prediction.dtype.kind == "f":
        scores = scores_on(cast("ScoreMap", prediction), (shape[0], shape[1]))
        return scores >= threshold
    found = as_mask(prediction)
    if found.shape != shape:
        raise ImageError(
            f"The predicted mask has {found.shape} pixels and the reference {shape}. "
            "Cut the heatmap on the reference's grid, or pass the heatmap itself."
        )
    return found.copy()
