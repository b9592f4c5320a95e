"""BreakHis as Kaggle's archive is unpacked, with or without its ``Folds.csv``.

Spanhol et al., IEEE TBME 2016: 7,909 images of 82 patients at four magnifications. The
file name says it all: SOB_B_TA-14-4659-40-001.png is benign, a tubular adenoma, the
slide 14-4659, at 40X.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import Layout, Published, headed, rows_of
from napari_wsol.data.split_folders import Sample, one_hot
from napari_wsol.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "BreakHis"
CLASSES = ("benign", "malignant")
MAGNIFICATIONS = ("40X", "100X", "200X", "400X")
_ROOTS = ("BreaKHis_v1/BreaKHis_v1", "BreaKHis_v1", "")
_TREE = "histology_slides/breast"
_NAME = re.compile(
    r"[A-Z]+_([BM])_[A-Z]+-(\d+-[0-9A-Za-z]+)-(40|100|200|400)-\d+\.png", re.ASCII
)


def _find(place: Path) -> Path | None:
    trees = (place / root / _TREE for root in _ROOTS)
    return next((path for path in trees if path.is_dir()), None)


def _read(tree: Path, choice: str) -> Published:
    fold, _, wanted = choice.rpartition("-")
    if choice.startswith("fold") and not fold:
        fold, wanted = choice, ""
    splits = _splits(tree, fold) if fold else {}
    samples: list[Sample] = []
    seen: set[str] = set()
    for path in sorted(tree.rglob("*.png")):
        found = _NAME.fullmatch(path.name)
        if found is None:
            continue
        kind, slide, magnification = found.groups()
        if wanted and wanted != f"{magnification}X":
            continue
        seen.add(magnification)
        samples.append(
            Sample(
                path=path,
                labels=one_hot("BM".index(kind), 2),
                id=path.relative_to(tree).as_posix(),
                group=slide,
                split=splits.get(path.name, ""),
            )
        )
    if not samples:
        raise DatasetError(
            f"“{tree}” has no images of BreakHis{f' at {wanted}' if wanted else ''}: "
            "unpack the archive again."
        )
    notes = (f"They are of {len(seen)} magnifications: choose one, like “@200X”.",)
    return Published(
        key="breakhis",
        title=f"{TITLE} at {wanted}" if wanted else TITLE,
        noun="images",
        classes=CLASSES,
        samples=tuple(samples),
        multi_label=False,
        listed=len(samples),
        groups="patients",
        notes=notes if len(seen) > 1 else (),
    )


def _splits(tree: Path, fold: str) -> dict[str, str]:
    """“train” or “test” of a fold, by file name."""
    number = fold.removeprefix("fold")
    for folder in tree.parents[:4]:
        for table in headed(folder, ("fold", "grp", "filename")):
            return {
                row["filename"].rpartition("/")[2]: row["grp"]
                for _, row in rows_of(table)
                if row["fold"] == number
            }
    raise DatasetError(
        f"“{fold}” of BreakHis needs the table “Folds.csv” of Kaggle's archive: put it "
        "above the folder “BreaKHis_v1”, or leave the fold out."
    )


LAYOUT = Layout(
    find=_find,
    read=_read,
    allowed=r"(fold[1-5]-)?(40|100|200|400)X|fold[1-5]",
    choices="a magnification (“40X”, “100X”, “200X” or “400X”), a fold of Folds.csv "
    "(“fold1” to “fold5”), or both (“fold1-200X”)",
)
