"""Data sets as their makers publish them, one file each: known by their content.

A split of one may name a choice behind “@”: “train@pcam” of NIH ChestX-ray14, “@200X”
of BreakHis, “test@centre-2” of CAMELYON17. Each file here says what may be chosen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsol.data.published import bach, breakhis, camelyon, chexpert, glas, nih14
from napari_wsol.errors import DatasetError
from napari_wsol.files import path_from

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.data.published.layout import Layout, Published

LAYOUTS = (
    nih14.LAYOUT,
    chexpert.LAYOUT,
    breakhis.LAYOUT,
    bach.LAYOUT,
    glas.LAYOUT,
    camelyon.WILDS,
    camelyon.FOLDS,  # the last: see ``folds``
)


def recognised(
    place: str | Path, split: str | None = None, *, folds: bool | None = None
) -> Published | None:
    """The published data set in a folder, or that a table is of; None for another one.

    Args:
        place: the folder as it was unpacked, one right above it, or the table in it.
        split: of which images, as “split”, “@choice” or “split@choice”; all if None.
        folds: whether split folders of CAMELYON count, which are read without this too;
            by default where there is a choice, which only this knows.

    Raises:
        DatasetError: it is one, but cannot be used or has no such split or choice; says
            the line.
    """
    name, _, choice = (split or "").partition("@")
    found = _find(path_from(place), folds=bool(choice) if folds is None else folds)
    if found is None:
        return None
    layout, source = found
    if choice and not re.fullmatch(layout.allowed, choice):
        raise DatasetError(
            f"“{choice}” cannot be chosen of the data in “{place}”, but "
            f"{layout.choices or 'nothing'}."
        )
    return layout.read(source, choice).of(name)


def is_published(place: Path) -> bool:
    """Whether a folder or table is of a published data set, split folders left out."""
    return _find(place, folds=False) is not None


def named_split(data: Path, name: str) -> tuple[Path, str | None]:
    """Where a split is that is named from a data set's folder, and its name there.

    A published data set has it by its name; another one as a folder or table.
    """
    path = data / name
    if path.is_file() or (path.is_dir() and not is_published(data)):
        return path, None
    return data, name


def _find(place: Path, *, folds: bool) -> tuple[Layout, Path] | None:
    for layout in LAYOUTS[: None if folds else -1] if place.exists() else ():
        source = layout.find(place)
        if source is not None:
            return layout, source
    return None
