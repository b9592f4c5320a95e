"""What is known of an image, class by class, as the ``labels`` of an OME-Zarr group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.export.ome import describe, write_levels
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import zarr

    from napari_wsol.export.ome import Pair

CLASS_COLOR = (213, 94, 0)
"""Vermilion of the colour-blind-safe Okabe-Ito palette."""

TISSUE_COLOR = (204, 121, 167)
"""Its reddish purple."""

STROKES = {
    FOREGROUND: ("Foreground", (230, 159, 0)),
    BACKGROUND: ("Background", (0, 114, 178)),
}
"""Name and colour of each kind of stroke: its orange and blue, as in the window."""


@dataclass(frozen=True, slots=True)
class Label:
    """One image of labels.

    Attributes:
        name: of it.
        values: (h, w) bool or uint8; 0 is nothing.
        scale: level-0 pixels a pixel, (y, x).
        translate: level-0 position of the centre of pixel (0, 0), (y, x).
        classes: name and RGB colour of each value.
    """

    name: str
    values: npt.NDArray[np.bool_ | np.uint8]
    scale: Pair
    translate: Pair
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
    describe(above, {"labels": [label.name for label in labels]})
    for label in labels:
        colors = [
            {"label-value": value, "rgba": [*color, 255]}
            for value, (_, color) in label.classes.items()
        ]
        names = [
            {"label-value": value, "class": name}
            for value, (name, _) in label.classes.items()
        ]
        told = {"colors": colors, "properties": names, "source": {"image": "../../"}}
        write_levels(
            above.create_group(label.name),
            label.name,
            label.values.astype(np.uint8),
            (label.scale, label.translate),
            levels=levels,
            reduce=np.max,  # a thin stroke shows at any level: some label beats none
            mpp=mpp,
            more={"image-label": told},
        )
