"""``napari-wsol recipes``: how the papers trained, to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from napari_wsol.cli.console import output
from napari_wsol.training.published import (
    find_published,
    list_published,
    write_published,
)

app = typer.Typer(help="Recipes as the papers give them.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """All of them."""
    table = Table("name", "what its map shows", "paper")
    for item in list_published():
        table.add_row(escape(item.name), escape(item.summary), escape(item.citation))
    output.print(table)
    output.print("Take a copy of one with: napari-wsol recipes write NAME FILE")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name in the list.")]) -> None:
    """The file itself: every value, its source, and what the paper leaves open."""
    typer.echo(find_published(name).text, nl=False)


@app.command()
def write(
    name: Annotated[str, typer.Argument(help="Name in the list.")],
    file: Annotated[Path, typer.Argument(help="Your copy; nothing is overwritten.")],
) -> None:
    """Write a copy to edit and to train from."""
    write_published(name, file)
    output.print(f"[bold]{escape(name)}[/] is in {escape(str(file))}")
    output.print("Edit what is marked with EDIT:")
    for number, line in enumerate(find_published(name).text.splitlines(), 1):
        if "# EDIT" in line:
            output.print(f"  line {number}: {escape(line)}", highlight=False)
    output.print(
        f"Then: napari-wsol train {escape(str(file))} --data IMAGES --out FOLDER"
    )
