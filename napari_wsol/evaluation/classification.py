"""How often the image's class is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import ImageError

if TYPE_CHECKING:
    import numpy.typing as npt


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
