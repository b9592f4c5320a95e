"""How a data set is published, and what it is once its files are read."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.data.split_files import check_width, one_hot, read_fields, twice
from napari_wsol.errors import DatasetError
from napari_wsol.files import is_file
from napari_wsol.files.tables import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from napari_wsol.data.split_files import Row, Sample

MISSING = Path()
"""Instead of an image that is listed and not here."""

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
"""Endings of the images of published data sets."""


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
    note: str = ""

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the order of the images, then those joined."""
        own = dict.fromkeys(item.split for item in self.samples if item.split)
        joined = self.layout.joined.items()
        return (*own, *(name for name, parts in joined if own.keys() & set(parts)))

    def of(self, split: str) -> Published:
        """The images of one split; all where it is empty.

        Raises:
            DatasetError: there is no such split; names those that there are.
        """
        wanted = self.layout.joined.get(split, (split,))
        kept = tuple(item for item in self.samples if item.split in wanted)
        if not split:
            return self
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
        own = self.layout.classes
        at = {plain(name): index for index, name in enumerate(own)}
        strange = [name for name in classes or () if plain(name) not in at]
        if strange:
            raise DatasetError(
                f"{self.layout.title} has no class “{strange[0]}”. Its classes are "
                f"{', '.join(own)}."
            )
        order = [at[plain(name)] for name in classes or own]
        return tuple(
            replace(item, labels=tuple(item.labels[index] for index in order))
            for item in self.samples
        )

    def said(self) -> str:
        """What was recognised and counted, for people."""
        layout, images = self.layout, {item.id: item for item in self.samples}.values()
        said = f"This is {layout.title}: {self.listed:,} {layout.noun}"
        groups = len({item.group for item in images} - {""})
        said += f" of {groups:,} {layout.groups}" if groups else ""
        centres = len({item.centre for item in images} - {""})
        said += f" from {centres} centres" if centres else ""
        boxes = [len(item.boxes) for item in images if item.boxes]
        said += f", {sum(boxes):,} boxes on {len(boxes):,} of them" if boxes else ""
        masks = sum(item.masks is not None for item in images)
        said += f", masks of {masks:,}" if masks else ""
        lacks = len(images) < self.listed
        left = f"Only {len(images):,} of them are here." if lacks else ""
        return " ".join(filter(None, (f"{said}.", left, self.note)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A way a data set is published.

    Attributes:
        title: the data set's name.
        noun: what its images are: "films", "images", "patches".
        classes: names, in the order of the labels.
        find: the table or folder that it is known by, of what a person named; None
            where that is another one. Looks at names and first lines.
        list: reads what ``find`` gave; told the choice, which may be empty. Gives where
            an image is listed, and the image.
        multi_label: whether an image may have none or several of the classes.
        groups: what a group is: "patients", "slides".
        joined: splits that others make up, like "test" of "testA" and "testB".
        allowed: regular expression of what may be chosen.
        choices: the same for people; empty where there is nothing to choose.
        notes: what must be said, by the choice.
    """

    title: str
    noun: str
    classes: tuple[str, ...]
    find: Callable[[Path], Path | None]
    list: Callable[[Path, str], Iterable[tuple[str, Sample]]]
    multi_label: bool = False
    groups: str = "patients"
    joined: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict[str, tuple[str, ...]]
    )
    allowed: str = ""
    choices: str = ""
    notes: Mapping[str, str] = field(default_factory=dict[str, str])

    def read(self, source: Path, choice: str) -> Published:
        """Reads the lists; opens no image.

        Raises:
            DatasetError: names the first line that cannot be used, or says that none of
                the images is here.
        """
        seen: set[tuple[str, str]] = set()
        samples: list[Sample] = []
        for where, item in self.list(source, choice):
            if (item.split, item.id) in seen:
                raise twice(where, item.id)
            seen.add((item.split, item.id))
            samples += [item] if item.path is not MISSING else []
        if not samples:
            raise DatasetError(
                f"None of the {self.noun} of {self.title}"
                f"{f' that “{choice}” chooses' if choice else ''} is in “{source}” or "
                "beside it. Put them where the archives of the data set have them."
            )
        listed, note = len({name for _, name in seen}), self.notes.get(choice, "")
        return Published(layout=self, samples=tuple(samples), listed=listed, note=note)

    def one_of(self, where: str, name: str) -> tuple[int, ...]:
        """The labels of an image of one class.

        Raises:
            DatasetError: the data set has no such class.
        """
        names = [plain(item) for item in self.classes]
        if plain(name) not in names:
            raise DatasetError(
                f"{where} has the class “{name}”, but {self.title} has "
                f"{', '.join(self.classes)}."
            )
        return one_hot(names.index(plain(name)), len(names))


def plain(name: str) -> str:
    """A class name without what tables write differently."""
    return name.strip().casefold().replace("_", " ").replace("tumour", "tumor")


def headed(places: Iterable[Path], columns: Iterable[str]) -> list[Path]:
    """The tables that have these columns: those named, and those in folders named."""
    wanted = set(columns)
    files = [
        path
        for place in places
        for path in (sorted(place.glob("*.csv")) if place.is_dir() else [place])
    ]
    return [
        path
        for path in files
        if path.suffix.lower() == ".csv"
        and is_file(path)
        and wanted <= {name.strip().lstrip("\ufeff") for name in columns_of(path)}
    ]


def rows_of(path: Path) -> list[Row]:
    """The rows of a published table; columns without a name or value are left out.

    Raises:
        DatasetError: a row has another number of fields than there are columns.
    """
    lines = read_fields(path)
    rows: list[Row] = []
    header = lines[0][1]
    named = header[: max(at for at, name in enumerate(header, 1) if name)]
    for where, fields in lines[1:]:
        own = fields if any(fields[len(named) :]) else fields[: len(named)]
        check_width(where, own, named)
        rows.append((where, dict(zip(named, own, strict=True))))
    return rows


def images_below(folders: Iterable[Path]) -> defaultdict[str, Path]:
    """The images right in these folders by their names without an ending.

    Of other names it has ``MISSING``.
    """
    found = defaultdict[str, Path](lambda: MISSING)
    for folder in filter(os.path.isdir, folders):
        with os.scandir(folder) as listed:
            names = [os.path.splitext(entry.name) for entry in listed]  # noqa: PTH122
        for stem, ending in names:
            if ending.lower() in SUFFIXES and not stem.startswith("."):
                found.setdefault(stem, folder / f"{stem}{ending}")
    return found
