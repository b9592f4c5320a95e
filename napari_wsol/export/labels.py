"""What is known of an image, class by class, as the ``labels`` of an OME-Zarr group."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from napari_wsol.export.ome import write_levels
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import zarr
    from zarr.core.common import JSON

    from napari_wsol.export.ome import Pair

CLASS_COLOR, AGAINST_COLOR = (213, 94, 0), (0, 114, 178)
"""Vermilion, for a class, and blue, against it, of the safe Okabe-Ito palette."""

TISSUE_COLOR = (204, 121, 167)
"""Its reddish purple."""

STROKES = {
    FOREGROUND: ("Foreground", (230, 159, 0)),
    BACKGROUND: ("Background", (0, 114, 178)),
}
"""Name and colour of each kind of stroke: its orange and blue, as in the window."""


class Label(NamedTuple):
    """An image of labels: (h, w) bool or uint8, where 0 is nothing.

    Its place is the scale and translate of a :class:`~napari_wsol.images.heatmap`;
    its classes are a name and an RGB colour for each value.
    """

    name: str
    values: npt.NDArray[np.bool_ | np.uint8]
    place: tuple[Pair, Pair]
    classes: Mapping[int, tuple[str, tuple[int, int, int]]]


def write_labels(
    group: zarr.Group, labels: Sequence[Label], levels: int, mpp: float | None
) -> None:
    """Adds labels to the group of an image.

    Args:
        group: of the image.
        labels: to be written.
        levels: of the image: theirs must be as many.
        mpp: µm a level-0 pixel, None where it is not known.
    """
    above = group.create_group("labels")
    told = {"version": "0.5", "labels": [label.name for label in labels]}
    above.attrs["ome"] = cast("JSON", told)
    for name, values, place, classes in labels:
        of, pixels = above.create_group(name), values.astype(np.uint8)
        # A thin stroke shows at any level: some label beats none.
        write_levels(of, name, pixels, place, levels=levels, reduce=np.max, mpp=mpp)
        known = {
            "source": {"image": "../../"},
            "colors": [
                {"label-value": value, "rgba": [*color, 255]}
                for value, (_, color) in classes.items()
            ],
            "properties": [
                {"label-value": value, "class": title}
                for value, (title, _) in classes.items()
            ],
        }
        ome = cast("dict[str, object]", of.attrs["ome"])
        of.attrs["ome"] = cast("JSON", {**ome, "image-label": known})
