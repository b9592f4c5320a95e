"""What strokes mark on one image: labelled pixels, and the few places they come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from napari_wsol.errors import NoScribblesError
from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND
from napari_wsol.strokes import stroke

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

KINDS = ((stroke.BACKGROUND, BACKGROUND), (stroke.FOREGROUND, FOREGROUND))
"""Label of a stroke, and class of a pixel head."""

COUNTED_SIDE = 8
"""Side of a place in network input pixels: closer pixels say the same twice."""

PLACE_SIDE = 4
"""Side of a place in network input pixels: all pixels in it are one."""

MOST_PLACES = 400
"""Of both kinds together; more are thinned evenly. Twenty short strokes stay below."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Labelled pixels of one image.

    Attributes:
        points: (n, 2) float32 positions (y, x) in network input pixels.
        labels: (n,) int64, 0 background, 1 foreground.
    """

    points: Tensor
    labels: Tensor


def labelled_pixels(
    scribbles: npt.NDArray[np.uint8],
    *,
    scale: tuple[float, float],
    translate: tuple[float, float],
    downsample: tuple[float, float],
    origin: tuple[int, int] = (0, 0),
    finds: str = "the class",
    max_pixels: int = 2_000,
    may_be_empty: bool = False,
) -> Labelled:
    """Positions and labels of a scribble canvas.

    Args:
        scribbles: (h, w) uint8: 0 unlabelled, 1 background, 2 foreground.
        scale: level-0 pixels a canvas pixel, (y, x).
        translate: level-0 position of the centre of canvas pixel (0, 0).
        downsample: level-0 pixels a network input pixel, (y, x).
        origin: network input pixels left out above and to the left.
        finds: what foreground is, for the message.
        max_pixels: pixels kept per class; more are thinned evenly, so that a long
            stroke counts along its whole length.
        may_be_empty: whether something else teaches where nothing is labelled.

    Raises:
        NoScribblesError: nothing is labelled, and it has to be.
    """
    points: list[npt.NDArray[np.float64]] = []
    labels: list[npt.NDArray[np.int64]] = []
    for value, label in KINDS:
        rows, columns = np.nonzero(scribbles == value)
        if len(rows) > max_pixels:
            keep = np.linspace(0, len(rows) - 1, max_pixels).round().astype(np.intp)
            rows, columns = rows[keep], columns[keep]
        points.append(np.stack([rows, columns], axis=1).astype(np.float64))
        labels.append(np.full(len(rows), label, np.int64))
    if not may_be_empty and not any(map(len, labels)):
        raise NoScribblesError(
            f"Nothing is marked yet. Draw a foreground stroke on {finds} that was "
            "missed, or a background stroke where the map is wrong, then refine."
        )
    seen = seen_points(
        np.concatenate(points),
        scale=scale,
        translate=translate,
        downsample=downsample,
        origin=origin,
    )
    return Labelled(seen, torch.from_numpy(np.concatenate(labels)))


def seen_points(
    cells: npt.NDArray[np.generic],
    *,
    scale: tuple[float, float],
    translate: tuple[float, float],
    downsample: tuple[float, float],
    origin: tuple[int, int],
) -> Tensor:
    """(n, 2) float32 network input pixels of (n, 2) canvas cells.

    Arguments as of :func:`labelled_pixels`; centres are integers on all grids.
    """
    level0 = cells * np.array(scale) + np.array(translate)
    points = (level0 + 0.5) / np.array(downsample) - 0.5 - np.array(origin)
    return torch.from_numpy(points.astype(np.float32))


def count_places(points: Tensor) -> int:
    """How many different places are marked, at least 1."""
    cells = torch.div(points, COUNTED_SIDE, rounding_mode="floor")
    different = cast("Tensor", torch.unique(cells, dim=0))
    return max(1, len(different))


def labelled_places(labelled: Labelled) -> Labelled:
    """One point for each small square that is marked, and each of its labels."""
    cells = torch.div(labelled.points, PLACE_SIDE, rounding_mode="floor").long()
    keys = torch.cat([labelled.labels[:, None], cells], dim=1)
    found, inverse = cast(
        "tuple[Tensor, Tensor]", torch.unique(keys, dim=0, return_inverse=True)
    )
    counts = torch.bincount(inverse, minlength=len(found))
    sums = torch.zeros(len(found), 2).index_add_(0, inverse, labelled.points)
    points, labels = sums / counts[:, None], found[:, 0]
    if len(points) > MOST_PLACES:
        keep = torch.linspace(0, len(points) - 1, MOST_PLACES).round().long()
        points, labels = points[keep], labels[keep]
    return Labelled(points, labels)
