"""``napari-wsol recipes``: how the papers trained, to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from napari_wsol.cli.console import commands, output
from napari_wsol.training.published import (
    find_published,
    list_published,
    write_published,
)

app = commands("Recipes as the papers give them.")


@app.command("list")
def list_() -> None:
    """All of them."""
    table = Table("name", "what its map shows", "paper")
    for item in list_published():
        table.add_row(item.name, item.summary, item.citation)
    output.print(table)
    output.print("Take a copy of one with: napari-wsol recipes write NAME FILE")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name in the list.")]) -> None:
    """The file itself: every value, its source, and what the paper leaves open."""
    output.print(find_published(name).text, end="")


@app.command()
def write(
    name: Annotated[str, typer.Argument(help="Name in the list.")],
    file: Annotated[Path, typer.Argument(help="Your copy; nothing is overwritten.")],
) -> None:
    """Write a copy to edit and to train from."""
    write_published(name, file)
    output.print(f"{name} is in {file}")
    output.print("Edit what is marked with EDIT:")
    for number, line in enumerate(find_published(name).text.splitlines(), 1):
        if "# EDIT" in line:
            output.print(f"  line {number}: {line}")
    output.print(f"Then: napari-wsol train {file} --data IMAGES --out FOLDER")
