"""Many images: which there are, how far each is, and which are set aside.

A list is made from names alone, so that a thousand slides are listed at once. What is
known of an image is found by its content (:mod:`napari_wsol.worklist.status`), never by
its name; a file that cannot be read says so when it is opened.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, get_args

from psygnal import Signal

from napari_wsol.data.datasets import listed_in
from napari_wsol.files import path_from
from napari_wsol.journal import Status
from napari_wsol.worklist.files import images_in, images_listed, images_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Kind = Literal["folder", "files", "table"]
"""What a list was made from."""

STATUSES: tuple[Status, ...] = get_args(Status)
"""From the first to the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An image of the list.

    Attributes:
        path: file or folder.
        fingerprint: of its content; empty until that is known.
        status: how far the work on it is.
        set_aside: whether it is kept for scoring: nothing is ever learnt from it.
        note: why it could not be opened; empty otherwise.
    """

    path: Path
    fingerprint: str = ""
    status: Status = "untouched"
    set_aside: bool = False
    note: str = ""

    @property
    def name(self) -> str:
        """For people."""
        return self.path.name


class WorkList:
    """Images in an order, with what is known of them; may be used by several threads.

    Args:
        items: the images.
        root: folder that their paths are told from.
        kind: what it was made from.
        recursive: whether folders in it were searched.
        source: the folder or table; None for files that were chosen.

    Attributes:
        note: what a person should know of it; empty for nothing.

    Signals:
        changed: the row whose image is known better now, or None when many are.
    """

    changed = Signal(object)

    def __init__(
        self,
        items: Iterable[Item],
        *,
        root: Path,
        kind: Kind = "files",
        recursive: bool = False,
        source: Path | None = None,
    ) -> None:
        self._items = list(items)
        self._rows = {item.path: row for row, item in enumerate(self._items)}
        self._lock = threading.RLock()
        self._current: int | None = None
        self.root = root
        self.kind: Kind = kind
        self.recursive = recursive
        self.source = source
        self.note = ""

    @classmethod
    def of_folder(cls, folder: str | Path, *, recursive: bool = False) -> Self:
        """The images of a folder; those that it lists where it is a published data set.

        Raises:
            ImageError: it cannot be read, or holds no image.
        """
        root = path_from(folder).absolute()
        paths, note = listed_in(root)
        items = [Item(path=x) for x in paths or images_in(root, recursive=recursive)]
        found = cls(items, root=root, kind="folder", recursive=recursive, source=root)
        found.note = note
        return found

    @classmethod
    def of_files(cls, paths: Iterable[str | Path]) -> Self:
        """Files that were chosen."""
        found = images_of(paths)
        folders = [path.parent for path in found]
        root = Path(os.path.commonpath(folders)) if folders else Path.cwd()
        return cls([Item(path=path) for path in found], root=root)

    @classmethod
    def of_table(cls, table: str | Path) -> Self:
        """The images that a text file or a table names.

        Raises:
            ImageError: it cannot be read, or names no image.
        """
        source = path_from(table).absolute()
        paths, note = listed_in(source)
        rows = [(path, False) for path in paths] or images_listed(source)
        items = [Item(path=path, set_aside=held_out) for path, held_out in rows]
        found = cls(items, root=source.parent, kind="table", source=source)
        found.note = note
        return found

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, row: int) -> Item:
        return self._items[row]

    def __iter__(self) -> Iterator[Item]:
        return iter(tuple(self._items))

    @property
    def name(self) -> str:
        """For people."""
        return (self.source or self.root).name or str(self.root)

    @property
    def current(self) -> int | None:
        """The row that was opened last."""
        return self._current

    @property
    def counts(self) -> dict[Status, int]:
        """Images of each status."""
        statuses = [item.status for item in self]
        return {status: statuses.count(status) for status in STATUSES}

    @property
    def held_out(self) -> tuple[Item, ...]:
        """The images that are set aside."""
        return tuple(item for item in self if item.set_aside)

    def row_of(self, path: str | Path) -> int | None:
        """The row of a path; None where it is not in the list."""
        return self._rows.get(Path(path).absolute())

    def relative(self, item: Item) -> str:
        """An image's path from the root, with “/”; the whole path where it is outside.

        Folders may be called alike, so this tells images apart where names do not.
        """
        try:
            return item.path.relative_to(self.root).as_posix()
        except ValueError:
            return item.path.as_posix()

    def learn(
        self,
        row: int,
        *,
        fingerprint: str | None = None,
        status: Status | None = None,
        note: str | None = None,
    ) -> None:
        """Keeps what was found out about an image; None leaves a value as it is."""
        told = {"fingerprint": fingerprint, "status": status, "note": note}
        self._change(row, {k: v for k, v in told.items() if v is not None})

    def learn_all(self, found: Mapping[int, tuple[str, Status]]) -> None:
        """Keeps what was found of many images: row → fingerprint and status; told once.

        What is known by now is newer.
        """
        with self._lock:
            for row, (fingerprint, status) in found.items():
                item = self._items[row]
                if not item.fingerprint:
                    self._items[row] = replace(
                        item, fingerprint=fingerprint, status=status
                    )
        if found:
            self.changed.emit(None)

    def set_status(self, fingerprint: str, status: Status) -> None:
        """The work on an image went on; copies of it in the list go with it."""
        for row, item in enumerate(self):
            if item.fingerprint == fingerprint:
                self.learn(row, status=status)

    def set_aside(self, row: int, held_out: bool = True) -> None:
        """Keeps an image for scoring, or lets it teach again; copies go with it."""
        fingerprint = self._items[row].fingerprint
        for other, item in enumerate(self):
            is_copy = bool(fingerprint) and item.fingerprint == fingerprint
            if other == row or is_copy:
                self._change(other, {"set_aside": held_out})

    def is_aside(self, fingerprint: str) -> bool:
        """Whether an image is set aside."""
        return any(item.set_aside for item in self if item.fingerprint == fingerprint)

    def go_to(self, row: int | None) -> None:
        """This row is worked on now."""
        before, self._current = self._current, row
        for changed in {before, row} - {None}:
            self.changed.emit(changed)

    def after(self, row: int | None, step: int = 1) -> int | None:
        """The row so many further on; None beyond either end."""
        if row is None:
            return 0 if self._items else None
        wanted = row + step
        return wanted if 0 <= wanted < len(self._items) else None

    def next_untouched(self, row: int | None) -> int | None:
        """The next image that nothing was done on, from the top after the last one."""
        count, start = len(self._items), -1 if row is None else row
        for step in range(1, count + 1):
            found = (start + step) % count
            item = self._items[found]
            if item.status == "untouched" and not item.note and found != row:
                return found
        return None

    def _change(self, row: int, changes: Mapping[str, object]) -> None:
        with self._lock:
            before = self._items[row]
            after = replace(before, **changes)  # type: ignore[arg-type]
            self._items[row] = after
        if after != before:
            self.changed.emit(row)
