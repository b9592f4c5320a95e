"""Histology with a class an image: BreakHis, BACH, GlaS, and WILDS' CAMELYON17.

BreakHis, Kaggle's archive (Spanhol et al., IEEE TBME 2016): 7,909 images of 82 patients
at four magnifications; SOB_B_TA-14-4659-40-001.png is benign, a tubular adenoma, the
patient 14-4659, at 40X. BACH (https://iciar2018-challenge.grand-challenge.org; Aresta
et al., MedIA 2019): photos, and beside them a table without a header; who the patients
are was not published with it. GlaS (Sirinukunwattana et al., MedIA 2017): 85 images to
train, 60 of test A and 20 of test B, of 16 patients; all glands of a mask count. WILDS
(https://wilds.stanford.edu; Koh et al., ICML 2021): 455,954 patches of 96 pixels.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import (
    MISSING,
    Layout,
    first_line,
    headed,
    images_in,
    labels_at,
    rows_of,
)
from napari_wsol.data.split_files import (
    Sample,
    check_width,
    flag_of,
    one_hot,
    read_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TUMOUR = ("benign", "malignant")
BACH_CLASSES = ("Normal", "Benign", "InSitu", "Invasive")

_BREAKHIS = re.compile(r"[A-Z]+_([BM])_[A-Z]+-(\d+-\w+)-(\d+)-\d+\.png", re.ASCII)
_GRADE = "grade (GlaS)"
_WILDS = ("patient", "node", "x_coord", "y_coord", "tumor", "center", "split")
_BINARY = {"0": 0, "1": 1}
_FOREIGN = {"1": "val", "2": "test"}
"""Centres that WILDS trains on none of: one to validate, one to test."""


def _read_breakhis(trees: list[Path], choice: str) -> Iterator[tuple[str, Sample]]:
    for path in sorted(trees[0].rglob("*.png")):
        found = _BREAKHIS.fullmatch(path.name)
        if found and choice in ("", f"{found[3]}X"):
            labels, name = one_hot("BM".index(found[1]), 2), path.relative_to(trees[0])
            sample = Sample(
                path=path, labels=labels, id=name.as_posix(), group=found[2]
            )
            yield f"“{path.name}”", sample


def _is_bach(path: Path) -> bool:
    return first_line(path)[1:] in [[name] for name in BACH_CLASSES]


def _read_bach(tables: list[Path], _choice: str) -> Iterator[tuple[str, Sample]]:
    folder = tables[0].parent
    here = images_in([folder, *map(folder.joinpath, BACH_CLASSES)])
    for where, fields in read_fields(tables[0]):
        check_width(where, fields, ["photo", "class"])
        path = here.get(fields[0].rpartition(".")[0], MISSING)
        labels = labels_at(where, fields[1], BACH_CLASSES)
        yield where, Sample(path=path, labels=labels, id=fields[0])


def _read_glas(tables: list[Path], _choice: str) -> Iterator[tuple[str, Sample]]:
    here = images_in([tables[0].parent])
    for where, row in rows_of(tables[0]):
        name, mask = row["name"], f"{row['name']}_anno"
        sample = Sample(
            path=here.get(name, MISSING),
            labels=labels_at(where, row[_GRADE], TUMOUR),
            id=name,
            group=row.get("patient ID", ""),
            split=name.partition("_")[0],
            masks=(here[mask],) if mask in here else (),
        )
        yield where, sample


def _read_wilds(tables: list[Path], choice: str) -> Iterator[tuple[str, Sample]]:
    here = images_in((tables[0].parent / "patches").glob("*"))
    for where, row in rows_of(tables[0]):
        slide = f"patient_{row['patient'].zfill(3)}_node_{row['node']}"
        name = f"patch_{slide}_x_{row['x_coord']}_y_{row['y_coord']}"
        centre, tumor = row["center"], flag_of(where, row, "tumor", _BINARY)
        split = ("train", "id_val")[flag_of(where, row, "split", _BINARY)]
        sample = Sample(
            path=here.get(name, MISSING),
            labels=(1 - tumor, tumor),
            id=f"patches/{slide}/{name}.png",
            group=slide.partition("_node")[0],
            centre=centre,
            split=_FOREIGN.get(centre, split),
        )
        if choice in ("", f"centre-{centre}"):
            yield where, sample


BREAKHIS = Layout(
    title="BreakHis",
    noun="images",
    classes=TUMOUR,
    within=tuple(
        f"{root}histology_slides/breast"
        for root in ("BreaKHis_v1/BreaKHis_v1/", "BreaKHis_v1/", "")
    ),
    knows=Path.is_dir,
    read=_read_breakhis,
    allowed="(40|100|200|400)X",
    choices="a magnification: “40X”, “100X”, “200X” or “400X”",
    notes={"": "All four magnifications count: choose one by a split like “@200X”."},
)
BACH = Layout(
    title="BACH",
    noun="photos",
    classes=BACH_CLASSES,
    within=("*.csv", "Photos/*.csv", "ICIAR2018_BACH_Challenge/Photos/*.csv"),
    knows=_is_bach,
    read=_read_bach,
)
GLAS = Layout(
    title="GlaS",
    noun="images",
    classes=TUMOUR,
    within=("*.csv", "Warwick*QU*/*.csv"),
    knows=headed("name", _GRADE),
    read=_read_glas,
)
WILDS = Layout(
    title="CAMELYON17 (WILDS)",
    noun="patches",
    classes=("normal", "tumor"),
    within=("*.csv", "camelyon17_v*/*.csv"),
    knows=headed(*_WILDS),
    read=_read_wilds,
    allowed="centre-[0-4]",
    choices="one of the centres, “centre-0” to “centre-4”",
)
