"""Point localization, IoBB and the pointing game: heatmaps against boxes or regions.

The first two as Preechakul et al., "Improved image classification explainability with
high-accuracy heatmaps" (PYLON), iScience 2022; they give its published code's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import ImageError
from napari_wsol.evaluation.bootstrap import ClassTally
from napari_wsol.evaluation.scores import (
    as_boxes,
    as_mask,
    check_same_length,
    scores_on,
)
from napari_wsol.images.heatmap import Heatmap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from napari_wsol.evaluation.bootstrap import Bootstrap, Estimate
    from napari_wsol.evaluation.scores import AnyMask, BoolArray, FloatArray, ScoreMap

    Rule = Callable[[FloatArray, npt.NDArray[np.generic]], bool]


POINTING_TOLERANCE = 15.0
"""Pixels beside a region where the pointing game still counts a point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalizationScore:
    """Share of hits, 0 to 1.

    Attributes:
        per_class: mean over the heatmaps of each class.
        macro: mean over the classes.
        weighted: mean over all heatmaps.
        hits: one a heatmap, in the order given.
    """

    per_class: Mapping[str, float]
    macro: float
    weighted: float
    hits: tuple[bool, ...]


class HitMeter:
    """Share of hits, heatmap by heatmap; keeps one bit and a class name of each.

    Args:
        rule: from (H, W) scores and what is looked for to whether it was hit:
            ``points_into_box``, ``lies_in_box`` or ``points_at_region``, with their
            options bound.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule, self._tally = rule, ClassTally()

    def update(
        self,
        heatmap: ScoreMap,
        wanted: npt.ArrayLike,
        *,
        name: str | None = None,
        shape: tuple[int, int] | None = None,
        image: int | None = None,
    ) -> bool:
        """Add one image and class.

        Args:
            heatmap: values in [0, 1].
            wanted: boxes (n, 4) of x, y, width, height, or an (H, W) mask, as the
                rule needs it.
            name: of the class; None takes ``Heatmap.target``.
            shape: (H, W) that ``wanted`` lies in; None takes that of the heatmap.
            image: number of the image. Intervals draw the classes of one image
                together; None is an image of its own.

        Returns:
            Whether it is a hit.

        Raises:
            ImageError: when the two do not fit together.
        """
        hit = self._rule(scores_on(heatmap, shape), np.asarray(wanted))
        target = heatmap.target if isinstance(heatmap, Heatmap) else "class"
        self._tally.add(image, target if name is None else name, hit)
        return hit

    def value(self) -> LocalizationScore:
        """The figures so far.

        Raises:
            ImageError: when there was no heatmap.
        """
        per_class = {
            name: float(found[0]) for name, found in self._tally.means().items()
        }
        hits = tuple(bool(numbers[0]) for _, _, numbers in self._tally.rows)
        return LocalizationScore(
            per_class=per_class,
            macro=float(np.mean(list(per_class.values()))),
            weighted=float(np.mean(hits)),
            hits=hits,
        )

    def estimate(self, draw: Bootstrap) -> Estimate:
        """The macro mean and its interval.

        Raises:
            ImageError: when there was no heatmap.
        """
        return self._tally.estimates(draw)[0]


def points_into_box(scores: FloatArray, boxes: npt.NDArray[np.generic]) -> bool:
    """PYLON's point localization: the highest pixel lies in a box.

    Borders belong to the box; of equal pixels the first in reading order counts.
    """
    y, x = np.unravel_index(int(np.argmax(scores)), scores.shape)
    x0, y0, width, height = as_boxes(boxes).T
    inside = (x0 <= x) & (x <= x0 + width) & (y0 <= y) & (y <= y0 + height)
    return bool(inside.any())


def lies_in_box(
    scores: FloatArray,
    boxes: npt.NDArray[np.generic],
    *,
    threshold: float = 0.5,
    cut: float = 0.5,
    or_iou: bool = True,
) -> bool:
    """PYLON's IoBB rule; arguments as ``iobb``."""
    truth = paint(as_boxes(boxes), scores.shape)
    found = scores > cut * scores.max()
    both = int(np.sum(found & truth))
    either = int(np.sum(found | truth))
    share = both / max(int(found.sum()), 1)
    return max(share, both / max(either, 1) if or_iou else 0) > threshold


def points_at_region(
    scores: FloatArray,
    mask: npt.NDArray[np.generic],
    *,
    tolerance: float = POINTING_TOLERANCE,
) -> bool:
    """The pointing game: the highest pixel lies on the region or near it.

    Zhang et al., "Top-down Neural Attention by Excitation Backprop", IJCV 2018
    (arXiv 1608.00507), section 4.1: with a tolerance of 15 pixels.

    Args:
        scores: (H, W); of equal pixels the first in reading order counts.
        mask: (H, W) region; must not be empty.
        tolerance: pixels that the point may lie beside it.

    Raises:
        ImageError: the mask is empty or of another shape.
    """
    region = as_mask(mask)
    if region.shape != scores.shape or not region.any():
        raise ImageError(
            f"The pointing game needs a mask with foreground on the map's grid; this "
            f"one has {int(region.sum())} pixels of foreground on {region.shape}, the "
            f"map is {scores.shape}. Leave out images without foreground."
        )
    y, x = np.unravel_index(int(np.argmax(scores)), scores.shape)
    rows, columns = np.nonzero(region)
    nearest = float(np.min((rows - y) ** 2 + (columns - x) ** 2))
    return nearest <= tolerance**2


def point_localization(
    heatmaps: Sequence[ScoreMap],
    boxes: Sequence[npt.ArrayLike],
    *,
    classes: Sequence[str] | None = None,
    shapes: Sequence[tuple[int, int]] | None = None,
) -> LocalizationScore:
    """Share of heatmaps whose highest pixel lies in a reference box of their class.

    Borders belong to the box; of equal pixels the first in reading order counts.

    Args:
        heatmaps: one for each image and each class that has a box there.
        boxes: for each heatmap (n, 4) of x, y, width, height in image pixels.
        classes: name of each heatmap's class; None takes ``Heatmap.target``.
        shapes: (H, W) of each image; None takes that of the heatmap.

    Raises:
        ImageError: when heatmaps and boxes do not fit together.
    """
    return _score(points_into_box, heatmaps, boxes, classes, shapes)


def pointing_game(
    heatmaps: Sequence[ScoreMap],
    masks: Sequence[AnyMask],
    *,
    tolerance: float = POINTING_TOLERANCE,
    classes: Sequence[str] | None = None,
) -> LocalizationScore:
    """Share of heatmaps whose highest pixel lies on the region of their class.

    Args:
        heatmaps: one for each image and each class that it shows.
        masks: (H, W) region of the class, for each heatmap; none may be empty.
        tolerance: pixels that the point may lie beside the region.
        classes: name of each heatmap's class; None takes ``Heatmap.target``.

    Raises:
        ImageError: when heatmaps and masks do not fit together.
    """
    shapes = [(mask.shape[0], mask.shape[1]) for mask in map(as_mask, masks)]
    rule = partial(points_at_region, tolerance=tolerance)
    return _score(rule, heatmaps, masks, classes, shapes)


def iobb(
    heatmaps: Sequence[ScoreMap],
    boxes: Sequence[npt.ArrayLike],
    *,
    threshold: float = 0.5,
    cut: float = 0.5,
    or_iou: bool = True,
    classes: Sequence[str] | None = None,
    shapes: Sequence[tuple[int, int]] | None = None,
) -> LocalizationScore:
    """Share of heatmaps whose foreground lies inside the boxes of their class.

    Foreground is what exceeds ``cut`` times the map's maximum. It is a hit when more
    than ``threshold`` of it lies in the boxes. Boxes are cut to whole pixels and taken
    together.

    Args:
        heatmaps: one for each image and each class that has a box there.
        boxes: for each heatmap (n, 4) of x, y, width, height in image pixels.
        threshold: share that makes a hit; 0.1, 0.25 and 0.5 are published.
        cut: share of the map's maximum.
        or_iou: an IoU above ``threshold`` is a hit, too (as PYLON counts).
        classes: name of each heatmap's class; None takes ``Heatmap.target``.
        shapes: (H, W) of each image; None takes that of the heatmap.

    Raises:
        ImageError: when heatmaps and boxes do not fit together.
    """
    rule = partial(lies_in_box, threshold=threshold, cut=cut, or_iou=or_iou)
    return _score(rule, heatmaps, boxes, classes, shapes)


def paint(boxes: FloatArray, shape: tuple[int, ...]) -> BoolArray:
    """(H, W) mask of boxes x, y, width, height, cut to whole pixels."""
    truth = np.zeros(shape, np.bool_)
    for x, y, width, height in np.maximum(boxes, 0).astype(np.int64).tolist():
        truth[y : y + height, x : x + width] = True
    return truth


def _score(
    rule: Rule,
    heatmaps: Sequence[ScoreMap],
    wanted: Sequence[npt.ArrayLike],
    classes: Sequence[str] | None,
    shapes: Sequence[tuple[int, int]] | None,
) -> LocalizationScore:
    check_same_length(
        heatmaps=heatmaps, classes=classes, shapes=shapes, references=wanted
    )
    meter = HitMeter(rule)
    for place, heatmap in enumerate(heatmaps):
        meter.update(
            heatmap,
            wanted[place],
            name=None if classes is None else classes[place],
            shape=None if shapes is None else shapes[place],
        )
    return meter.value()
