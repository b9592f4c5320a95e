"""Whether there is room in the person's folders, and whether they may be written to."""

from __future__ import annotations

import errno
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from napari_wsol import paths
from napari_wsol.doctor.finding import Finding, quoted
from napari_wsol.files import whole_folder
from napari_wsol.files.locking import try_lock
from napari_wsol.preferences import preferences

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED, TRIAL = 1_000_000_000, 1 << 20
"""Bytes for journals, or for temporary files; and of the file that is tried."""
FOLDERS = {
    "data": (paths.data_folder, paths.HOME),
    "settings": (paths.config_folder, paths.HOME),
    "cache": (paths.cache_folder, paths.CACHE),
    "journals": (paths.journals_folder, paths.JOURNALS),
    "lists": (paths.lists_folder, paths.JOURNALS),
    "models": (paths.models_folder, paths.HOME),
    "trainings": (paths.trainings_folder, paths.HOME),
    "features": (paths.features_folder, paths.CACHE),
    "temporary files": (lambda: Path(tempfile.gettempdir()), "TMPDIR"),
}
"""Each folder, and the variable that moves it."""


def space(**_: bool) -> Iterator[Finding]:
    """Free space of the disks, in GB."""
    needs = {"journals": NEEDED, "cache": preferences().memory_bytes}
    for name, need in (needs | {"temporary files": NEEDED}).items():
        of, variable = FOLDERS[name]
        there = next(path for path in (of(), *of().parents) if path.exists())
        free = shutil.disk_usage(there).free
        text = f"{free / 1e9:.1f} GB are free for {name} in {quoted(of())}."
        mend = f"{need / 1e9:.0f} GB are wanted: free some, or set {variable}."
        if free < need:
            yield Finding("space", "warning", text, mend)
        else:
            yield Finding("space", "ok", text)


def rights(**_: bool) -> Iterator[Finding]:
    """Writes, locks and renames a file in every folder, and takes it away."""
    bad: list[Path] = []
    for name, (of, variable) in FOLDERS.items():
        folder = of()
        if any(folder.is_relative_to(path) for path in bad):
            continue
        what, text = quoted(folder), f"The folder of {name}, {quoted(folder)},"
        try:
            is_locked = _write(folder)
        except OSError as error:
            bad.append(folder)
            why, mend = _told(error, what, variable)
            yield Finding("rights", "fault", f"{text} {why}", mend, error.strerror or "")
            continue
        if is_locked:
            yield Finding("rights", "ok", f"{text} can be written to.")
        else:
            mend = "Open an image in one window at a time, or use a local disk."
            yield Finding("rights", "warning", f"{text} knows no locks.", mend)


def _write(folder: Path) -> bool:
    """Whether locks count there; leaves nothing behind.

    Raises:
        OSError: it cannot be written to.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    trial = folder / f"doctor-{uuid4().hex[:12]}"
    try:
        with whole_folder(trial) as draft:
            (draft / "trial").write_bytes(bytes(TRIAL))
            lock = try_lock(draft)
            is_real = lock is not None and lock.is_real
            if lock is not None:
                lock.release()
        return is_real
    finally:
        shutil.rmtree(trial, ignore_errors=True)
        for path in missing:
            with suppress(OSError):
                path.rmdir()


def _told(error: OSError, what: str, variable: str) -> tuple[str, str]:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        mend = f"Allow it (chmod u+rwx {what}), or set {variable} to another folder."
        return "may not be written to.", mend
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "is on a full disk.", f"Free some space, or set {variable} elsewhere."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        mend = f"Move that file away, or set {variable} to another folder."
        return "is, or lies in, a file.", mend
    return "cannot be written to.", f"Check the disk, or set {variable} elsewhere."
