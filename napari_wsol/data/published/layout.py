"""What a data set is once its published files are read, and what readers share."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_wsol.data.split_files import read_fields
from napari_wsol.errors import DatasetError
from napari_wsol.files import is_file
from napari_wsol.files.tables import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from napari_wsol.data.split_files import Row
    from napari_wsol.data.split_folders import Sample

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
"""Endings of the images of published data sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedBox:
    """A box that a reader drew: pixel j of a row is covered where x <= j < x + width.

    Attributes:
        name: of its class.
        xywh: x, y, width, height in pixels of the data set's ``frame``.
        where: the line it comes from, for messages.
    """

    name: str
    xywh: tuple[float, float, float, float]
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A data set as its makers published it.

    Attributes:
        key: its short name: "nih14", "chexpert", "breakhis", "bach", "camelyon17",
            "camelyon" or "glas".
        title: its name.
        noun: what its images are: "films", "images", "patches".
        classes: names, in the order of the labels.
        samples: the images that are here, with labels, group, centre and split.
        multi_label: whether an image may have none or several of the classes.
        listed: how many images its table lists; more than there are samples where some
            were not downloaded.
        groups: what a group is: "patients", "slides"; empty where none is published.
        boxes: of each image that has some, by its id.
        masks: of each image that was outlined, by its id; no file for one without any
            of what was outlined.
        frame: (H, W) that boxes were drawn in.
        joined: splits that others make up, like "test" of "testA" and "testB".
        notes: what a person must know, a sentence each.
    """

    key: str
    title: str
    noun: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    multi_label: bool
    listed: int
    groups: str = ""
    boxes: Mapping[str, tuple[MarkedBox, ...]] = field(
        default_factory=dict[str, tuple[MarkedBox, ...]]
    )
    masks: Mapping[str, tuple[Path, ...]] = field(
        default_factory=dict[str, "tuple[Path, ...]"]
    )
    frame: tuple[int, int] | None = None
    joined: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the order of the images, then those joined."""
        own = dict.fromkeys(item.split for item in self.samples if item.split)
        return (*own, *self.joined)

    @property
    def centres(self) -> tuple[str, ...]:
        """Names of the centres, sorted; none where they are not published."""
        return tuple(sorted({item.centre for item in self.samples} - {""}))

    def of(self, split: str | None) -> Published:
        """The images of one split, or all of them.

        Raises:
            DatasetError: there is no such split; names those that there are.
        """
        if not split:
            return self
        wanted = self.joined.get(split, (split,))
        return self.only(
            [item for item in self.samples if item.split in wanted],
            f"no {self.noun} of a split “{split}”; its splits are "
            f"{', '.join(self.splits) or 'not published'}",
        )

    def only(self, samples: Sequence[Sample], otherwise: str) -> Published:
        """Some of the images, with their boxes and masks.

        Args:
            samples: which.
            otherwise: what it has, where these are none.

        Raises:
            DatasetError: these are none.
        """
        if not samples:
            raise DatasetError(f"{self.title} has {otherwise}.")
        ids = {item.id for item in samples}
        return replace(
            self,
            samples=tuple(samples),
            listed=len(samples),
            boxes={name: item for name, item in self.boxes.items() if name in ids},
            masks={name: item for name, item in self.masks.items() if name in ids},
        )

    def labelled(self, classes: Sequence[str] | None) -> tuple[Sample, ...]:
        """The images with the labels of these classes, in this order.

        Raises:
            DatasetError: a class is none of the data set's.
        """
        if classes is None:
            return self.samples
        at = {plain(name): index for index, name in enumerate(self.classes)}
        strange = [name for name in classes if plain(name) not in at]
        if strange:
            raise DatasetError(
                f"{self.title} has no class “{strange[0]}”. Its classes are "
                f"{', '.join(self.classes)}."
            )
        order = [at[plain(name)] for name in classes]
        if order == list(range(len(self.classes))):
            return self.samples
        return tuple(
            replace(item, labels=tuple(item.labels[index] for index in order))
            for item in self.samples
        )

    def said(self) -> str:
        """What was recognised and counted, for people."""
        here = len({item.id for item in self.samples})
        count = f"{here:,}"
        if here < self.listed:
            count = f"{self.listed:,} {self.noun} are listed, {count} of them are here"
        else:
            count += f" {self.noun}"
        parts = [f"This is {self.title}: {count}"]
        groups = len({item.group for item in self.samples} - {""})
        if groups:
            parts.append(f"of {groups:,} {self.groups}")
        if self.centres:
            parts.append(f"from {len(self.centres)} centres")
        if self.boxes:
            total = sum(map(len, self.boxes.values()))
            parts.append(f"with {total:,} boxes on {len(self.boxes):,} of them")
        if self.masks:
            parts.append(f"with masks of {len(self.masks):,}")
        return " ".join([" ".join(parts) + ".", *self.notes])


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way a data set is published.

    Attributes:
        find: the table or folder that it is known by, of what a person named; None
            where it is another one. Looks at names and the first line of tables.
        read: reads it; told what ``find`` gave, and the choice, which is empty or one
            that ``choices`` describes.
        allowed: regular expression of the choices.
        choices: the same for people; empty where there are none.
    """

    find: Callable[[Path], Path | None]
    read: Callable[[Path, str], Published]
    allowed: str = ""
    choices: str = ""


def plain(name: str) -> str:
    """A class name without what tables write differently."""
    return name.strip().casefold().replace("_", " ").replace("tumour", "tumor")


def headed(place: Path, columns: Iterable[str], pattern: str = "*.csv") -> list[Path]:
    """The table that was named, or those in the folder, that have these columns."""
    wanted = set(columns)
    tables = sorted(place.glob(pattern)) if place.is_dir() else [place]
    return [
        path
        for path in tables
        if path.suffix.lower() == ".csv"
        and is_file(path)
        and wanted <= {name.strip().lstrip("\ufeff") for name in columns_of(path)}
    ]


def rows_of(path: Path) -> list[Row]:
    """The rows of a published table; commas at the end of a line are passed over.

    Raises:
        DatasetError: it has no rows, or one with another number of fields.
    """
    lines = read_fields(path)
    if len(lines) < 2:
        raise DatasetError(f"“{path.name}” has no rows below its column names.")
    header = _shortened(lines[0][1])
    rows: list[Row] = []
    for where, fields in lines[1:]:
        own = _shortened(fields)
        if len(own) > len(header):
            raise DatasetError(
                f"{where} has {len(own)} fields, but there are {len(header)} column "
                "names."
            )
        own += [""] * (len(header) - len(own))
        rows.append((where, dict(zip(header, own, strict=True))))
    return rows


def _shortened(fields: list[str]) -> list[str]:
    end = len(fields)
    while end and not fields[end - 1]:
        end -= 1
    return fields[:end]


def images_below(folders: Iterable[Path]) -> dict[str, Path]:
    """The images right in these folders by their names without an ending."""
    found: dict[str, Path] = {}
    for folder in folders:
        with os.scandir(folder) as listed:
            for entry in listed:
                stem, ending = os.path.splitext(entry.name)  # noqa: PTH122 - quicker
                if ending.lower() in SUFFIXES and not stem.startswith("."):
                    found.setdefault(stem, folder / entry.name)
    return found


def none_here(title: str, table: Path, name: str) -> DatasetError:
    """What is said where none of the images that a table lists is there."""
    return DatasetError(
        f"“{table.name}” lists “{name}” and others of {title}, but none of them is in "
        f"“{table.parent}”. Put the images where they were published, beside the table."
    )
