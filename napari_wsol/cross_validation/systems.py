"""The papers whose figures ``reproduce`` sets beside one's own, and how each is made.

A system is a table: which published recipes follow one another, which splits of the
data set they read, and what its recipes leave to be edited. The figures that the papers
print stand in ``published.csv`` beside this file, a row each; a row without one is
measured all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, cast

import tomli_w

from napari_wsol.evaluation.bootstrap import Estimate
from napari_wsol.files.parsing import parse_toml
from napari_wsol.files.tables import parse_table
from napari_wsol.registry import Registry
from napari_wsol.training.published import find_published

if TYPE_CHECKING:
    from pathlib import Path

Table = Mapping[str, object]

TRAIN, CHOOSE, TELL, TEST = "train", "valpx", "valcl", "test"
"""Lists: what teaches; masks, and labels, that choose among weights; the test."""

QUICK_BATCH, QUICK_IMAGES, QUICK_DRAWS = 4, 2, 20
"""Of ``--quick``: images a batch, images a class of a list, draws for intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """How the figures of a paper are made.

    Attributes:
        recipes: published ones in their order; the first of two teaches the second.
        splits: of each list of images, where its split may be, the first that is
            there: a split folder, or a split of a published data set, as
            :func:`~napari_wsol.data.datasets.load_images` names it. Where ``TELL`` and
            ``CHOOSE`` read the same as ``TRAIN``, its images are dealt to the three.
        optional: lists that are made and measured where their splits are there.
        edits: what the recipes say of their data, and what else the paper has
            otherwise for this data set.
        seeds: the same for the [seeds] of the last recipe.
        quick_side: of the network's input where it shall be quick.
        frame: (H, W) that boxes were drawn in; None without boxes.
        notes: what a reader of the table must know, a sentence each.
    """

    recipes: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]
    quick_side: int
    optional: tuple[str, ...] = ()
    edits: Table = field(default_factory=dict[str, object])
    seeds: Table = field(default_factory=dict[str, object])
    frame: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    def place(self, data: Path, name: str) -> tuple[Path, str] | None:
        """The folder and split of one of the lists; None of one that may be missing."""
        tried = [data / path for path in self.splits[name]]
        for path in tried:
            if path.is_dir() or ("@" in path.name and path.parent.is_dir()):
                return path.parent, path.name
        return None if name in self.optional else (data, tried[-1].name)

    def recipe(self, name: str, teacher: Path | None, *, quick: bool) -> str:
        """A published recipe with its gaps filled in, as TOML.

        Args:
            name: one of ``recipes``.
            teacher: folder of the model that gives the seeds.
            quick: a single pass over few and small images.
        """
        table = parse_toml(find_published(name).text)
        named = {"train": TRAIN, "localization": CHOOSE, "classification": TELL}
        data = {key: split for key, split in named.items() if split in self.splits}
        table = _merged(table, {"data": data}, self.edits)
        if teacher is not None:
            seeds = {"model": str(teacher), **self.seeds}
            table = _merged(table, {"seeds": seeds})
        if quick:  # the same way in minutes on a processor
            side = self.quick_side
            sized = {"preprocessing": {"size": side}}
            short = {"epochs": 1, "batch": QUICK_BATCH, "crop": side}
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure that a paper prints, or one that is measured beside such.

    Attributes:
        system: whose.
        model: name of the recipe.
        images: list that it is measured on.
        method: whose maps; empty of a figure of the image's classes.
        figure: as an evaluation calls it.
        name: of the class; empty of a figure of all.
        value: in the figure's unit; None where none is printed.
        source: paper and table.
    """

    system: str
    model: str
    images: str
    method: str
    figure: str
    name: str
    value: float | None
    source: str

    @property
    def printed(self) -> Estimate | None:
        """The figure, without an interval."""
        return None if self.value is None else Estimate(value=self.value)


def published_rows(system: str) -> list[Published]:
    """The figures of a system, in the order of its table."""
    text = ROWS.read_text("utf-8")
    return [
        Published(
            **dict(zip(ROW, row[:6], strict=True)),
            value=float(row[6]) if row[6] else None,
            source=row[7],
        )
        for _, row in parse_table(text)
        if row[0] == system
    ]


ROWS = resources.files("napari_wsol.cross_validation") / "published.csv"
ROW = ("system", "model", "images", "method", "figure", "name")


def _nih(recipe: str, quick_side: int) -> System:
    return System(
        recipes=(recipe,),
        quick_side=quick_side,
        splits={TRAIN: ("train@pcam",), TELL: ("val@pcam",), TEST: ("test@pcam",)},
        frame=(1024, 1024),
        notes=(
            "Patients outside the test set were dealt 75 to 25 to training and "
            "validation, with the seed 0; the authors' own lists are not published "
            "with the films.",
        ),
    )


def _pixelcam(
    tree: str,
    classes: list[str],
    *,
    whole: str = "",
    others: Mapping[str, tuple[str, ...]] | None = None,
    seeds: Table | None = None,
) -> System:
    """PixelCAM taught by CAM, on the first fold of its authors' split folders.

    Args:
        tree: the folder of theirs with the folds.
        classes: names.
        whole: split that is dealt, where there are no folds.
        others: lists that are only measured.
        seeds: of the last recipe.
    """
    folds, others = (f"{tree}/fold-0/", "folds/fold-0/", "fold-0/", ""), others or {}
    names = {TRAIN: whole, CHOOSE: whole, TELL: whole, TEST: ""}
    own = {
        name: (*(f"{fold}{name}" for fold in folds), other or name)
        for name, other in names.items()
    }
    return System(
        recipes=("cam", "pixelcam"),
        splits={**own, **others},
        quick_side=96,
        optional=tuple(others),
        edits={"data": {"classes": classes}},
        seeds=seeds or {},
    )


SYSTEMS = Registry(
    "system",
    {
        "pcam-nih14": _nih("pcam-nih14", 128),
        "pylon-nih14": _nih("pylon", 256),
        "pixelcam-glas": _pixelcam("GLAS", ["benign", "malignant"], whole=TRAIN),
        "pixelcam-camelyon": _pixelcam(
            "CAMELYON512",
            ["normal", "tumor"],
            others={
                f"centre-{at}": (
                    f"CAMELYON17_512/fold-{at}/{TEST}",
                    f"camelyon17_v1.0/@centre-{at}",
                )
                for at in range(5)
            },
            seeds={"normal_class": "normal", "draw": {"normal_images": "none"}},
        ),
    },
)
"""By the name that the command gives them."""
