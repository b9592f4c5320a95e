"""CheXpert: https://stanfordmlgroup.github.io/competitions/chexpert.

Irvin et al., AAAI 2019 (arXiv 1901.07031). Its labels are 1, 0, blank (not mentioned:
0) and -1 (uncertain), which a named policy turns into 0 or 1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import (
    Layout,
    Published,
    headed,
    none_here,
    rows_of,
)
from napari_wsol.data.split_folders import Sample, twice
from napari_wsol.errors import DatasetError
from napari_wsol.files import is_file

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "CheXpert"
CLASSES = (
    *("Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion"),
    *("Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax"),
    *("Pleural Effusion", "Pleural Other", "Fracture", "Support Devices"),
)
POLICIES = {
    "pcam": frozenset({"Edema", "Atelectasis"}),
    "ones": frozenset(CLASSES),
    "zeros": frozenset[str](),
}
"""Classes whose -1 is 1; of the others it is 0. “pcam” is that of PCAM's authors."""

_VALUES = {"": 0, "0": 0, "0.0": 0, "1": 1, "1.0": 1, "-1": -1, "-1.0": -1}
_PATIENT = re.compile(r"patient\d+", re.ASCII)


def _find(place: Path) -> Path | None:
    return place if headed(place, ("Path", *CLASSES)) else None


def _read(place: Path, choice: str) -> Published:
    ones = POLICIES[choice or "pcam"]
    samples: dict[str, Sample] = {}
    listed = uncertain = 0
    tables = headed(place, ("Path", *CLASSES))
    for table in tables:
        rows = rows_of(table)
        listed += len(rows)
        for where, row in rows:
            name = row["Path"]
            if name in samples:
                raise twice(where, name)
            values = [_value(where, row, kind) for kind in CLASSES]
            path = _path(table.parent, name)
            if path is None:
                continue
            uncertain += values.count(-1)
            patient = _PATIENT.search(name)
            samples[name] = Sample(
                path=path,
                labels=tuple(
                    int(kind in ones) if value < 0 else value
                    for kind, value in zip(CLASSES, values, strict=True)
                ),
                id=name,
                group=patient[0] if patient else "",
                split=table.stem,
            )
    if not samples:
        raise none_here(TITLE, tables[0], rows_of(tables[0])[0][1]["Path"])
    return Published(
        key="chexpert",
        title=TITLE,
        noun="films",
        classes=CLASSES,
        samples=tuple(samples.values()),
        multi_label=True,
        listed=listed,
        groups="patients",
        notes=_policy(choice or "pcam", uncertain),
    )


def _policy(name: str, uncertain: int) -> tuple[str, ...]:
    if not uncertain:
        return ()
    ones = POLICIES[name]
    said = (
        "0"
        if not ones
        else "1"
        if len(ones) == len(CLASSES)
        else (f"1 for {' and '.join(sorted(ones))} and 0 for the others")
    )
    return (f"{uncertain:,} uncertain labels are {said} (policy “{name}”).",)


def _value(where: str, row: dict[str, str], kind: str) -> int:
    try:
        return _VALUES[row[kind]]
    except KeyError:
        raise DatasetError(
            f"{where} has “{row[kind]}” in the column “{kind}”, but CheXpert has 1, 0, "
            "-1 or nothing there."
        ) from None


def _path(folder: Path, name: str) -> Path | None:
    """Listed from the folder above: “CheXpert-v1.0-small/train/patient00001/…”."""
    for path in (folder.parent / name, folder / name.partition("/")[2], folder / name):
        if is_file(path):
            return path
    return None


LAYOUT = Layout(
    find=_find,
    read=_read,
    allowed="|".join(POLICIES),
    choices="what an uncertain label (-1) is: “pcam” (1 for Edema and Atelectasis, 0 "
    "for others), “ones” or “zeros”",
)
