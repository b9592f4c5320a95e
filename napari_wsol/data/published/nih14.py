"""NIH ChestX-ray14: https://nihcc.app.box.com/v/ChestXray-NIHCC.

Wang et al., CVPR 2017 (arXiv 1705.02315): 112,120 films of 30,805 patients, and 984
boxes on 880 of them, drawn in the 1024 x 1024 pixels of the published files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.data.boxes import Box, sides_of
from napari_wsol.data.published.layout import (
    Layout,
    Listed,
    headed,
    images_below,
    plain,
    rows_of,
)
from napari_wsol.data.split_files import read_fields
from napari_wsol.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
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


def _list(table: Path, choice: str) -> list[Listed]:
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
    found: list[Listed] = []
    for where, row in rows_of(table):
        name = row["Image Index"]
        names = {plain(part) for part in row["Finding Labels"].split("|")}
        at = {_place(where, part) for part in names - {"", "no finding"}}
        found.append(
            Listed(
                where=where,
                id=name,
                path=here.get(name.rpartition(".")[0]),
                labels=tuple(int(index in at) for index in range(len(CLASSES))),
                group=row.get("Patient ID") or name.partition("_")[0],
                split=splits.get(name, ""),
            )
        )
    seed = int(choice.partition("-")[2] or 0)
    return _dealt(found, table, seed) if choice else found


def _place(where: str, name: str) -> int:
    if plain(name) not in _AT:
        raise DatasetError(
            f"{where} has the finding “{name}”. The findings are {', '.join(CLASSES)}, "
            "and “No Finding”."
        )
    return _AT[plain(name)]


def _boxes(table: Path) -> Iterator[tuple[str, Box]]:
    """Its header, “Bbox [x,y,w,h],,,”, has commas in a name: read by places."""
    for path in headed([table.parent], ("Image Index", "Finding Label")):
        for where, fields in read_fields(path)[1:]:
            name, kind, *sides = (*fields[:6], *[""] * (6 - len(fields)))
            yield (
                name,
                Box(
                    xywh=sides_of(sides, where),
                    name=CLASSES[_place(where, kind)],
                    frame=(1024, 1024),
                    where=where,
                ),
            )


def _dealt(films: list[Listed], table: Path, seed: int) -> list[Listed]:
    """“train” and “val” of the patients of whom nobody measures; “test” of the others.

    The test set is the official one; without its list, the patients with boxes.
    """
    boxed = {name for name, _ in _boxes(table)}
    is_official = any(film.split for film in films)
    test = {
        film.group
        for film in films
        if (film.split == "test" if is_official else film.id in boxed)
    }
    patients = sorted({film.group for film in films} - test)
    np.random.default_rng(seed).shuffle(patients)
    cut = round(_LEARNS * len(patients))
    split = dict.fromkeys(patients, "val") | dict.fromkeys(patients[:cut], "train")
    return [film._replace(split=split.get(film.group, "test")) for film in films]


LAYOUT = Layout(
    title="NIH ChestX-ray14",
    noun="films",
    classes=CLASSES,
    find=_find,
    list=_list,
    boxes=_boxes,
    multi_label=True,
    allowed=r"pcam(-\d{1,9})?",
    choices="“pcam” (of the patients outside the test set 75 % are “train” and 25 % "
    "“val”) or “pcam-7” (the same, dealt by the seed 7)",
)
