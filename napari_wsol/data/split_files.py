"""The lists of a data set, text files of a split or a table, and what an image is.

Lists only: nothing here opens an image, a mask or a box file.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import DatasetError, MalformedError
from napari_wsol.files import is_file, path_from
from napari_wsol.files.parsing import read_text
from napari_wsol.files.tables import parse_table, separator_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PATH_COLUMNS = (
    *("path", "file", "filename", "image_path", "filepath"),
    *("slide", "slide_id", "image"),
)
"""Columns that name images, the first that there is; in any case of letters."""
SLIDE_COLUMNS = ("slide", "slide_id")
"""Columns whose names need no ending."""
SPLIT_COLUMNS = ("split", "official_split")
TABLES = (".csv", ".tsv")
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".svs", ".ndpi", ".mrxs"}
    | {".dcm", ".dicom"}
)
"""Endings of images that folders are searched for."""
FLAGS = {"0": 0, "0.0": 0, "1": 1, "1.0": 1, "": 0}
"""What a cell says of a class; an empty one is without it."""
BAG = ".h5"
KNOWN = SUFFIXES | {BAG}
"""With slides' bags."""
BOXES = "boxes.csv"
"""Beside a table of labels: its boxes, and no table of labels."""

CLASS_LABELS, IMAGE_IDS = "class_labels.txt", "image_ids.txt"
LOCALIZATION = "localization.txt"

_CLASS_NUMBER = re.compile(r"\d{1,4}", re.ASCII)
_CAMELYON = re.compile(
    r"(patient_(\d{3}))_node_\d|(?i:camelyon).*((?:normal|tumor|test)_\d{3})(?!\d)",
    re.ASCII,
)

Row = tuple[str, dict[str, str]]
"""Where a table's row stands ("Line 3 of “labels.csv”"), and its fields by column."""


def split_folder(folder: str | Path, split: str | None) -> Path:
    """The folder of one split: ``folder/split`` where it exists, else ``folder``.

    Raises:
        DatasetError: when the folder does not exist.
    """
    folder = path_from(folder)
    if split is not None and (folder / split).is_dir():
        return folder / split
    if not folder.exists():
        raise DatasetError(f"There is no folder “{folder}”. Check the path.")
    return folder


def read_fields(path: Path) -> list[tuple[str, list[str]]]:
    """The fields of every line that is not blank, and where it stands.

    A list has commas between them; a table (.csv, .tsv) has what its first line has.

    Raises:
        DatasetError: when the file is missing or is no text.
    """
    try:
        text = read_text(path)
        is_table = path.suffix.lower() in TABLES
        rows = parse_table(text, separator_of(text) if is_table else ",")
    except FileNotFoundError as error:
        raise DatasetError(
            f"“{path.name}” is missing in “{path.parent}”. It lists the images of the "
            "split, one a line."
        ) from error
    except (OSError, MalformedError) as error:
        raise DatasetError(f"“{path}” cannot be read as text: {error}.") from error
    return [(f"Line {line} of “{path.name}”", row) for line, row in rows]


def find_root(folder: Path, first: str, root: Path | None) -> Path:
    """The folder that listed paths are relative to.

    Args:
        folder: where the list stands; it and the folders above it are tried.
        first: the first path listed.
        root: where it is known.

    Raises:
        DatasetError: when the path exists in none of them.
    """
    folder = Path(folder).absolute()
    above = folder.parents
    # The field keeps folds/…/NAME/fold-0/ beside NAME/.
    beside = (place / path.name for place in above for path in (folder, *above))
    for candidate in (folder, *above, *beside) if root is None else (Path(root),):
        if is_file(candidate / first):
            return candidate
    place = f"“{root}”" if root is not None else f"“{folder}” or any folder above it"
    raise DatasetError(
        f"The first file listed, “{first}”, does not exist in {place}. Pass the folder "
        "that the listed paths start from as `root`."
    )


def find_table(folder: str | Path, split: str | None) -> Path | None:
    """The CSV table of a data set: the file itself, or the one to use in a folder."""
    folder = path_from(folder)
    if folder.is_file():
        return folder if folder.suffix.lower() in TABLES else None
    stems = ([split] if split is not None else []) + ["labels"]
    for name in (f"{stem}{ending}" for stem in stems for ending in TABLES):
        if (folder / name).is_file():
            return folder / name
    every = sorted(path for ending in TABLES for path in folder.glob(f"*{ending}"))
    tables = [path for path in every if path.name != BOXES] or every
    return tables[0] if len(tables) == 1 else None


def column_of(header: Iterable[str], names: Sequence[str]) -> str | None:
    """The column that has the first of these names, in any case of letters."""
    known = {column.casefold(): column for column in header}
    return next((known[name] for name in names if name in known), None)


def read_table(path: Path, split: str | None) -> list[Row]:
    """The rows of a table, of one split where one is asked for.

    Raises:
        DatasetError: when it has no rows, no path column, or not that split.
    """
    lines = read_fields(path)
    if len(lines) < 2:
        raise DatasetError(f"“{path.name}” has no rows below its column names.")
    header = lines[0][1]
    rows = rows_below(header, lines[1:])
    path_column(path, header)
    if split is None or path.stem == split:
        return rows
    return _rows_of_split(path, rows, split)


def rows_below(header: list[str], lines: list[tuple[str, list[str]]]) -> list[Row]:
    """The lines of a table as rows.

    Raises:
        DatasetError: one has not as many fields as there are columns.
    """
    for where, fields in lines:
        if len(fields) != len(header):
            raise DatasetError(
                f"{where} has {len(fields)} fields, but there are {len(header)} column "
                "names."
            )
    return [(where, dict(zip(header, f, strict=True))) for where, f in lines]


def flag_of(
    where: str, row: Mapping[str, str], name: str, flags: Mapping[str, int] = FLAGS
) -> int:
    """What a row says of a class.

    Raises:
        DatasetError: something that flags cannot say.
    """
    if row[name] not in flags:
        raise DatasetError(
            f"{where} has “{row[name]}” in the column “{name}”, but must have one of "
            f"{', '.join(filter(None, flags))}. If that column is no class, pass the "
            "names of those that are as `classes`."
        )
    return flags[row[name]]


def path_column(path: Path, header: list[str]) -> str:
    """The column that holds the images' paths.

    Raises:
        DatasetError: when there is none.
    """
    found = column_of(header, PATH_COLUMNS)
    if found is not None:
        return found
    raise DatasetError(
        f"“{path.name}” has no column “path”. Its columns are {', '.join(header)}; "
        "name the one that holds the image files “path”."
    )


def _rows_of_split(path: Path, rows: list[Row], split: str) -> list[Row]:
    column = column_of(rows[0][1], SPLIT_COLUMNS)
    if column is None:
        raise DatasetError(
            f"“{path.name}” has no column “split”, so the images of “{split}” cannot "
            f"be told. Add the column, or name the table “{split}.csv”."
        )
    chosen = [row for row in rows if row[1][column] == split]
    if not chosen:
        known = sorted({row[1][column] for row in rows})
        raise DatasetError(
            f"“{path.name}” has no rows of the split “{split}”. It has "
            f"{', '.join(known)}."
        )
    return chosen


# --- images and boxes -------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A reference box: pixel j of a row is covered where x <= j < x + width.

    Attributes:
        xywh: x, y, width, height in pixels of ``frame``.
        name: of its class; None where the image has only one.
        frame: (H, W) that it was drawn in; None is the image file's own.
        where: the line it comes from, for messages.
    """

    xywh: tuple[float, float, float, float]
    name: str | None
    frame: tuple[int, int] | None
    where: str

    def on(
        self, image: tuple[int, int], grid: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """The box on a grid (rows, columns) over the whole image of (H, W) pixels.

        Raises:
            DatasetError: it ends more than a pixel outside its frame.
        """
        height, width = self.frame or image
        x, y, w, h = self.xywh
        if x + w > width + 1 or y + h > height + 1:
            raise DatasetError(
                f"{self.where} has a box that ends at ({x + w:g}, {y + h:g}), outside "
                f"the {width}×{height} pixels of its image. If it was drawn in an "
                "image of another size, give that size as the frame."
            )
        across, down = grid[1] / width, grid[0] / height
        return x * across, y * down, w * across, h * down


def sides_of(
    fields: Sequence[str], where: str, *, corners: bool = False
) -> tuple[float, float, float, float]:
    """Four numbers of a box: x, y, w, h, or x0, y0, x1, y1 where they are corners.

    Raises:
        DatasetError: they are no box; says where they stand.
    """
    try:
        a, b, c, d = (float(item) for item in fields)
    except ValueError:
        a = b = c = d = math.nan
    is_box = (c >= a and d >= b) if corners else (c > 0 and d > 0)
    if not is_box or not all(map(math.isfinite, (a, b, c, d))):
        order = "x0, y0, x1, y1" if corners else "x, y, w, h"
        raise DatasetError(
            f"{where} has “{','.join(fields)}”, which is no box: {order} are four "
            "numbers, and a box is larger than nothing."
        )
    return a, b, c, d


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image and its classes.

    Attributes:
        path: the image file.
        labels: 0 or 1 for each class; exactly one 1 unless the data is multi-label.
        id: the image as the data set lists it.
        group: what must stay together, a patient or slide; empty where nobody says.
        centre: where it was made; empty where nobody says.
        split: that the data set's makers put it into; empty where there is none.
        boxes: that came with the data set; for evaluation, and nothing else.
        masks: files of masks, likewise.
    """

    path: Path
    labels: tuple[int, ...]
    id: str
    group: str = ""
    centre: str = ""
    split: str = ""
    boxes: tuple[Box, ...] = ()
    masks: tuple[Path, ...] = ()


def slide_of(name: str) -> tuple[str, str]:
    """Group and centre of a patch of CAMELYON by its name; both empty of another one.

    CAMELYON17 numbers its patients centre by centre, 20 each: the centre of patient 35
    is 1 (Bandi et al., IEEE TMI 2019). CAMELYON16 names its slides only.
    """
    found = _CAMELYON.search(name)
    if found is None:
        return "", ""
    return found[1] or found[3], str(int(found[2]) % 100 // 20) if found[2] else ""


def one_hot(index: int, size: int) -> tuple[int, ...]:
    """The labels of an image of one class."""
    return tuple(int(place == index) for place in range(size))


def twice(where: str, name: str) -> DatasetError:
    """What is said of an image that a list names again."""
    return DatasetError(f"{where}: “{name}” is listed twice. Keep one of the two.")


def existing(root: Path, name: str, where: str) -> Path:
    """A listed image; a ``DatasetError`` where it is not there."""
    if not is_file(root / name):
        raise DatasetError(f"{where} names “{name}”, which does not exist in “{root}”.")
    return root / name


def files_in(folder: Path) -> list[Path]:
    """Images and bags in a folder and below, by name; hidden ones are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in KNOWN and not path.name.startswith(".")
    )


def by_stem(folder: Path) -> dict[str, list[Path]]:
    """The same by their names without ending."""
    found: dict[str, list[Path]] = {}
    for path in files_in(folder):
        found.setdefault(path.stem, []).append(path)
    return found


def slide_named(
    root: Path, name: str, where: str, *, files: Mapping[str, list[Path]]
) -> Path:
    """A listed file or, by its name without ending, a slide's bag or else the slide.

    Raises:
        DatasetError: there is none, or several.
    """
    found = [] if is_file(root / name) else files.get(Path(name).name, [])
    found = [path for path in found if path.suffix.lower() == BAG] or found
    if len(found) > 1:
        raise DatasetError(
            f"{where} names “{name}”, which may be “{found[0]}” or “{found[1]}”. List "
            "the file with its path, or name the folder of bags as “features”."
        )
    return found[0] if found else existing(root, name, where)


# --- split folders ----------------------------------------------------------------


def read_split_folder(
    place: Path, root: Path | None, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[Sample]]:
    """Class names and images of a split folder of the field, in the order listed.

    Args:
        place: holds ``image_ids.txt`` and ``class_labels.txt``.
        root: the folder that listed paths start from; searched upwards when None.
        classes: names in the order of the numbers; from ``classes.txt`` when None.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    labels = _class_numbers(place)
    ids = read_fields(place / IMAGE_IDS)
    if not ids:
        raise DatasetError(f"“image_ids.txt” in “{place}” lists no images.")
    names = _class_names(place, classes, max(labels.values(), default=0) + 1)
    start = find_root(place, ids[0][1][0], root)
    found: dict[str, Sample] = {}
    for where, fields in ids:
        name = fields[0]
        if name in found:
            raise twice(where, name)
        if name not in labels:
            raise DatasetError(
                f"{where} names “{name}”, which “class_labels.txt” gives no class."
            )
        path = existing(start, name, where)
        hot, (group, centre) = one_hot(labels[name], len(names)), slide_of(name)
        own = Sample(path=path, labels=hot, id=name, group=group, centre=centre)
        found[name] = own
    return names, list(found.values())


def _class_numbers(place: Path) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for where, fields in read_fields(place / CLASS_LABELS):
        if len(fields) != 2 or not _CLASS_NUMBER.fullmatch(fields[1]):
            raise DatasetError(
                f"{where} is “{','.join(fields)}”, but must be an image "
                "and the number of its class, like “images/a.png,0”."
            )
        name, number = fields[0], int(fields[1])
        if numbers.get(name, number) != number:
            raise DatasetError(
                f"{where} gives “{name}” the class {number}, but a line above gives it "
                f"{numbers[name]}. Keep one of the two."
            )
        numbers[name] = number
    return numbers


def _class_names(
    place: Path, classes: Sequence[str] | None, at_least: int
) -> tuple[str, ...]:
    names = tuple(classes) if classes is not None else _listed_classes(place)
    if names is None:
        return tuple(str(number) for number in range(at_least))
    if len(names) < at_least:
        raise DatasetError(
            f"“class_labels.txt” has the class number {at_least - 1}, but there are "
            f"only {len(names)} class names: {', '.join(names)}. Numbers start at 0."
        )
    return names


def _listed_classes(place: Path) -> tuple[str, ...] | None:
    place = place.absolute()
    lists = (folder / "classes.txt" for folder in (place, *place.parents))
    found = next((path for path in lists if path.is_file()), None)
    return None if found is None else tuple(row[0] for _, row in read_fields(found))
