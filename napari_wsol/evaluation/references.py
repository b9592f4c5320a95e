"""Reference masks of a data set's split, for evaluation only."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_wsol.data.split_files import (
    LOCALIZATION,
    find_root,
    find_table,
    path_column,
    read_fields,
    read_table,
    split_folder,
)
from napari_wsol.errors import DatasetError
from napari_wsol.files import is_file
from napari_wsol.images.readers import open_slide
from napari_wsol.strokes.annotation_files import is_annotations
from napari_wsol.strokes.annotations import areas_on
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND, UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsol.evaluation.scores import BoolArray
    from napari_wsol.strokes.canvas import Scribbles


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where the reference of one image lies; read when it is needed.

    Attributes:
        id: the image as the data set lists it.
        image: the image file.
        masks: its masks, or files of annotations; their foregrounds are added up. None:
            there is nothing to outline in it.
        ignored: maps of pixels that do not count.
    """

    id: str
    image: Path
    masks: tuple[Path, ...]
    ignored: tuple[Path, ...] = ()

    def mask(self, chosen: Mapping[str, int] | None = None) -> BoolArray:
        """(H, W) foreground: as large as the masks, or as the canvas of the image.

        Args:
            chosen: what classes of annotations mean, where names do not tell; see
                :func:`~napari_wsol.strokes.annotations.labels_for`.

        Raises:
            DatasetError: when a mask cannot be read or two differ in shape.
            ImageError: when annotations cannot be read, or their image.
        """
        if not self.masks:
            return np.zeros(_shape(self.image), np.bool_)
        return _union(self.masks, partial(self._read, chosen, FOREGROUND))

    def ignore(self, chosen: Mapping[str, int] | None = None) -> BoolArray | None:
        """(H, W) pixels that do not count, or None; see :func:`labelled`.

        Raises:
            DatasetError: when a map cannot be read or two differ in shape.
            ImageError: when annotations cannot be read, or their image.
        """
        paths = (*self.masks, *self.ignored)
        found = (
            _union(paths, partial(self._read, chosen, UNLABELLED)) if paths else None
        )
        return found if found is not None and found.any() else None

    def _read(
        self, chosen: Mapping[str, int] | None, label: int, path: Path
    ) -> BoolArray:
        """A mask; or the cells of the canvas that annotations give a label."""
        if is_annotations(path):
            return areas_on(path, _shape(self.image), chosen) == label
        return _read(path) > 0 if path in self.ignored else read_mask(path) == label


def load_references(
    folder: str | Path, split: str | None = None, *, root: Path | None = None
) -> list[Reference]:
    """The images of a split that have reference masks, in the order listed.

    Reads a split folder of the field (``localization.txt`` with lines ``image,mask`` or
    ``image,mask,ignore``; ``image,,`` has nothing to outline) or a table with the
    columns ``path`` and ``mask``. A mask is an image or a file of annotations. An image
    may have several lines.

    Args:
        folder: the data set's folder, or that of the split, or the table.
        split: name of the split.
        root: the folder that listed paths start from; searched upwards when None.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    place = split_folder(folder, split)
    if (place / LOCALIZATION).is_file():
        base, lines = place, read_fields(place / LOCALIZATION)
    else:
        table = find_table(folder, split)
        if table is None:
            raise DatasetError(
                f"“{place}” has neither “{LOCALIZATION}” nor a table with a column "
                "“mask”, so there is nothing to compare with."
            )
        base, lines = table.parent, _mask_lines(table, split)
    return references_of(base, lines, root)


def _mask_lines(table: Path, split: str | None) -> list[tuple[str, list[str]]]:
    rows = read_table(table, split)
    header = list(rows[0][1])
    if "mask" not in header:
        raise DatasetError(
            f"“{table.name}” has no column “mask”. Its columns are {', '.join(header)}."
        )
    column = path_column(table, header)
    return [(where, [row[column], row["mask"]]) for where, row in rows if row["mask"]]


def references_of(
    base: Path, lines: list[tuple[str, list[str]]], root: Path | None = None
) -> list[Reference]:
    """The references that the lines of a list name; the arguments as above.

    Raises:
        DatasetError: names the first line that cannot be used, or there is none.
    """
    if not lines:
        raise DatasetError(f"No image of “{base}” has a mask.")
    root = find_root(base, lines[0][1][0], root)
    masks: dict[str, list[Path]] = {}
    ignored: dict[str, list[Path]] = {}
    for where, fields in lines:
        if len(fields) not in (2, 3):
            raise DatasetError(
                f"{where} has {len(fields)} fields. Masks need an image, "
                "a mask and perhaps an ignore map; boxes cannot be used here."
            )
        nothing = len(fields) == 3 and not any(fields[1:])  # as CAMELYON's lists say it
        if not fields[0] or not (fields[1] or nothing):
            raise DatasetError(
                f"{where} names no {'mask' if fields[0] else 'image'}: fill it in, or "
                "leave the line out."
            )
        files = [root / field for field in fields if field]
        missing = [file for file in files if not is_file(file)]
        if missing:
            raise DatasetError(f"{where} names “{missing[0]}”, which does not exist.")
        masks.setdefault(fields[0], []).extend(files[1:2])
        ignored.setdefault(fields[0], []).extend(files[2:])
    return [
        Reference(
            id=name,
            image=root / name,
            masks=tuple(files),
            ignored=tuple(dict.fromkeys(ignored[name])),
        )
        for name, files in masks.items()
    ]


def _shape(image: Path) -> tuple[int, int]:
    with closing(open_slide(image)) as slide:
        return slide.shape


def _union(paths: Sequence[Path], read: Callable[[Path], BoolArray]) -> BoolArray:
    union = read(paths[0])
    for path in paths[1:]:
        other = read(path)
        if other.shape != union.shape:
            raise DatasetError(
                f"“{path.name}” has {other.shape} pixels, but “{paths[0].name}” of the "
                f"same image has {union.shape}."
            )
        union |= other
    return union


def read_mask(path: Path) -> Scribbles:
    """A mask of an image file, :func:`labelled`.

    Raises:
        DatasetError: it cannot be read.
    """
    return labelled(_read(path))


def labelled(pixels: npt.NDArray[np.integer]) -> Scribbles:
    """What numbers of a mask mean: 0 does not count, 1 background, 2 foreground.

    Foreground is what is not 0, so that 0/1 and 0/255 masks both work. Beside labels up
    to 127, and none above, 255 does not count (as in PASCAL VOC; soft edges have more).
    """
    labels = np.where(pixels > 0, FOREGROUND, BACKGROUND).astype(np.uint8)
    others = pixels[(pixels > 0) & (pixels != 255)]
    if others.size and others.max() <= 127:
        labels[pixels == 255] = UNLABELLED
    return labels


def _read(path: Path) -> npt.NDArray[np.integer]:
    try:
        with Image.open(path) as image:
            # A palette's numbers are labels; its colours mean nothing here.
            is_single = len(image.getbands()) == 1
            pixels = np.asarray(image if is_single else image.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"The mask “{path}” cannot be read: {error}. Replace it by a PNG, a TIFF, "
            "or GeoJSON."
        ) from error
    return pixels
