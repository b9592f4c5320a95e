"""Data sets as their makers publish them: known by their content.

A split of one may name a choice behind “@”: “train@pcam” of NIH ChestX-ray14, “@200X”
of BreakHis, “test@centre-2” of CAMELYON17. Each layout says what may be chosen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_wsol.data.published.films import CHEXPERT, NIH
from napari_wsol.data.published.histology import BACH, BREAKHIS, GLAS, WILDS
from napari_wsol.data.published.layout import MISSING, class_at
from napari_wsol.data.split_files import twice
from napari_wsol.errors import DatasetError
from napari_wsol.files import path_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_wsol.data.published.layout import Layout
    from napari_wsol.data.split_files import Sample

LAYOUTS = (NIH, CHEXPERT, BREAKHIS, BACH, GLAS, WILDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A data set as its makers published it, or a split of it.

    Attributes:
        layout: what it is.
        samples: the images that are here.
        listed: how many images its list has, here or not.
        note: what a person must know.
    """

    layout: Layout
    samples: tuple[Sample, ...]
    listed: int
    note: str

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the order of the images."""
        return tuple(dict.fromkeys(x.split for x in self.samples if x.split))

    def of(self, split: str) -> Published:
        """The images of one split; “test” is “testA” and “testB” too.

        Raises:
            DatasetError: there is no such split; names those that there are.
        """
        wanted = re.compile(f"{re.escape(split)}[A-Z]?")
        kept = tuple(item for item in self.samples if wanted.fullmatch(item.split))
        if not kept:
            raise DatasetError(
                f"{self.layout.title} has no split “{split}”; its splits are "
                f"{', '.join(self.splits) or 'not published'}."
            )
        return replace(self, samples=kept, listed=len(kept))

    def labelled(self, classes: Sequence[str] | None) -> tuple[Sample, ...]:
        """The images with the labels of these classes, in this order.

        Raises:
            DatasetError: a class is none of the data set's.
        """
        title, own = self.layout.title, self.layout.classes
        order = [class_at(title, name, own) for name in classes or own]
        if order == list(range(len(own))):
            return self.samples
        return tuple(
            replace(item, labels=tuple(item.labels[index] for index in order))
            for item in self.samples
        )

    def said(self) -> str:
        """What was recognised and counted, for people."""
        layout, here = self.layout, len(self.samples)
        said = counted(layout.title, f"{self.listed:,} {layout.noun}", self.samples)
        left = f"Only {here:,} of them are here." if here < self.listed else ""
        return " ".join(filter(None, (said, left, self.note)))


def counted(title: str, what: str, samples: Iterable[Sample]) -> str:
    """What images are of, as a sentence: patients, centres, boxes and masks."""
    samples = list(samples)
    groups = len({item.group for item in samples} - {""})
    centres = len({item.centre for item in samples} - {""})
    boxes = [len(item.boxes) for item in samples if item.boxes]
    masks = sum(bool(item.masks) for item in samples)
    parts = (
        f"This is {title}: {what}",
        f" of {groups:,} patients" if groups else "",
        f" from {centres} centres" if centres else "",
        f", {sum(boxes):,} boxes on {len(boxes):,} of them" if boxes else "",
        f", masks of {masks:,}" if masks else "",
    )
    return "".join(parts) + "."


def recognised(place: str | Path, split: str | None = None) -> Published | None:
    """The published data set in a folder, or that a table is of; None for another one.

    Opens no image.

    Args:
        place: the folder as it was unpacked, one right above it, or the table in it.
        split: of which images, as “split”, “@choice” or “split@choice”; all if None.

    Raises:
        DatasetError: it is one, but cannot be used or has no such split or choice; says
            the line.
    """
    known = _find(path_from(place))
    if known is None:
        return None
    layout, sources = known
    name, _, choice = (split or "").partition("@")
    if choice and not re.fullmatch(layout.allowed, choice):
        raise DatasetError(
            f"“{choice}” cannot be chosen of the data in “{place}”, but "
            f"{layout.choices}."
        )
    found: dict[str, Sample] = {}
    for where, item in layout.read(sources, choice):
        if found.setdefault(item.id, item) is not item:
            raise twice(where, item.id)
    here = tuple(item for item in found.values() if item.path is not MISSING)
    if not here:
        raise DatasetError(
            f"None of the {layout.noun} of {layout.title} is in “{place}”, at least "
            f"none of “{split}”. Put them where its archives have them."
        )
    note = layout.notes.get(choice, "")
    whole = Published(layout=layout, samples=here, listed=len(found), note=note)
    return whole.of(name) if name else whole


def is_published(place: Path) -> bool:
    """Whether a folder or table is of a published data set."""
    return _find(place) is not None


def named_split(data: Path, name: str) -> tuple[Path, str | None]:
    """Where a split is that is named from a data set's folder, and its name there.

    A published data set has it by its name; another one as a folder or table.
    """
    path = data / name
    if path.is_file() or (path.is_dir() and not is_published(data)):
        return path, None
    return data, name


def _find(place: Path) -> tuple[Layout, list[Path]] | None:
    found = ((layout, layout.find(place)) for layout in LAYOUTS)
    return next((item for item in found if item[1]), None)
