"""OME-Zarr 0.5: levels of an image, and what its group says of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from skimage import measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import zarr
    from zarr.core.common import JSON

SOFTWARE = "napari-wsol"
"""Of files that we write, and the key of our own facts in them."""

CHUNK = 512

Pair = tuple[float, float]
Values = npt.NDArray[np.float32 | np.uint8]
Reduce = Callable[..., npt.NDArray[Any]]
"""``numpy.mean``, ``numpy.max`` and the like."""


def describe_levels(
    group: zarr.Group,
    name: str,
    places: Sequence[tuple[Pair, Pair]],
    *,
    mpp: float | None,
    facts: Mapping[str, object] | None = None,
    channels: bool = False,
) -> None:
    """Says where the arrays "0", "1", … of a group lie.

    Positions are in µm where the pixel size is known, else in level-0 pixels.

    Args:
        group: of the arrays.
        name: of the image.
        places: scale and translate of each array, (y, x), in level-0 pixels.
        mpp: µm a level-0 pixel.
        facts: our own, for people and programs that read them.
        channels: whether the arrays have an axis of channels first.
    """
    unit = 1.0 if mpp is None else mpp
    axes: list[dict[str, str]] = [{"name": n, "type": "space"} for n in ("y", "x")]
    if mpp is not None:
        axes = [axis | {"unit": "micrometer"} for axis in axes]
    if channels:
        axes.insert(0, {"name": "c", "type": "channel"})
    datasets: list[dict[str, object]] = []
    for level, (scale, translate) in enumerate(places):
        place = [
            {
                "type": "scale",
                "scale": [*[1.0] * channels, *(unit * v for v in scale)],
            },
            {
                "type": "translation",
                "translation": [*[0.0] * channels, *(unit * v for v in translate)],
            },
        ]
        datasets.append({"path": str(level), "coordinateTransformations": place})
    multiscale = {"name": name, "axes": axes, "datasets": datasets}
    group.attrs["ome"] = cast("JSON", {"version": "0.5", "multiscales": [multiscale]})
    if facts is not None:
        group.attrs[SOFTWARE] = cast("JSON", dict(facts))


def levels_for(*shapes: tuple[int, ...]) -> int:
    """Levels after which the largest of some images is no larger than a chunk."""
    halves = max(max(shape) for shape in shapes) / CHUNK
    return 1 + max(0, math.ceil(math.log2(halves)))


def write_levels(
    group: zarr.Group,
    name: str,
    values: Values,
    place: tuple[Pair, Pair],
    *,
    levels: int,
    reduce: Reduce,
    mpp: float | None,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Writes an image as arrays "0", "1", …, each half of the one before.

    Args:
        group: to write to.
        name: of the image.
        values: (h, w).
        place: its scale and translate, as those of :func:`describe_levels`.
        levels: how many.
        reduce: makes one value of four.
        mpp: µm a level-0 pixel.
        facts: our own.
    """
    places: list[tuple[Pair, Pair]] = []
    for level, part in enumerate(pyramid(values, levels, reduce)):
        chunks = min(CHUNK, part.shape[0]), min(CHUNK, part.shape[1])
        names = ["y", "x"]
        group.create_array(str(level), data=part, chunks=chunks, dimension_names=names)
        (height, width), (top, left) = place
        places.append(place)
        # Its first pixel lies half a finer one further in.
        place = (2 * height, 2 * width), (top + height / 2, left + width / 2)
    describe_levels(group, name, places, mpp=mpp, facts=facts)


def pyramid(values: Values, levels: int, reduce: Reduce) -> Iterator[Values]:
    """(h, w), then half of it: one value for each 2 × 2; the last ones count twice."""
    yield values
    for _ in range(levels - 1):
        even = np.pad(values, [(0, side % 2) for side in values.shape], "edge")
        half = cast("Values", measure.block_reduce(even, 2, reduce))
        values = half.astype(values.dtype)
        yield values
