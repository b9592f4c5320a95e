"""What is known of an image, class by class, as the ``labels`` of an OME-Zarr group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import zarr

from napari_wsol.export.ome import describe, write_levels
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

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


@dataclass(frozen=True, slots=True, kw_only=True)
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


def add_labels(path: Path, labels: Sequence[Label], mpp: float | None) -> None:
    """Adds labels to an OME-Zarr image of ours that has none yet."""
    group = zarr.open_group(path, mode="r+", zarr_format=3)
    write_labels(group, labels, len(list(group.array_keys())), mpp)


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
        values, classes = label.values.astype(np.uint8), label.classes.items()
        # A thin stroke shows at any level: some label beats none.
        write_levels(
            above.create_group(label.name),
            label.name,
            values,
            (label.scale, label.translate),
            levels=levels,
            reduce=np.max,
            mpp=mpp,
            more={
                "image-label": {
                    "colors": [
                        {"label-value": value, "rgba": [*color, 255]}
                        for value, (_, color) in classes
                    ],
                    "properties": [
                        {"label-value": value, "class": name}
                        for value, (name, _) in classes
                    ],
                    "source": {"image": "../../"},
                }
            },
        )
