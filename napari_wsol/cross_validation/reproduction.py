"""A paper's figures made again: its stages one after another, and a table of both.

The stages are lists of the images (``lists/``), a training for each recipe in a folder
of its name, and an evaluation for each model and list, all as ``train`` and
``evaluate`` do them. Each leaves a record that is whole or not there; where there is
one the stage is done, and a training that was stopped goes on from its checkpoint.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_wsol.cross_validation.lists import list_of, references_of
from napari_wsol.cross_validation.plan import (
    check_alone,
    compare,
    digest_of,
    write_text,
)
from napari_wsol.cross_validation.systems import (
    SYSTEMS,
    TELL,
    TRAIN,
    Published,
    published_rows,
)
from napari_wsol.data.datasets import load_images
from napari_wsol.data.folds import split_folds
from napari_wsol.errors import ConfigError, ExportError, MalformedError
from napari_wsol.evaluation.benchmark import Benchmark, EvaluationConfig
from napari_wsol.evaluation.benchmark.dataset import load_evaluation_set
from napari_wsol.evaluation.bootstrap import Estimate
from napari_wsol.evaluation.report import ModelReport, read_report, shown, title_of
from napari_wsol.evaluation.truth import Truth, load_truth
from napari_wsol.files import encoded, make_folder, path_from, whole_folder, words_of
from napari_wsol.files.tables import lines_of
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import CHECKPOINT, train
from napari_wsol.zoo import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_wsol.cross_validation.systems import System
    from napari_wsol.data.datasets import Sample
    from napari_wsol.training.recipe import Recipe
    from napari_wsol.training.run import Watcher

LISTS, PLAN, TABLE = "lists", "plan.json", "table.csv"
COLUMNS = (
    *Published._fields[:4],
    "class",
    "published",
    "here",
    "low",
    "high",
    "source",
)
FOLDS, CHOOSES = 5, 3
"""Where there are no folds: one of so many tells, and so many of each class choose."""
QUICK_IMAGES, QUICK_DRAWS = 2, 20
"""Of a quick run: images of each class in a list, and draws for intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What came of it.

    Attributes:
        rows: what a paper prints and our own figure; None where there was nothing to
            measure it on.
        notes: what a reader must know, a sentence each.
    """

    rows: tuple[tuple[Published, Estimate | None], ...]
    notes: tuple[str, ...]

    def headline(self) -> str:
        """How many of the printed figures there is one of our own for."""
        printed = [here for row, here in self.rows if row.value is not None]
        made = sum(here is not None for here in printed)
        return f"{made} of {len(printed)} published figures have one of our own beside."

    def tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Title, columns and rows of the table of each model."""
        tables: dict[str, list[list[str]]] = {}
        for row, here in self.rows:
            of = ", ".join(filter(None, (title_of(row.figure), row.name)))
            printed = None if row.value is None else Estimate(value=row.value)
            figures = [shown(row.figure, printed), shown(row.figure, here)]
            tables.setdefault(row.model, []).append([f"{row.images}: {of}", *figures])
        for model, rows in tables.items():
            yield model, ["published", "here"], rows

    def to_csv(self) -> str:
        """A line for each figure, with where it was published; empty for no figure."""
        lines: list[Sequence[object]] = [COLUMNS]
        for row, here in self.rows:
            own = (here.value, here.low, here.high) if here else ("", "", "")
            cells = (*row[:6], *own, row.source)
            lines.append(["" if cell is None else cell for cell in cells])
        return lines_of(lines)


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
) -> Reproduction:
    """Makes a paper's figures again, or goes on where it was stopped.

    Args:
        name: of the system.
        data: the data set's folder, as it is published.
        out: for lists, models, evaluations and the table; made if it is not there.
        quick: a few small images and one pass over them, so that the way is seen to
            work; the figures mean nothing.
        init: initial weights of the encoders; the papers take ImageNet's.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        watcher: who is told.
        begun: called with the name of a stage before it.

    Raises:
        UnknownNameError: there is no such system; names the choices.
        ConfigError: ``out`` was begun with something else, or several processes train.
        DatasetError, ImageError, ModelError: what cannot be read.
        ExportError: what cannot be written.
    """
    check_alone("A reproduction")
    work, data = (
        _Work(SYSTEMS[name], out, quick, init, device, watcher),
        path_from(data),
    )
    plan: dict[str, object] = {
        "system": name,
        "quick": quick,
        "data": os.path.relpath(data, out),
        "initial_weights_sha256": digest_of(init),
    }
    if (out / LISTS).is_dir():
        compare(out / LISTS / PLAN, plan, "reproduction")
    else:
        begun("the data set's splits")
        work.list_images(data, plan)
    for recipe in work.system.recipes:
        begun(recipe)
        work.learn(recipe)
    rows, reports = published_rows(name), dict[str, ModelReport | None]()
    for row in rows:
        if row.measured not in reports:
            begun(row.measured)
            methods = [item.method for item in rows if item.model == row.model]
            reports[row.measured] = work.measure(row, methods)
    found = Reproduction(
        rows=tuple((row, _figure(reports[row.measured], row)) for row in rows),
        notes=tuple(work.remarks(reports)),
    )
    write_text(out / TABLE, found.to_csv())
    return found


@dataclass(frozen=True, slots=True)
class _Work:
    """The stages, and what is the same in all."""

    system: System
    out: Path
    quick: bool
    init: Path | None
    device: str
    watcher: Watcher

    def recipe(self, name: str) -> Recipe:
        """One of the system's, written down beside the folder of its training."""
        first = next(iter(self.system.recipes))
        teacher = None if name == first else (self.out / first / first).resolve()
        path = self.out / f"{name}.toml"
        write_text(path, self.system.recipe(name, teacher, quick=self.quick))
        return read_recipe(path)

    def list_images(self, data: Path, plan: Mapping[str, object]) -> None:
        """The splits as tables, all of them or none."""
        places = {name: self.system.place(data, name) for name in self.system.splits}
        recipe = self.recipe(next(iter(self.system.recipes)))
        classes, multi = recipe.data.classes, recipe.model.multi_label
        texts = {PLAN: json.dumps(plan, indent=1) + "\n"}
        for name, place in places.items():
            if place is None:
                continue
            samples = load_images(*place, classes=classes, multi_label=multi).samples
            if place == places[TRAIN] == places[TELL]:
                samples = _dealt(samples, name, classes)
            truth = Truth()
            if name not in (TRAIN, TELL):  # which know nothing of masks and boxes
                truth = load_truth(*place, [sample.id for sample in samples])
            if self.quick:
                samples = _few(samples, QUICK_IMAGES, {*truth.masks, *truth.boxes})
            folder = self.out / LISTS / name
            lists = {
                "labels.csv": list_of(samples, folder, classes, multi_label=multi),
                **references_of(samples, folder, truth),
            }
            texts |= {f"{name}/{file}": text for file, text in lists.items()}
        try:
            with whole_folder(self.out / LISTS) as draft:
                for name, text in texts.items():
                    make_folder((draft / name).parent)
                    (draft / name).write_bytes(encoded(text))
        except OSError as error:
            raise ExportError(words_of(error, self.out)) from error

    def learn(self, name: str) -> None:
        """Trains a model, unless it is there."""
        folder = self.out / name
        if (folder / name).is_dir():
            return
        train(
            self.recipe(name),
            self.out / LISTS,
            folder,
            init=self.init,
            resume=(folder / CHECKPOINT).is_file(),
            device=self.device,
            say=self.watcher.say,
            step=self.watcher.step,
            evaluated=self.watcher.evaluated,
            failed=self.watcher.failed,
        )

    def measure(self, row: Published, methods: Sequence[str]) -> ModelReport | None:
        """The figures of a model on a list, made if they are not there.

        Args:
            row: names them.
            methods: whose maps are compared.

        Returns:
            None where the data has no such list.
        """
        record, lists = self.out / row.model / f"{row.images}.json", self.out / LISTS
        if record.exists():
            try:
                return read_report(record)
            except (OSError, MalformedError) as error:
                raise ConfigError(
                    f"{record} cannot be read ({error}). Delete it: it is made again."
                ) from error
        if not (lists / row.images).is_dir():
            return None
        model = load_model(self.out / row.model / row.model, device=self.device)
        measured = load_evaluation_set(
            lists,
            [(lists / row.images, None)],
            classes=model.classes,
            multi_label=model.spec.multi_label,
            frame=self.system.frame,
        )
        draws = QUICK_DRAWS if self.quick else EvaluationConfig().bootstrap
        benchmark = Benchmark(
            model,
            replace(measured, splits=(row.images,)),
            methods=list(dict.fromkeys(filter(None, methods))),
            config=EvaluationConfig(bootstrap=draws),
        )
        report = benchmark.run(self.watcher.say, failed=self.watcher.failed)
        write_text(record.with_suffix(".md"), report.to_markdown())
        write_text(record, report.to_json())
        return report

    def remarks(self, reports: Mapping[str, ModelReport | None]) -> Iterator[str]:
        """What a reader must know."""
        if self.quick:
            yield "A quick run: its figures say that the way works, and nothing else."
        if self.init is None:
            yield "The encoders began with random weights, the papers' with ImageNet's."
        missing = [measured for measured, report in reports.items() if report is None]
        if missing:
            yield f"Not measured, as the data has no such images: {', '.join(missing)}."
        for measured, report in reports.items():
            if report is not None and report.failed:
                left = len(report.failed)
                yield f"{left} images could not be used and do not count: {measured}."
        yield from self.system.notes


def _figure(report: ModelReport | None, row: Published) -> Estimate | None:
    """Our own figure; None where there was nothing to measure it on."""
    if report is None:
        return None
    if not row.method:
        return report.classification.get(row.figure)
    own = next((item for item in report.methods if item.name == row.method), None)
    if own is None:
        return None
    if not row.name:
        return own.figures.get(row.figure)
    value = own.per_class.get(row.figure, {}).get(row.name)
    return None if value is None else Estimate(value=value)


def _dealt(
    samples: Sequence[Sample], name: str, classes: Sequence[str]
) -> tuple[Sample, ...]:
    """The images of one of the lists, where a split is dealt to all of them.

    As in the published folds of GlaS, a fifth tells, and three of each class of it
    choose. Neither those folds nor these keep patients apart.
    """
    ids = [sample.id for sample in samples]
    fold = split_folds(samples, ids, FOLDS, classes=classes)[0]
    if name == TRAIN:
        return fold.train
    return fold.held_out if name == TELL else _few(fold.held_out, CHOOSES)


def _few(
    samples: Sequence[Sample], count: int, known: Container[str] = ()
) -> tuple[Sample, ...]:
    """Some of each class and some without any, those with a reference before others."""
    counts, kept = Counter[int](), set[str]()
    for sample in sorted(samples, key=lambda item: item.id not in known):
        own = [at for at, hot in enumerate(sample.labels) if hot] or [-1]
        if any(counts[at] < count for at in own):
            kept.add(sample.id)
            counts.update(own)
    return tuple(sample for sample in samples if sample.id in kept)
