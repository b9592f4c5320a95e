"""How a data set is published, and what it is once its files are read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from napari_wsol.data.boxes import Box
from napari_wsol.data.split_files import Row, check_width, read_fields
from napari_wsol.data.split_folders import Sample, one_hot, twice
from napari_wsol.errors import DatasetError
from napari_wsol.files import is_file
from napari_wsol.files.tables import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
"""Endings of the images of published data sets."""


class Listed(NamedTuple):
    """What a list says of an image; the path is None where the file is not here."""

    where: str
    id: str
    path: Path | None
    labels: tuple[int, ...]
    group: str = ""
    centre: str = ""
    split: str = ""
    masks: tuple[Path, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A data set as its makers published it, or a split of it.

    Attributes:
        layout: what it is.
        samples: the images that are here, with labels, group, centre and split.
        listed: how many images its list has, here or not.
        boxes: of each image that has some, by its id.
        masks: of each image that was outlined, by its id; no file where there was
            nothing to outline.
        notes: what a person must know, a sentence each.
    """

    layout: Layout
    samples: tuple[Sample, ...]
    listed: int
    boxes: Mapping[str, list[Box]]
    masks: Mapping[str, tuple[Path, ...]]
    notes: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the order of the images, then those joined."""
        own = dict.fromkeys(item.split for item in self.samples if item.split)
        joined = self.layout.joined.items()
        return (*own, *(name for name, parts in joined if own.keys() & set(parts)))

    @property
    def centres(self) -> tuple[str, ...]:
        """Names of the centres, sorted; none where they are not published."""
        return tuple(sorted({item.centre for item in self.samples} - {""}))

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
        ids = {item.id for item in kept}
        return replace(
            self,
            samples=kept,
            listed=len(kept),
            boxes={name: item for name, item in self.boxes.items() if name in ids},
            masks={name: item for name, item in self.masks.items() if name in ids},
            notes=(),
        )

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
        layout, here = self.layout, len({item.id for item in self.samples})
        said = f"This is {layout.title}: {self.listed:,} {layout.noun}"
        groups = len({item.group for item in self.samples} - {""})
        said += f" of {groups:,} {layout.groups}" if groups else ""
        said += f" from {len(self.centres)} centres" if self.centres else ""
        if self.boxes:
            total = sum(map(len, self.boxes.values()))
            said += f", {total:,} boxes on {len(self.boxes):,} of them"
        said += f", masks of {len(self.masks):,}" if self.masks else ""
        left = f"Only {here:,} of them are here." if here < self.listed else ""
        return " ".join(filter(None, (f"{said}.", left, *self.notes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A way a data set is published.

    Attributes:
        title: the data set's name.
        noun: what its images are: "films", "images", "patches".
        classes: names, in the order of the labels.
        find: the table or folder that it is known by, of what a person named; None
            where that is another one. Looks at names and first lines.
        list: reads what ``find`` gave; told the choice, which may be empty.
        boxes: reads the boxes; image and box.
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
    list: Callable[[Path, str], Iterable[Listed]]
    boxes: Callable[[Path], Iterable[tuple[str, Box]]] | None = None
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
        masks: dict[str, tuple[Path, ...]] = {}
        for item in self.list(source, choice):
            if (item.split, item.id) in seen:
                raise twice(item.where, item.id)
            seen.add((item.split, item.id))
            if item.path is None:
                continue
            own = item._replace(path=item.path)._asdict()
            samples.append(Sample(**{key: own[key] for key in _OF_SAMPLE}))
            if item.masks is not None:
                masks[item.id] = item.masks
        if not samples:
            raise DatasetError(
                f"None of the {self.noun} of {self.title}"
                f"{f' that “{choice}” chooses' if choice else ''} is in “{source}” or "
                "beside it. Put them where the archives of the data set have them."
            )
        ids, boxes = {item.id for item in samples}, dict[str, list[Box]]()
        for name, box in self.boxes(source) if self.boxes is not None else ():
            if name in ids:
                boxes.setdefault(name, []).append(box)
        return Published(
            layout=self,
            samples=tuple(samples),
            listed=len({name for _, name in seen}),
            boxes=boxes,
            masks=masks,
            notes=tuple(filter(None, [self.notes.get(choice, "")])),
        )

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


_OF_SAMPLE = ("path", "labels", "id", "group", "centre", "split")


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
    lines, rows = read_fields(path), list[Row]()
    header = lines[0][1]
    named = header[: max(at for at, name in enumerate(header, 1) if name)]
    for where, fields in lines[1:]:
        own = fields if any(fields[len(named) :]) else fields[: len(named)]
        check_width(where, own, named)
        rows.append((where, dict(zip(named, own, strict=True))))
    return rows


def images_below(folders: Iterable[Path]) -> dict[str, Path]:
    """The images right in these folders by their names without an ending."""
    found: dict[str, Path] = {}
    for folder in filter(os.path.isdir, folders):
        with os.scandir(folder) as listed:
            names = [os.path.splitext(entry.name) for entry in listed]  # noqa: PTH122
        for stem, ending in names:
            if ending.lower() in SUFFIXES and not stem.startswith("."):
                found.setdefault(stem, folder / f"{stem}{ending}")
    return found
