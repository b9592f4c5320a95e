"""Chest films with findings: NIH ChestX-ray14 and CheXpert.

NIH (https://nihcc.app.box.com/v/ChestXray-NIHCC; Wang et al., CVPR 2017, arXiv
1705.02315): 112,120 films of 30,805 patients, and 984 boxes on 880 of them, drawn in
the 1024 x 1024 pixels of the files. CheXpert
(https://stanfordmlgroup.github.io/competitions/chexpert; Irvin et al., AAAI 2019, arXiv
1901.07031): labels are 1, 0, blank (not mentioned: 0) and -1 (uncertain), which a named
policy turns into 0 or 1.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.data.boxes import Box, sides_of
from napari_wsol.data.published.layout import (
    MISSING,
    Layout,
    class_at,
    headed,
    images_in,
    plain,
    rows_of,
)
from napari_wsol.data.split_files import FLAGS, Sample, flag_of, read_fields
from napari_wsol.files import is_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# --- NIH ChestX-ray14 -------------------------------------------------------------

NIH_CLASSES = (
    *("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule"),
    *("Pneumonia", "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis"),
    *("Pleural_Thickening", "Hernia"),
)
_is_boxes = headed("Image Index", "Finding Label")
_LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}
_LEARNS = 0.75
"""Of the patients who are not in the test set; the others validate."""


def _read_nih(tables: list[Path], choice: str) -> Iterator[tuple[str, Sample]]:
    films = _films_of_nih(tables[0], tables[0].parent)
    return _dealt(list(films), int(choice[5:] or 0)) if choice else films


def _films_of_nih(table: Path, folder: Path) -> Iterator[tuple[str, Sample]]:
    # As unpacked: images/, or images_001/images/ to images_012/images/.
    places = [folder, *sorted(folder.glob("images*"))]
    here = images_in([*places, *(path / "images" for path in places)])
    lists = [path for path in map(folder.joinpath, _LISTS) if path.is_file()]
    splits = {
        fields[0]: _LISTS[path.name]
        for path in lists
        for _, fields in read_fields(path)
    }
    boxes = _boxes_of_nih(folder)
    for where, row in rows_of(table):
        name, findings = row["Image Index"], row["Finding Labels"].split("|")
        found = [item for item in findings if plain(item) not in ("", "no finding")]
        at = {class_at(where, item, NIH_CLASSES) for item in found}
        sample = Sample(
            path=here.get(name.rpartition(".")[0], MISSING),
            labels=tuple(int(index in at) for index in range(len(NIH_CLASSES))),
            id=name,
            group=row.get("Patient ID") or name.partition("_")[0],
            split=splits.get(name, ""),
            boxes=tuple(boxes.get(name, ())),
        )
        yield where, sample


def _boxes_of_nih(folder: Path) -> dict[str, list[Box]]:
    """Their header, “Bbox [x,y,w,h],,,”, has commas in a name: read by places."""
    found: dict[str, list[Box]] = {}
    for path in filter(_is_boxes, sorted(folder.glob("*.csv"))):
        for where, (name, *fields) in read_fields(path)[1:]:
            finding = "".join(fields[:1]).replace("Infiltrate", "Infiltration")
            box = Box(
                xywh=sides_of(fields[1:5], where),
                name=NIH_CLASSES[class_at(where, finding, NIH_CLASSES)],
                frame=(1024, 1024),
                where=where,
            )
            found.setdefault(name, []).append(box)
    return found


def _dealt(films: list[tuple[str, Sample]], seed: int) -> Iterator[tuple[str, Sample]]:
    """PCAM's “train” and “val”: of the patients who are not in the test set.

    That is the official one; without its list, the patients with boxes.
    """
    is_listed = any(film.split for _, film in films)
    tests = [x for _, x in films if (x.split == "test" if is_listed else x.boxes)]
    test = {film.group for film in tests}
    patients = sorted({film.group for _, film in films} - test)
    np.random.default_rng(seed).shuffle(patients)
    cut = round(_LEARNS * len(patients))
    split = dict.fromkeys(patients[:cut], "train") | dict.fromkeys(test, "test")
    for where, film in films:
        yield where, replace(film, split=split.get(film.group, "val"))


NIH = Layout(
    title="NIH ChestX-ray14",
    noun="films",
    classes=NIH_CLASSES,
    knows=headed("Image Index", "Finding Labels"),
    read=_read_nih,
    multi_label=True,
    allowed=r"pcam(-\d{1,9})?",
    choices="“pcam” (of the patients outside the test set 75 % are “train” and 25 % "
    "“val”) or “pcam-7” (the same, dealt by the seed 7)",
)

# --- CheXpert ---------------------------------------------------------------------

CHEXPERT_CLASSES = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax"),
    *("Pleural Effusion", "Pleural Other", "Fracture", "Support Devices"),
)
POLICIES = {
    "pcam": ("Edema", "Atelectasis"),  # that of PCAM's authors
    "ones": CHEXPERT_CLASSES,
    "zeros": (),
}
"""Classes whose -1 is 1; of the others it is 0."""
_PATIENT = re.compile(r"patient\d+", re.ASCII)
_NOTES = {
    name: f"Uncertain labels are 1 for {', '.join(own) or 'none'}, else 0 (“{name}”)."
    for name, own in POLICIES.items()
}


def _read_chexpert(tables: list[Path], choice: str) -> Iterator[tuple[str, Sample]]:
    ones = POLICIES[choice or "pcam"]
    unsure = [dict.fromkeys(("-1", "-1.0"), int(x in ones)) for x in CHEXPERT_CLASSES]
    flags = {k: FLAGS | v for k, v in zip(CHEXPERT_CLASSES, unsure, strict=True)}
    for table in tables:
        for where, row in rows_of(table):
            name, folder = row["Path"], table.parent
            # Listed from the folder above: “CheXpert-v1.0-small/train/patient00001/…”.
            tried = (
                folder.parent / name,
                folder / name.partition("/")[2],
                folder / name,
            )
            patient = _PATIENT.search(name)
            sample = Sample(
                path=next(filter(is_file, tried), MISSING),
                labels=tuple(flag_of(where, row, *item) for item in flags.items()),
                id=name,
                group=patient[0] if patient else "",
                split=table.stem,
            )
            yield where, sample


CHEXPERT = Layout(
    title="CheXpert",
    noun="films",
    classes=CHEXPERT_CLASSES,
    knows=headed("Path", *CHEXPERT_CLASSES),
    read=_read_chexpert,
    multi_label=True,
    allowed="|".join(POLICIES),
    choices="what an uncertain label (-1) is: “pcam” (1 for Edema and Atelectasis, 0 "
    "for others), “ones” or “zeros”",
    notes=_NOTES | {"": _NOTES["pcam"]},
)
