"""MaxBoxAcc: how often a heatmap's box fits the reference box.

Choe et al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020
(arXiv 2001.07437), section 4. Gives the numbers of the published code, which finds
contours with OpenCV, from connected components alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.evaluation.scores import as_boxes, check_same_length, scores_on
from napari_wsol.export.masks import boxes_of, connected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_wsol.evaluation.bootstrap import Bootstrap, Estimate
    from napari_wsol.evaluation.scores import BoolArray, FloatArray, ScoreMap

    Boxes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxAccuracy:
    """MaxBoxAcc of a data set.

    Attributes:
        accuracy: for each IoU, percent of the images whose box fits that well, at the
            threshold that is best for it.
        threshold: that threshold, as a share of each map's maximum.
        curves: for each IoU, the percentage at every threshold.
    """

    accuracy: Mapping[float, float]
    threshold: Mapping[float, float]
    curves: Mapping[float, FloatArray]

    @property
    def mean(self) -> float:
        """Mean over the IoUs: MaxBoxAccV2 when all contours were used."""
        return float(np.mean(list(self.accuracy.values())))


def max_box_acc(
    heatmaps: Sequence[ScoreMap],
    boxes: Sequence[npt.ArrayLike],
    *,
    ious: Sequence[float] = (0.3, 0.5, 0.7),
    all_contours: bool = True,
    thresholds: int = 100,
) -> BoxAccuracy:
    """Best share of images whose predicted box reaches an IoU.

    Args:
        heatmaps: one an image, values in [0, 1]; arrays on the grid of the boxes.
        boxes: for each image (n, 4) of x0, y0, x1, y1, last pixels included.
        ious: what counts as fitting.
        all_contours: the best box of any contour counts (V2), else that of the
            contour with the largest area.
        thresholds: number of cuts, evenly over each map's range.

    Raises:
        ImageError: when heatmaps and boxes do not fit together.
    """
    check_same_length(heatmaps=heatmaps, **{"lists of boxes": boxes})
    meter = BoxAccuracyMeter(ious, all_contours=all_contours, thresholds=thresholds)
    for heatmap, wanted in zip(heatmaps, boxes, strict=True):
        meter.update(heatmap, wanted)
    return meter.value()


class BoxAccuracyMeter:
    """MaxBoxAcc image by image; keeps one bit for each IoU and threshold of an image.

    Args:
        ious: what counts as fitting.
        all_contours: the best box of any contour counts (V2), else that of the
            contour with the largest area.
        thresholds: number of cuts, evenly over each map's range.
    """

    def __init__(
        self,
        ious: Sequence[float] = (0.3, 0.5, 0.7),
        *,
        all_contours: bool = True,
        thresholds: int = 100,
    ) -> None:
        self._ious = tuple(ious)
        self._all_contours = all_contours
        self._levels: FloatArray = np.arange(thresholds, dtype=np.float64) * (
            1 / thresholds
        )
        self._fits: list[npt.NDArray[np.uint8]] = []

    def update(
        self,
        heatmap: ScoreMap,
        boxes: npt.ArrayLike,
        *,
        shape: tuple[int, int] | None = None,
    ) -> None:
        """Add one image, or one class of an image.

        Args:
            heatmap: values in [0, 1].
            boxes: (n, 4) of x0, y0, x1, y1, last pixels included.
            shape: (H, W) that the boxes lie in; None takes that of the heatmap.

        Raises:
            ImageError: when heatmap and boxes do not fit together.
        """
        best = _best_ious(
            scores_on(heatmap, shape),
            as_boxes(boxes, "image", "x0, y0, x1, y1"),
            self._levels,
            self._all_contours,
        )
        wanted = np.array(self._ious)[:, None]
        self._fits.append(np.packbits(best >= wanted))

    def value(self) -> BoxAccuracy:
        """The figures of all images so far.

        Raises:
            ImageError: when there was none.
        """
        fits = self._all()
        curves = dict(zip(self._ious, 100.0 * fits.mean(axis=0), strict=True))
        return BoxAccuracy(
            accuracy={iou: float(curve.max()) for iou, curve in curves.items()},
            threshold={
                iou: float(self._levels[curve.argmax()])
                for iou, curve in curves.items()
            },
            curves=curves,
        )

    def estimate(self, draw: Bootstrap) -> Estimate:
        """The mean over the IoUs, in percent, and its interval.

        Raises:
            ImageError: when there was no image.
        """
        fits = self._all()
        flat = fits.reshape(len(fits), -1).astype(np.float64)

        def statistic(weights: FloatArray) -> FloatArray:
            shares = weights @ flat / weights.sum(axis=1, keepdims=True)
            curves = shares.reshape(len(weights), *fits.shape[1:])
            return 100.0 * curves.max(axis=2).mean(axis=1)

        return draw.estimate(len(fits), statistic)

    def _all(self) -> BoolArray:
        """(N, ious, thresholds) whether an image's box fits."""
        check_same_length(boxes=self._fits)
        shape = (len(self._ious), len(self._levels))
        bits = np.stack(self._fits)
        flat = np.unpackbits(bits, axis=1, count=shape[0] * shape[1])
        return flat.reshape(-1, *shape).astype(np.bool_)


def _best_ious(
    scores: FloatArray, wanted: FloatArray, levels: FloatArray, all_contours: bool
) -> FloatArray:
    """Best IoU of any predicted with any reference box, at every threshold."""
    grey = (scores * 255).astype(np.uint8)
    cuts = (levels * int(grey.max())).astype(np.int64)
    # Many thresholds cut an 8-bit map at the same grey value.
    found = {
        cut: float(_ious(_contour_boxes(grey > cut, all_contours), wanted).max())
        for cut in np.unique(cuts).tolist()
    }
    return np.array([found[cut] for cut in cuts.tolist()])


def _contour_boxes(mask: BoolArray, all_contours: bool) -> Boxes:
    """Boxes of the contours of a mask: outer ones, then those of holes.

    As in the published code a box ends one pixel after the contour, where the image
    goes on; an empty mask has the box of one pixel in the corner.
    """
    labels = connected(mask, corners=True)
    places = boxes_of(labels)
    if not places:
        return np.zeros((1, 4), np.int64)
    if all_contours:
        # A hole's contour runs over the foreground around it.
        boxes = [_box(place, 0) for place in places]
        boxes += [_box(place, 1) for place in _holes(mask)]
    else:
        boxes = [_box(places[_largest(labels, places)], 0)]
    height, width = mask.shape
    return np.minimum(boxes, [width - 1, height - 1, width - 1, height - 1])


def _box(place: tuple[slice, slice], margin: int) -> tuple[int, int, int, int]:
    rows, columns = place
    return (
        columns.start - margin,
        rows.start - margin,
        columns.stop + margin,
        rows.stop + margin,
    )


def _holes(mask: BoolArray) -> list[tuple[slice, slice]]:
    """Background that no edge-to-edge path joins to what is outside the image."""
    outside = np.pad(~mask, 1, constant_values=True)
    # The first piece is the frame; the padding shifted all others by one.
    return [
        (slice(r.start - 1, r.stop - 1), slice(c.start - 1, c.stop - 1))
        for r, c in boxes_of(connected(outside))[1:]
    ]


def _largest(labels: npt.NDArray[np.int32], places: list[tuple[slice, slice]]) -> int:
    """Which piece has the contour with the largest area.

    The last of equals: OpenCV lists contours from the bottom up. No contour is larger
    than its box, so most of a noisy map's pieces need not be looked at.
    """
    most = [(r.stop - r.start - 1) * (c.stop - c.start - 1) for r, c in places]
    best = (-1.0, 0)
    for number in sorted(range(len(places)), key=most.__getitem__, reverse=True):
        if most[number] < best[0]:
            break
        area = _contour_area(labels[places[number]] == number + 1)
        best = max(best, (area, number))
    return best[1]


def _contour_area(cells: BoolArray) -> float:
    """Area of the polygon through the centres of a piece's border pixels.

    Each 2 by 2 block of the piece, holes filled, gives 1 when full and 1/2 when the
    contour cuts through its diagonal.
    """
    around = connected(np.pad(~cells, 1, constant_values=True))
    block = (around[1:-1, 1:-1] != 1).astype(np.int64)  # all but the outside
    count = block[:-1, :-1] + block[1:, :-1] + block[:-1, 1:] + block[1:, 1:]
    return float(np.sum(count == 4) + np.sum(count == 3) / 2)


def _ious(found: Boxes, wanted: FloatArray) -> FloatArray:
    """(n, m) IoU of boxes whose last pixels belong to them."""
    a, b = found[:, None, :].astype(np.float64), wanted[None, :, :]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.prod(np.maximum(high - low + 1, 0), axis=-1)
    area_a = np.prod(a[..., 2:] - a[..., :2] + 1, axis=-1)
    area_b = np.prod(b[..., 2:] - b[..., :2] + 1, axis=-1)
    return shared / (area_a + area_b - shared)
