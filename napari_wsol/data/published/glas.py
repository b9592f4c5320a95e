"""GlaS, the folder “Warwick QU Dataset (Released 2016_07_08)” as it is unpacked.

Sirinukunwattana et al., Medical Image Analysis 2017: 85 images to train, 60 of test A
and 20 of test B, of 16 patients. The masks number the glands; all of them count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import (
    Layout,
    headed,
    images_below,
    rows_of,
)
from napari_wsol.data.split_files import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GRADE, _PATIENT = "grade (GlaS)", "patient ID"


def _find(place: Path) -> Path | None:
    places = [place, *(sorted(place.glob("Warwick*QU*")) if place.is_dir() else ())]
    return next(iter(headed(places, ("name", _GRADE))), None)


def _list(table: Path, _choice: str) -> Iterator[tuple[str, Sample]]:
    here = images_below([table.parent])
    for where, row in rows_of(table):
        name, mask = row["name"], here.get(f"{row['name']}_anno")
        sample = Sample(
            path=here[name],
            labels=LAYOUT.one_of(where, row[_GRADE]),
            id=name,
            group=row.get(_PATIENT, ""),
            split=name.partition("_")[0],
            masks=None if mask is None else (mask,),
        )
        yield where, sample


LAYOUT = Layout(
    title="GlaS",
    noun="images",
    classes=("benign", "malignant"),
    find=_find,
    list=_list,
    joined={"test": ("testA", "testB")},
)
