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
    headed,
    images_below,
    rows_of,
)
from napari_wsol.data.split_files import (
    CLASS_LABELS,
    IMAGE_IDS,
    LOCALIZATION,
    Sample,
    find_root,
    read_fields,
    read_split_folder,
    slide_of,
)
from napari_wsol.errors import DatasetError
from napari_wsol.files.tables import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLASSES = ("normal", "tumor")
_COLUMNS = ("patient", "node", "x_coord", "y_coord", "tumor", "center", "split")
_SPLITS = {"0": "train", "1": "id_val"}
_FOREIGN = {"1": "val", "2": "test"}
"""Centres that WILDS trains on none of: one to validate, one to test."""
_CENTRES = r"centre-[0-4]"
_CHOICES = "one of the centres, “centre-0” to “centre-4”"


def _find_wilds(place: Path) -> Path | None:
    places = [place, *(sorted(place.glob("camelyon17_v*")) if place.is_dir() else ())]
    return next(iter(headed(places, _COLUMNS)), None)


def _list_wilds(table: Path, choice: str) -> Iterator[tuple[str, Sample]]:
    here = images_below((table.parent / "patches").glob("*"))
    for where, row in rows_of(table):
        slide = f"patient_{row['patient'].zfill(3)}_node_{row['node']}"
        name = f"patch_{slide}_x_{row['x_coord']}_y_{row['y_coord']}"
        centre, tumor, split = row["center"], row["tumor"], row["split"]
        if tumor not in ("0", "1") or split not in _SPLITS:
            raise DatasetError(
                f"{where} has “{tumor}” as tumor and “{split}” as split, but both must "
                "be 0 or 1."
            )
        if choice in ("", f"centre-{centre}"):
            sample = Sample(
                path=here[name],
                labels=(1 - int(tumor), int(tumor)),
                id=f"patches/{slide}/{name}.png",
                group=slide.partition("_node")[0],
                centre=centre,
                split=_FOREIGN.get(centre) or _SPLITS[split],
            )
            yield where, sample


def _split_folders(place: Path) -> list[Path]:
    depths = ("", "*/", "fold-*/*/") if place.is_dir() else ()
    found = [path.parent for at in depths for path in place.glob(f"{at}{IMAGE_IDS}")]
    return sorted(path for path in found if (path / CLASS_LABELS).is_file())


def _find_folds(place: Path) -> Path | None:
    for folder in _split_folders(place)[:1]:
        first = columns_of(folder / IMAGE_IDS)
        if first and "camelyon" in first[0].casefold() and any(slide_of(first[0])):
            return place
    return None


def _list_folds(place: Path, choice: str) -> Iterator[tuple[str, Sample]]:
    for folder in _split_folders(place):
        split = folder.relative_to(place).as_posix() if folder != place else folder.name
        samples = read_split_folder(folder, None, CLASSES)[1]
        masks: dict[str, tuple[Path, ...]] = {}
        if (folder / LOCALIZATION).is_file():
            root = find_root(folder, samples[0].id, None)
            for _, fields in read_fields(folder / LOCALIZATION):
                files = [root / name for name in fields[1:2] if name]
                masks[fields[0]] = (*masks.get(fields[0], ()), *files)
        for item in samples:
            if choice in ("", f"centre-{item.centre}"):
                own = masks.get(item.id)
                yield f"“{split}”", replace(item, split=split, masks=own)


WILDS = Layout(
    title="CAMELYON17 (WILDS)",
    noun="patches",
    classes=CLASSES,
    find=_find_wilds,
    list=_list_wilds,
    allowed=_CENTRES,
    choices=_CHOICES,
)
FOLDS = Layout(
    title="CAMELYON in split folders",
    noun="patches",
    classes=CLASSES,
    find=_find_folds,
    list=_list_folds,
    groups="patients or slides",
    allowed=_CENTRES,
    choices=_CHOICES,
)
