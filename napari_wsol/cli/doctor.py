"""``napari-wsol doctor``: what does not work here, and what mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from napari_wsol.cli.console import emit, errors, note, output
from napari_wsol.doctor.bundle import bundle_of, write_bundle
from napari_wsol.doctor.checks import examine
from napari_wsol.doctor.finding import Finding
from napari_wsol.files import check_folder, check_new, write_new

COLOURS = {"ok": "green", "warning": "yellow", "fault": "bold red"}
To = Annotated[Path | None, typer.Option(help="A zip for who helps, without names.")]
Yes = Annotated[bool, typer.Option("--yes", help="Write the bundle without asking.")]
Fast = Annotated[bool, typer.Option("--fast", help="No Qt, readers, torch or models.")]


def doctor(bundle: To = None, yes: Yes = False, fast: Fast = False) -> None:
    """What does not work on this machine, and what mends it.

    The exit status is 1 where something has to be mended.
    """
    if bundle is not None:
        check_new(bundle)
        check_folder(bundle.parent)
    found: list[Finding] = []
    for item in examine(fast=fast):
        found.append(item)
        mark = (f"{item.state:8}", COLOURS[item.state])
        output.print(Text.assemble(mark, str(item)))
    emit(found)
    if bundle is not None:
        texts = bundle_of(found)
        for name, text in texts.items():
            lines = text.splitlines()
            errors.print(f"{name}, {len(lines)} lines", style="bold")
            errors.print("\n".join(lines[:8]))
        if not yes:
            typer.confirm(f"Write this to {bundle}?", abort=True, err=True)
        write_new(bundle, lambda draft: write_bundle(draft, texts))
        note(f"{bundle} was written.")
    if any(item.state == "fault" for item in found):
        raise typer.Exit(1)
