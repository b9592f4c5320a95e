"""GlaS, the folder “Warwick QU Dataset (Released 2016_07_08)” as it is unpacked.

Sirinukunwattana et al., Medical Image Analysis 2017: 85 images to train, 60 of test A
and 20 of test B, of 16 patients. The masks number the glands; all of them count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import (
    Layout,
    Published,
    headed,
    images_below,
    none_here,
    plain,
    rows_of,
)
from napari_wsol.data.split_folders import Sample, one_hot, twice
from napari_wsol.errors import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "GlaS"
CLASSES = ("benign", "malignant")
_GRADE, _PATIENT = "grade (GlaS)", "patient ID"


def _find(place: Path) -> Path | None:
    places = [place]
    if place.is_dir():
        places += sorted(place.glob("Warwick*QU*"))
    tables = [path for at in places for path in headed(at, ("name", _GRADE))]
    return next(iter(tables), None)


def _read(table: Path, _choice: str) -> Published:
    rows, here = rows_of(table), images_below([table.parent])
    samples: dict[str, Sample] = {}
    masks: dict[str, tuple[Path, ...]] = {}
    for where, row in rows:
        name, grade = row["name"], plain(row[_GRADE])
        if name in samples:
            raise twice(where, name)
        if grade not in CLASSES:
            raise DatasetError(
                f"{where} has the grade “{row[_GRADE]}”, but GlaS has benign and "
                "malignant."
            )
        if name not in here:
            continue
        samples[name] = Sample(
            path=here[name],
            labels=one_hot(CLASSES.index(grade), 2),
            id=name,
            group=row.get(_PATIENT, ""),
            split=name.partition("_")[0],
        )
        if f"{name}_anno" in here:
            masks[name] = (here[f"{name}_anno"],)
    if not samples:
        raise none_here(TITLE, table, rows[0][1]["name"])
    own = {item.split for item in samples.values()}
    return Published(
        key="glas",
        title=TITLE,
        noun="images",
        classes=CLASSES,
        samples=tuple(samples.values()),
        multi_label=False,
        listed=len(rows),
        groups="patients",
        masks=masks,
        joined={"test": ("testA", "testB")} if own & {"testA", "testB"} else {},
    )


LAYOUT = Layout(find=_find, read=_read)
