"""BACH, its microscopy photos: https://iciar2018-challenge.grand-challenge.org.

Aresta et al., Medical Image Analysis 2019. The table has no header and lies beside the
photos; who the patients are was not published with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import Layout, headed, images_below
from napari_wsol.data.split_files import Sample, check_width, read_fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
_PLACES = ("", "Photos", "ICIAR2018_BACH_Challenge/Photos")


def _find(place: Path) -> Path | None:
    places = [place / part for part in _PLACES] if place.is_dir() else [place]
    # Its first line stands where others have their columns' names: a photo, its class.
    found = (table for name in CLASSES for table in headed(places, [name]))
    return next((path for path in found if len(read_fields(path)[0][1]) == 2), None)


def _list(table: Path, _choice: str) -> Iterator[tuple[str, Sample]]:
    folder = table.parent
    here = images_below([folder, *(folder / name for name in CLASSES)])
    for where, fields in read_fields(table):
        check_width(where, fields, ["photo", "class"])
        name, kind = fields
        path, labels = here[name.rpartition(".")[0]], LAYOUT.one_of(where, kind)
        yield where, Sample(path=path, labels=labels, id=name)


LAYOUT = Layout(title="BACH", noun="photos", classes=CLASSES, find=_find, list=_list)
