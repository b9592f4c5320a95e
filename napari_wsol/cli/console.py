"""Where the commands write: results to standard output, the rest to standard error.

A result is said twice: in words, by ``output``, and as data, by :func:`emit`; with
``--json`` the data alone is printed.

Nothing that is printed is markup: names of files and what is in them have brackets. Nor
can a name do anything to the terminal, or fail to be printed. Style is given beside the
text: ``output.print(name, style="bold")``, or :func:`named`.
"""

from __future__ import annotations

import io
import json
import logging
import signal
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec
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
from typer.core import TyperCommand, TyperGroup
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


@dataclass(slots=True)
class Mode:
    """How much one command says, and how, and the line that it was called with."""

    line: tuple[str, ...] = ()
    json: bool = False
    quiet: bool = False
    verbose: bool = False


mode, steps = Mode(), logging.getLogger("napari_wsol")
INTERRUPTED = 130
"""Exit status of what was stopped: 128 and the number of the signal of Ctrl+C."""


def set_mode(*, json: bool, quiet: bool, verbose: bool) -> None:
    """What ``--json``, ``--quiet`` and ``--verbose`` ask for, from now on."""
    mode.json, mode.quiet, mode.verbose = json, quiet, verbose
    output.quiet = json
    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.NOTSET
    steps.setLevel(level)
    if verbose:
        logging.basicConfig(format="%(relativeCreated)d ms: %(message)s")


def emit(data: object) -> None:
    """A result as one JSON document, where that is asked for.

    Paths are texts, what is not a finite number is null, numbers have all digits.
    """
    if mode.json:  # ASCII, so that it is valid on whatever reads it
        raw = json.dumps(msgspec.to_builtins(data, enc_hook=_builtin))
        finite = json.loads(raw, parse_constant=lambda _: None)
        print(json.dumps(finite, indent=1), flush=True)  # who reads may be gone


def _builtin(value: Any) -> object:  # noqa: ANN401 - whatever a result holds
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    return value.tolist() if hasattr(value, "tolist") else str(value)


def note(text: RenderableType, style: str = "") -> None:
    """Says on standard error what is neither result nor error, unless it is quiet."""
    if not mode.quiet:
        errors.print(text, style=style)


class Listing(Table):
    """A table of which nothing is cut.

    On a terminal that is too narrow each row becomes some lines; off a terminal each is
    one, with tabs.
    """

    @override
    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterable[RenderableType | Segment]:
        wide = options.update(width=10_000)
        names = [str(column.header) for column in self.columns]
        rows = list(zip(*(map(str, item.cells) for item in self.columns), strict=True))
        if not console.is_terminal:
            tabs = str.maketrans("\t\n", "  ")
            for row in (names, *rows):
                yield Segment("\t".join(x.translate(tabs) for x in row) + "\n")
        elif self.__rich_measure__(console, wide).maximum <= options.max_width:
            yield from super().__rich_console__(console, options)
        else:
            for title, *row in rows:
                yield Text(title, style="bold")
                pairs = zip(names[1:], row, strict=True)
                yield from (named(f"  {name}", cell) for name, cell in pairs if cell)


OPTIONS = {
    "Images": "mpp slide_mpp reader rgb channel plane views size box_frame",
    "Slides": "core halo tissue bags top",
    "Results": "format threshold min_area fill_holes region_threshold scale_regions "
    "foreground background bootstrap",
    "Checks": "faithfulness road sanity",
    "Prior and groups": "prior group_pattern groups group",
    "Machine": "device jobs gpus executor profile threads memory minutes",
    "A run again": "resume overwrite wait",
}
"""Groups of options in the help, by name; others are under their kind."""


class _InGroups:
    """Help as plain text, brackets and all, options and commands in their groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - click's
        """Writes each group under its title."""
        own = cast("Any", self)
        of = {name: title for title, x in OPTIONS.items() for name in x.split()}
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in own.list_commands(ctx) if isinstance(self, TyperGroup) else ():
            command = own.get_command(ctx, name)
            if not command.hidden:
                row = (name, command.get_short_help_str(limit=1000))
                title = getattr(command, "rich_help_panel", None)
                groups.setdefault(title or "Commands", []).append(row)
        for item in own.get_params(ctx):
            title = of.get(item.name, f"{item.param_type_name}s".capitalize())
            if row := item.get_help_record(ctx):
                groups.setdefault(title, []).append(row)
        for title, rows in groups.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class Command(_InGroups, TyperCommand):
    """One command."""


class Group(_InGroups, TyperGroup):
    """Several under one name."""


class _Commands(typer.Typer):
    @override
    def command(self, name: str | None = None, **how: Any) -> Any:
        how.setdefault("cls", Command)
        return super().command(name, **how)


def commands(about: str, name: str | None = None) -> typer.Typer:
    """A group of commands whose help is printed as it is written, brackets and all.

    Args:
        about: what they are for.
        name: of the program, where it is not one of a program's groups.
    """
    return _Commands(
        name=name,
        cls=Group,
        help=about,
        no_args_is_help=True,
        add_completion=name is not None,
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
        disable=mode.quiet or mode.verbose or not errors.is_terminal,
    )


def show_figures(model: str, report: ModelReport | CrossValidationReport) -> None:
    """Prints the tables of a report, under what it says of a model."""
    output.print(named(model, report.headline(), "bold"))
    for title, names, rows in report.tables():
        table = Listing(title, *names)
        for row in rows:
            table.add_row(*row)
        output.print(table)
    for text in report.notes:
        output.print(f"Note: {text}")
