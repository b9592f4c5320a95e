"""``napari-wsol crossvalidate``: how a recipe fares on patients it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_wsol.cli import options
from napari_wsol.cli.console import Failures, emit, output, show_figures
from napari_wsol.cli.data import tell_recipe_data
from napari_wsol.cli.train import View, go_on, watched
from napari_wsol.training.wish import Wish

if TYPE_CHECKING:
    from napari_wsol.cross_validation import FoldReport


def crossvalidate(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a TOML file.")],
    data: Annotated[Path, options.option(Wish, "data", required=True)],
    out: options.OutFolder,
    split: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a split whose images are dealt out; repeat for several [all "
            "that the recipe names]."
        ),
    ] = None,
    groups: options.Groups = None,
    group: options.GroupColumn = None,
    group_pattern: options.GroupPattern = None,
    folds: Annotated[int, typer.Option(min=2, help="How many.")] = 5,
    init: Annotated[Path | None, options.option(Wish, "init")] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Of the folds; that of training is the recipe's."),
    ] = 0,
    resume: options.Resume = False,
    device: options.Device = options.INFERENCE.device,
) -> None:
    """Train on all folds but one and measure that one, in turn, group by group.

    No patient is on both sides of a fold. Writes cross_validation.json and .md, and for
    each fold its model and the lists of its images. Ctrl+C saves a checkpoint and
    leaves.
    """
    from napari_wsol.data.folds import Grouping

    grouping = Grouping(table=groups, column=group or "", pattern=group_pattern or "")
    tell_recipe_data(recipe, data, split or ())
    from napari_wsol.cross_validation import FoldWatcher, cross_validate
    from napari_wsol.training.recipe import read_recipe

    plan, view, failures = read_recipe(recipe), FoldView(), Failures()
    watcher = FoldWatcher(
        say=view.say,
        step=view.step,
        begun=view.begun,
        measured=view.measured,
        failed=failures.tell,
    )
    with watched(view, f"Go on with: {go_on()}"):
        found = cross_validate(
            plan,
            data,
            out,
            grouping,
            folds=folds,
            splits=split or (),
            init=init,
            seed=seed,
            resume=resume,
            device=device,
            watcher=watcher,
        )
    show_figures(found.pooled.model, found)
    output.print(f"Written: {out / 'cross_validation.json'} and .md")
    emit({"report": found, "file": out / "cross_validation.json"})
    failures.leave()


class FoldView(View):
    """The same for the fold that is trained, and the figures of each."""

    def begun(self, fold: int, folds: int) -> None:
        """A fold begins."""
        self.restart(f"fold {fold} of {folds}")

    def measured(self, fold: FoldReport) -> None:
        """One more fold is measured."""
        report = fold.report
        every = {"accuracy": report.classification.get("accuracy")}
        for item in report.methods:
            every[f"{item.title} PxAP"] = item.figures.get("pxap")
        words = (f", {key} {x.value:.1f} %" for key, x in every.items() if x)
        self.tell(f"{report.images} images{''.join(words)}")
