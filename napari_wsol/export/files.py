"""Exports: sets of files that appear complete or not at all, and replace nothing."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from msgspec import Struct

from napari_wsol.errors import ExportError, MalformedError, WsolError
from napari_wsol.files import (
    SET,
    file_set,
    make_folder,
    numbered,
    path_from,
    sha256_of,
    words_of,
)
from napari_wsol.files.parsing import read_json

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_wsol.files import FileSet

RECORD = "provenance"
"""What the last file of a set is called: it names all others, and is there when they
are."""

KINDS = (
    ("mask", ".png"),
    ("mask", ".tiff"),
    ("against", ".png"),
    ("against", ".tiff"),
    ("heatmap", ".tiff"),
    ("heatmap", ".ome.tiff"),
    ("heatmap", ".zarr"),
    ("regions", ".geojson"),
    ("regions", ".csv"),
    ("tiles", ".csv"),
    ("tiles", ".geojson"),
    ("tiles", ".geojson.gz"),
    (RECORD, ".json"),
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
    """The files of one export while they are being written.

    They wait, under their final names, in a hidden folder inside the target folder.
    Its name reserves that of the set against a second program.
    """

    files: FileSet
    stem: str
    suffix: str

    @property
    def folder(self) -> Path:
        """Where the files belong."""
        return self.files.folder

    def name(self, what: str, extension: str) -> str:
        """The final name of one file."""
        return f"{self.stem}_{what}{self.suffix}{extension}"

    def add(self, what: str, extension: str) -> Path:
        """Where to write the next file."""
        return self.files.add(self.name(what, extension))

    def checksums(self) -> dict[str, str]:
        """The sha256 of every file so far, folders file by file."""
        found: dict[str, str] = {}
        for name in self.files.names:
            found |= checksums_of(self.files.hidden / name)
        return found

    @property
    def is_taken(self) -> bool:
        """Whether any file of a set has this name already."""
        return any(os.path.lexists(self.folder / self.name(*kind)) for kind in KINDS)

    def publish(self) -> tuple[Path, ...]:
        """Gives the files their names; that of the provenance last, see RECORD."""
        try:
            return self.files.publish()
        except FileExistsError as error:
            raise ExportError(
                f"“{error.filename}” appeared in “{self.folder}” during the export. "
                "Nothing was replaced; export again to write under a new name."
            ) from error


@contextlib.contextmanager
def staged(folder: Path, stem: str) -> Generator[StagedFiles]:
    """Reserve a name for a set of files; whatever fails inside leaves no trace.

    The caller writes to the paths of ``add`` and ends with ``publish``. What exports
    that were killed have left in the folder is cleared first.

    Raises:
        ExportError: in words, when the folder cannot be made or written to.
    """
    folder = path_from(folder).absolute()
    missing: list[Path] = []
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        make_folder(folder)
        with _reserved(folder, stem) as files:
            yield files
    except BaseException as error:
        # A disk that fails may refuse to tidy up too; the first error is told.
        with contextlib.suppress(OSError):
            for path in missing:
                path.rmdir()
        if isinstance(error, OSError) and not isinstance(error, WsolError):
            raise ExportError(words_of(error, folder)) from error
        raise


@contextlib.contextmanager
def _reserved(folder: Path, stem: str) -> Generator[StagedFiles]:
    """The first name that no set has, and that no other program writes to."""
    for suffix in numbered(""):
        with contextlib.ExitStack() as stack:
            hidden = folder / f".{stem}{suffix}{SET}"
            try:
                found = stack.enter_context(file_set(folder, hidden=hidden))
            except FileExistsError:
                continue
            files = StagedFiles(found, stem, suffix)
            if not files.is_taken:
                yield files
                return


def exported_in(folder: Path) -> frozenset[Path]:
    """The files of all exports in a folder that are complete.

    A set without its record is none: its writer was killed, or is still at work.
    """
    found: set[Path] = set()
    for record in folder.glob(f"*_{RECORD}*.json"):
        names = _named(record)
        if names and all(os.path.lexists(folder / name) for name in names):
            found.update((record, *(folder / name for name in names)))
    return frozenset(found)


class _File(Struct):
    """One of the files that a record names."""

    name: str


class _Record(Struct):
    """What is looked at of a provenance file."""

    files: list[_File]


def _named(record: Path) -> set[str]:
    """Files and folders that a record names."""
    try:
        told = read_json(record, _Record)
        return {PurePosixPath(item.name).parts[0] for item in told.files}
    except (OSError, MalformedError, LookupError):
        return set()  # whoever's file it is


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


def checksums_of(path: Path) -> dict[str, str]:
    """The sha256 of a file, or of every file of a folder, by its name beside it."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {
        item.relative_to(path.parent).as_posix(): sha256_of(item)
        for item in inside
        if item.is_file()
    }
