"""Images as tables of one's own: what each training learnt from and was measured on."""

from __future__ import annotations

import os
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.data.split_files import BOXES, LOCALIZATION
from napari_wsol.files.tables import lines_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.data.datasets import Sample
    from napari_wsol.evaluation.truth import Truth


def list_of(
    samples: Sequence[Sample], data: Path, classes: Sequence[str], *, multi_label: bool
) -> str:
    """A table of images and labels; paths start from the data's folder."""
    rows: list[Sequence[object]] = [["path", *(classes if multi_label else ["label"])]]
    for sample in samples:
        hot = sample.labels
        told = hot if multi_label else [classes[hot.index(1)]]
        rows.append([_from(data, sample.path), *told])
    return lines_of(rows)


def references_of(
    samples: Sequence[Sample], folder: Path, truth: Truth
) -> dict[str, str]:
    """The lists of masks and of boxes beside such a table, by their names.

    Args:
        samples: the images.
        folder: where the lists are; their paths start from it.
        truth: masks and boxes, of other images too.
    """
    masks: list[Sequence[object]] = []
    boxes: list[Sequence[object]] = []
    for sample in samples:
        image = _from(folder, sample.path)
        known = truth.masks.get(sample.id)
        if known is not None:  # a line without a mask says that nothing is there
            pairs = list(zip_longest(known.masks, known.ignored)) or [(None, None)]
            masks += [
                [image, *(_from(folder, path) if path else "" for path in pair)]
                for pair in pairs
            ]
        own = truth.boxes.get(sample.id, ())
        boxes += [[image, box.name, *box.xywh] for box in own]
    found = {LOCALIZATION: masks, BOXES: boxes and [_BOX_COLUMNS, *boxes]}
    return {name: lines_of(rows) for name, rows in found.items() if rows}


_BOX_COLUMNS = ("image", "class", "x", "y", "w", "h")


def _from(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
