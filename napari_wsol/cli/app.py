"""The commands together, and how errors reach a person."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Annotated, Any

import typer
from typing_extensions import override

from napari_wsol import __version__
from napari_wsol.cli import (
    batch,
    cache,
    config,
    crossvalidate,
    doctor,
    evaluate,
    journal,
    localize,
    models,
    recipes,
    replay,
    reproduce,
    train,
    verify,
    viewer,
)
from napari_wsol.cli.console import (
    INTERRUPTED,
    Group,
    all_encodable,
    commands,
    emit,
    errors,
    mode,
    named,
    output,
    set_mode,
)
from napari_wsol.errors import WsolError, in_our_words, sentence_of
from napari_wsol.registry import FILES, plugin_files, plugins

app = commands(
    "Weakly supervised localization in medical images. Research use only, not for "
    "diagnosis.\n\nThe options below may also stand behind a command. Exit status: 0 "
    "all went well, 1 something failed, 2 wrong usage, 130 stopped.",
    name="napari-wsol",
)
COMMANDS = {
    "Look": (viewer.demo, viewer.view),
    "Run": (localize.localize, batch.batch, batch.features),
    "Learn": (train.train, crossvalidate.crossvalidate, reproduce.reproduce),
    "Measure": (evaluate.evaluate, verify.verify, verify.report, replay.replay),
    "Manage": (doctor.doctor,),
}
for title, several in COMMANDS.items():
    for one in several:
        app.command(one.__name__, rich_help_panel=title)(one)
app.add_typer(recipes.app, name="recipes", rich_help_panel="Learn")
for part in (models, journal, cache, config):
    app.add_typer(part.app, name=part.__name__.split(".")[-1], rich_help_panel="Manage")


def _version(wanted: bool) -> None:
    if wanted:
        output.print(f"napari-wsol {__version__}")
        raise typer.Exit


class _Commands(Group):
    """All of them share the options before them, which may stand behind one, too."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:  # somebody pressed Tab
            return super().parse_args(ctx, args)
        own = ArgumentParser(add_help=False, allow_abbrev=False)
        own.add_argument("--plugin", action="append", default=[])
        for words in (["--json"], ["--quiet", "-q"], ["--verbose", "-v"]):
            own.add_argument(*words, action="append_const", const=words[0], dest="all")
        mode.line = tuple(args)
        found, rest = own.parse_known_args(args)
        plugin = (f"--plugin={name}" for name in found.plugin)
        return super().parse_args(ctx, [*plugin, *(found.all or ()), *rest])

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, typer.Abort):  # the second where it asks
            errors.print("Stopped.")
            raise typer.Exit(INTERRUPTED) from None


@app.callback(cls=_Commands)
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print it and leave."
        ),
    ] = False,
    plugin: Annotated[
        list[Path] | None,
        typer.Option(help="Your own methods: Python, which is run; may be repeated."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Results as one JSON document.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Errors and results only.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Each step with its time; tracebacks."),
    ] = False,
) -> None:
    """What holds for all commands."""
    del version
    set_mode(json=as_json, quiet=quiet, verbose=verbose)
    os.environ[FILES] = os.pathsep.join([*plugin_files(), *map(str, plugin or ())])
    os.environ[FILES] = os.pathsep.join(plugin_files())  # other folders, same files


@app.command("plugins", rich_help_panel="Manage")
def list_plugins() -> None:
    """Methods and encoders of others: where they are from, and what was left out."""
    told: list[dict[str, object]] = []
    for item in plugins():
        output.print(str(item), style="red" if item.problem else "")
        told.append({key: getattr(item, key) for key in ("name", "group", "origin")})
        adds = {name: table.kind for table, name in item.added}
        told[-1] |= {"adds": adds, "problem": item.problem}
    emit(told)


def main() -> None:
    """Entry point: an error becomes one line and exit status 1."""
    all_encodable()
    try:
        with in_our_words():
            app()
    except WsolError as error:
        errors.print(named("Error", error, "bold red"))
        sys.exit(1)
    except KeyboardInterrupt:  # before a command began
        sys.exit(INTERRUPTED)
    except Exception as error:
        if mode.verbose:
            raise
        errors.print(named("Error", sentence_of(error), "bold red"))
        errors.print("Where it went wrong is told with --verbose.")
        sys.exit(1)
