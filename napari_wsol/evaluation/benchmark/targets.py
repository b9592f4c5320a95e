"""What the maps of an image are compared with, as the settings want it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import DatasetError
from napari_wsol.evaluation.points import paint
from napari_wsol.evaluation.scores import squash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_wsol.data.datasets import Sample
    from napari_wsol.evaluation.scores import BoolArray, FloatArray
    from napari_wsol.evaluation.settings import EvaluationConfig
    from napari_wsol.evaluation.truth import Box, Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class MapTarget:
    """What one map of an image is compared with.

    Attributes:
        target: the class; None for the most probable one.
        mask: (H, W) foreground on the grid; None where there are boxes, or nothing.
        ignore: (H, W) pixels that do not count.
        boxes: (n, 4) of x, y, width, height on the grid.
        grid: rows and columns.
    """

    target: str | None
    grid: tuple[int, int]
    mask: BoolArray | None = None
    ignore: BoolArray | None = None
    boxes: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))

    @property
    def is_reference(self) -> bool:
        """Whether there is anything to compare with."""
        return self.mask is not None or len(self.boxes) > 0

    def area(self) -> BoolArray | None:
        """(rows, columns) that the class covers; None where that is not known."""
        return paint(self.boxes, self.grid) if len(self.boxes) else self.mask


def own_class(sample: Sample, classes: Sequence[str]) -> str | None:
    """The class of an image that has exactly one."""
    if sum(sample.labels) != 1:
        return None
    return classes[sample.labels.index(1)]


def boxes_of(
    sample: Sample, truth: Truth, classes: Sequence[str]
) -> dict[str, list[Box]]:
    """The boxes of an image by class; those of other classes are left out.

    Raises:
        DatasetError: a box says no class, and its image has none or several.
    """
    own = own_class(sample, classes)
    found: dict[str, list[Box]] = {}
    for box in truth.boxes.get(sample.id, ()):
        name = box.name or own
        if name is None:
            raise DatasetError(
                f"{box.where} says no class, and “{sample.id}” has none or several. "
                "Add a column “class”."
            )
        if name in classes:
            found.setdefault(name, []).append(box)
    return found


def referenced(sample: Sample, truth: Truth, classes: Sequence[str]) -> list[str]:
    """The classes whose maps can be compared in an image; opens no file.

    Raises:
        DatasetError: a box says no class, and its image has none or several.
    """
    boxes, own = boxes_of(sample, truth, classes), own_class(sample, classes)
    if boxes or own is None or sample.id not in truth.masks:
        return list(boxes)
    return [own]


def targets_of(
    sample: Sample,
    shape: tuple[int, int],
    truth: Truth,
    classes: Sequence[str],
    config: EvaluationConfig,
) -> Iterator[MapTarget]:
    """What the maps of an image are compared with; at least one.

    Args:
        sample: the image.
        shape: (H, W) of its file.
        truth: masks or boxes of it and of others.
        classes: of the model.
        config: how.

    Raises:
        DatasetError: a mask cannot be read, or a box cannot be used; names it.
    """
    own = own_class(sample, classes)
    target = None if config.target == "predicted" else own
    size = config.size
    grid = shape if size is None else (size, size)
    boxes = boxes_of(sample, truth, classes)
    reference = truth.masks.get(sample.id)
    if boxes:
        for name, found in boxes.items():
            place = name if target is not None or own is None else None
            sides = np.array([box.on(shape, grid) for box in found])
            yield MapTarget(target=place, grid=grid, boxes=sides)
    elif reference is not None and own is not None:
        chosen = config.classes
        mask, ignore = reference.mask(chosen), reference.ignore(chosen)
        grid = mask.shape if size is None else grid
        yield MapTarget(
            target=target,
            grid=grid,
            mask=squash(mask, grid),
            ignore=None if ignore is None else squash(ignore, grid),
        )
    else:
        yield MapTarget(target=target, grid=grid)
