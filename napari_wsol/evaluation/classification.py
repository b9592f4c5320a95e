"""How often the image's class is right, and how well scores order the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import ImageError
from napari_wsol.evaluation.bootstrap import macro_share, mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from napari_wsol.evaluation.bootstrap import Bootstrap, Estimate
    from napari_wsol.evaluation.scores import BoolArray, FloatArray


def accuracy(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Percent of images whose highest score is that of their class.

    Args:
        scores: (N, K) scores or probabilities, larger is more likely.
        labels: (N,) class numbers, or (N, K) with a 1 for the class. An image with
            several classes is right when its highest score is one of them.

    Raises:
        ImageError: when the two do not fit, or scores are not numbers.
    """
    given = np.asarray(scores, np.float64)
    truth = np.asarray(labels, np.int64)
    if given.ndim != 2 or given.size == 0 or len(truth) != len(given):
        raise ImageError(
            f"Scores have the shape {given.shape} and labels {truth.shape}. Pass one "
            "row of scores, one column a class, and one label for every image."
        )
    if not np.isfinite(given).all():
        raise ImageError("Some scores are not numbers. Look at how they were made.")
    if truth.ndim == 1:
        return float(100.0 * np.mean(np.equal(given.argmax(axis=1), truth)))
    if truth.shape != given.shape:
        raise ImageError(
            f"Scores have the shape {given.shape} and labels {truth.shape}. Labels "
            "with columns need as many columns as there are classes."
        )
    picked = np.take_along_axis(truth, given.argmax(axis=1)[:, None], axis=1)
    return float(100.0 * np.mean(picked > 0))


def roc_auc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Area under the ROC curve, 0 to 1: how often a positive image scores higher.

    A tie of a positive and a negative image counts one half (Hanley and McNeil 1982).

    Args:
        scores: (N,), larger is more likely.
        labels: (N,) 0 or 1.

    Raises:
        ImageError: the two do not fit, or all labels are the same.
    """
    given = np.asarray(scores, np.float64)
    truth = np.asarray(labels) > 0
    if given.ndim != 1 or given.shape != truth.shape or not np.isfinite(given).all():
        raise ImageError(
            f"Scores have the shape {given.shape} and labels {truth.shape}. Pass one "
            "finite score and one label of 0 or 1 for every image."
        )
    if truth.all() or not truth.any():
        raise ImageError(
            "A ROC curve needs images with and without the class; these are all alike."
        )
    return float(_areas(given, truth, np.ones((1, len(given))))[0])


def _areas(scores: FloatArray, truth: BoolArray, weights: FloatArray) -> FloatArray:
    """(b,) area under the ROC curve with every image that often; NaN without both."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf) > 0)
    drawn, positive = weights[:, order], truth[order]
    gained = np.add.reduceat(drawn * positive, starts, axis=1)
    lost = np.add.reduceat(drawn * ~positive, starts, axis=1)
    below = np.cumsum(lost, axis=1) - lost
    pairs = gained.sum(axis=1) * lost.sum(axis=1)
    area = np.sum(gained * (below + lost / 2), axis=1) / np.maximum(pairs, 1)
    return np.where(pairs > 0, area, np.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationScore:
    """How well the images' classes are told.

    Attributes:
        accuracy: percent; None where images may have several classes.
        auc: area under the ROC curve, 0 to 1, of each class that some images show and
            some do not.
        macro_auc: their mean; None where there is none.
        group_accuracy: the accuracy of the images, whole groups drawn; None where an
            image has no group.
        group_macro_auc: of groups, such as patients, which show what any of their
            images does, by the mean of its scores; None where none has several images.
    """

    accuracy: Estimate | None
    auc: Mapping[str, Estimate]
    macro_auc: Estimate | None
    group_accuracy: Estimate | None = None
    group_macro_auc: Estimate | None = None


class ClassificationMeter:
    """Scores and labels image by image; keeps K numbers of each.

    Args:
        classes: names.
        multi_label: whether images may have none or several of them.
    """

    def __init__(self, classes: Sequence[str], *, multi_label: bool) -> None:
        self._classes = tuple(classes)
        self._multi_label = multi_label
        self._scores: list[FloatArray] = []
        self._labels: list[BoolArray] = []
        self._groups: list[str] = []

    @property
    def images(self) -> int:
        """How many images were added."""
        return len(self._scores)

    def update(
        self, scores: Sequence[float], labels: Sequence[int], group: str = ""
    ) -> None:
        """Add one image.

        Args:
            scores: one a class.
            labels: 0 or 1 a class.
            group: what it belongs to, for example a patient.

        Raises:
            ImageError: they are not as many as classes.
        """
        if not len(scores) == len(labels) == len(self._classes):
            raise ImageError(
                f"There are {len(scores)} scores and {len(labels)} labels for "
                f"{len(self._classes)} classes. Pass one of each for every class."
            )
        self._scores.append(np.asarray(scores, np.float64))
        self._labels.append(np.asarray(labels) > 0)
        self._groups.append(group)

    def value(self, draw: Bootstrap) -> ClassificationScore:
        """The figures so far, with intervals.

        Raises:
            ImageError: there was no image.
        """
        if not self._scores:
            raise ImageError("There are no images to evaluate. Pass at least one.")
        scores = np.stack(self._scores)
        labels = np.stack(self._labels)
        right = np.take_along_axis(labels, scores.argmax(axis=1)[:, None], axis=1)[:, 0]
        each = {
            name: _area(scores[:, [place]], labels[:, [place]], draw)
            for place, name in enumerate(self._classes)
        }
        names, at = np.unique(self._groups, return_inverse=True)
        sums = np.zeros((len(names), 2 * scores.shape[1] + 2))
        np.add.at(sums, at, np.c_[right, np.ones(len(at)), scores, labels])
        hits, counts, totals, shown = np.split(sums, [1, 2, 2 + scores.shape[1]], 1)
        share = mean(right.astype(np.float64), draw).times(100.0)
        by_group = macro_share(hits, counts, draw).times(100.0)
        pooled = _area(totals / counts, shown > 0, draw)
        is_told, single = "" not in names, not self._multi_label
        return ClassificationScore(
            accuracy=share if single else None,
            auc={name: item for name, item in each.items() if item is not None},
            macro_auc=_area(scores, labels, draw),
            group_accuracy=by_group if is_told and single else None,
            group_macro_auc=pooled if is_told and len(names) < len(at) else None,
        )


def _area(scores: FloatArray, labels: BoolArray, draw: Bootstrap) -> Estimate | None:
    """Mean area under the ROC curves of (N, K) classes; None where none has both."""
    known = np.flatnonzero(labels.any(0) & ~labels.all(0))

    def areas(weights: FloatArray) -> FloatArray:
        each = [_areas(scores[:, k], labels[:, k], weights) for k in known]
        # A rare class may be missing in a draw: the others count then.
        found = np.isfinite(each)
        total = np.where(found, each, 0.0).sum(axis=0)
        count = found.sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    return draw.estimate(len(scores), areas) if len(known) else None
