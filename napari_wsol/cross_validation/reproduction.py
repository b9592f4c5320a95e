"""A paper's figures made again: its stages one after another, and a table of both.

The stages are lists of the images, a training for each recipe, and an evaluation for
each model and list. Where there is the record of one it is done. ``systems.toml`` says
what each is made of, ``published.csv`` what was printed; what was not is measured too.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from importlib import resources
from itertools import groupby, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import tomli_w

from napari_wsol.cross_validation import plan as plans
from napari_wsol.data.datasets import load_images
from napari_wsol.data.folds import split_folds
from napari_wsol.data.published import is_published
from napari_wsol.data.split_files import BOXES, LOCALIZATION
from napari_wsol.errors import DatasetError, MalformedError
from napari_wsol.evaluation.benchmark import Benchmark, EvaluationConfig
from napari_wsol.evaluation.bootstrap import Estimate
from napari_wsol.evaluation.report import ModelReport
from napari_wsol.evaluation.truth import Truth, load_truth
from napari_wsol.files import path_from
from napari_wsol.files.parsing import parse_toml, read_json, typed
from napari_wsol.files.tables import lines_of, parse_table
from napari_wsol.registry import Registry
from napari_wsol.training.published import find_published
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import CHECKPOINT, train
from napari_wsol.zoo import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from napari_wsol.data.datasets import Sample
    from napari_wsol.training.recipe import Table
    from napari_wsol.training.run import Watcher

LISTS, FILES = "lists", resources.files("napari_wsol.cross_validation")
TRAIN, CHOOSE, TELL = "train", "valpx", "valcl"


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """How the figures of a paper are made: see ``systems.toml``."""

    recipes: Mapping[str, Mapping[str, object]]
    splits: Mapping[str, tuple[str, ...]]
    quick: Mapping[str, object]

    def place(self, data: Path, name: str) -> tuple[Path, str] | None:
        """Folder and split of a list, None of a centre's; else a DatasetError."""
        for path in (data / split for split in self.splits[name]):
            if path.is_dir() or ("@" in path.name and is_published(path.parent)):
                return path.parent, path.name
        if name.startswith("centre"):
            return None
        known = ", ".join(split for split in self.splits[name] if "@" not in split)
        raise DatasetError(
            f"The images of “{name}” are not in “{data}”. Give the data set's folder "
            f"as it was published, or one with {known or 'its tables'}."
        )

    def recipe(self, name: str, teacher: Path | None, *, quick: bool) -> str:
        """A published recipe, edited, as TOML; with the folder of its teacher."""
        made = _edited(parse_toml(find_published(name).text), self.recipes[name])
        if teacher is not None:
            made = _edited(made, {"seeds": {"model": str(teacher)}})
        return tomli_w.dumps(_edited(made, self.quick) if quick else made)


def _edited(table: Table, edits: Table) -> dict[str, object]:
    """Edits laid over a table, entry by entry, whatever their depth."""
    found = dict(table)
    for key, value in edits.items():
        both = cast("list[Table]", [found.get(key, {}), value])
        found[key] = _edited(*both) if isinstance(value, Mapping) else value
    return found


_TABLES = parse_toml((FILES / "systems.toml").read_text("utf-8"))
SYSTEMS = Registry("system", typed(_TABLES, dict[str, System]))


class Published(NamedTuple):
    """A figure of a model's maps on a list of images, of a class or of all (“”).

    ``value`` is what a paper prints, None where none does.
    """

    model: str
    images: str
    method: str
    figure: str
    name: str
    value: float | None
    source: str


def published_rows(system: str) -> list[Published]:
    """The figures of a system, in the order of its table."""
    (_, head), *lines = parse_table((FILES / "published.csv").read_text("utf-8"))
    return [
        Published._make(
            [*row[1:5], name, float(cell) if cell else None, cell and row[5]]
        )
        for _, row in lines
        if row[0] == system
        for name, cell in zip(("", *head[7:]), row[6:], strict=True)
        if cell or not name
    ]


def reproduce(
    name: str,
    data: Path,
    out: Path,
    *,
    quick: bool = False,
    init: Path | None = None,
    device: str = "auto",
    watcher: Watcher,
    begun: Callable[[str], None] = lambda _stage: None,
) -> tuple[list[tuple[Published, Estimate | None]], list[str]]:
    """Makes a paper's figures again, or goes on where ``out`` was stopped.

    Gives what is printed beside our own, None of nothing to measure, and notes on them.
    A ``quick`` run passes once over a few small images: its figures mean nothing.
    ``begun`` is called with the name of a stage before it; the other arguments, and
    errors, are those of :func:`~napari_wsol.training.run.train`.

    Raises:
        UnknownNameError: there is no such system; names the choices.
        ConfigError: ``out`` was begun with something else, or several processes train.
    """
    plans.check_alone("A reproduction")
    system, stored, data = SYSTEMS[name], out / LISTS / "plan.json", path_from(data)
    given = {"data": os.path.relpath(data, out), "init": plans.digest_of(init)}
    plan: dict[str, object] = {"system": name, "quick": quick, **given}
    if stored.is_file():
        plans.compare(stored, plan, "reproduction")
    else:
        begun("the data set's splits")
        _list_images(system, data, out, quick=quick)
        plans.write_text(stored, json.dumps(plan, indent=1) + "\n")  # all are there
    for model in system.recipes:
        begun(model)
        _learn(out / model, init, device, watcher)
    notes = ["A quick run: its figures say that all works, nothing else."] * quick
    if init is None:
        notes.append("The encoders began with random weights, not with ImageNet's.")
    found: list[tuple[Published, Estimate | None]] = []
    groups = groupby(published_rows(name), lambda row: row[:3])
    for (model, images, method), rows in groups:
        begun(f"{model} on {images}")
        report = _measure(out / model, images, method, device, watcher)
        if report is None:
            notes.append(f"Not measured: the data has no images for {images}.")
        own = _figures(report) if report else {}
        found += [(row, own.get((row.figure, row.name))) for row in rows]
    none, more = ("", "", ""), ("class", "published", "here", "low", "high", "source")
    cells = [(*row[:6], *(astuple(x) if x else none), row.source) for row, x in found]
    table = lines_of([(*Published._fields[:4], *more), *cells])
    plans.write_text(out / "table.csv", table)
    return found, notes


def _list_images(system: System, data: Path, out: Path, *, quick: bool) -> None:
    """Writes recipes, and the splits as tables once all of them have been read."""
    places = {x: place for x in system.splits if (place := system.place(data, x))}
    texts, teacher = dict[Path, str](), None
    for name in system.recipes:
        text = system.recipe(name, teacher, quick=quick)
        plans.write_text(out / f"{name}.toml", text)
        teacher = (out / name / name).resolve()
    recipe = read_recipe(out / f"{next(iter(system.recipes))}.toml")
    classes, multi = recipe.data.classes, recipe.model.multi_label
    for name, place in places.items():
        samples = load_images(*place, classes=classes, multi_label=multi).samples
        ids = [sample.id for sample in samples]
        # Who teaches or tells knows nothing of masks and boxes.
        truth = Truth() if name in (TRAIN, TELL) else load_truth(*place, ids)
        if place == places[TRAIN] == places[TELL]:  # as in the published folds of GlaS
            fold = split_folds(samples, ids, 5, classes=classes)[0]
            samples = fold.train if name == TRAIN else fold.held_out
            samples = _few(samples, 3) if name == CHOOSE else samples
        if quick:
            samples = _few(samples, 2, {*truth.masks, *truth.boxes})
        folder = out / LISTS / name
        table = plans.list_of(samples, folder, classes, multi_label=multi)
        texts |= {folder / "labels.csv": table, **_references(samples, folder, truth)}
    for path, text in texts.items():
        plans.write_text(path, text)


def _learn(folder: Path, init: Path | None, device: str, watcher: Watcher) -> None:
    """Trains a model, unless it is there; goes on from a checkpoint."""
    if (folder / folder.name).is_dir():
        return
    train(
        read_recipe(folder.with_name(f"{folder.name}.toml")),
        folder.parent / LISTS,
        folder,
        init=init,
        resume=(folder / CHECKPOINT).is_file(),
        device=device,
        say=watcher.say,
        step=watcher.step,
        evaluated=watcher.evaluated,
        failed=watcher.failed,
    )


def _measure(
    folder: Path, images: str, method: str, device: str, watcher: Watcher
) -> ModelReport | None:
    """A model on a list, unless it was measured; None where there is no list."""
    record, listed = folder / f"{images}.json", folder.parent / LISTS / images
    with suppress(OSError, MalformedError):  # what cannot be read is made again
        return read_json(record, ModelReport)
    if not listed.is_dir():
        return None
    model = load_model(folder / folder.name, device=device)
    config = EvaluationConfig(box_frame=(1024, 1024))  # that of the NIH's boxes
    benchmark = Benchmark(model, listed, methods=[method], config=config)
    report = benchmark.run(watcher.say, failed=watcher.failed)
    plans.write_text(record, report.to_json())
    return report


def _figures(report: ModelReport) -> dict[tuple[str, str], Estimate]:
    """By the names of figure and class; the latter is empty of a figure of all."""
    found = {(figure, ""): item for figure, item in report.classification.items()}
    for own in report.methods:
        found |= {(figure, ""): item for figure, item in own.figures.items()}
        for figure, classes in own.per_class.items():
            found |= {(figure, x): Estimate(value=y) for x, y in classes.items()}
    return found


def _references(
    samples: Sequence[Sample], folder: Path, truth: Truth
) -> dict[Path, str]:
    """The lists of masks and of boxes in a folder, where there are any."""
    masks, boxes = list[Sequence[object]](), list[Sequence[object]]()
    for sample in samples:
        image, known = plans.relative(sample.path, folder), truth.masks.get(sample.id)
        if known is not None:  # a line without a mask says that nothing is there
            own = [plans.relative(path, folder) for path in known.masks] or [""]
            ignored = [plans.relative(path, folder) for path in known.ignored]
            masks += [[image, *x] for x in zip_longest(own, ignored, fillvalue="")]
        found = truth.boxes.get(sample.id, ())
        boxes += [[image, box.name, *box.xywh] for box in found]
    head = ("image", "class", "x", "y", "w", "h")
    lists = {LOCALIZATION: masks, BOXES: boxes and [head, *boxes]}
    return {folder / name: lines_of(rows) for name, rows in lists.items() if rows}


def _few(
    samples: tuple[Sample, ...], count: int, known: Container[str] = ()
) -> tuple[Sample, ...]:
    """Some of each class and some without any, those with a reference before others."""
    counts, kept = Counter[int](), set[str]()
    for sample in sorted(samples, key=lambda item: item.id not in known):
        own = [at for at, hot in enumerate(sample.labels) if hot] or [-1]
        if any(counts[at] < count for at in own):
            kept.add(sample.id)
            counts.update(own)
    return tuple(sample for sample in samples if sample.id in kept)
