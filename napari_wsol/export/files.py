"""Sets of files that appear complete or not at all, and replace nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import ExportError, WsolError
from napari_wsol.files import numbered, sync_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Generator

KINDS = (
    ("mask", ".png"),
    ("mask", ".tiff"),
    ("heatmap", ".tiff"),
    ("heatmap", ".zarr"),
    ("regions", ".geojson"),
    ("regions", ".csv"),
    ("tiles", ".csv"),
    ("provenance", ".json"),
)
"""Every (what, extension) that a set may hold; a name counts as taken if one exists."""

_IMAGE_SUFFIX = re.compile(
    r"(\.ome)?\.(png|jpe?g|tiff?|bmp|svs|ndpi|mrxs|scn|bif|vms|svslide|dcm|zarr|czi)$",
    re.IGNORECASE,
)


def stem_of(image: str, method: str, target: str) -> str:
    """``<image>_<method>_<class>`` as it may stand in a file name on any system."""
    image = _IMAGE_SUFFIX.sub("", image)
    # The limits keep the longest name of a set under the 255 bytes of a file system.
    parts = (
        (image, "image", 100),
        (method, "heatmap", 30),
        (target, "class", 60),
    )
    return "_".join(_clean(text, default, size) for text, default, size in parts)


def _clean(text: str, default: str, max_bytes: int) -> str:
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r'[\x00-\x1f\x7f<>:"/\\|?*]+', "-", text)
    text = text.encode("utf-8", "ignore")[:max_bytes].decode("utf-8", "ignore")
    return text.strip(" .-_") or default


@dataclass(slots=True)
class StagedFiles:
    """The files of one set while they are being written.

    They wait, under their final names, in a hidden folder inside the target folder:
    the same file system, so that moving them out is atomic. Creating that folder is
    atomic too and reserves the set's name against a second program.
    """

    folder: Path
    stem: str
    suffix: str
    names: list[str] = field(default_factory=list[str])
    published: list[Path] = field(default_factory=list[Path])

    @property
    def hidden(self) -> Path:
        """The folder that the files wait in."""
        return self.folder / f".{self.stem}{self.suffix}.partial"

    def name(self, what: str, extension: str) -> str:
        """The final name of one file."""
        return f"{self.stem}_{what}{self.suffix}{extension}"

    def add(self, what: str, extension: str) -> Path:
        """Where to write the next file."""
        name = self.name(what, extension)
        self.names.append(name)
        return self.hidden / name

    def checksums(self) -> dict[str, str]:
        """The sha256 of every file so far, folders file by file."""
        sums: dict[str, str] = {}
        for name in self.names:
            for path in _files_of(self.hidden / name):
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                sums[path.relative_to(self.hidden).as_posix()] = digest
        return sums

    def reserve(self) -> bool:
        """Take this name for the set; False when any file of it exists."""
        try:
            self.hidden.mkdir()
        except FileExistsError:
            return False
        if any(os.path.lexists(self.folder / self.name(*kind)) for kind in KINDS):
            self.hidden.rmdir()
            return False
        return True

    def publish(self) -> tuple[Path, ...]:
        """Force everything to the disk, then move it to its final names."""
        for name in self.names:
            for path in _files_of(self.hidden / name):
                sync_file(path)
        for name in self.names:
            target = self.folder / name
            if os.path.lexists(target):
                raise ExportError(
                    f"“{name}” appeared in “{self.folder}” during the export. Nothing "
                    "was replaced; export again to write under a new name."
                )
            # Noted first: a stop right after the move must find it.
            self.published.append(target)
            (self.hidden / name).replace(target)
        self.hidden.rmdir()
        sync_folder(self.folder)
        return tuple(self.published)

    def withdraw(self) -> None:
        """Remove all traces of a set that failed."""
        for path in (*self.published, self.hidden):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def staged(folder: Path, stem: str) -> Generator[StagedFiles]:
    """Reserve a name for a set of files; whatever fails inside leaves no trace.

    The caller writes to the paths of ``add`` and ends with ``publish``.

    Raises:
        ExportError: in words, when the folder cannot be made or written to.
    """
    folder = Path(folder).expanduser().absolute()
    missing: list[Path] = []
    files: StagedFiles | None = None
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        sets = (StagedFiles(folder, stem, suffix) for suffix in numbered(""))
        files = next(one for one in sets if one.reserve())
        yield files
    except BaseException as error:
        # A disk that fails may refuse to tidy up too; the first error is told.
        with contextlib.suppress(OSError):
            if files is not None:
                files.withdraw()
            for path in missing:
                path.rmdir()
        if isinstance(error, OSError) and not isinstance(error, WsolError):
            raise ExportError(_in_words(error, folder)) from error
        raise


def check_space(folder: Path, needed: int) -> None:
    """Refuse before anything is written when the disk cannot hold it.

    Raises:
        ExportError: when fewer than ``needed`` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ExportError(
            f"The export may need {_size(needed)}, but only {_size(free)} are free in "
            f"“{folder}”. Free some space or choose a folder on another disk."
        )


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def _in_words(error: OSError, folder: Path) -> str:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"“{folder}” may not be written to. Choose another folder."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk of “{folder}” is full. Nothing was kept of this export; free "
            "some space or choose a folder on another disk."
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"“{folder}” is, or lies in, a file. Choose a folder."
    reason = error.strerror or str(error)
    return (
        f"The export to “{folder}” failed: {reason}. Nothing was kept of it; try "
        "again or choose another folder."
    )


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(item for item in path.rglob("*") if item.is_file())
    return [path]
