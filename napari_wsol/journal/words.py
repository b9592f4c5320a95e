"""What is said when the disk does not do as it should."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from napari_wsol.journal.entries import StrokeMade

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsol.journal.entries import Entry

LOW_BYTES = 50_000_000
"""With less room than that there is a warning, though all is still written."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_CHOOSE = (
    "Choose another folder with the environment variable NAPARI_WSOL_HOME or with "
    "Session(journals=FOLDER)."
)


def problem(error: OSError, folder: Path, waiting: Sequence[Entry]) -> str:
    """Why entries are only in memory, and what to do.

    Args:
        error: what the system said.
        folder: of the journal.
        waiting: what could not be written.
    """
    where, what = f"“{folder}”", _counted(waiting)
    then = "written as soon as"
    it = "it is" if len(waiting) == 1 else "they are"
    if error.errno in _FULL:
        return (
            f"The disk of {where} is full: {what} only in memory. Free some space; "
            f"{it} {then} there is room."
        )
    if error.errno in _FORBIDDEN:
        return (
            f"{where} may not be written to: {what} only in memory. Allow it, and {it} "
            f"{then} that is possible. {_CHOOSE}"
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return (
            f"{where} is, or lies in, a file: {what} only in memory. Move that file "
            f"away, and {it} {then} that is possible. {_CHOOSE}"
        )
    if error.errno == errno.ENOENT:
        return (
            f"{where} is gone: {what} only in memory. Connect its disk or make the "
            f"folder “{folder.parent}” again; {it} {then} it is back."
        )
    reason = error.strerror or str(error)
    return (
        f"The journal in {where} cannot be written ({reason}): {what} only in memory. "
        f"It is tried again every two seconds. {_CHOOSE}"
    )


def low_space(free: int, folder: Path) -> str:
    """The warning before the disk is full; empty while there is room."""
    if free >= LOW_BYTES:
        return ""
    return (
        f"Only {free / 1e6:.0f} MB are free on the disk of “{folder}”. All is still "
        "written; free some space soon."
    )


def _counted(waiting: Sequence[Entry]) -> str:
    count = len(waiting)
    are_strokes = all(isinstance(entry, StrokeMade) for entry in waiting)
    noun = "stroke" if are_strokes else "step"
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"
