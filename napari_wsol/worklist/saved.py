"""Lists that are remembered, so that tomorrow the work goes on where it stopped.

One small JSON file a list, in a folder of the user's data. Paths are told from the
list's root. Where a folder was moved, its list is known again by the names in it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from napari_wsol.errors import ImageError, MalformedError
from napari_wsol.files import encoded, path_from, unwritable, write_kept
from napari_wsol.files.parsing import read_json
from napari_wsol.strokes.stroke import now
from napari_wsol.worklist.items import Item, Kind, WorkList

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT, VERSION = "napari-wsol list", 1
ALIKE = 0.9
"""Share of a list's names that a folder must hold to be the same one, moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedList:
    """A list as its file holds it.

    Attributes:
        file: where it is written down.
        kind: what it was made from.
        root: folder that paths are told from.
        source: the folder or table; None for files that were chosen.
        recursive: whether folders in it were searched.
        names: paths from the root, in their order.
        held_out: those that are set aside.
        current: the one that was worked on.
        time: when it was written, UTC, ISO 8601.
    """

    file: Path
    kind: Kind
    root: Path
    source: Path | None
    recursive: bool
    names: tuple[str, ...]
    held_out: frozenset[str]
    current: str | None
    time: str

    @property
    def name(self) -> str:
        """For people."""
        return (self.source or self.root).name or str(self.root)

    @property
    def is_there(self) -> bool:
        """Whether its folder is where it was."""
        return (self.source or self.root).exists()

    def open(self, root: Path | None = None) -> WorkList:
        """The list again, with images that came to its folder since.

        Args:
            root: where its folder is now, if it was moved.

        Raises:
            ImageError: the folder or table is gone.
        """
        if root is None and not self.is_there:
            raise ImageError(
                f"“{self.source or self.root}” is not there any more. If it was moved, "
                "choose it where it is now: nothing that you did is lost."
            )
        place = path_from(root or self.root).absolute()
        if self.kind == "folder":
            worklist = WorkList.of_folder(place, recursive=self.recursive)
        elif self.kind == "table" and self.source is not None:
            worklist = WorkList.of_table(place / self.source.name)
        else:
            items = [Item(path=place / name) for name in self.names]
            worklist = WorkList(items, root=place, kind=self.kind, source=self.source)
        self.tell(worklist)
        return worklist

    def tell(self, worklist: WorkList) -> None:
        """What is remembered of the images: which are set aside, where one was."""
        for row, item in enumerate(worklist):
            name = worklist.relative(item)
            if name in self.names:
                worklist.set_aside(row, name in self.held_out)
            if name == self.current:
                worklist.go_to(row)


def remember_list(worklist: WorkList, folder: Path) -> Path:
    """Writes a list down, all or nothing.

    Args:
        worklist: what to remember.
        folder: of all lists.

    Raises:
        ExportError: it cannot be written; the list is as good as before today.
    """
    file = folder / _file_name(worklist)
    names = {row: worklist.relative(item) for row, item in enumerate(worklist)}
    values = {
        "format": FORMAT,
        "version": VERSION,
        "kind": worklist.kind,
        "root": str(worklist.root),
        "source": None if worklist.source is None else str(worklist.source),
        "recursive": worklist.recursive,
        "current": None if worklist.current is None else names[worklist.current],
        "time": now(),
        "images": list(names.values()),
        "set_aside": [names[row] for row in names if worklist[row].set_aside],
    }
    what = f"The list of images could not be remembered in {folder}"
    to_do = "Check that you may write there, and that the disk is not full."
    with unwritable(what, f". Strokes are not concerned. {to_do}"):
        write_json(file, values)
    return file


def saved_lists(folder: Path) -> list[SavedList]:
    """The lists that are remembered, the latest first; damaged files are left out."""
    found: list[SavedList] = []
    for file in folder.glob("*.json") if folder.is_dir() else ():
        try:
            found.append(_read(file))
        except (OSError, MalformedError):
            continue  # what it held was names: the folder can be chosen again
    return sorted(found, key=lambda item: item.time, reverse=True)


def list_of_folder(
    folder: str | Path, saved: Path, *, recursive: bool = False
) -> WorkList:
    """The images of a folder, with what is remembered of it, also if it was moved.

    Args:
        folder: to list.
        saved: folder of remembered lists.
        recursive: whether folders in it are searched.

    Raises:
        ImageError: it cannot be read, or holds no image.
    """
    worklist = WorkList.of_folder(folder, recursive=recursive)
    names = {worklist.relative(item) for item in worklist}
    known = saved_lists(saved)
    same = [item for item in known if item.source == worklist.source]
    moved = [
        item
        for item in known
        if item.kind == "folder"
        and not item.is_there
        and len(names.intersection(item.names)) >= ALIKE * len(item.names)
    ]
    for item in (*same, *moved)[:1]:
        item.tell(worklist)
    return worklist


def write_json(file: Path, values: Mapping[str, object]) -> None:
    """Writes a small file, all or nothing.

    Raises:
        OSError: what was there before is untouched.
    """
    write_kept(file, json.dumps(values, ensure_ascii=False, indent=1))


def _file_name(worklist: WorkList) -> str:
    """The same list always goes to the same file."""
    source = worklist.source
    told = [str(source)] if source is not None else [str(x.path) for x in worklist]
    digest = hashlib.sha256(encoded("\n".join(told))).hexdigest()[:12]
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", worklist.name).strip("-.")[:40]
    return f"{plain or 'list'}-{digest}.json"


class _Stored(Struct):
    """The file of a list."""

    format: str
    version: Annotated[int, Meta(le=VERSION)]
    kind: Kind
    root: str
    source: str | None
    recursive: bool
    images: tuple[str, ...]
    set_aside: frozenset[str]
    current: str | None
    time: str


def _read(file: Path) -> SavedList:
    stored = read_json(file, _Stored)
    if stored.format != FORMAT:
        raise MalformedError(f"it is no {FORMAT}")
    return SavedList(
        file=file,
        kind=stored.kind,
        root=Path(stored.root),
        source=None if stored.source is None else Path(stored.source),
        recursive=stored.recursive,
        names=stored.images,
        held_out=stored.set_aside,
        current=stored.current,
        time=stored.time,
    )
