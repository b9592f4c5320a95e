"""BACH, its microscopy photos: https://iciar2018-challenge.grand-challenge.org.

Aresta et al., Medical Image Analysis 2019. The table has no header and lies beside the
photos; who the patients are was not published with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import Layout, Published, images_below, none_here
from napari_wsol.data.split_files import read_fields
from napari_wsol.data.split_folders import Sample, one_hot, twice
from napari_wsol.errors import DatasetError
from napari_wsol.files import is_file
from napari_wsol.files.tables import columns_of

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "BACH"
CLASSES = ("Normal", "Benign", "InSitu", "Invasive")
_PLACES = ("", "Photos", "ICIAR2018_BACH_Challenge/Photos")


def _find(place: Path) -> Path | None:
    tables = [place] if place.is_file() else []
    if place.is_dir():
        tables = [path for part in _PLACES for path in (place / part).glob("*.csv")]
    return next((path for path in tables if _is_table(path)), None)


def _is_table(path: Path) -> bool:
    if path.suffix.lower() != ".csv" or not is_file(path):
        return False
    first = [field.strip() for field in columns_of(path)]
    return len(first) == 2 and first[1] in CLASSES and "." in first[0]


def _read(table: Path, _choice: str) -> Published:
    folder, lines = table.parent, read_fields(table)
    places = [folder, *(folder / name for name in CLASSES)]
    here = images_below(path for path in places if path.is_dir())
    samples: dict[str, Sample] = {}
    for where, fields in lines:
        if len(fields) != 2 or fields[1] not in CLASSES:
            raise DatasetError(
                f"{where} is “{','.join(fields)}”, but must be a photo and one of "
                f"{', '.join(CLASSES)}."
            )
        name, kind = fields
        if name in samples:
            raise twice(where, name)
        path = here.get(name.rpartition(".")[0])
        if path is not None:
            labels = one_hot(CLASSES.index(kind), len(CLASSES))
            samples[name] = Sample(path=path, labels=labels, id=name)
    if not samples:
        raise none_here(TITLE, table, lines[0][1][0])
    return Published(
        key="bach",
        title=TITLE,
        noun="photos",
        classes=CLASSES,
        samples=tuple(samples.values()),
        multi_label=False,
        listed=len(lines),
    )


LAYOUT = Layout(find=_find, read=_read)
