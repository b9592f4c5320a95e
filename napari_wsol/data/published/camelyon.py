"""Patches of CAMELYON with their centres: WILDS' table, and the field's split folders.

WILDS (https://wilds.stanford.edu; Koh et al., ICML 2021): 455,954 patches of 96 pixels
with a ``metadata.csv``. PixelCAM (arXiv 2503.24135) and its successors: patches of 512
pixels in folders ``fold-K/{train,valcl,valpx,test}``; of CAMELYON17 fold K is centre K.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_wsol.data.published.layout import (
    Layout,
    Published,
    headed,
    images_below,
    none_here,
    rows_of,
)
from napari_wsol.data.split_files import find_root, read_fields
from napari_wsol.data.split_folders import (
    CLASS_LABELS,
    IMAGE_IDS,
    LOCALIZATION,
    Sample,
    one_hot,
    read_split_folder,
    slide_of,
    twice,
)
from napari_wsol.errors import DatasetError
from napari_wsol.files.tables import columns_of

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("normal", "tumor")
_COLUMNS = ("patient", "node", "x_coord", "y_coord", "tumor", "center", "split")
_OWN = {"0": "train", "1": "id_val"}
_FOREIGN = {"1": "val", "2": "test"}
"""Centres that WILDS trains on none of: one to validate, one to test."""
_CHOICE = "one of the centres, like “centre-2”"


def _of_centre(found: Published, choice: str) -> Published:
    if not choice:
        return found
    number = choice.removeprefix("centre-")
    return found.only(
        [item for item in found.samples if item.centre == number],
        f"no {found.noun} of the centre {number}, but of "
        f"{', '.join(found.centres) or 'none that is named'}",
    )


# --- WILDS ------------------------------------------------------------------------


def _find_wilds(place: Path) -> Path | None:
    places = [place]
    if place.is_dir():
        places += sorted(place.glob("camelyon17_v*"))
    tables = [path for at in places for path in headed(at, _COLUMNS)]
    return next(iter(tables), None)


def _read_wilds(table: Path, choice: str) -> Published:
    rows, folder = rows_of(table), table.parent / "patches"
    here = images_below(path for path in folder.glob("*") if path.is_dir())
    samples: dict[str, Sample] = {}
    for where, row in rows:
        slide = f"patient_{row['patient'].zfill(3)}_node_{row['node']}"
        name = f"patch_{slide}_x_{row['x_coord']}_y_{row['y_coord']}"
        if name in samples:
            raise twice(where, name)
        if row["tumor"] not in ("0", "1") or row["split"] not in _OWN:
            raise DatasetError(
                f"{where} has “{row['tumor']}” as tumor and “{row['split']}” as split, "
                "but both must be 0 or 1."
            )
        if name in here:
            centre = row["center"]
            samples[name] = Sample(
                path=here[name],
                labels=one_hot(int(row["tumor"]), 2),
                id=f"patches/{slide}/{name}.png",
                group=slide.partition("_node")[0],
                centre=centre,
                split=_FOREIGN.get(centre) or _OWN[row["split"]],
            )
    if not samples:
        raise none_here("CAMELYON17 (WILDS)", table, "patches")
    found = Published(
        key="camelyon17",
        title="CAMELYON17 (WILDS)",
        noun="patches",
        classes=CLASSES,
        samples=tuple(samples.values()),
        multi_label=False,
        listed=len(rows),
        groups="patients",
    )
    return _of_centre(found, choice)


# --- split folders ----------------------------------------------------------------


def _split_folders(place: Path) -> list[Path]:
    if (place / CLASS_LABELS).is_file():
        return [place]
    depths = ("*", "*/*") if place.is_dir() else ()
    found = [
        path.parent for at in depths for path in place.glob(f"{at}/{CLASS_LABELS}")
    ]
    return sorted(path for path in found if (path / IMAGE_IDS).is_file())


def _find_folds(place: Path) -> Path | None:
    folders = _split_folders(place)
    first = columns_of(folders[0] / IMAGE_IDS) if folders else []
    is_camelyon = bool(first) and "camelyon" in first[0].casefold()
    return place if is_camelyon and any(slide_of(first[0])) else None


def _read_folds(place: Path, choice: str) -> Published:
    samples: list[Sample] = []
    masks: dict[str, tuple[Path, ...]] = {}
    for folder in _split_folders(place):
        split = folder.relative_to(place).as_posix() if folder != place else folder.name
        own = read_split_folder(folder, None, CLASSES)[1]
        samples += [replace(item, split=split) for item in own]
        masks |= _masks(folder, own[0].id)
    found = Published(
        key="camelyon17" if any(item.centre for item in samples) else "camelyon",
        title="CAMELYON in split folders",
        noun="patches",
        classes=CLASSES,
        samples=tuple(samples),
        multi_label=False,
        listed=len({item.id for item in samples}),
        groups="patients or slides",
        masks=masks,
    )
    return _of_centre(found, choice)


def _masks(folder: Path, first: str) -> dict[str, tuple[Path, ...]]:
    """Files of each image; none for a patch of normal tissue (“image,,”)."""
    if not (folder / LOCALIZATION).is_file():
        return {}
    root = find_root(folder, first, None)
    lines = read_fields(folder / LOCALIZATION)
    return {f[0]: tuple(root / name for name in f[1:2] if name) for _, f in lines}


WILDS = Layout(
    find=_find_wilds, read=_read_wilds, allowed=r"centre-\d", choices=_CHOICE
)
FOLDS = Layout(
    find=_find_folds, read=_read_folds, allowed=r"centre-\d", choices=_CHOICE
)
