"""Images as tables of one's own: what each training learnt from and was measured on."""

from __future__ import annotations

import os
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.files.tables import lines_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_wsol.data.datasets import Sample
    from napari_wsol.evaluation.references import Reference
    from napari_wsol.evaluation.truth import Box


def list_of(
    samples: Sequence[Sample],
    folder: Path,
    classes: Sequence[str],
    *,
    multi_label: bool,
    masks: Mapping[str, Reference] | None = None,
) -> str:
    """A table of images and labels, and of their masks where there are some.

    Args:
        samples: the images.
        folder: that the paths start from.
        classes: names, in the order of the labels.
        multi_label: a column of 0 and 1 for each class, or one with the class's name.
        masks: of some of the images, by their ids.
    """
    beside = ["mask", "ignore"] if masks else []
    names = classes if multi_label else ["label"]
    rows: list[Sequence[object]] = [["path", *names, *beside]]
    for sample in samples:
        hot = sample.labels
        told = hot if multi_label else [classes[hot.index(1)]]
        row = [_from(folder, sample.path), *told]
        known = (masks or {}).get(sample.id)
        if known is None:
            rows.append([*row, *("" for _ in beside)])
            continue
        rows += [
            [*row, *(_from(folder, path) if path else "" for path in pair)]
            for pair in zip_longest(known.masks, known.ignored)
        ]
    return lines_of(rows)


def list_of_boxes(
    samples: Sequence[Sample], folder: Path, boxes: Mapping[str, Sequence[Box]]
) -> str:
    """A table of the boxes of images, whose paths start from a folder."""
    rows: list[Sequence[object]] = [["image", "class", "x", "y", "w", "h"]]
    for sample in samples:
        path = _from(folder, sample.path)
        own = boxes.get(sample.id, ())
        rows += [[path, box.name, *box.xywh] for box in own]
    return lines_of(rows)


def _from(folder: Path, path: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()
