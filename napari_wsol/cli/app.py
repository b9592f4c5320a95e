"""The commands together, and how errors reach a person."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from napari_wsol import __version__
from napari_wsol.cli import (
    batch,
    cache,
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
from napari_wsol.cli.console import all_encodable, commands, errors, named, output
from napari_wsol.errors import WsolError, in_our_words
from napari_wsol.registry import FILES, plugin_files, plugins

app = commands(
    "Weakly supervised localization in medical images. Research use only, not for "
    "diagnosis.",
    name="napari-wsol",
)
app.command("demo")(viewer.demo)
app.command("view")(viewer.view)
app.command("localize")(localize.localize)
app.command("features")(batch.features)
app.command("batch")(batch.batch)
app.command("train")(train.train)
app.command("crossvalidate")(crossvalidate.crossvalidate)
app.command("reproduce")(reproduce.reproduce)
app.command("evaluate")(evaluate.evaluate)
app.command("replay")(replay.replay)
app.command("verify")(verify.verify)
app.command("report")(verify.report)
app.command("doctor")(doctor.doctor)
app.add_typer(journal.app, name="journal")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
app.add_typer(cache.app, name="cache")


def _version(wanted: bool) -> None:
    if wanted:
        output.print(f"napari-wsol {__version__}")
        raise typer.Exit


class _Commands(TyperGroup):
    """All of them have plugins as an option, which may stand behind one, too."""

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        own = ArgumentParser(add_help=False, allow_abbrev=False)
        own.add_argument("--plugin", action="append", default=[])
        named, rest = own.parse_known_args(args)
        return super().parse_args(
            ctx, [*(f"--plugin={name}" for name in named.plugin), *rest]
        )


@app.callback(cls=_Commands)
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True)
    ] = False,
    plugin: Annotated[
        list[Path] | None, typer.Option(help="Your own methods: Python, which is run.")
    ] = None,
) -> None:
    """Weakly supervised localization in medical images."""
    del version
    os.environ[FILES] = os.pathsep.join([*plugin_files(), *map(str, plugin or ())])
    os.environ[FILES] = os.pathsep.join(plugin_files())  # other folders, same files


@app.command("plugins")
def list_plugins() -> None:
    """Methods and encoders of others: where they are from, and what was left out."""
    for item in plugins():
        output.print(str(item), style="red" if item.problem else "")


def main() -> None:
    """Entry point: a known error becomes one line and exit status 1."""
    all_encodable()
    try:
        with in_our_words():
            app()
    except WsolError as error:
        errors.print(named("Error", error, "bold red"))
        sys.exit(1)
