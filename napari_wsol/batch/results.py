"""A folder of results that several workers fill: what is finished, and the table of it.

Each image has a folder of its own, which appears complete, by one rename; the row of
the table is in it. What is not finished yet is below a hidden folder: the finished
tiles, the files so far, the worker's claim. No file is ever written by two workers.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import shutil
import uuid
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import MalformedError
from napari_wsol.export.files import stem_of
from napari_wsol.files import (
    encoded,
    free_name,
    is_reserved,
    make_folder,
    numbered,
    path_from,
    sync_folder,
    sync_tree,
    time_in,
    unwritable,
    write_whole,
)
from napari_wsol.files.parsing import read_json
from napari_wsol.files.tables import GrowingTable, append_row, columns_of, table_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HIDDEN = ".localized"
ROW = "row.json"
SUMMARY = "summary.csv"
OK = "ok"

Row = dict[str, str]

MAKE_ROOM = ": make room, then start again; what is finished is kept."
CLOSE_IT = ". Close it if another program has it open, and start again."

_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EPERM)
"""What a rename onto a folder that is there says; the last two on Windows."""


class ResultsFolder:
    """The results of many images.

    Args:
        path: of the folder; made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path_from(path).absolute()
        self._told: dict[str, Row] | None = None

    def key(self, name: str, facts: Mapping[str, object]) -> str:
        """What one image is called while it is worked on.

        Args:
            name: of the image.
            facts: everything that the result depends on.
        """
        text = json.dumps(dict(facts), sort_keys=True)
        return (
            f"{folder_name(name)[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        )

    def work(self, key: str) -> Path:
        """The hidden folder of an image that is worked on."""
        return self.path / HIDDEN / key

    def finished(self, name: str, key: str, since: float | None = None) -> Row | None:
        """The row of an image that is finished; None of one that is not.

        Args:
            name: of the image.
            key: from :meth:`key`.
            since: only if it was finished after that time of the disk.
        """
        for folder in takewhile(Path.exists, self._folders(name)):
            row = _read(folder / ROW)
            if row is not None and row.get("key") == key:
                is_new = since is None or (folder / ROW).stat().st_mtime >= since
                return _placed(row, folder) if is_new else None
        return None

    def now(self) -> float:
        """The time of the disk, which all workers share."""
        return time_in(self._hidden())

    def publish(self, draft: Path, name: str, row: Row, *, key: str) -> Path:
        """Gives a complete draft its final name; replaces the same image's older one.

        Args:
            draft: a folder below :meth:`work`.
            name: of the image.
            row: its row of the table.
            key: from :meth:`key`.

        Raises:
            ExportError: it cannot be written.
        """
        with unwritable(f"The results of “{name}” cannot be written", MAKE_ROOM):
            write_row(draft / ROW, {**row, "key": key})
            sync_tree(draft)
            found = next(
                folder
                for folder in self._folders(name)
                if self._place(draft, folder, key)
            )
            sync_folder(self.path)
            return found

    @staticmethod
    def _place(draft: Path, folder: Path, key: str) -> bool:
        """Renames a draft; False where another image has that name."""
        older = _read(folder / ROW)
        if older is not None and older.get("key") == key:
            folder.replace(draft.with_name(f"older-{uuid.uuid4().hex}"))
        elif folder.exists():
            return False
        try:
            draft.replace(folder)
        except OSError as error:
            if error.errno in _TAKEN and folder.exists():
                return False  # another worker was quicker
            raise
        return True

    def keep(self, source: str, row: Row) -> Row:
        """Notes a row without a folder: of a bag, or of an image that failed.

        Args:
            source: which file.
            row: of the table.
        """
        folder = self._hidden() / "noted"
        with unwritable(f"“{self.path}” cannot be written to", MAKE_ROOM):
            write_row(folder / self._note(source), row)
        return row

    def clear(self, key: str, source: str) -> None:
        """Removes what was kept of an image while it was worked on, or was noted."""
        shutil.rmtree(self.work(key), ignore_errors=True)
        noted = self.path / HIDDEN / "noted"
        (noted / self._note(source)).unlink(missing_ok=True)
        # Others may be at work: only what is empty goes.
        for folder in (noted, self.path / HIDDEN):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def rows(self) -> list[Row]:
        """Of all images that are finished or noted, by name."""
        found: list[Row] = []
        noted = (self.path / HIDDEN / "noted").glob("*.json")
        for path in (*self.path.glob(f"*/{ROW}"), *noted):
            row, is_done = _read(path), path.name == ROW
            if row is not None:
                found.append(_placed(row, path.parent) if is_done else row)
        found.sort(key=lambda row: (row.get("image", ""), row.get("folder", "")))
        return found

    def write_summary(self) -> Path:
        """Writes the table of all images anew.

        A file of that name that is not ours is kept under another one.

        Raises:
            ExportError: it cannot be written.
        """
        path, rows = self.path / SUMMARY, self.rows()
        with unwritable(f"“{path}” cannot be written", CLOSE_IT):
            if path.exists() and "folder" not in columns_of(path):
                path.replace(free_name(path))
            write_whole(path, table_of(rows, FIRST)[1])
        self._told = {_place_of(row): row for row in rows}
        return path

    def add_to_summary(self, row: Row) -> None:
        """Puts a row into that table at once; other workers may do so as well.

        One that is new is added at the end; the table is written anew where a row
        is another one now, or has columns of its own.

        Raises:
            ExportError: it cannot be written.
        """
        path, told = self.path / SUMMARY, self._told or {}
        if told.get(_place_of(row)) == row:
            return
        columns = columns_of(path)
        is_new = not {_place_of(row), row.get("path")} & set(told)
        if self._told is None or not is_new or not set(row) <= set(columns):
            self.write_summary()
            return
        with unwritable(f"“{path}” cannot be written", CLOSE_IT):
            append_row(path, columns, row)
        told[_place_of(row)] = row

    def new_summary(self, columns: Sequence[str]) -> GrowingTable:
        """A table of its own for one run, beside those that are there.

        Raises:
            ExportError: it cannot be written.
        """
        path = self.path / SUMMARY
        with unwritable(f"“{path}” cannot be written", CLOSE_IT):
            make_folder(self.path)
            return GrowingTable(path, columns)

    def _hidden(self) -> Path:
        folder = self.path / HIDDEN
        what = f"“{self.path}” cannot be written to"
        with unwritable(what, ". Choose another folder."):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _folders(self, name: str) -> Iterator[Path]:
        """Images of one name get numbers from the second on."""
        return map(self.path.joinpath, numbered(folder_name(name)))

    @staticmethod
    def _note(source: str) -> str:
        return f"{hashlib.sha256(encoded(source)).hexdigest()[:16]}.json"


def folder_name(image: str) -> str:
    """An image's name as that of a folder."""
    name = stem_of(image, "x", "x").removesuffix("_x_x")
    return f"{name}-image" if is_reserved(name) else name


FIRST = ("image", "path", "status", "target", "folder", "output")
"""The columns that the table begins with."""


def _placed(row: Row, folder: Path) -> Row:
    """A row as the table has it: where its results are, without what is ours."""
    told = {key: value for key, value in row.items() if key != "key"}
    return {**told, "folder": folder.name, "output": folder.name}


def _place_of(row: Row) -> str:
    """What tells the rows of a table apart."""
    return row.get("folder") or row.get("path", "")


def _read(path: Path) -> Row | None:
    try:
        found = read_json(path, dict[str, object])
    except (OSError, MalformedError):
        return None
    return {key: str(value) for key, value in found.items()}


def write_row(path: Path, row: Row) -> None:
    """Writes a row of the table as JSON, complete or not at all."""
    write_whole(path, json.dumps(row, ensure_ascii=False, indent=2))
