"""GlaS, the folder “Warwick QU Dataset (Released 2016_07_08)” as it is unpacked.

Sirinukunwattana et al., Medical Image Analysis 2017: 85 images to train, 60 of test A
and 20 of test B, of 16 patients. The masks number the glands; all of them count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import (
    Layout,
    Listed,
    headed,
    images_below,
    rows_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GRADE, _PATIENT = "grade (GlaS)", "patient ID"


def _find(place: Path) -> Path | None:
    places = [place, *(sorted(place.glob("Warwick*QU*")) if place.is_dir() else ())]
    return next(iter(headed(places, ("name", _GRADE))), None)


def _list(table: Path, _choice: str) -> Iterator[Listed]:
    here = images_below([table.parent])
    for where, row in rows_of(table):
        name, mask = row["name"], here.get(f"{row['name']}_anno")
        yield Listed(
            where=where,
            id=name,
            path=here.get(name),
            labels=LAYOUT.one_of(where, row[_GRADE]),
            group=row.get(_PATIENT, ""),
            split=name.partition("_")[0],
            masks=None if mask is None else (mask,),
        )


LAYOUT = Layout(
    title="GlaS",
    noun="images",
    classes=("benign", "malignant"),
    find=_find,
    list=_list,
    joined={"test": ("testA", "testB")},
)
