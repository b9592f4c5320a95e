"""Point localization and IoBB: how chest X-ray heatmaps are scored against boxes.

Preechakul et al., "Improved image classification explainability with high-accuracy
heatmaps" (PYLON), iScience 2022; gives the numbers of its published code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import ImageError
from napari_wsol.evaluation.scores import check_same_length, scores_on
from napari_wsol.images.heatmap import Heatmap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from napari_wsol.evaluation.scores import BoolArray, FloatArray, ScoreMap


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

    def hit(scores: FloatArray, wanted: FloatArray) -> bool:
        y, x = np.unravel_index(int(np.argmax(scores)), scores.shape)
        x0, y0, width, height = wanted.T
        inside = (x0 <= x) & (x <= x0 + width) & (y0 <= y) & (y <= y0 + height)
        return bool(inside.any())

    return _score(hit, heatmaps, boxes, classes, shapes)


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

    def hit(scores: FloatArray, wanted: FloatArray) -> bool:
        both, found, either = _overlap(scores > cut * scores.max(), wanted)
        share = both / max(found, 1)
        return max(share, both / max(either, 1) if or_iou else 0) > threshold

    return _score(hit, heatmaps, boxes, classes, shapes)


def _overlap(found: BoolArray, boxes: FloatArray) -> tuple[int, int, int]:
    """Pixels of the foreground in the boxes, of the foreground, and of either."""
    truth = np.zeros(found.shape, np.bool_)
    for x, y, width, height in np.maximum(boxes, 0).astype(np.int64).tolist():
        truth[y : y + height, x : x + width] = True
    both = int(np.sum(found & truth))
    return both, int(found.sum()), int(np.sum(found | truth))


def _score(
    hit: Callable[[FloatArray, FloatArray], bool],
    heatmaps: Sequence[ScoreMap],
    boxes: Sequence[npt.ArrayLike],
    classes: Sequence[str] | None,
    shapes: Sequence[tuple[int, int]] | None,
) -> LocalizationScore:
    check_same_length(
        heatmaps=heatmaps,
        classes=classes,
        shapes=shapes,
        **{"lists of boxes": boxes},
    )
    hits: list[bool] = []
    by_class: dict[str, list[bool]] = {}
    for place, heatmap in enumerate(heatmaps):
        scores = scores_on(heatmap, None if shapes is None else shapes[place])
        hits.append(hit(scores, _as_boxes(boxes[place])))
        name = _class_of(heatmap) if classes is None else classes[place]
        by_class.setdefault(name, []).append(hits[-1])
    per_class = {name: float(np.mean(of)) for name, of in sorted(by_class.items())}
    return LocalizationScore(
        per_class=per_class,
        macro=float(np.mean(list(per_class.values()))),
        weighted=float(np.mean(hits)),
        hits=tuple(hits),
    )


def _class_of(heatmap: ScoreMap) -> str:
    return heatmap.target if isinstance(heatmap, Heatmap) else "class"


def _as_boxes(boxes: npt.ArrayLike) -> FloatArray:
    array = np.atleast_2d(np.asarray(boxes, np.float64))
    if array.shape[-1] != 4 or array.size == 0:
        raise ImageError(
            "Every heatmap needs at least one reference box of four numbers: x, y, "
            "width, height. Leave out heatmaps without a box."
        )
    return array
