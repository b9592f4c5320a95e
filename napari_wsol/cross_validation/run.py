"""Trains on all folds but one, measures that one, and pools what was held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from napari_wsol.cross_validation.plan import (
    FOR_RESUMING,
    RESULT,
    check_recipe,
    evaluation_set_of,
    list_of,
    plan_of,
    prepare,
    write_text,
)
from napari_wsol.cross_validation.report import CrossValidationReport, FoldReport
from napari_wsol.data.datasets import LabelledImages
from napari_wsol.data.folds import split_folds
from napari_wsol.evaluation.benchmark import Benchmark, EvaluationConfig
from napari_wsol.evaluation.benchmark.meter_set import MeterSet
from napari_wsol.evaluation.bootstrap import Bootstrap
from napari_wsol.training.bags import as_bags
from napari_wsol.training.recipe import dump_recipe
from napari_wsol.training.run import CHECKPOINT, Watcher, rehearse, train
from napari_wsol.zoo import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_wsol.data.folds import Fold, Grouping
    from napari_wsol.evaluation.benchmark.dataset import EvaluationSet
    from napari_wsol.jobs import Progress
    from napari_wsol.training.recipe import Recipe

TABLE = "cross_validation.md"
TRAIN_LIST, HELD_OUT_LIST, EVALUATION = "train.csv", "held_out.csv", "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldWatcher(Watcher):
    """Who is told about a cross-validation, and each training in it.

    Attributes:
        begun: called with (fold, folds) before a fold.
        measured: called with a fold's figures.
    """

    begun: Callable[[int, int], None] = lambda _fold, _folds: None
    measured: Callable[[FoldReport], None] = lambda _report: None


def cross_validate(
    recipe: Recipe,
    data: Path,
    out: Path,
    grouping: Grouping,
    *,
    folds: int = 5,
    splits: Sequence[str] = (),
    init: Path | None = None,
    seed: int = 0,
    resume: bool = False,
    device: str = "auto",
    config: EvaluationConfig | None = None,
    watcher: FoldWatcher,
) -> CrossValidationReport:
    """Cross-validates a recipe and writes models, lists and figures into ``out``.

    The recipe's own splits have no part in it: their images are dealt out anew, and no
    weights are selected. A fold's training gets a list of images and labels and opens
    no mask or box; those of the held-out images are opened when it is finished.

    Stopped half-way, ``resume`` goes on: a finished fold is measured again but not
    trained again, the one that was stopped goes on from its checkpoint.

    Args:
        recipe: what and how.
        data: folder that the recipe's paths start from.
        out: made if it is not there.
        grouping: what must stay together.
        folds: how many.
        splits: of ``data``, whose images are dealt out; by default all that the recipe
            names.
        init: initial weights of the encoder.
        seed: of the folds; that of the trainings is the recipe's.
        resume: whether to go on with what ``out`` holds.
        device: "auto", "cpu", "cuda", "cuda:1", "mps".
        config: how the folds are measured; as ``evaluate`` does by default, with the
            recipe's pixel size.
        watcher: who is told.

    Raises:
        ConfigError: the recipe selects weights, ``out`` holds something else, or
            several processes train together.
        DatasetError: an image has no group, or there are too few groups.
        ImageError, ModelError: what cannot be read.
        ExportError: what cannot be written.
    """
    check_recipe(recipe)
    rehearse(recipe, out)
    measured = evaluation_set_of(recipe, data, splits)
    made = split_folds(
        measured.samples,
        grouping.of(measured.samples),
        folds,
        classes=recipe.data.classes,
        seed=seed,
    )
    plan = plan_of(recipe, measured, grouping, made, init=init, seed=seed)
    prepare(out, plan, resume=resume)
    every = _Folds(
        recipe=recipe,
        data=data,
        out=out,
        count=folds,
        init=init,
        device=device,
        watcher=watcher,
        measured=measured,
        config=config or EvaluationConfig(mpp=recipe.data.mpp),
    )
    found = every.run(made, plan)
    write_text(out / TABLE, found.to_markdown())
    write_text(out / RESULT, found.to_json())
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folds:
    """What is the same in all folds."""

    recipe: Recipe
    data: Path
    out: Path
    count: int
    init: Path | None
    device: str
    watcher: FoldWatcher
    measured: EvaluationSet
    config: EvaluationConfig

    def run(
        self, folds: Sequence[Fold], plan: Mapping[str, object]
    ) -> CrossValidationReport:
        """Trains and measures one after another, and pools them."""
        multi = self.measured.multi_label
        pool = MeterSet(self.recipe.data.classes, self.config, multi_label=multi)
        reports: list[FoldReport] = []
        for fold in folds:
            self.watcher.begun(fold.number, self.count)
            folder = self.out / f"fold-{fold.number}"
            if not (folder / self.recipe.name).is_dir():
                self._train(fold, folder)
            reports.append(self._measure(fold, folder, pool))
            self.watcher.measured(reports[-1])
        model = load_model(self.out / reports[-1].model, device=self.device)
        pooled = Benchmark(model, self.measured, config=self.config).report(pool)
        draw = Bootstrap(samples=self.config.bootstrap, seed=self.config.seed)
        by_group = None
        if pool.labels.images:
            by_group = pool.labels.value(draw).group_accuracy
        return CrossValidationReport(
            plan={key: plan[key] for key in plan if key not in FOR_RESUMING},
            folds=tuple(reports),
            pooled=replace(pooled, sha256=""),
            accuracy_by_group=by_group,
            notes=(*_notes(self.recipe), *pooled.notes),
        )

    def _train(self, fold: Fold, folder: Path) -> None:
        classes, multi = self.recipe.data.classes, self.recipe.model.multi_label
        for name, samples in ((TRAIN_LIST, fold.train), (HELD_OUT_LIST, fold.held_out)):
            text = list_of(samples, self.data, classes, multi_label=multi)
            write_text(folder / name, text)
        images = LabelledImages(classes=classes, samples=fold.train, multi_label=multi)
        train(
            _recipe_of(self.recipe, fold, self.count),
            self.data,
            folder,
            images=images,
            init=self.init,
            resume=(folder / CHECKPOINT).is_file(),
            device=self.device,
            say=self.watcher.say,
            step=self.watcher.step,
            failed=self.watcher.failed,
        )

    def _measure(self, fold: Fold, folder: Path, pool: MeterSet) -> FoldReport:
        model = load_model(folder / self.recipe.name, device=self.device)
        pairs, say = zip(fold.held_out, fold.groups, strict=True), self.watcher.say
        samples = [replace(sample, group=group) for sample, group in pairs]
        with as_bags(
            samples, model, self.recipe, self.data, say, self.watcher.failed
        ) as bags:
            held_out = self.measured.only(bags)
            benchmark = Benchmark(model, held_out, config=self.config)
            report = benchmark.run(
                _measuring(say), pool=pool, failed=self.watcher.failed
            )
        write_text(folder / EVALUATION, report.to_json())
        ids = [sample.id for sample in fold.held_out]
        return FoldReport(
            number=fold.number,
            learnt=len(fold.train),
            held_out=dict(zip(ids, fold.groups, strict=True)),
            model=f"{folder.name}/{self.recipe.name}",
            report=report,
        )


def _recipe_of(recipe: Recipe, fold: Fold, folds: int) -> Recipe:
    """The recipe of a fold; to repeat it, put its table into the data's folder.

    Its card says what it was made for, and nothing that was measured elsewhere.
    """
    card = {
        key: value for key, value in recipe.card.items() if key != "reproducibility"
    }
    which = f"fold {fold.number} of {folds}"
    card["title"] = f"{card.get('title', recipe.name)} · {which}"
    card["data"] = (
        f"Made for a cross-validation, {which}: learnt from the {len(fold.train)} "
        f"images of {TRAIN_LIST}, measured on the {len(fold.held_out)} of "
        f"{HELD_OUT_LIST}. The recipe says of its own data: {card.get('data', '–')}"
    )
    changed = replace(
        recipe,
        data=replace(
            recipe.data,
            train=TRAIN_LIST,
            validation=(),
            localization="",
            classification="",
        ),
        train=replace(recipe.train, evaluate_every=0, evaluate_epochs=0),
        card=card,
    )
    return replace(changed, text=dump_recipe(changed))


def _measuring(say: Progress) -> Progress:
    return lambda done, total, _name: say(done, total, "measuring what was held out")


def _notes(recipe: Recipe) -> list[str]:
    """What a reader must know."""
    notes = [
        "The images of the recipe's own splits were dealt out anew, and no weights "
        "were selected: each fold gives the last ones.",
        "The recipe was the same in every fold. What was chosen in it by looking at "
        "these images was not chosen again, so that figures are optimistic by that.",
        "Intervals of the tables draw images, not groups: as those of a group are "
        "alike, the true ones are wider.",
        "“All images” joins the scores of several models; where their scales differ, "
        "ROC curves and PxAP lose by it.",
    ]
    if recipe.seeds is not None and recipe.seeds.model:
        notes.append(
            f"Seeds are maps of “{recipe.seeds.model}” in every fold. If it learnt "
            "from images that are held out here, they are not unseen."
        )
    limits = recipe.card.get("limits", ())
    if isinstance(limits, list | tuple):
        said = cast("Sequence[object]", limits)
        notes += [f"The recipe's card says: {line}" for line in said]
    return notes
