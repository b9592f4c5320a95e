"""Where the commands write: results to standard output, the rest to standard error.

Nothing that is printed is markup: names of files and what is in them have brackets. Nor
can a name do anything to the terminal, or fail to be printed. Style is given beside the
text: ``output.print(name, style="bold")``, or :func:`named`.
"""

from __future__ import annotations

import io
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from napari_wsol.errors import one_of_many

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from types import FrameType

    from rich.console import ConsoleOptions, RenderableType

    from napari_wsol.cross_validation.report import CrossValidationReport
    from napari_wsol.evaluation.report import ModelReport

CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
"""What moves the cursor or starts a command of the terminal, as it is shown."""
del CONTROLS[ord("\n")], CONTROLS[ord("\t")]


class PlainConsole(Console):
    """A console on which text is text.

    Args:
        stderr: whether it is that of standard error.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, soft_wrap=True, markup=False, emoji=False)

    @override
    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            shown = text if control else shown_as(text, self.encoding)
            yield Segment(shown, style, control)


def shown_as(text: str, encoding: str) -> str:
    """Text that can be printed: what cannot is told by its number."""
    return (
        text.translate(CONTROLS).encode(encoding, "backslashreplace").decode(encoding)
    )


output = PlainConsole()
errors = PlainConsole(stderr=True)


def named(name: object, text: object, style: str = "cyan") -> Text:
    """“name: text”, the name in a colour."""
    return Text.assemble((f"{name}:", style), f" {text}")


def commands(about: str, name: str | None = None) -> typer.Typer:
    """A group of commands whose help is printed as it is written, brackets and all.

    Args:
        about: what they are for.
        name: of the program.
    """
    return typer.Typer(
        name=name,
        help=about,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )


def all_encodable() -> None:
    """What standard output cannot encode is told by its number, whoever prints it."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # it may have been replaced
        sys.stdout.reconfigure(errors="backslashreplace")


@dataclass(slots=True)
class Failures:
    """What could not be done, of many things: told at once, and counted."""

    count: int = 0

    @contextmanager
    def edge(self, name: object) -> Generator[None]:
        """That of one thing: what goes wrong inside is told, and does not go on."""
        with one_of_many(lambda reason: self.tell(name, reason)):
            yield

    def tell(self, name: object, reason: str) -> None:
        """One more."""
        self.count += 1
        errors.print(named(name, reason, "bold red"))

    def leave(self) -> None:
        """Ends the command where something failed.

        Raises:
            typer.Exit: 1.
        """
        if self.count:
            raise typer.Exit(1)


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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *more,
        TimeRemainingColumn(),
        console=errors,
        transient=True,
    )


def show_figures(model: str, report: ModelReport | CrossValidationReport) -> None:
    """Prints the tables of a report, under what it says of a model."""
    output.print(named(model, report.headline(), "bold"))
    for title, names, rows in report.tables():
        table = Table(title, *names)
        for row in rows:
            table.add_row(*row)
        output.print(table)
    for note in report.notes:
        output.print(f"Note: {note}")
