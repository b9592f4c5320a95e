"""CheXpert: https://stanfordmlgroup.github.io/competitions/chexpert.

Irvin et al., AAAI 2019 (arXiv 1901.07031). Its labels are 1, 0, blank (not mentioned:
0) and -1 (uncertain), which a named policy turns into 0 or 1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import MISSING, Layout, headed, rows_of
from napari_wsol.data.split_files import Sample
from napari_wsol.errors import DatasetError
from napari_wsol.files import is_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLASSES = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax"),
    *("Pleural Effusion", "Pleural Other", "Fracture", "Support Devices"),
)
POLICIES = {
    "pcam": frozenset({"Edema", "Atelectasis"}),  # that of PCAM's authors
    "ones": frozenset(CLASSES),
    "zeros": frozenset[str](),
}
"""Classes whose -1 is 1; of the others it is 0."""

_VALUES = {"": 0, "0": 0, "0.0": 0, "1": 1, "1.0": 1, "-1": -1, "-1.0": -1}
_PATIENT = re.compile(r"patient\d+", re.ASCII)
_NOTES = {
    "pcam": "Uncertain labels are 1 for Edema and Atelectasis, 0 for others (“pcam”).",
    "ones": "Uncertain labels are 1 (“ones”).",
    "zeros": "Uncertain labels are 0 (“zeros”).",
}


def _find(place: Path) -> Path | None:
    return place if headed([place], ("Path", *CLASSES)) else None


def _list(place: Path, choice: str) -> Iterator[tuple[str, Sample]]:
    ones = POLICIES[choice or "pcam"]
    for table in headed([place], ("Path", *CLASSES)):
        for where, row in rows_of(table):
            name, patient = row["Path"], _PATIENT.search(row["Path"])
            sample = Sample(
                path=_path(table.parent, name),
                labels=tuple(_label(where, row, kind, ones) for kind in CLASSES),
                id=name,
                group=patient[0] if patient else "",
                split=table.stem,
            )
            yield where, sample


def _label(where: str, row: dict[str, str], kind: str, ones: frozenset[str]) -> int:
    value = _VALUES.get(row[kind])
    if value is None:
        raise DatasetError(
            f"{where} has “{row[kind]}” in the column “{kind}”, but CheXpert has 1, 0, "
            "-1 or nothing there."
        )
    return int(kind in ones) if value < 0 else value


def _path(folder: Path, name: str) -> Path:
    """Listed from the folder above: “CheXpert-v1.0-small/train/patient00001/…”."""
    tried = (folder.parent / name, folder / name.partition("/")[2], folder / name)
    return next(filter(is_file, tried), MISSING)


LAYOUT = Layout(
    title="CheXpert",
    noun="films",
    classes=CLASSES,
    find=_find,
    list=_list,
    multi_label=True,
    allowed="|".join(POLICIES),
    choices="what an uncertain label (-1) is: “pcam” (1 for Edema and Atelectasis, 0 "
    "for others), “ones” or “zeros”",
    notes=_NOTES | {"": _NOTES["pcam"]},
)
