"""Folds of a cross-validation: no patient is on both sides of one.

A group is what must stay together: the images of a patient, a slide, a centre. Images
of one group are alike, so that a network that has seen some of them is measured too
well on the others.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.data.split_files import PATH_COLUMNS, read_fields, rows_below
from napari_wsol.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsol.data.datasets import Sample

NAME_COLUMNS = ("image", *PATH_COLUMNS, "name", "id")
"""Columns of a table of groups that name the image, the first that there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    r"""What tells the group of an image: a column of a table, a pattern, or its list.

    Without either it is the patient or slide that the data set names itself.

    Attributes:
        table: CSV that names the images in a column ``image``, ``path``, ``file``,
            ``name`` or ``id``: as the data set lists them, or by their file names, with
            any extension or none. Rows of other images are passed over.
        column: that holds the group.
        pattern: regular expression that is searched for in the image's id as the data
            set lists it and, where it is not found, in its file name. Its first
            parentheses are the group, or all of it where there are none. ``^(\d+)_``
            finds the patient in the file names of NIH ChestX-ray14.
    """

    table: Path | None = None
    column: str = ""
    pattern: str = ""

    def __post_init__(self) -> None:
        is_half = (self.table is None) != (not self.column)
        if is_half or (self.column and self.pattern):
            raise ConfigError(
                "Say what belongs together: a table and its column, or a pattern, not "
                "both."
            )
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ConfigError(
                f"“{self.pattern}” is no regular expression: {error}."
            ) from error

    def of(self, samples: Sequence[Sample]) -> list[str]:
        """The group of each image, in their order.

        Raises:
            ConfigError, DatasetError: an image has none, or two; names the first.
        """
        ids = [sample.id for sample in samples]
        if self.table is not None:
            found = self._tabled(ids)
            where = f"the column “{self.column}” of “{self.table.name}”"
        elif self.pattern:
            found, where = self._matched(ids), f"the pattern “{self.pattern}”"
        else:
            found, where = {item.id: item.group for item in samples}, "the data set"
        lacking = [name for name in ids if not found.get(name)]
        if lacking:
            by_data = self.table is None and not self.pattern
            raise (ConfigError if by_data else DatasetError)(
                f"“{lacking[0]}” has no group: {where} says nothing of it"
                + (f", nor of {len(lacking) - 1} more" if lacking[1:] else "")
                + ". Every image needs one, or the folds could share a patient: give a "
                "table of groups and its column, or a pattern that finds it in names."
            )
        return [found[name] for name in ids]

    def _matched(self, ids: Sequence[str]) -> dict[str, str]:
        wanted = re.compile(self.pattern)
        found: dict[str, str] = {}
        for name in ids:
            match = wanted.search(name) or wanted.search(PurePosixPath(name).name)
            if match is not None:
                found[name] = (match[1] if wanted.groups else match[0]) or ""
        return found

    def _tabled(self, ids: Sequence[str]) -> dict[str, str]:
        known, found = by_name(ids), dict[str, str]()
        for where, name, group in self._rows():
            image = known.get(name) or known.get(PurePosixPath(name).stem)
            if image is None:
                continue  # of another split
            if found.setdefault(image, group) != group:
                raise DatasetError(
                    f"{where} puts “{image}” into the group “{group}”, but a line "
                    f"above into “{found[image]}”. Keep one of the two."
                )
        return found

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """Where each row stands, the image that it names, and its group."""
        if self.table is None:
            return
        lines = read_fields(self.table)
        header = lines[0][1] if lines else []
        names = next((name for name in NAME_COLUMNS if name in header), None)
        if names is None or self.column not in header:
            lacking = f"“{self.column}”" if names else f"{' or '.join(NAME_COLUMNS)}"
            raise DatasetError(
                f"“{self.table.name}” has no column {lacking}. Its columns are "
                f"{', '.join(header) or 'none'}."
            )
        for where, row in rows_below(header, lines[1:]):
            yield where, row[names], row[self.column]


def by_name(ids: Sequence[str]) -> dict[str, str]:
    """The ids by what they may be called: themselves, and stems that only one has."""
    stems = [PurePosixPath(item).stem for item in ids]
    counts = Counter(stems)
    named = {s: item for s, item in zip(stems, ids, strict=True) if counts[s] == 1}
    return named | {item: item for item in ids}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One fold: what is learnt from and what is held out.

    Attributes:
        number: from 1.
        train: images to learn from, in the data set's order.
        held_out: images to measure, in the data set's order.
        groups: of the held-out images, in the order of the images.
    """

    number: int
    train: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    groups: tuple[str, ...]


def split_folds(
    samples: Sequence[Sample],
    groups: Sequence[str],
    folds: int,
    *,
    classes: Sequence[str],
    seed: int = 0,
) -> list[Fold]:
    """Folds that split no group, alike in size and in how often each class occurs.

    The groups are dealt out from the largest to the smallest, each to the fold that has
    least of what the group brings, as a share of each class and of all images. Of
    groups that bring the same, the seed says which comes first.

    Args:
        samples: the images.
        groups: that of each image.
        folds: how many.
        classes: names, in the order of the labels.
        seed: the same one gives the same folds.

    Raises:
        ConfigError: there are fewer than two folds.
        DatasetError: there are fewer groups than folds, or a class that some fold would
            have to learn without an image.
    """
    if folds < 2:
        raise ConfigError(f"A cross-validation has two folds or more, not {folds}.")
    names = sorted(set(groups))
    if len(names) < folds:
        raise DatasetError(
            f"There are {len(names)} groups ({', '.join(names[:5])}), too few for "
            f"{folds} folds that share none. Choose fewer folds or another grouping."
        )
    place = _deal(_shares(samples, groups, names), folds, seed)
    made: list[Fold] = []
    for number in range(folds):
        inside = [place[group] == number for group in groups]
        pairs = list(zip(samples, groups, inside, strict=True))
        made.append(
            Fold(
                number=number + 1,
                train=tuple(item for item, _, is_in in pairs if not is_in),
                held_out=tuple(item for item, _, is_in in pairs if is_in),
                groups=tuple(group for _, group, is_in in pairs if is_in),
            )
        )
        _check_classes(made[-1], classes)
    return made


def _shares(
    samples: Sequence[Sample], groups: Sequence[str], names: Sequence[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """What each group brings: its share of each class and of all images, (K + 1,)."""
    at = {name: index for index, name in enumerate(names)}
    rows = np.array([[*sample.labels, 1] for sample in samples], np.float64)
    counts = np.zeros((len(names), rows.shape[1]))
    np.add.at(counts, [at[group] for group in groups], rows)
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    return dict(zip(names, shares, strict=True))


def _deal(
    shares: Mapping[str, npt.NDArray[np.float64]], folds: int, seed: int
) -> dict[str, int]:
    """The fold of each group.

    What a fold holds may differ from an equal part by d; adding a group's v changes
    |d|² by 2 v·d + |v|², so that the fold with the smallest v·(what it holds) gains
    most. An empty fold always does.
    """
    names = list(shares)
    np.random.default_rng(seed).shuffle(names)
    names.sort(key=lambda name: -round(float(np.sum(shares[name] ** 2)), 12))
    held = np.zeros((folds, len(shares[names[0]])))
    place: dict[str, int] = {}
    for name in names:
        place[name] = int(np.argmin(held @ shares[name]))
        held[place[name]] += shares[name]
    return place


def _check_classes(fold: Fold, classes: Sequence[str]) -> None:
    seen = np.sum([sample.labels for sample in fold.train], axis=0)
    held = np.sum([sample.labels for sample in fold.held_out], axis=0)
    for name, learnt, measured in zip(classes, seen, held, strict=True):
        if measured and not learnt:
            raise DatasetError(
                f"All images of the class “{name}” would be held out of fold "
                f"{fold.number}, so it could not be learnt there. The class needs "
                "images of several groups: choose another grouping or more images."
            )
