"""How a data set is published, and how its tables are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.data.split_files import SUFFIXES, one_hot, read_fields, rows_below
from napari_wsol.errors import DatasetError
from napari_wsol.files.tables import columns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from napari_wsol.data.split_files import Row, Sample

MISSING = Path()
"""Instead of an image that is listed and not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A way a data set is published.

    Attributes:
        title: the data set's name.
        noun: what its images are: "films", "images", "patches".
        classes: names, in the order of the labels.
        within: where in a folder its tables, or the folder of its images, may be.
        knows: whether what is there is one of them.
        read: lists the images, with where each is listed; told what was found, and the
            choice, which may be empty.
        multi_label: whether an image may have none or several of the classes.
        allowed: regular expression of what may be chosen.
        choices: the same for people.
        notes: what must be said, by the choice.
    """

    title: str
    noun: str
    classes: tuple[str, ...]
    within: tuple[str, ...] = ("*.csv",)
    knows: Callable[[Path], bool]
    read: Callable[[list[Path], str], Iterator[tuple[str, Sample]]]
    multi_label: bool = False
    allowed: str = ""
    choices: str = "nothing"
    notes: Mapping[str, str] = field(default_factory=dict[str, str])

    def find(self, place: Path) -> list[Path]:
        """What it is known by in a folder, or the table itself; none of another one."""
        inside = (path for at in self.within for path in sorted(place.glob(at)))
        return list(filter(self.knows, inside if place.is_dir() else [place]))


def first_line(path: Path) -> list[str]:
    """The cells of a table's first line; none of another file."""
    return columns_of(path) if path.suffix.lower() == ".csv" else []


def headed(*columns: str) -> Callable[[Path], bool]:
    """Whether a file is a table that has these columns."""
    return lambda path: set(columns) <= set(first_line(path))


def rows_of(path: Path) -> list[Row]:
    """The rows of a published table; columns without a name or value are left out.

    Raises:
        DatasetError: a row has another number of fields than there are columns.
    """
    (_, header), *lines = read_fields(path)
    width = max(at for at, name in enumerate(header, 1) if name)
    own = [
        (where, cells[:width] + list(filter(None, cells[width:])))
        for where, cells in lines
    ]
    return rows_below(header[:width], own)


def images_in(folders: Iterable[Path]) -> dict[str, Path]:
    """The images right in these folders, by their names without an ending."""
    return {
        path.stem: path
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES
    }


def class_at(where: str, name: str, classes: tuple[str, ...]) -> int:
    """The number of a class, whose name tables write differently.

    Raises:
        DatasetError: there is no such class; says where it stands.
    """
    names = list(map(plain, classes))
    if plain(name) not in names:
        raise DatasetError(
            f"{where}: “{name}” is none of the classes {', '.join(classes)}."
        )
    return names.index(plain(name))


def labels_at(where: str, name: str, classes: tuple[str, ...]) -> tuple[int, ...]:
    """The labels of an image of one class; the rest as in ``class_at``."""
    return one_hot(class_at(where, name, classes), len(classes))


def plain(name: str) -> str:
    """A class name without what tables write differently."""
    return name.strip().casefold().replace("_", " ").replace("tumour", "tumor")
