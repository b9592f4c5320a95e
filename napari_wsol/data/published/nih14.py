"""NIH ChestX-ray14: https://nihcc.app.box.com/v/ChestXray-NIHCC.

Wang et al., CVPR 2017 (arXiv 1705.02315): 112,120 films of 30,805 patients, and 984
boxes on 880 of them, drawn in the 1024 x 1024 pixels of the published files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.data.boxes import Box, sides_of
from napari_wsol.data.published.layout import (
    Layout,
    headed,
    images_below,
    plain,
    rows_of,
)
from napari_wsol.data.split_files import Sample, read_fields
from napari_wsol.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

CLASSES = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule"),
    *("Pneumonia", "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis"),
    *("Pleural_Thickening", "Hernia"),
)
_AT = {plain(name): index for index, name in enumerate(CLASSES)} | {"infiltrate": 3}
"""The list of boxes says “Infiltrate”."""

_LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}
_LEARNS = 0.75
"""Of the patients who are not in the test set; the others validate."""


def _find(place: Path) -> Path | None:
    tables = headed([place], ("Image Index", "Finding Labels"))
    tables.sort(key=lambda path: not path.stem.startswith("Data_Entry"))
    return next(iter(tables), None)


def _list(table: Path, choice: str) -> Iterable[tuple[str, Sample]]:
    folder = table.parent
    # As unpacked: images/, or images_001/images/ to images_012/images/.
    places = [folder, *sorted(folder.glob("images*"))]
    here = images_below([*places, *(path / "images" for path in places)])
    splits = {
        fields[0]: split
        for split, name in _LISTS.items()
        if (folder / name).is_file()
        for _, fields in read_fields(folder / name)
    }
    boxes, found = _boxes(folder), list[tuple[str, Sample]]()
    for where, row in rows_of(table):
        name = row["Image Index"]
        names = {plain(part) for part in row["Finding Labels"].split("|")}
        at = {_place(where, part) for part in names - {"", "no finding"}}
        sample = Sample(
            path=here[name.rpartition(".")[0]],
            labels=tuple(int(index in at) for index in range(len(CLASSES))),
            id=name,
            group=row.get("Patient ID") or name.partition("_")[0],
            split=splits.get(name, ""),
            boxes=tuple(boxes.get(name, ())),
        )
        found.append((where, sample))
    return _dealt(found, int(choice.partition("-")[2] or 0)) if choice else found


def _place(where: str, name: str) -> int:
    if plain(name) not in _AT:
        raise DatasetError(
            f"{where} has the finding “{name}”. The findings are {', '.join(CLASSES)}, "
            "and “No Finding”."
        )
    return _AT[plain(name)]


def _boxes(folder: Path) -> dict[str, list[Box]]:
    """Their header, “Bbox [x,y,w,h],,,”, has commas in a name: read by places."""
    found: dict[str, list[Box]] = {}
    for path in headed([folder], ("Image Index", "Finding Label")):
        for where, fields in read_fields(path)[1:]:
            name, kind, *sides = (*fields[:6], *[""] * (6 - len(fields)))
            box = Box(
                xywh=sides_of(sides, where),
                name=CLASSES[_place(where, kind)],
                frame=(1024, 1024),
                where=where,
            )
            found.setdefault(name, []).append(box)
    return found


def _dealt(films: list[tuple[str, Sample]], seed: int) -> Iterator[tuple[str, Sample]]:
    """“train” and “val” of the patients of whom nobody measures; “test” of the others.

    The test set is the official one; without its list, the patients with boxes.
    """
    is_official = any(film.split for _, film in films)
    test = {
        film.group
        for _, film in films
        if (film.split == "test" if is_official else film.boxes)
    }
    patients = sorted({film.group for _, film in films} - test)
    np.random.default_rng(seed).shuffle(patients)
    cut = round(_LEARNS * len(patients))
    split = dict.fromkeys(patients, "val") | dict.fromkeys(patients[:cut], "train")
    for where, film in films:
        yield where, replace(film, split=split.get(film.group, "test"))


LAYOUT = Layout(
    title="NIH ChestX-ray14",
    noun="films",
    classes=CLASSES,
    find=_find,
    list=_list,
    multi_label=True,
    allowed=r"pcam(-\d{1,9})?",
    choices="“pcam” (of the patients outside the test set 75 % are “train” and 25 % "
    "“val”) or “pcam-7” (the same, dealt by the seed 7)",
)
