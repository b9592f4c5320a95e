"""Images with labels, and the split folders of the field that list them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsol.data.split_files import find_root, read_fields
from napari_wsol.errors import DatasetError
from napari_wsol.files import is_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CLASS_LABELS, IMAGE_IDS = "class_labels.txt", "image_ids.txt"
LOCALIZATION = "localization.txt"

_CLASS_NUMBER = re.compile(r"\d{1,4}", re.ASCII)
_CAMELYON17 = re.compile(r"patient_(\d{3})_node_\d", re.ASCII)
_CAMELYON16 = re.compile(r"(?:normal|tumor|test)_\d{3}(?=\D|$)", re.ASCII)


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
    """

    path: Path
    labels: tuple[int, ...]
    id: str
    group: str = ""
    centre: str = ""
    split: str = ""


def slide_of(name: str) -> tuple[str, str]:
    """Group and centre of a patch of CAMELYON by its name; both empty of another one.

    CAMELYON17 numbers its patients centre by centre, 20 each: the centre of patient 35
    is 1 (Bandi et al., IEEE TMI 2019). CAMELYON16 names its slides only.
    """
    found = _CAMELYON17.search(name)
    if found:
        return f"patient_{found[1]}", str(int(found[1]) % 100 // 20)
    if "camelyon" in name.casefold():
        found = _CAMELYON16.search(name)
    return (found[0], "") if found else ("", "")


def one_hot(index: int, size: int) -> tuple[int, ...]:
    """The labels of an image of one class."""
    return tuple(int(place == index) for place in range(size))


def twice(where: str, name: str) -> DatasetError:
    """What is said of an image that a list names again."""
    return DatasetError(f"{where}: “{name}” is listed twice. Keep one of the two.")


def existing(root: Path, name: str, where: str) -> Path:
    """A listed image.

    Raises:
        DatasetError: it is not there.
    """
    path = root / name
    if not is_file(path):
        raise DatasetError(f"{where} names “{name}”, which does not exist in “{root}”.")
    return path


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
    samples: list[Sample] = []
    seen: set[str] = set()
    for where, fields in ids:
        name = fields[0]
        if name in seen:
            raise twice(where, name)
        seen.add(name)
        if name not in labels:
            raise DatasetError(
                f"{where} names “{name}”, which “class_labels.txt” gives no class."
            )
        path = existing(start, name, where)
        hot = one_hot(labels[name], len(names))
        group, centre = slide_of(name)
        samples.append(
            Sample(path=path, labels=hot, id=name, group=group, centre=centre)
        )
    return names, samples


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
    for folder in (place, *place.parents):
        path = folder / "classes.txt"
        if path.is_file():
            return tuple(fields[0] for _, fields in read_fields(path))
    return None
