"""BreakHis as Kaggle's archive is unpacked, with or without its ``Folds.csv``.

Spanhol et al., IEEE TBME 2016: 7,909 images of 82 patients at four magnifications. The
file name says it all: SOB_B_TA-14-4659-40-001.png is benign, a tubular adenoma, the
patient 14-4659, at 40X.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import Layout, headed, rows_of
from napari_wsol.data.split_files import Sample, one_hot
from napari_wsol.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TREES = [
    f"{root}histology_slides/breast"
    for root in ("BreaKHis_v1/BreaKHis_v1/", "BreaKHis_v1/", "")
]
_NAME = re.compile(r"[A-Z]+_([BM])_[A-Z]+-(\d+-\w+)-(\d+)-\d+\.png", re.ASCII)
_CHOICE = re.compile(r"(?:fold(\d))?-?(?:(\d+)X)?", re.ASCII)


def _find(place: Path) -> Path | None:
    trees = (place / tree for tree in _TREES)
    return next((path for path in trees if path.is_dir()), None)


def _list(tree: Path, choice: str) -> Iterator[tuple[str, Sample]]:
    chosen = _CHOICE.fullmatch(choice)
    fold, wanted = chosen.groups() if chosen else (None, None)
    splits = _splits(tree, fold) if fold else {}
    for path in sorted(tree.rglob("*.png")):
        found = _NAME.fullmatch(path.name)
        if found and wanted in (None, found[3]):
            sample = Sample(
                path=path,
                labels=one_hot("BM".index(found[1]), 2),
                id=path.relative_to(tree).as_posix(),
                group=found[2],
                split=splits.get(path.name, ""),
            )
            yield f"“{path.name}”", sample


def _splits(tree: Path, fold: str) -> dict[str, str]:
    """“train” or “test” of a fold, by file name."""
    tables = headed(tree.parents[:5], ("fold", "grp", "filename"))
    if not tables:
        raise DatasetError(
            f"Fold {fold} of BreakHis needs the table “Folds.csv” of Kaggle's archive: "
            "put it above the folder “BreaKHis_v1”, or leave the fold out."
        )
    return {
        row["filename"].rpartition("/")[2]: row["grp"]
        for _, row in rows_of(tables[0])
        if row["fold"] == fold
    }


LAYOUT = Layout(
    title="BreakHis",
    noun="images",
    classes=("benign", "malignant"),
    find=_find,
    list=_list,
    allowed=r"(fold[1-5]-)?(40|100|200|400)X|fold[1-5]",
    choices="a magnification (“40X”, “100X”, “200X” or “400X”), a fold of Folds.csv "
    "(“fold1” to “fold5”), or both (“fold1-200X”)",
    notes={"": "All four magnifications count: choose one by a split like “@200X”."},
)
