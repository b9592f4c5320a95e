"""``napari-wsol doctor``: what does not work here, and what mends it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from napari_wsol import __version__
from napari_wsol.cli.console import errors, output
from napari_wsol.doctor.bundle import bundle_of, write_bundle
from napari_wsol.doctor.examine import examinations
from napari_wsol.doctor.finding import Finding, is_fault

COLOURS = {"ok": "green", "warning": "yellow", "fault": "bold red"}
SHOWN_LINES = 8


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(help="A zip for whoever helps you; without names of anything."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Write the bundle without asking.")
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Neither draw nor run models.")
    ] = False,
) -> None:
    """What does not work on this machine, and what mends it.

    The exit status is 1 where something has to be mended.
    """
    found: list[Finding] = []
    for examine in examinations(fast=fast):
        told = examine()
        found += told
        for item in () if as_json else told:
            mark = (f"{item.state:8}", COLOURS[item.state])
            output.print(Text.assemble(mark, f"{item.name}: {item}"))
    if as_json:
        lines = {"version": __version__, "findings": [asdict(item) for item in found]}
        output.print(json.dumps(lines, indent=1), highlight=False)
    if bundle is not None:
        _save(bundle, bundle_of(found), yes=yes)
    if is_fault(found):
        raise typer.Exit(1)


def _save(path: Path, texts: dict[str, str], *, yes: bool) -> None:
    """Shows the bundle, asks, and writes it."""
    for name, text in texts.items():
        lines = text.splitlines()
        errors.print(f"{name}, {len(lines)} lines", style="bold")
        for line in lines[:SHOWN_LINES]:
            errors.print(f"  {line}")
    if not yes:
        typer.confirm(f"Write this to {path}?", abort=True, err=True)
    write_bundle(path, texts)
    errors.print(f"{path} was written.")
