"""What a slide shows as a whole: the probability of each class, from its cells.

The head pools the class maps of all cells on tissue, as it pools those of an image, but
tile by tile from the log, so that memory does not depend on the size of the slide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_wsol.errors import NoResultError
from napari_wsol.images.heatmap import MARKED
from napari_wsol.methods.map_pooling import pool_pieces
from napari_wsol.slides.readouts import CLASSIFIER, classifier_offset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.methods import Model
    from napari_wsol.slides.kept_cells import KeptTiles


_NONE = "There is no score of the whole slide: "
_NO_CLASSIFIER = _NONE + "the model has no classifier. Choose the class yourself."
_NOT_BY_CELLS = _NONE + "the model's classifier needs an image in one piece."
_NO_TISSUE = _NONE + "no finished tile shows tissue."


@dataclass(frozen=True, slots=True)
class SlideScores:
    """What a slide shows.

    Attributes:
        probabilities: of each class by name; empty where the model cannot say.
        logits: of each class, or one for two; empty where the model cannot say.
        cells: how many cells were pooled.
        note: why there are no probabilities, a sentence; empty if there are.
    """

    probabilities: dict[str, float]
    logits: tuple[float, ...] = ()
    cells: int = 0
    note: str = ""


def slide_scores(
    model: Model, kept: KeptTiles, *, check: Callable[[], None] = lambda: None
) -> SlideScores:
    """The probability of each class over the finished tiles of a slide.

    Args:
        model: from :func:`napari_wsol.load_model`.
        kept: the finished tiles.
        check: called once a tile; raises to stop.

    Raises:
        NoResultError: a value is not finite.
    """
    head = model.classifier
    if head is None:
        only = dict.fromkeys(model.classes, 1.0) if len(model.classes) == 1 else {}
        return SlideScores(only, note="" if only else _NO_CLASSIFIER)
    pooling = head.pooling() if CLASSIFIER in kept.named else None
    if pooling is None:
        return SlideScores({}, note=_NOT_BY_CELLS)

    def pieces() -> Iterator[Tensor]:
        for item in kept.cells(CLASSIFIER):
            check()
            # A copy: torch wants memory that may be written to.
            yield torch.from_numpy(item.counted.copy())

    logits = pool_pieces(pooling, pieces)
    if logits is None:
        return SlideScores({}, note=_NO_TISSUE)
    return scored(model, logits, pooling.count)


def scores_through(
    model: Model,
    kept: KeptTiles,
    heatmap: Heatmap,
    *,
    check: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Probability of each class, pooled over the cells on tissue that a map marks.

    As :func:`~napari_wsol.inference.read_through.prediction_through` on an image in
    one piece.

    Args:
        model: from :func:`napari_wsol.load_model`.
        kept: the finished tiles.
        heatmap: probabilities on the slide.
        check: called once a tile; raises to stop.

    Returns:
        Class name → probability; empty where the model cannot say, or where nothing is
        marked.
    """
    plane, head = kept.named.get(CLASSIFIER), model.classifier
    pooling = None if head is None or plane is None else head.pooling()
    if head is None or plane is None or pooling is None:
        return {}
    seen = kept.plan.seen
    (down_y, down_x), (top, left) = seen.downsample, seen.origin
    stride = plane.stride
    first = classifier_offset(model, head) + 0.5 - stride / 2

    def pieces() -> Iterator[Tensor]:
        for item in kept.cells(CLASSIFIER):
            check()
            rows, columns = item.counts.shape
            values = heatmap.crop(
                (
                    (item.tile.y + first + top) * down_y,
                    (item.tile.x + first + left) * down_x,
                ),
                (rows * stride * down_y, columns * stride * down_x),
                (rows, columns),
            )
            marked = item.counts & (values >= MARKED)
            if marked.any():
                yield torch.from_numpy(item.values[:, marked].copy())

    logits = pool_pieces(pooling, pieces)
    if logits is None or not bool(torch.isfinite(logits).all()):
        return {}
    return scored(model, logits, pooling.count).probabilities


def scored(model: Model, logits: Tensor, cells: int) -> SlideScores:
    """Logits with the probabilities that they mean.

    Args:
        model: says what its logits are.
        logits: (K,), or (1,) for two classes.
        cells: how many cells were pooled.

    Raises:
        NoResultError: a logit is not finite.
    """
    if not bool(torch.isfinite(logits).all()):
        raise NoResultError(
            "The slide's scores are not numbers. The weights are damaged or do not "
            "fit; run “napari-wsol models verify”."
        )
    values = [float(v) for v in model.to_probabilities(logits[None].float())[0]]
    probabilities = dict(zip(model.classes, values, strict=True))
    return SlideScores(probabilities, tuple(float(v) for v in logits), cells)
