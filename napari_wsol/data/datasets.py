"""Images with image-level labels. Nothing here ever opens a mask or a box."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.data.layouts import class_at
from napari_wsol.data.published import counted, recognised
from napari_wsol.data.split_files import (
    CLASS_LABELS,
    FLAGS,
    PATH_COLUMNS,
    SLIDE_COLUMNS,
    SPLIT_COLUMNS,
    Sample,
    by_stem,
    column_of,
    existing,
    files_in,
    find_root,
    find_table,
    flag_of,
    one_hot,
    path_column,
    read_split_folder,
    read_table,
    slide_named,
    slide_of,
    split_folder,
    twice,
)
from napari_wsol.errors import DatasetError
from napari_wsol.files import path_from

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_wsol.data.split_files import Row

    Names = Sequence[str] | None

LABEL_COLUMNS = ("label", "labels")
PATIENT_COLUMNS = ("patient", "case_id")
NO_FINDING = "no finding"
"""The label, in any case of letters, of an image with none of the classes."""
_NO_CLASS_FOLDERS = frozenset({"mask", "masks", "annotations", "boxes"})
REFERENCE_COLUMNS = frozenset(
    {"mask", "ignore", "box", "x", "y", "w", "h", "width", "height"}
    | {"xmin", "ymin", "xmax", "ymax", "x1", "y1", "x2", "y2"}
)
"""Columns about masks or boxes: for evaluation, never read here. A table that has any
may list an image several times, once a mask or box."""
_NO_CLASS_COLUMNS = frozenset(
    {*PATH_COLUMNS, *SPLIT_COLUMNS, *REFERENCE_COLUMNS, *LABEL_COLUMNS}
    | {*PATIENT_COLUMNS}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImages:
    """The images of one split.

    Attributes:
        classes: names, in the order of the labels.
        samples: in the order listed.
        multi_label: True when an image may have none or several of the classes.
        said: what published data was recognised, a sentence; empty of other data.
    """

    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    multi_label: bool
    said: str = ""


def load_images(
    folder: str | Path,
    split: str | None = None,
    *,
    root: str | Path | None = None,
    classes: Sequence[str] | None = None,
    multi_label: bool | None = None,
    features: Path | None = None,
) -> LabelledImages:
    """The images of a split with their image-level labels.

    Understands, in this order:

    - a data set as its makers publish it (:mod:`napari_wsol.data.layouts`);
    - a split folder of the field: ``image_ids.txt`` and ``class_labels.txt`` with lines
      ``image,number``; class names from ``classes.txt`` there or above;
    - a table (CSV, with commas, semicolons or tabs) with a column ``path`` and either
      ``label`` (names, several joined by ``|``; none or “No Finding” for an image
      without) or a column of 0 and 1 for each class; ``split`` where it has several;
      of slides, ``slide`` or ``slide_id`` in place of ``path``: a name without ending
      is that of a bag (.h5) or slide in the table's folder or below; and ``patient``
      or ``case_id``;
    - a folder for each class, of images, slides or bags.

    Args:
        folder: the data set's folder, or that of the split, or the table.
        split: name of the split.
        root: the folder that listed paths start from; searched upwards when None.
        classes: names of the classes in the order wanted.
        multi_label: None tells it from the labels.
        features: folder of bags, where slides named without ending are looked for
            first; need not exist.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    published = recognised(folder, split)
    if published is None:
        base = None if root is None else Path(root)
        found = _find(path_from(folder), split, base, classes, features)
        said = _said_of_folders(found[1])
        return replace(_finish(*found, multi_label), said=said)
    layout, names = published.layout, tuple(classes or published.layout.classes)
    order = [class_at(layout.title, name, layout.classes) for name in names]
    own = [
        replace(item, labels=tuple(item.labels[at] for at in order))
        for item in published.samples
    ]
    is_multi = layout.multi_label if multi_label is None else multi_label
    return replace(_finish(names, own, is_multi), said=published.said)


def listed_in(place: Path) -> tuple[list[Path], str]:
    """The images that published data lists, and what is said of it; none of other.

    A fault in its lists is said, and no reason not to look at the images.
    """
    lists = [x for at in ("", "*/", "fold-*/*/") for x in place.glob(at + CLASS_LABELS)]
    try:
        published = recognised(place)
        if published is not None:
            return [item.path for item in published.samples], published.said
        found = [
            read_split_folder(path.parent, None, None)[1] for path in sorted(lists)
        ]
    except DatasetError as error:
        return [], str(error)
    samples = {item.id: item for items in found for item in items}.values()
    said = _said_of_folders(samples)
    return [item.path for item in samples if said], said


def _said_of_folders(samples: Collection[Sample]) -> str:
    """What is said of split folders of CAMELYON, whose names tell the patients."""
    if not samples or not all(slide_of(x.id)[0] == x.group != "" for x in samples):
        return ""
    return counted("CAMELYON in split folders", len(samples), "patches", samples)


def _find(
    folder: Path, split: str | None, root: Path | None, classes: Names, own: Path | None
) -> tuple[tuple[str, ...], list[Sample]]:
    place = split_folder(folder, split)
    if (place / CLASS_LABELS).is_file():
        return read_split_folder(place, root, classes)
    # A table inside the split's own folder is closer than one beside it.
    table = find_table(place, split) or find_table(folder, split)
    if table is not None:
        return _from_table(table, split, root, classes, own)
    if split is not None and place == folder:
        raise DatasetError(
            f"“{folder}” has no split “{split}”: neither a folder nor a table of that "
            "name."
        )
    return _from_class_folders(place, classes)


def _finish(
    classes: tuple[str, ...], samples: list[Sample], multi_label: bool | None
) -> LabelledImages:
    if len(set(classes)) != len(classes) or len(classes) < 1:
        raise DatasetError(f"Class names must differ, not {', '.join(classes)}.")
    odd = next((sample for sample in samples if sum(sample.labels) != 1), None)
    if odd is not None and multi_label is False:
        raise DatasetError(
            f"“{odd.id}” has {sum(odd.labels)} classes, but one is wanted. Correct its "
            "labels or read the data as multi-label."
        )
    is_multi = odd is not None if multi_label is None else multi_label
    return LabelledImages(classes=classes, samples=tuple(samples), multi_label=is_multi)


# --- tables ----------------------------------------------------------------------


def _from_table(
    table: Path, split: str | None, root: Path | None, classes: Names, own: Path | None
) -> tuple[tuple[str, ...], list[Sample]]:
    rows = read_table(table, split)
    header = list(rows[0][1])
    column = path_column(table, header)
    label = column_of(header, LABEL_COLUMNS)
    if label is not None:
        names, labels = _named_labels(rows, label, classes)
    else:
        names, labels = _column_labels(table, rows, classes)
    patient = column_of(header, PATIENT_COLUMNS)
    is_slide = column.casefold() in SLIDE_COLUMNS
    start = root or table.parent
    with suppress(*[DatasetError] * is_slide):
        start = find_root(table.parent, rows[0][1][column], root)
    look = partial(existing, start)
    if is_slide:
        files = by_stem(start) | (by_stem(own) if own is not None else {})
        look = partial(slide_named, start, files=files)
    may_repeat = bool(REFERENCE_COLUMNS.intersection(map(str.casefold, header)))
    found: dict[str, Sample] = {}
    for (where, row), hot in zip(rows, labels, strict=True):
        name = row[column]
        if name not in found:
            group = row[patient] if patient is not None else ""
            path = look(name, where)
            found[name] = Sample(path=path, labels=hot, id=name, group=group)
        elif not may_repeat:
            raise twice(where, name)
        elif found[name].labels != hot:
            raise DatasetError(
                f"{where} gives “{name}” other classes than a line above. An image "
                "with several masks or boxes has the same classes in each line."
            )
    return names, list(found.values())


def _named_labels(
    rows: list[Row], label: str, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[tuple[int, ...]]]:
    named = map(str.casefold, classes or ())
    none = ("",) if NO_FINDING in named else ("", NO_FINDING)
    told = ([name.strip() for name in row[label].split("|")] for _, row in rows)
    given = [[name for name in names if name.casefold() not in none] for names in told]
    known = sorted({name for names in given for name in names})
    order = tuple(classes) if classes is not None else tuple(known)
    labels: list[tuple[int, ...]] = []
    for (where, _), names in zip(rows, given, strict=True):
        unknown = [name for name in names if name not in order]
        if unknown:
            raise DatasetError(
                f"{where} has the class “{unknown[0]}”. Classes are {', '.join(order)}."
            )
        labels.append(tuple(int(name in names) for name in order))
    return order, labels


def _column_labels(
    table: Path, rows: list[Row], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[tuple[int, ...]]]:
    header = list(rows[0][1])
    order = tuple(classes) if classes is not None else _flag_columns(header, rows)
    missing = [name for name in order if name not in header]
    if missing or not order:
        raise DatasetError(
            f"“{table.name}” has no column {' or '.join(missing) or 'of labels'}. It "
            "needs “label”, or a column of 0 and 1 for each class."
        )
    return order, [tuple(flag_of(at, row, x) for x in order) for at, row in rows]


def _flag_columns(header: list[str], rows: list[Row]) -> tuple[str, ...]:
    """Columns that start with 0 or 1; later rows are checked one by one."""
    first = {x: next((row[x] for _, row in rows if row[x]), "") for x in header}
    own = (x for x in header if x.casefold() not in _NO_CLASS_COLUMNS)
    return tuple(x for x in own if first[x] and first[x] in FLAGS)


# --- a folder for each class -----------------------------------------------------


def _from_class_folders(
    place: Path, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], list[Sample]]:
    found = sorted(
        folder.name
        for folder in place.iterdir()
        if folder.is_dir()
        and not folder.name.startswith(".")
        and folder.name.lower() not in _NO_CLASS_FOLDERS
    )
    names = tuple(classes) if classes is not None else tuple(found)
    if len(names) < 2:
        raise DatasetError(
            f"“{place}” holds no data set: no “class_labels.txt”, no table and fewer "
            "than two folders of classes."
        )
    samples: list[Sample] = []
    for index, name in enumerate(names):
        paths = files_in(place / name) if name in found else []
        if not paths:
            raise DatasetError(f"The class folder “{place / name}” has no images.")
        samples += [
            Sample(
                path=path,
                labels=one_hot(index, len(names)),
                id=path.relative_to(place).as_posix(),
            )
            for path in paths
        ]
    return names, samples
