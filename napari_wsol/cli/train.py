"""``napari-wsol train``: a recipe and images become a model folder."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections import deque
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from napari_wsol.cli.console import (
    INTERRUPTED,
    Failures,
    Listing,
    emit,
    errors,
    mode,
    on_signals,
    output,
    steps,
)
from napari_wsol.cli.data import tell_recipe_data
from napari_wsol.cli.options import INFERENCE, Device, Resume, option, out_folder
from napari_wsol.jobs import duration
from napari_wsol.training.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_wsol.training.run import Evaluation, Options
    from napari_wsol.training.trainer import TrainStep

ROWS = 12
"""Rows of the live table; older ones are in metrics.jsonl."""


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a TOML file.")],
    data: Annotated[Path, option(Wish, "data", required=True)],
    out: Annotated[
        Path,
        typer.Option(help="Folder for the model and checkpoints.", callback=out_folder),
    ],
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
    if _is_first():
        tell_recipe_data(recipe, data)
    from napari_wsol.training.recipe import read_recipe
    from napari_wsol.training.run import train as train_one
    from napari_wsol.training.run import train_seeds

    plan, numbers, view = read_recipe(recipe), parse_seeds(seeds), View()
    failures = Failures()
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
        if numbers:
            result = train_seeds(plan, data, out, numbers, **options)
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


def parse_seeds(text: str | None) -> list[int]:
    """The seeds of “0,1,2”; none where it was not given.

    Raises:
        typer.BadParameter: something else.
    """
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(
            f"Seeds are whole numbers with commas, like 0,1,2, not “{text}”.",
            param_hint="--seeds",
        )
    return [int(part) for part in parts]


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
    """The live table: losses, accuracy, evaluations and time left.

    Attributes:
        is_stopping: whether the training shall stop at the next occasion, between two
            steps, where nothing is lost.
    """

    def __init__(self) -> None:
        self.is_stopping = False
        self._rows: deque[TrainStep] = deque(maxlen=ROWS)
        self._evaluations: deque[Evaluation] = deque(maxlen=ROWS)
        self._status = "starting"
        self._started: tuple[float, int] | None = None

    def restart(self) -> None:
        """Forgets the steps so far: another training begins."""
        self._rows.clear()
        self._evaluations.clear()
        self._status, self._started = "starting", None

    def live(self) -> Live | nullcontext[None]:
        """Shows it on standard error while it lasts, by one of several processes."""
        if mode.quiet or not _is_first():
            return nullcontext()
        return Live(console=errors, get_renderable=self.render, refresh_per_second=4)

    def say(self, done: int, total: int, text: str) -> None:
        """What is being done beside the steps."""
        self._check()
        if not self._status.startswith(text):
            steps.info(text)
        self._status = f"{text} {done}/{total}" if total else text

    def step(self, progress: TrainStep) -> None:
        """One more row."""
        now = time.monotonic()
        if self._started is None or progress.step <= self._started[1]:
            self._started = (now, progress.step)
        self._rows.append(progress)
        done = progress.step - self._started[1]
        left = progress.steps - progress.step
        seconds = left * (now - self._started[0]) / max(done, 1)
        self._status = (
            f"step {progress.step}/{progress.steps}, epoch {progress.epoch}, "
            + (f"{duration(seconds)} left" if done else "estimating")
        )
        self._check()

    def evaluated(self, evaluation: Evaluation) -> None:
        """One more evaluation."""
        self._evaluations.append(evaluation)

    def _check(self) -> None:
        if self.is_stopping:
            raise KeyboardInterrupt

    def render(self) -> Group:
        """The tables as they are now."""
        status = f"{self._status}; stopping" if self.is_stopping else self._status
        tables = [self._steps()]
        if self._evaluations:
            tables.append(self._scores())
        return Group(*tables, Text(status))

    def _steps(self) -> Listing:
        rows = list(self._rows)  # they may be dropped meanwhile
        names = list(rows[-1].losses) if rows else []
        losses = (f"loss {name}" for name in names)
        table = Listing("step", "epoch", *losses, "accuracy")
        for row in rows:
            values = [f"{row.losses[name]:.4f}" for name in names]
            right = "" if row.accuracy is None else f"{row.accuracy:.2f}"
            table.add_row(str(row.step), str(row.epoch), *values, right)
        return table

    def _scores(self) -> Listing:
        names = list(self._evaluations[-1].values)
        titles = [name if name == "loss" else f"{name} %" for name in names]
        table = Listing("after step", *titles, "best")
        for row in self._evaluations:
            values = [
                f"{row.values[name]:{'.4f' if name == 'loss' else '.1f'}}"
                for name in names
            ]
            table.add_row(str(row.step), *values, "yes" if row.best else "")
        return table
