"""Files that are written as a whole or not at all, and names that are free."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from itertools import count
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_wsol.errors import ExportError, MalformedError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path


def check_file(path: Path) -> int:
    """The bytes of a file, before it is opened: a pipe would never answer.

    Raises:
        OSError: it is not there, or no file that can be read from start to end.
    """
    try:
        told = path.stat()
    except ValueError as error:  # a name with a zero in it
        raise OSError(errno.EINVAL, "no file has such a name", str(path)) from error
    if stat.S_ISDIR(told.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(told.st_mode):
        what = "it is no file but a pipe, a socket or a device"
        raise OSError(errno.EINVAL, what, str(path))
    return told.st_size


def is_file(path: Path) -> bool:
    """Whether there is a file that can be read, whatever the path's text is."""
    try:
        check_file(path)
    except OSError:
        return False
    return True


def read_whole(path: Path, most: int) -> bytes:
    """A file that fits into ``most`` bytes.

    Raises:
        OSError: it cannot be read, or is no file.
        MalformedError: it is larger.
    """
    if check_file(path) > most:
        raise MalformedError(f"it is larger than the {most >> 20} MB that are read")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise MalformedError("it grows while it is read")
    return data


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
