"""``napari-wsol train``: a recipe and images become a model folder."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from napari_wsol.cli.console import errors, output

if TYPE_CHECKING:
    from napari_wsol.learning.pretrain import TrainStep

ROWS = 12
"""Rows of the live table; older ones are in metrics.jsonl."""


def train(
    recipe: Annotated[Path, typer.Argument(help="Recipe, a TOML file.")],
    data: Annotated[
        Path, typer.Option(help="Folder that the recipe's paths start from.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the model and checkpoints.")],
    init: Annotated[
        Path | None, typer.Option(help="Initial weights of the encoder [random].")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where it stopped.")
    ] = False,
) -> None:
    """Train a model from image-level labels. Ctrl+C saves a checkpoint and leaves."""
    from napari_wsol.learning.recipe import read_recipe
    from napari_wsol.training import train as run

    plan = read_recipe(recipe)
    view = _View(plan.train.steps)
    try:
        with Live(console=errors, get_renderable=view.render, refresh_per_second=4):
            card = run(
                plan, data, out, init=init, resume=resume, say=view.say, step=view.step
            )
    except KeyboardInterrupt:
        errors.print(
            f"Stopped. Go on with: napari-wsol train {escape(str(recipe))} "
            f"--data {escape(str(data))} --out {escape(str(out))} --resume"
        )
        raise typer.Exit(1) from None
    output.print(f"[bold]{escape(card.name)}[/] is in {escape(str(card.folder))}")
    for key, value in card.metrics.items():
        output.print(f"{escape(key)}: {escape(str(value))}")


class _View:
    """The live table: losses, accuracy and time left."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._rows: deque[TrainStep] = deque(maxlen=ROWS)
        self._status = "starting"
        self._started: tuple[float, int] | None = None

    def say(self, done: int, total: int, text: str) -> None:
        """What is being done beside the steps."""
        self._status = f"{text} {done}/{total}" if total else text

    def step(self, progress: TrainStep) -> None:
        """One more row."""
        now = time.monotonic()
        if self._started is None:
            self._started = (now, progress.step)
        self._rows.append(progress)
        done = progress.step - self._started[1]
        left = (
            (progress.steps - progress.step) * (now - self._started[0]) / max(done, 1)
        )
        self._status = f"step {progress.step}/{progress.steps}, {left:.0f} s left"

    def render(self) -> Group:
        """The table as it is now."""
        names = list(self._rows[-1].losses) if self._rows else []
        table = Table("step", *(f"loss {name}" for name in names), "accuracy")
        for row in self._rows:
            values = [f"{row.losses[name]:.4f}" for name in names]
            table.add_row(str(row.step), *values, f"{row.accuracy:.2f}")
        return Group(table, Text(self._status))
