"""Which images a folder or a table names, without opening one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.data.split_files import PATH_COLUMNS, column_of
from napari_wsol.errors import ImageError, MalformedError, UnreadableImageError
from napari_wsol.export.files import exported_in
from napari_wsol.files import path_from
from napari_wsol.files.parsing import read_text
from napari_wsol.files.tables import parse_table, separator_of
from napari_wsol.images.readers import SCANNED, list_readers
from napari_wsol.images.readers.dicom_files import is_film

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLAIN = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"})
SLIDES = SCANNED | {".tif", ".tiff", ".tf8", ".btf"}
DICOM = frozenset({".dcm", ".dicom"})
SUFFIXES = PLAIN | SLIDES
"""Endings of files that are taken for images; a folder with a slide in DICOM or with
the ending .zarr is one image too."""

SEVERAL_FILES = frozenset({".mrxs", ".vms", ".vmu", *DICOM})
"""Endings of slides that are spread over more files than the one that is named."""

MASKS = ("_mask", "_masks", "_anno", "_seg", "-mask", "-labels", "_labels")
"""Endings of a stem: the reference of the image that has the rest as its stem."""

MASK_FOLDERS = frozenset({"mask", "masks", "annotations", "labels"})
"""Folders, in one with images, that are not searched: they hold references."""

HELD_OUT_COLUMNS = ("set_aside", "aside", "held_out")
YES = frozenset({"1", "true", "yes", "y", "x"})

_OF_FILMS = re.compile(r"(\.dcm|\.dicom|\.ima|\.\d*)?")
"""What films end in: IM000001, a UID."""

_NUMBER = re.compile(r"(\d+)")


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts “a2” before “a10”, whatever the case of letters."""
    parts = _NUMBER.split(text.casefold())
    return [(0, int(x), "") if x.isdigit() else (1, 0, x) for x in parts if x]


def images_in(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The images of a folder in natural order; a file's name alone is looked at.

    References beside their images (“a_mask.png” beside “a.png”), what was exported
    there and hidden files are left out.

    Raises:
        ImageError: the folder cannot be read, or holds no image.
    """
    folder = path_from(folder).absolute()
    try:
        found = list(_walk(folder, recursive=recursive))
    except OSError as error:
        raise ImageError(
            f"The folder “{folder}” cannot be read ({error.strerror or error}): check "
            "that it is there and that you may read it."
        ) from error
    images = _without_masks(_without_exports(found))
    if not images:
        deeper = "" if recursive else ", not even in part: try it with its subfolders"
        raise ImageError(
            f"There is no image in “{folder}”{deeper}. Files ending in "
            f"{', '.join(sorted(SUFFIXES))} are looked for."
        )
    return sorted(
        images, key=lambda path: [natural(x) for x in path.relative_to(folder).parts]
    )


def images_given(paths: Iterable[Path]) -> list[Path]:
    """What a person named: images, and folders whose images are meant.

    A folder that is one image (OME-Zarr, a slide in DICOM) stays, as does one with none
    in it: whoever opens it is told.
    """
    return [
        found
        for path in paths
        for found in (_images_inside(path) if path.is_dir() else (path,))
    ]


def _images_inside(folder: Path) -> list[Path]:
    try:
        list_readers(folder)
    except UnreadableImageError:  # it is no image itself
        try:
            return images_in(folder)
        except ImageError:
            return [folder]
    return [folder]


def images_of(paths: Iterable[str | Path]) -> list[Path]:
    """Files that were chosen, in natural order of their paths, each once."""
    found = {Path(os.path.abspath(path_from(path))) for path in paths}  # noqa: PTH100 - links stay
    return sorted(found, key=lambda path: [natural(part) for part in path.parts])


def images_listed(table: Path) -> list[tuple[Path, bool]]:
    """The images that a text file or table names, in its order, each once.

    A text file has a path a line; what begins with “#” is passed over. A table (.csv,
    .tsv) has its paths in a column “path” or “image”, or in its first one; “yes” or 1
    in a column “set_aside” sets an image aside. Paths that are not absolute start from
    the folder of the file.

    Returns:
        Path and whether it is set aside. That a file is missing is told when it is
        opened.

    Raises:
        ImageError: it cannot be read, or names no image.
    """
    table = path_from(table).absolute()
    try:
        text = read_text(table)
        is_table = table.suffix.lower() in (".csv", ".tsv")
        rows = list(_rows(text) if is_table else _lines(text))
    except (OSError, MalformedError) as error:
        raise ImageError(
            f"The list “{table.name}” cannot be read ({error}): give a text file with "
            "a path a line, or a table with a column “path”."
        ) from error
    found: dict[Path, bool] = {}
    for name, held_out in rows:
        path = Path(os.path.abspath(table.parent / path_from(name)))  # noqa: PTH100
        found[path] = found.get(path, False) or held_out
    if not found:
        raise ImageError(
            f"The list “{table.name}” names no image: write a path a line."
        )
    return list(found.items())


def _walk(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """Images in a folder; DICOM files of a slide are one image, the folder."""
    deeper: list[Path] = []
    with os.scandir(folder) as listed:
        entries = list(listed)
    endings = {os.path.splitext(entry.name)[1].lower() for entry in entries}  # noqa: PTH122
    # Hamamatsu's .vms comes with its tiles as JPEG files beside it.
    wanted = SUFFIXES - (PLAIN if endings & {".vms", ".vmu"} else frozenset())
    holds_slide = False
    for entry in entries:
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - quicker
        if entry.name.startswith("."):
            continue
        if suffix == ".zarr" or (suffix in wanted and not entry.is_dir()):
            yield Path(entry.path)
        elif entry.is_dir():
            deeper.append(Path(entry.path))
        elif _OF_FILMS.fullmatch(suffix) and is_film(Path(entry.path)):
            yield Path(entry.path)
        elif suffix in DICOM:
            holds_slide = True
    if holds_slide:
        yield folder
    for inside in deeper if recursive else ():
        if inside.name.lower() not in MASK_FOLDERS and not inside.is_symlink():
            yield from _walk(inside, recursive=True)


def _without_exports(paths: list[Path]) -> list[Path]:
    folders = {path.parent for path in paths}
    exported = frozenset[Path]().union(*map(exported_in, folders))
    return [path for path in paths if path not in exported]


def _without_masks(paths: list[Path]) -> list[Path]:
    images = {(path.parent, path.stem.casefold()) for path in paths}

    def is_mask(path: Path) -> bool:
        stem = path.stem.casefold()
        ends = (end for end in MASKS if stem.endswith(end))
        return any((path.parent, stem.removesuffix(end)) in images for end in ends)

    return [path for path in paths if not is_mask(path)]


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            yield line, False


def _rows(text: str) -> Iterator[tuple[str, bool]]:
    rows = [row for _, row in parse_table(text, separator_of(text))]
    head = rows[0] if rows else []
    path, aside = column_of(head, PATH_COLUMNS), column_of(head, HELD_OUT_COLUMNS)
    column = None if path is None else head.index(path)
    held_out = None if aside is None else head.index(aside)
    for row in rows if column is None else rows[1:]:
        cells = dict(enumerate(row))
        name = cells.get(column or 0, "")
        told = "" if held_out is None else cells.get(held_out, "")
        if name:
            yield name, told.casefold() in YES
