"""``napari-wsol recipes``: how the papers trained, to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.cli.console import Listing, commands, emit, output
from napari_wsol.training.published import (
    find_published,
    list_published,
    write_published,
)

app = commands("Recipes as the papers give them.")


Name = Annotated[
    str,
    typer.Argument(
        help="Name in the list.",
        autocompletion=lambda: [item.name for item in list_published()],
    ),
]


@app.command("list")
def list_() -> None:
    """All of them."""
    found = list_published()
    table = Listing("name", "what its map shows", "paper")
    for item in found:
        table.add_row(item.name, item.summary, item.citation)
    output.print(table)
    emit(found)
    output.print("Take a copy of one with: napari-wsol recipes write NAME FILE")


@app.command()
def show(name: Name) -> None:
    """The file itself: every value, its source, and what the paper leaves open."""
    found = find_published(name)
    output.print(found.text, end="")
    emit(found)


@app.command()
def write(
    name: Name,
    file: Annotated[Path, typer.Argument(help="Your copy; nothing is overwritten.")],
) -> None:
    """Write a copy to edit and to train from."""
    write_published(name, file)
    emit({"name": name, "file": file})
    output.print(f"{name} is in {file}")
    output.print("Edit what is marked with EDIT:")
    for number, line in enumerate(find_published(name).text.splitlines(), 1):
        if "# EDIT" in line:
            output.print(f"  line {number}: {line}")
    output.print(f"Then: napari-wsol train {file} --data IMAGES --out FOLDER")
