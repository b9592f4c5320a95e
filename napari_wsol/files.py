"""Files that are written as a whole or not at all, and names that are free."""

from __future__ import annotations

import contextlib
import os
import shutil
from itertools import count, pairwise
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_wsol.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path


def write_whole(path: Path, data: bytes | str) -> None:
    """Puts a file in place, with its folder; what was there before goes only then.

    Args:
        path: of the file.
        data: its content; text becomes UTF-8, with line ends as they are.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        draft.write_bytes(data.encode() if isinstance(data, str) else data)


KEPT = 2
"""Contents of a small file that are kept beside the newest."""


def write_kept(path: Path, data: bytes | str) -> None:
    """As :func:`write_whole`, and what was there before stays beside it.

    The two contents before are ``name.json.1``, the later one, and ``name.json.2``.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        draft.write_bytes(data.encode() if isinstance(data, str) else data)
        if path.exists():
            _keep_earlier(path)
    sync_folder(path.parent)


def _keep_earlier(path: Path) -> None:
    names = [path.with_name(f"{path.name}.{n + 1}") for n in range(KEPT)]
    # A copy, not a move: at no moment the file itself is missing.
    with whole_file(names[0]) as draft:
        shutil.copyfile(path, draft)
        for newer, older in reversed(tuple(pairwise(names))):
            if newer.exists():
                newer.replace(older)


@contextlib.contextmanager
def whole_file(path: Path) -> Generator[Path]:
    """Gives a hidden name to write to; the file is in place when all went well.

    The folder must be there. What fails inside leaves no trace.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    with _draft_of(path) as draft:
        yield draft
        sync_file(draft)
        draft.replace(path)


@contextlib.contextmanager
def whole_folder(path: Path) -> Generator[Path]:
    """As :func:`whole_file`, for a folder that must not be there yet.

    Raises:
        OSError: it cannot be written.
    """
    with _draft_of(path) as draft:
        draft.mkdir(parents=True)
        yield draft
        draft.replace(path)


@contextlib.contextmanager
def _draft_of(path: Path) -> Generator[Path]:
    # Of this writer alone: two that write the same file do not meet.
    draft = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    try:
        yield draft
    except BaseException:
        with contextlib.suppress(OSError):
            if draft.is_dir():
                shutil.rmtree(draft)
            draft.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def unwritable(what: str, to_do: str) -> Generator[None]:
    """An OSError inside leaves as an ExportError: what, the reason, what to do."""
    try:
        yield
    except OSError as error:
        raise ExportError(f"{what} ({error.strerror}){to_do}") from error


def time_in(folder: Path) -> float:
    """The time of a folder's disk: clocks of two machines may differ by minutes."""
    probe = folder / f".{uuid4().hex}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Makes the bytes of a file last."""
    # Opened for writing because Windows flushes nothing else.
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Makes new names in a folder last."""
    # Windows cannot open folders, and some network disks cannot flush them.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def numbered(name: str) -> Iterator[str]:
    """``name``, ``name-2``, ``name-3`` and so on."""
    yield name
    for number in count(2):
        yield f"{name}-{number}"


def free_name(path: Path) -> Path:
    """The path, or the first of ``name-2.csv``, ``name-3.csv`` that is not there."""
    names = map(path.with_stem, numbered(path.stem))
    return next(found for found in names if not found.exists())
