"""Data sets as their makers publish them: known by their content.

A split of one may name a choice behind “@”: “train@pcam” of NIH ChestX-ray14, “@200X”
of BreakHis, “test@centre-2” of CAMELYON17. Each layout says what may be chosen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsol.data.layouts import LAYOUTS, MISSING
from napari_wsol.errors import DatasetError
from napari_wsol.files import path_from

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from napari_wsol.data.layouts import Layout
    from napari_wsol.data.split_files import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A data set as its makers published it, or a split of it.

    Attributes:
        layout: what it is.
        samples: the images that are here.
        said: what was recognised and counted, for people.
    """

    layout: Layout
    samples: tuple[Sample, ...]
    said: str


def recognised(place: str | Path, split: str | None = None) -> Published | None:
    """The published data set in a folder, or that a table is of; None for another one.

    Args:
        place: the folder as it was unpacked, one right above it, or the table in it.
        split: of which images, as “split”, “@choice” or “split@choice”; all if None.
            “test” is “testA” and “testB” too.

    Raises:
        DatasetError: it is one, but cannot be used or has no such split or choice; says
            the line.
    """
    known = _find(path_from(place))
    if known is None:
        return None
    layout, sources = known
    name, _, choice = (split or "").partition("@")
    allowed = "|".join(layout.choices)
    if choice and not re.fullmatch(allowed.replace("N", r"\d{1,9}"), choice):
        raise DatasetError(
            f"“{choice}” cannot be chosen of {layout.title}, but "
            f"{', '.join(layout.choices) or 'nothing'}."
        )
    every = {x.id: x for path in sources for x in layout.read(path, choice)}.values()
    wanted = re.compile(f"{re.escape(name)}[A-Z]?" if name else ".*")
    listed = [item for item in every if wanted.fullmatch(item.split)]
    here = tuple(item for item in listed if item.path is not MISSING)
    if not here:
        splits = ", ".join(dict.fromkeys(item.split for item in every if item.split))
        raise DatasetError(
            f"None of the {layout.noun} of {layout.title}"
            f"{f' in the split “{split}”' if split else ''} is in “{place}”. Put them "
            f"where its archives have them; its splits are {splits or 'not published'}."
        )
    said = counted(layout.title, len(listed), layout.noun, here)
    left = f"Only {len(here):,} of them are here." if len(here) < len(listed) else ""
    note = layout.note.format(choice=choice or allowed.partition("|")[0])
    told = " ".join(filter(None, (said, left, note)))
    return Published(layout=layout, samples=here, said=told)


def counted(title: str, listed: int, noun: str, samples: Collection[Sample]) -> str:
    """What images are of, as a sentence: patients, centres, boxes and masks."""
    boxes = [len(item.boxes) for item in samples if item.boxes]
    parts = {
        " of {:,} patients": len({item.group for item in samples} - {""}),
        " from {} centres": len({item.centre for item in samples} - {""}),
        f", {sum(boxes):,} boxes on {{:,}} of them": len(boxes),
        ", masks of {:,}": sum(bool(item.masks) for item in samples),
    }
    told = "".join(part.format(count) for part, count in parts.items() if count)
    return f"This is {title}: {listed:,} {noun}{told}."


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
