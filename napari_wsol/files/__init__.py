"""Files that appear whole or not at all, and last; and names that are free.

All is written one way: into a hidden folder beside its place, forced to the disk, then
renamed. Several files that belong together are renamed one after the other, and the
last one says that all are there: who reads them trusts only it. The hidden folder is
locked as long as its writer lives. What a killed writer left, and whatever of a set it
had renamed already, is taken back by whoever writes there next.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import time
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast
from uuid import uuid4

from napari_wsol.errors import ExportError, MalformedError
from napari_wsol.files.locking import NAME as LOCK
from napari_wsol.files.locking import try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from napari_wsol.files.locking import Lock

T = TypeVar("T")

PART, SET = ".part", ".set.part"
"""How hidden folders end: of one file or folder, and of a set under its own name."""
MOVING, BEFORE = ".moving", ".before"
"""In such a folder: what is renamed out of it, and what was there before."""
OLD_SECONDS = 86_400.0
"""Where a disk knows no locks, nobody writes one thing for a whole day."""
_OURS = re.compile(r"\..*\.([0-9a-f]{12}|set)\.part", re.DOTALL)
_NAME_BYTES = 100
"""Of a name that are in that of its draft: names have 255 bytes at most."""
_MOVING_BYTES = 1_000_000
_TRIAL_BYTES = 1 << 18


# ------------------------------------------------------------------------ one thing


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
        data: its content; see :func:`encoded` for text.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    make_folder(path.parent)
    with whole_file(path) as draft:
        draft.write_bytes(encoded(data) if isinstance(data, str) else data)


def check_new(path: Path) -> None:
    """Refuses a file that is there, by an ExportError."""
    if os.path.lexists(path):
        raise ExportError(
            f"“{path}” exists, and nothing is replaced. Choose another name."
        )


def write_new(path: Path, write: Callable[[Path], T]) -> T:
    """Writes a file that is complete or not there, and replaces nothing.

    Raises:
        ExportError: it exists, or cannot be written.
    """
    check_new(path)
    to_do = ". Choose a folder that may be written to and has room."
    with unwritable(f"“{path}” cannot be written", to_do):
        make_folder(path.parent)
        with file_set(path.parent, path.name) as one:
            done = write(one.add(path.name))
            one.publish()
            return done


def encoded(text: str) -> bytes:
    r"""Text as UTF-8, with line ends as they are.

    Names that are no UTF-8 have characters that cannot be written: ``\udce9`` is
    written for one, which JSON reads back as what it was.
    """
    return text.encode("utf-8", "backslashreplace")


KEPT = 2
"""Contents of a small file that are kept beside the newest."""


def write_kept(path: Path, data: bytes | str) -> None:
    """As :func:`write_whole`, and what was there before stays beside it.

    The two contents before are ``name.json.1``, the later one, and ``name.json.2``.

    Raises:
        OSError: it cannot be written; what was there before is untouched.
    """
    make_folder(path.parent)
    with whole_file(path) as draft:
        draft.write_bytes(encoded(data) if isinstance(data, str) else data)
        if path.exists():
            _keep_earlier(path)


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
    with file_set(path.parent, path.name) as one:
        yield one.add(path.name)
        one.publish(replace=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Generator[Path]:
    """As :func:`whole_file`, for a folder that must not be there yet.

    Raises:
        OSError: it cannot be written.
    """
    make_folder(path.parent)
    with file_set(path.parent, path.name) as one:
        draft = one.add(path.name)
        draft.mkdir()
        yield draft
        one.publish(replace=True)  # of an empty folder; no other can be replaced


# --------------------------------------------------------------- things that belong


@dataclass(slots=True)
class FileSet:
    """Files and folders of one folder that appear together.

    Attributes:
        folder: where they belong.
        hidden: where they are until :meth:`publish`.
        names: in their order.
    """

    folder: Path
    hidden: Path
    names: list[str] = field(default_factory=list[str])

    def add(self, name: str) -> Path:
        """Where to write the next one."""
        self.names.append(name)
        return self.hidden / name

    def publish(self, *, replace: bool = False) -> tuple[Path, ...]:
        """Forces all to the disk, then gives them their names, the last one last.

        Args:
            replace: whether what has these names goes; it comes back if this fails.

        Raises:
            FileExistsError: something has one of the names, and is not replaced.
            IsADirectoryError: a folder has the name of a file.
            OSError: it cannot be written.
        """
        for name in self.names:
            sync_tree(self.hidden / name)
        if len(self.names) > 1 or not replace:  # one thing replaces another at once
            self._begin(replace=replace)
        for name in self.names:
            if name == self.names[-1]:
                sync_folder(self.folder)  # the others are there before it
            (self.hidden / name).replace(self.folder / name)
        sync_folder(self.folder)
        return tuple(self.folder / name for name in self.names)

    def _begin(self, *, replace: bool) -> None:
        """Notes what will be renamed, and moves away what is replaced by it."""
        there = [name for name in self.names if os.path.lexists(self.folder / name)]
        if there and not replace:
            raise FileExistsError(errno.EEXIST, "it exists already", there[0])
        for name in there:
            if (self.folder / name).is_dir() and not (self.hidden / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder", name)
        told = [[name, _mark(self.hidden / name)] for name in self.names]
        (self.hidden / MOVING).write_bytes(encoded(json.dumps(told)))
        sync_file(self.hidden / MOVING)
        (self.hidden / BEFORE).mkdir()
        sync_folder(self.hidden)
        for name in reversed(there):  # who finds the last one must find all
            (self.folder / name).replace(self.hidden / BEFORE / name)


@contextlib.contextmanager
def file_set(
    folder: Path, name: str = "", hidden: Path | None = None
) -> Generator[FileSet]:
    """A set to add files to and to publish; what fails inside leaves no trace.

    Args:
        folder: where they belong; must be there.
        name: for the hidden folder, which gets one that nobody else has.
        hidden: instead of it, one that several programs agree on.

    Raises:
        FileExistsError: ``hidden`` is in use.
        OSError: it cannot be written.
    """
    clear_drafts(folder)
    own = hidden or _unique(folder, name)
    lock = _take(own)
    try:
        try:
            yield FileSet(folder, own)
        except BaseException:
            # A disk that fails may refuse to tidy up too; the first error is told.
            with contextlib.suppress(OSError):
                _take_back(own, even_complete=True)
            raise
    finally:
        _discard(own, lock)


def clear_drafts(folder: Path) -> None:
    """Takes back what writers that are gone have left in a folder."""
    try:
        with os.scandir(folder) as listed:
            names = [item.name for item in listed if item.name.startswith(".")]
    except OSError:
        return  # whoever writes there is told
    for name in names:
        if name.endswith(PART):
            with contextlib.suppress(OSError):
                _clear(folder / name)


def _clear(path: Path) -> bool:
    """Clears one draft, unless its writer lives; whether its name is free then."""
    if not (path / LOCK).is_file():
        return _clear_unlocked(path)
    lock = try_lock(path)
    if lock is None or (not lock.is_real and not _is_old(path)):
        return False
    if not (path / LOCK).is_file():  # somebody else was quicker
        lock.release()
        return not path.exists()
    _take_back(path)
    _discard(path, lock)
    return not path.exists()


def _clear_unlocked(path: Path) -> bool:
    """One that was just begun or almost gone, or that an older version has left."""
    if not _OURS.fullmatch(path.name):
        return False
    if path.is_dir():
        # Of one that was just begun its writer finds out, and begins again.
        with contextlib.suppress(OSError):
            path.rmdir()
    if path.exists() and _is_old(path):
        _remove(path)
    return not path.exists()


def _take(folder: Path) -> Lock:
    """Makes a hidden folder and locks it.

    Raises:
        FileExistsError: somebody else has it.
    """
    while True:
        try:
            folder.mkdir()
        except FileExistsError:
            if not _clear(folder):
                raise
            continue
        with contextlib.suppress(FileNotFoundError):  # taken for remains: once more
            (folder / LOCK).touch()
            lock = try_lock(folder)
            if lock is not None and (folder / LOCK).exists():
                return lock


def _take_back(hidden: Path, *, even_complete: bool = False) -> None:
    """Undoes what was renamed of a set, if it was not all of it."""
    told, folder = _moving(hidden), hidden.parent
    ours = [
        name
        for name, mark in told
        if not os.path.lexists(hidden / name) and _mark(folder / name) == mark
    ]
    if told and told[-1][0] in ours and not even_complete:
        return
    for name in reversed(ours):
        _remove(folder / name)
    for name, _ in told:
        before = hidden / BEFORE / name
        if os.path.lexists(before) and not os.path.lexists(folder / name):
            before.replace(folder / name)
    sync_folder(folder)


def _moving(hidden: Path) -> list[tuple[str, list[int]]]:
    """Names and marks of what is renamed out of a hidden folder; none if untold."""
    try:
        with (hidden / MOVING).open("rb") as file:
            told = cast("list[list[object]]", json.loads(file.read(_MOVING_BYTES)))
        return [
            (name, [int(part) for part in cast("list[int]", mark)])
            for name, mark in told
            if isinstance(name, str) and name == os.path.basename(name)  # noqa: PTH119
        ]
    except (OSError, ValueError, TypeError, RecursionError):
        return []  # nothing was renamed before it was whole


def _mark(path: Path) -> list[int]:
    """What a file keeps when it is renamed, and loses when somebody changes it."""
    try:
        told = path.lstat()
    except OSError:
        return []
    return [told.st_dev, told.st_ino, 0 if path.is_dir() else told.st_mtime_ns]


def _discard(hidden: Path, lock: Lock) -> None:
    """Removes a hidden folder of ours."""
    # First out of the way: another one may take that name before this one is empty.
    with contextlib.suppress(OSError):
        hidden = hidden.rename(_unique(hidden.parent, "gone"))
    lock.release()  # some systems remove no file that is open
    _remove(hidden)


def _unique(folder: Path, name: str) -> Path:
    short = name.encode("utf-8", "ignore")[:_NAME_BYTES].decode("utf-8", "ignore")
    return folder / f".{short}.{uuid4().hex[:12]}{PART}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _is_old(path: Path) -> bool:
    return time.time() - path.lstat().st_mtime > OLD_SECONDS


# -------------------------------------------------------------------------- folders


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, if they are not there, and makes them last."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Refuses a folder for results before there are any; leaves nothing behind.

    Raises:
        ExportError: it is a file, cannot be made, or may not be written to.
    """
    folder = path_from(folder).absolute()
    missing: list[Path] = []
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with file_set(folder, "trial") as trial:
            draft = trial.add("trial")
            draft.write_bytes(bytes(_TRIAL_BYTES))
            sync_file(draft)
    except OSError as error:
        raise ExportError(words_of(error, folder)) from error
    finally:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()


def words_of(error: OSError, folder: Path) -> str:
    """Why nothing can be written to a folder, and what to do."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"“{folder}” may not be written to. Choose another folder."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk of “{folder}” is full, so nothing was kept. Free some space, or "
            "choose a folder on another disk."
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"“{folder}” is, or lies in, a file. Choose a folder."
    reason = error.strerror or str(error)
    return (
        f"Writing to “{folder}” failed ({reason}), and nothing was kept. Try again or "
        "choose another folder."
    )


@contextlib.contextmanager
def unwritable(what: str, to_do: str) -> Generator[None]:
    """An OSError inside leaves as an ExportError: what, the reason, what to do."""
    try:
        yield
    except ExportError:
        raise
    except OSError as error:
        raise ExportError(f"{what} ({error.strerror or error}){to_do}") from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def time_in(folder: Path) -> float:
    """The time of a folder's disk: clocks of two machines may differ by minutes."""
    probe = _unique(folder, "time")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


# ------------------------------------------------------------------------- the disk


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


def sync_tree(path: Path) -> None:
    """Makes a file last, or a folder with all that is in it.

    Raises:
        OSError: it is not there, or the disk fails.
    """
    if not path.is_dir():
        sync_file(path)
        return
    for inside in path.iterdir():
        if not inside.is_symlink():
            sync_tree(inside)
    sync_folder(path)


# ----------------------------------------------------------------------------- names


def path_from(text: str | os.PathLike[str]) -> Path:
    """A path as a person or a table gives it; ``~`` is the user's home.

    Where there is no such home, the path stays as it is.
    """
    path = Path(text)
    try:
        return path.expanduser()
    except RuntimeError:  # “~name” of a user who is not known here
        return path


_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def is_reserved(name: str) -> bool:
    """Whether Windows opens a device under this name, or cuts off its end."""
    return name.endswith((" ", ".")) or _DEVICES.fullmatch(name) is not None


def numbered(name: str) -> Iterator[str]:
    """``name``, ``name-2``, ``name-3`` and so on."""
    yield name
    for number in count(2):
        yield f"{name}-{number}"


def free_name(path: Path) -> Path:
    """The path, or the first of ``name-2.csv``, ``name-3.csv`` that is not there."""
    names = map(path.with_stem, numbered(path.stem))
    return next(found for found in names if not found.exists())
