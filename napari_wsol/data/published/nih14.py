"""NIH ChestX-ray14: https://nihcc.app.box.com/v/ChestXray-NIHCC.

Wang et al., CVPR 2017 (arXiv 1705.02315): 112,120 films of 30,805 patients, and 984
boxes on 880 of them, drawn in the 1024 x 1024 pixels of the published files.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.data.published.layout import (
    Layout,
    MarkedBox,
    Published,
    headed,
    images_below,
    none_here,
    plain,
    rows_of,
)
from napari_wsol.data.split_files import read_fields
from napari_wsol.data.split_folders import Sample, twice
from napari_wsol.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "NIH ChestX-ray14"
CLASSES = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule"),
    *("Pneumonia", "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis"),
    *("Pleural_Thickening", "Hernia"),
)
_AT = {plain(name): index for index, name in enumerate(CLASSES)} | {"infiltrate": 3}
"""The list of boxes says “Infiltrate”."""

LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
TRAINS = 0.75
"""Of the patients that are not in the official test set learn; the others validate."""


def _find(place: Path) -> Path | None:
    tables = headed(place, ("Image Index", "Finding Labels"))
    official = [path for path in tables if path.stem.startswith("Data_Entry")]
    return next(iter(official or tables), None)


def _read(table: Path, choice: str) -> Published:
    rows, folder = rows_of(table), table.parent
    # As unpacked: images/, images_001/images/ to images_012/images/.
    places = [folder, *sorted(folder.glob("images*"))]
    places += [path / "images" for path in places]
    here = images_below(path for path in places if path.is_dir())
    splits = _splits(folder)
    found: dict[str, Sample] = {}
    for where, row in rows:
        name = row["Image Index"]
        if name in found:
            raise twice(where, name)
        path = here.get(name.rpartition(".")[0])
        if path is not None:
            found[name] = Sample(
                path=path,
                labels=_labels(where, row["Finding Labels"]),
                id=name,
                group=row.get("Patient ID") or name.partition("_")[0],
                split=splits.get(name, ""),
            )
    if not found:
        raise none_here(TITLE, table, rows[0][1]["Image Index"])
    samples = list(found.values())
    boxes, notes = _boxes(folder, found)
    if choice:
        samples = _dealt(samples, set(boxes), int(choice.partition("-")[2] or 0))
    return Published(
        key="nih14",
        title=TITLE,
        noun="films",
        classes=CLASSES,
        samples=tuple(samples),
        multi_label=True,
        listed=len(rows),
        groups="patients",
        boxes=boxes,
        frame=(1024, 1024),
        notes=notes,
    )


def _labels(where: str, text: str) -> tuple[int, ...]:
    names = {plain(name) for name in text.split("|")} - {"", "no finding"}
    strange = sorted(names - set(_AT))
    if strange:
        raise DatasetError(
            f"{where} has the finding “{strange[0]}”. The findings are "
            f"{', '.join(CLASSES)}, and “No Finding”."
        )
    places = {_AT[name] for name in names}
    return tuple(int(index in places) for index in range(len(CLASSES)))


def _splits(folder: Path) -> dict[str, str]:
    return {
        fields[0]: split
        for split, name in LISTS.items()
        if (folder / name).is_file()
        for _, fields in read_fields(folder / name)
    }


def _boxes(
    folder: Path, found: dict[str, Sample]
) -> tuple[dict[str, tuple[MarkedBox, ...]], tuple[str, ...]]:
    """By image; its header, “Bbox [x,y,w,h],,,”, is read by places, not by names."""
    tables = headed(folder, ("Image Index", "Finding Label"))
    boxes: dict[str, tuple[MarkedBox, ...]] = {}
    total = 0
    for where, fields in read_fields(tables[0])[1:] if tables else ():
        name, kind = (*fields, "", "")[:2]
        try:
            x, y, w, h = map(float, fields[2:6])
        except ValueError:
            x = y = w = h = math.nan
        if plain(kind) not in _AT or not (
            w > 0 and h > 0 and math.isfinite(x + y + w + h)
        ):
            raise DatasetError(
                f"{where} is “{','.join(fields)}”, which is no box: it needs an image, "
                "a finding and four numbers x, y, w, h, the last two above 0."
            )
        total += 1
        if name in found:
            box = MarkedBox(
                name=CLASSES[_AT[plain(kind)]], xywh=(x, y, w, h), where=where
            )
            boxes[name] = (*boxes.get(name, ()), box)
    left = total - sum(map(len, boxes.values()))
    notes = (f"{left:,} boxes are of films that are not here.",) if left else ()
    return boxes, notes


def _dealt(samples: list[Sample], boxed: set[str], seed: int) -> list[Sample]:
    """Patients 75 to 25 into “train” and “val”; “test” stays what nobody learns from.

    Where the official lists are not there, that is the patients with boxes.
    """
    has_lists = any(item.split for item in samples)
    test = {
        item.group
        for item in samples
        if (item.split == "test" if has_lists else item.id in boxed)
    }
    patients = sorted({item.group for item in samples} - test)
    np.random.default_rng(seed).shuffle(patients)
    learns = set(patients[: round(TRAINS * len(patients))])
    return [
        replace(
            item,
            split="test"
            if item.group in test
            else ("train" if item.group in learns else "val"),
        )
        for item in samples
    ]


LAYOUT = Layout(
    find=_find,
    read=_read,
    allowed=r"pcam(-\d{1,9})?",
    choices="“pcam” (of the patients outside the test set 75 % are “train” and 25 % "
    "“val”) or “pcam-7” (the same, dealt by the seed 7)",
)
