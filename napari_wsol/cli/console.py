"""Where the commands write: results to standard output, the rest to standard error."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import FrameType

    from napari_wsol.cross_validation.report import CrossValidationReport
    from napari_wsol.evaluation.report import ModelReport

output = Console(soft_wrap=True)
errors = Console(stderr=True, soft_wrap=True)


@contextmanager
def on_signals(heard: Callable[[], None], *kinds: signal.Signals) -> Generator[None]:
    """Calls a function at signals, instead of what they did before, while it lasts."""

    def hear(_number: int, _frame: FrameType | None) -> None:
        heard()

    before = {kind: signal.signal(kind, hear) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def progress_bar(*more: ProgressColumn) -> Progress:
    """A bar with done, total, what else is told and time left, on standard error."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *more,
        TimeRemainingColumn(),
        console=errors,
        transient=True,
    )


def show_figures(model: str, report: ModelReport | CrossValidationReport) -> None:
    """Prints the tables of a report, under what it says of a model."""
    output.print(f"[bold]{escape(model)}[/]: {escape(report.headline())}")
    for title, names, rows in report.tables():
        table = Table(escape(title), *map(escape, names))
        for row in rows:
            table.add_row(*map(escape, row))
        output.print(table)
    for note in report.notes:
        output.print(f"Note: {escape(note)}")
