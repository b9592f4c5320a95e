"""What a split says of where things are: masks, boxes, or nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from napari_wsol.data.folds import by_name
from napari_wsol.data.published import recognised
from napari_wsol.data.split_files import (
    BOXES,
    CLASS_LABELS,
    LOCALIZATION,
    PATH_COLUMNS,
    Box,
    column_of,
    find_table,
    read_fields,
    read_table,
    rows_below,
    sides_of,
    split_folder,
)
from napari_wsol.errors import DatasetError
from napari_wsol.evaluation.references import (
    Reference,
    load_references,
    references_of,
)
from napari_wsol.files import path_from
from napari_wsol.files.tables import columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsol.data.split_files import Row

_SIZE = re.compile(r"[1-9]\d{0,5}", re.ASCII)
SIZES = "image_sizes.txt"
_SIDES = ("x", "y", "w", "h")
_IMAGE_COLUMNS = ("image", *PATH_COLUMNS)
_CLASS_COLUMNS = ("class", "label")
_BOX_COLUMNS = {"w", "xmin", "x1", "bbox", "bboxx"}
"""Columns, their letters and digits, that only tables of boxes have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """References of a split, under the ids that its list of images uses.

    Attributes:
        masks: of each image that has one.
        boxes: of each image that has some.
        notes: what lies there and was not used, a sentence each.
    """

    masks: dict[str, Reference] = field(default_factory=dict[str, Reference])
    boxes: dict[str, list[Box]] = field(default_factory=dict[str, list[Box]])
    notes: tuple[str, ...] = ()


def load_truth(
    folder: str | Path,
    split: str | None,
    ids: Sequence[str],
    *,
    frame: tuple[int, int] | None = None,
) -> Truth:
    """Masks or boxes of a split's images; neither is an error.

    Looked for in this order:

    - what a data set has that its makers published (:mod:`napari_wsol.data.layouts`);
    - ``localization.txt`` of a split folder: lines ``image,mask`` or
      ``image,mask,ignore``, or ``image,x0,y0,x1,y1`` with the last pixels included, in
      the frame that ``image_sizes.txt`` (``image,width,height``) gives;
    - ``boxes.csv`` beside the table of labels: columns ``image`` (or ``path``),
      ``class`` (or ``label``), ``x``, ``y``, ``w``, ``h``. An image is named as in the
      table or by its file name, with any extension;
    - columns ``x``, ``y``, ``w``, ``h`` or ``mask`` of that table, empty where an image
      has none.

    Args:
        folder: the data set's folder, or that of the split, or the table.
        split: name of the split.
        ids: the images, as the data set lists them.
        frame: (H, W) that boxes were drawn in, where it is not that of the files.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    published = recognised(folder, split)
    if published is not None:
        found = Truth()
        for item in published.samples:
            if item.masks:
                own = Reference(id=item.id, image=item.path, masks=item.masks)
                found.masks[item.id] = own
            for box in item.boxes:
                own = replace(box, frame=frame or box.frame)
                found.boxes.setdefault(item.id, []).append(own)
        return found
    place = split_folder(folder, split)
    found = _load(folder, place, split, ids, frame)
    notes = () if found.boxes else _unused_boxes({place, path_from(folder)})
    return replace(found, notes=notes)


def _load(
    folder: str | Path,
    place: Path,
    split: str | None,
    ids: Sequence[str],
    frame: tuple[int, int] | None,
) -> Truth:
    if (place / LOCALIZATION).is_file():
        lines = read_fields(place / LOCALIZATION)
        if lines and len(lines[0][1]) == 5:
            return Truth(boxes=_listed_boxes(place, lines, frame))
        masks = references_of(place, lines)
        return Truth(masks={item.id: item for item in masks})
    table = find_table(place, split) or find_table(folder, split)
    if table is None or (place / CLASS_LABELS).is_file():
        return Truth()
    if (table.parent / BOXES).is_file():
        rows = _box_table(table.parent / BOXES)
        return Truth(boxes=_tabled_boxes(rows, ids, frame))
    rows = read_table(table, split)
    if set(_SIDES) <= set(rows[0][1]):
        chosen = [row for row in rows if any(row[1][side] for side in _SIDES)]
        return Truth(boxes=_tabled_boxes(chosen, ids, frame))
    has_masks = any(row.get("mask") for _, row in rows)
    masks = load_references(table, split) if has_masks else []
    return Truth(masks={item.id: item for item in masks})


def _unused_boxes(places: set[Path]) -> tuple[str, ...]:
    """Of each table of boxes that was not used: a person may think that it counts."""
    folders = {path.parent if path.is_file() else path for path in places}
    tables = sorted({table for folder in folders for table in folder.glob("*.csv")})
    return tuple(
        f"“{table.name}” lists boxes, but was not used: they count in a “{BOXES}” "
        "beside the table of labels, with the columns image, class, x, y, w and h."
        for table in tables
        if _BOX_COLUMNS
        & {re.sub(r"[^a-z0-9]", "", name.casefold()) for name in columns_of(table)}
    )


def _box_table(path: Path) -> list[Row]:
    lines = read_fields(path)
    header = lines[0][1] if lines else []
    missing = [name for name in _SIDES if name not in header]
    if column_of(header, _IMAGE_COLUMNS) is None:
        missing.insert(0, "image")
    if missing or len(lines) < 2:
        raise DatasetError(
            f"“{path.name}” has no {'column ' + missing[0] if missing else 'rows'}. It "
            "needs the columns image, class, x, y, w and h, and a row for each box."
        )
    return rows_below(header, lines[1:])


def _tabled_boxes(
    rows: list[Row], ids: Sequence[str], frame: tuple[int, int] | None
) -> dict[str, list[Box]]:
    known = by_name(ids)
    boxes: dict[str, list[Box]] = {}
    for where, row in rows:
        named = row[column_of(row, _IMAGE_COLUMNS) or ""]
        image = known.get(named) or known.get(PurePosixPath(named).stem)
        if image is None:
            continue  # of another split
        sides = sides_of([row[side] for side in _SIDES], where)
        name = row.get(column_of(row, _CLASS_COLUMNS) or "")
        box = Box(xywh=sides, name=name, frame=frame, where=where)
        boxes.setdefault(image, []).append(box)
    if rows and not boxes:
        raise DatasetError(
            f"No box belongs to an image of this split: {rows[0][0]} is of "
            f"“{next(iter(rows[0][1].values()))}”, the first image is “{ids[0]}”."
        )
    return boxes


def _listed_boxes(
    place: Path,
    lines: list[tuple[str, list[str]]],
    frame: tuple[int, int] | None,
) -> dict[str, list[Box]]:
    sizes = _sizes(place) if frame is None else {}
    boxes: dict[str, list[Box]] = {}
    for where, fields in lines:
        if len(fields) != 5:
            raise DatasetError(
                f"{where} has {len(fields)} fields, but the first line is a box: "
                "image,x0,y0,x1,y1. Use boxes or masks in one list, not both."
            )
        x0, y0, x1, y1 = sides_of(fields[1:], where, corners=True)
        box = Box(
            xywh=(x0, y0, x1 - x0 + 1, y1 - y0 + 1),
            name=None,
            frame=frame or sizes.get(fields[0]),
            where=where,
        )
        boxes.setdefault(fields[0], []).append(box)
    return boxes


def _sizes(place: Path) -> dict[str, tuple[int, int]]:
    if not (place / SIZES).is_file():
        return {}
    sizes: dict[str, tuple[int, int]] = {}
    for where, fields in read_fields(place / SIZES):
        if len(fields) != 3 or not all(map(_SIZE.fullmatch, fields[1:])):
            raise DatasetError(
                f"{where} is “{','.join(fields)}”, but must be an image, its width "
                "and its height."
            )
        sizes[fields[0]] = (int(fields[2]), int(fields[1]))
    return sizes
