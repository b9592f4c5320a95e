"""Heatmaps and masks as the metrics need them: finite, in [0, 1], on one grid."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_wsol.errors import ImageError
from napari_wsol.images.heatmap import Heatmap

if TYPE_CHECKING:
    from collections.abc import Sequence

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
ScoreMap = Heatmap | npt.NDArray[np.float32] | npt.NDArray[np.float64]
"""A heatmap, or (h, w) values in [0, 1] that cover the whole image."""

AnyMask = npt.NDArray[np.generic]
"""(H, W) reference: bool, or numbers where anything above 0 is foreground."""

_ROUNDING = 1e-6


def scores_on(heatmap: ScoreMap, shape: tuple[int, int] | None = None) -> FloatArray:
    """The values of a heatmap on a grid of ``shape`` cells over the whole image.

    Bilinear, as ``align_corners=False``; an array of that shape already is taken as it
    is, in its own precision.

    Args:
        heatmap: values in [0, 1].
        shape: of the grid; None is the image's own, for an array its own shape.

    Raises:
        ImageError: when values are missing, not numbers or outside [0, 1].
    """
    values = heatmap.values if isinstance(heatmap, Heatmap) else np.asarray(heatmap)
    _check(values)
    if isinstance(heatmap, Heatmap):
        grid = heatmap.image_shape if shape is None else shape
        return heatmap.resized(grid).astype(np.float64)
    if shape is None or values.shape == shape:
        return np.clip(values.astype(np.float64), 0.0, 1.0)
    return spread_over(shape, values).resized(shape).astype(np.float64)


def _check(values: npt.NDArray[np.generic]) -> None:
    if values.ndim != 2 or values.size == 0:
        raise ImageError(
            f"A heatmap has rows and columns, but this array has the shape "
            f"{values.shape}. Pass one (h, w) map an image."
        )
    numbers = values.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ImageError(
            "The heatmap holds values that are not numbers (NaN or infinite), so it "
            "cannot be scored. Look at how it was made, then pass finite values."
        )
    low, high = float(numbers.min()), float(numbers.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ImageError(
            f"The heatmap lies between {low:g} and {high:g}, but scores must lie "
            "between 0 and 1. Scale it, for example with its smallest and largest "
            "value."
        )


def spread_over(
    shape: tuple[int, int],
    values: npt.NDArray[np.generic],
    *,
    method: str = "array",
    target: str = "class",
    is_probability: bool = False,
) -> Heatmap:
    """(h, w) values in [0, 1] as a map that covers an image of ``shape`` pixels."""
    scale = (shape[0] / values.shape[0], shape[1] / values.shape[1])
    return Heatmap(
        values=values.astype(np.float32),
        scale=scale,
        translate=((scale[0] - 1) / 2, (scale[1] - 1) / 2),
        image_shape=shape,
        method=method,
        target=target,
        is_probability=is_probability,
    )


def as_boxes(
    boxes: npt.ArrayLike, of: str = "heatmap", order: str = "x, y, width, height"
) -> FloatArray:
    """(n, 4) reference boxes.

    Args:
        boxes: of one heatmap or image.
        of: what has the boxes, for the message.
        order: of the four numbers, for the message.

    Raises:
        ImageError: there is none, or one has not four numbers.
    """
    array: FloatArray = np.zeros((0, 4))
    with suppress(TypeError, ValueError):
        array = np.atleast_2d(np.asarray(boxes, np.float64))
    if array.ndim != 2 or array.shape[1] != 4 or array.size == 0:
        raise ImageError(
            f"Every {of} needs at least one reference box of four numbers: {order}. "
            f"Leave out {of}s without a box."
        )
    return array


def as_mask(mask: AnyMask) -> BoolArray:
    """Foreground of a reference mask.

    Raises:
        ImageError: when it has no rows and columns, or holds NaN.
    """
    array = np.asarray(mask)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biuf":
        raise ImageError(
            f"A mask has rows and columns of numbers, but this array has the shape "
            f"{array.shape} of {array.dtype}. Pass one (H, W) mask an image."
        )
    if array.dtype == np.bool_:
        return array.astype(np.bool_, copy=False)
    numbers = array.astype(np.float64)
    if np.isnan(numbers).any():
        raise ImageError(
            "The mask holds NaN, so it cannot be told what is foreground. Set these "
            "pixels to 0, or pass them as `ignore`."
        )
    return numbers > 0


def squash(mask: BoolArray, shape: tuple[int, int]) -> BoolArray:
    """A mask on another grid over the whole image: the pixel under each cell's centre.

    The field compares at 224 × 224, whatever an image's size and aspect.

    Args:
        mask: (H, W).
        shape: rows and columns.
    """
    if mask.shape == shape:
        return mask
    rows, columns = (
        ((np.arange(count) + 0.5) * length / count).astype(np.int64)
        for count, length in zip(shape, mask.shape, strict=True)
    )
    return mask[np.ix_(rows, columns)]


def counted(mask: BoolArray, ignore: AnyMask | None) -> BoolArray:
    """Pixels that count: all but the ignored ones; foreground always does.

    Raises:
        ImageError: when the two differ in shape.
    """
    if ignore is None:
        return np.ones(mask.shape, np.bool_)
    ignored = as_mask(ignore)
    if ignored.shape != mask.shape:
        raise ImageError(
            f"The mask has {mask.shape} pixels and its ignore map {ignored.shape}. "
            "Both must have the same rows and columns."
        )
    return mask | ~ignored


def check_same_length(**lists: Sequence[object] | None) -> None:
    """Refuse lists that cannot belong together.

    Raises:
        ImageError: when two lists differ in length, or all are empty.
    """
    sizes = {name: len(items) for name, items in lists.items() if items is not None}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{size} {name}" for name, size in sizes.items())
        raise ImageError(f"There are {said}. Pass one of each for every image.")
    if 0 in sizes.values():
        raise ImageError("There are no images to evaluate. Pass at least one.")
