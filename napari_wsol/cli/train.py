"""``napari-wsol train``: a recipe and images become a model folder."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from napari_wsol.cli.console import (
    INTERRUPTED,
    Failures,
    emit,
    errors,
    mode,
    note,
    on_signals,
    output,
    progress_bar,
    steps,
)
from napari_wsol.cli.data import tell_recipe_data
from napari_wsol.cli.options import (
    INFERENCE,
    Device,
    OutFolder,
    Resume,
    numbers,
    option,
)
from napari_wsol.training.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.progress import Progress

    from napari_wsol.training.run import Evaluation, Options
    from napari_wsol.training.trainer import TrainStep


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a TOML file.")],
    data: Annotated[Path, option(Wish, "data", required=True)],
    out: OutFolder,
    init: Annotated[Path | None, option(Wish, "init")] = None,
    resume: Resume = False,
    seeds: Annotated[
        str | None,
        typer.Option(
            help="Several seeds, e.g. 0,1,2: one model each in OUT/seed-0, …, and a "
            "summary of their figures [the recipe's seed]."
        ),
    ] = None,
    device: Device = INFERENCE.device,
) -> None:
    """Train a model from image-level labels. Ctrl+C saves a checkpoint and leaves.

    An image that cannot be used is left out, and told; the exit status is then 1.

    A recipe to start from: napari-wsol recipes list.

    Several GPUs: torchrun --nproc-per-node N -m napari_wsol train …
    """
    several = numbers("--seeds", seeds)
    if _is_first():
        tell_recipe_data(recipe, data)
    from napari_wsol.training.recipe import read_recipe
    from napari_wsol.training.run import train as train_one
    from napari_wsol.training.run import train_seeds

    plan, view, failures = read_recipe(recipe), View(), Failures()
    options: Options = {
        "init": init,
        "resume": resume,
        "device": device,
        "say": view.say,
        "step": view.step,
        "evaluated": view.evaluated,
        "failed": failures.tell,
    }
    with watched(view, f"Go on with: {go_on()}"):
        if several:
            result = train_seeds(plan, data, out, several, **options)
        else:
            card = train_one(plan, data, out, **options)
            result, out = card.metrics, card.folder
    if not _is_first():
        return
    output.print(f"{plan.name} is in {out}")
    for key, value in _lines(result):
        output.print(f"{key}: {value}")
    emit({"name": plan.name, "folder": out, "figures": result})
    failures.leave()


def _is_first() -> bool:
    """Whether this process reports: of those that train together, one does."""
    return os.environ.get("RANK", "0") == "0"


def _lines(result: Mapping[str, object]) -> list[tuple[str, str]]:
    """What is printed of a card's metrics, or of the summary of several seeds."""
    figures = result.get("figures")
    if not isinstance(figures, Mapping):
        return [(key, str(value)) for key, value in result.items()]
    items = cast("Mapping[str, Mapping[str, float]]", figures).items()
    return [
        (key, f"{item['mean']:g} ± {item['std']:g} (mean and deviation of the seeds)")
        for key, item in items
    ]


def go_on() -> str:
    """What to type to go on: all that was given, or the numbers would be others."""
    words = (word for word in mode.line if word != "--resume")
    return shlex.join(["napari-wsol", *words, "--resume"])


@contextmanager
def watched(view: View, again: str) -> Generator[None]:
    """Shows a training while it lasts; stopped, it is told how to go on ``again``.

    Ctrl+C, or a request to end, stops after the step; a second one at once.

    Raises:
        typer.Exit: 130 where it was stopped.
    """

    def stop() -> None:
        if view.is_stopping:
            raise KeyboardInterrupt
        view.is_stopping = True

    try:
        with on_signals(stop, signal.SIGINT, signal.SIGTERM), view.live():
            yield
    except KeyboardInterrupt:
        errors.print(f"Stopped. {again}")
        raise typer.Exit(INTERRUPTED) from None


class View:
    """A bar while a training lasts, and a line for each evaluation.

    Attributes:
        is_stopping: whether the training shall stop at the next occasion, between two
            steps, where nothing is lost.
    """

    def __init__(self) -> None:
        self.is_stopping = False
        self._bar, self._title = progress_bar(), ""
        self._task = self._bar.add_task("starting", total=None)

    def restart(self, title: str = "") -> None:
        """Another training begins, which may have a name."""
        self._title = f"{title}: " if title else ""
        if title:
            self.tell("begins")
        self._bar.reset(self._task, total=None)

    def live(self) -> Progress | nullcontext[None]:
        """Shows it on standard error while it lasts, by one of several processes."""
        return self._bar if _is_first() else nullcontext()

    def say(self, done: int, total: int, text: str) -> None:
        """What is being done beside the steps."""
        text = self._title + text
        steps.info("%s %d/%d", text, done, total)
        self._bar.update(
            self._task, description=text, completed=done, total=total or None
        )
        if self.is_stopping:
            raise KeyboardInterrupt

    def step(self, step: TrainStep) -> None:
        """One step is done."""
        figures = {f"loss {name}": value for name, value in step.losses.items()}
        figures |= {} if step.accuracy is None else {"accuracy": step.accuracy}
        words = "".join(f", {name} {value:.4g}" for name, value in figures.items())
        self.say(step.step, step.steps, f"epoch {step.epoch}{words}, step")

    def evaluated(self, evaluation: Evaluation) -> None:
        """One more evaluation."""
        words = (
            f"{name} {value:.4f}" if name == "loss" else f"{name} {value:.1f} %"
            for name, value in evaluation.values.items()
        )
        best = ", the best so far" if evaluation.best else ""
        self.tell(f"after step {evaluation.step}: {', '.join(words)}{best}")

    def tell(self, text: str) -> None:
        """A line that stays."""
        if _is_first():
            note(self._title + text)
