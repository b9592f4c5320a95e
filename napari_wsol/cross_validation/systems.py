"""The papers whose figures ``reproduce`` sets beside one's own, and how each is made.

A system is a table: which published recipes follow one another, what they leave to be
edited, and which splits of the data set they read. The figures that the papers print
stand in ``published.csv`` beside this file; a row without one is measured all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple, cast

import tomli_w

from napari_wsol.data.published import is_published
from napari_wsol.errors import DatasetError
from napari_wsol.files.parsing import parse_toml
from napari_wsol.files.tables import parse_table
from napari_wsol.registry import Registry
from napari_wsol.training.published import find_published

if TYPE_CHECKING:
    from pathlib import Path

Table = Mapping[str, object]

TRAIN, CHOOSE, TELL, TEST = "train", "valpx", "valcl", "test"
"""Lists: what teaches; masks, and labels, that choose among weights; the test."""

QUICK = {"epochs": 1, "batch": 4}
"""What a quick training has instead of its recipe's, beside smaller images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """How the figures of a paper are made.

    Attributes:
        recipes: published ones in their order, each with what is edited in it; the
            first of two teaches the second.
        splits: of each list of images, where in the data's folder its split may be, the
            first that is there: a split folder, or a split of a published data set.
            Lists beside those that are trained from may be missing. Where ``TELL``
            reads the same as ``TRAIN``, its images are dealt out.
        quick_side: of the network's input where it shall be quick.
        frame: (H, W) that boxes were drawn in; None without boxes.
        notes: what a reader of the table must know, a sentence each.
    """

    recipes: Mapping[str, Table]
    splits: Mapping[str, tuple[str, ...]]
    quick_side: int
    frame: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    def place(self, data: Path, name: str) -> tuple[Path, str] | None:
        """The folder and split of one of the lists; None of one that may be missing.

        Raises:
            DatasetError: it is not there; says where it may be.
        """
        tried = [data / path for path in self.splits[name]]
        for path in tried:
            if path.is_dir() or ("@" in path.name and is_published(path.parent)):
                return path.parent, path.name
        if name not in (TRAIN, CHOOSE, TELL, TEST):
            return None
        if not is_published(data):
            places = ", ".join(path.relative_to(data).as_posix() for path in tried)
            raise DatasetError(
                f"The images of “{name}” are not in “{data}”. They may be in one of "
                f"these: {places}; or give the data set's folder as it was published."
            )
        return data, tried[-1].name

    def recipe(self, name: str, teacher: Path | None, *, quick: bool) -> str:
        """A published recipe with its gaps filled in, as TOML.

        Args:
            name: of it.
            teacher: folder of the model that gives the seeds.
            quick: a single pass over few and small images.
        """
        table = parse_toml(find_published(name).text)
        named = {"train": TRAIN, "localization": CHOOSE, "classification": TELL}
        data = {key: split for key, split in named.items() if split in self.splits}
        table = _merged(table, {"data": data}, self.recipes[name])
        if teacher is not None:
            table = _merged(table, {"seeds": {"model": str(teacher)}})
        if quick:
            sized = {"preprocessing": {"size": self.quick_side}}
            short = {**QUICK, "crop": self.quick_side}
            table = _merged(table, {"model": sized, "train": short})
        return tomli_w.dumps(table)


def _merged(*tables: Table) -> dict[str, object]:
    """Tables laid over one another, entry by entry, whatever their depth."""
    found: dict[str, object] = {}
    for key, value in (item for table in tables for item in table.items()):
        both = (found.get(key), value)
        is_table = all(isinstance(part, Mapping) for part in both)
        found[key] = _merged(*cast("tuple[Table, Table]", both)) if is_table else value
    return found


class Published(NamedTuple):
    """A figure that a paper prints, or one that is measured beside such.

    Attributes:
        model: name of the recipe.
        images: list that it is measured on.
        method: whose maps; empty of a figure of the image's classes.
        figure: as an evaluation calls it.
        name: of the class; empty of a figure of all.
        value: in the figure's unit; None where none is printed.
        source: paper and table.
    """

    model: str
    images: str
    method: str
    figure: str
    name: str
    value: float | None
    source: str

    @property
    def measured(self) -> str:
        """What is measured together."""
        return f"{self.model} on {self.images}"


def published_rows(system: str) -> list[Published]:
    """The figures of a system, in the order of its table."""
    file = resources.files("napari_wsol.cross_validation") / "published.csv"
    return [
        Published(*row[1:6], value=float(row[6]) if row[6] else None, source=row[7])
        for _, row in parse_table(file.read_text("utf-8"))
        if row[0] == system
    ]


def _nih(recipe: str, quick_side: int) -> System:
    return System(
        recipes={recipe: {}},
        splits={TRAIN: ("train@pcam",), TELL: ("val@pcam",), TEST: ("test@pcam",)},
        quick_side=quick_side,
        frame=(1024, 1024),
        notes=(
            "Patients outside the test set were dealt 75 to 25 to training and "
            "validation, with the seed 0; the authors' own lists are not published "
            "with the films.",
        ),
    )


def _pixelcam(
    splits: Mapping[str, tuple[str, ...]], classes: list[str], seeds: Table
) -> System:
    data = {"classes": classes}
    recipes = {"cam": {"data": data}, "pixelcam": {"data": data, "seeds": seeds}}
    return System(recipes=recipes, splits=splits, quick_side=96)


def _fold(tree: str, whole: str = "") -> dict[str, tuple[str, ...]]:
    """The lists of the first fold of PixelCAM's authors.

    Args:
        tree: folder of theirs with the folds.
        whole: split that teaches, tells and chooses where there are no folds.
    """
    folds = (f"{tree}/fold-0", "folds/fold-0", "fold-0", ".")
    others = {TRAIN: whole, CHOOSE: whole, TELL: whole, TEST: ""}
    return {
        name: (*(f"{fold}/{name}" for fold in folds), other or name)
        for name, other in others.items()
    }


_CENTRES = {
    f"centre-{at}": (f"CAMELYON17_512/fold-{at}/test", f"camelyon17_v1.0/@centre-{at}")
    for at in range(5)
}
_NO_NORMAL_SEEDS = {"normal_class": "normal", "draw": {"normal_images": "none"}}

SYSTEMS = Registry(
    "system",
    {
        "pcam-nih14": _nih("pcam-nih14", 128),
        "pylon-nih14": _nih("pylon", 256),
        "pixelcam-glas": _pixelcam(_fold("GLAS", TRAIN), ["benign", "malignant"], {}),
        "pixelcam-camelyon": _pixelcam(
            _fold("CAMELYON512") | _CENTRES, ["normal", "tumor"], _NO_NORMAL_SEEDS
        ),
    },
)
"""By the name that the command gives them."""
