"""``napari-wsol config``: what holds for all images, for commands and window alike."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from napari_wsol.cli.console import Listing, commands, emit, note, output
from napari_wsol.cli.installed import checked_model, model_names
from napari_wsol.files import check_folder, path_from
from napari_wsol.paths import preferences_file
from napari_wsol.preferences import DEFAULTS, VARIABLES, keep, preferences, source_of

app = commands("What holds for all images: device, memory, journals, model, look.")


Name = Annotated[
    str,
    typer.Argument(
        help=f"One of {', '.join(DEFAULTS)}.", autocompletion=lambda: list(DEFAULTS)
    ),
]


@app.command("list")
def list_() -> None:
    """All values, and where each is from: variable, file or default."""
    rows = asdict(preferences())
    table = Listing("name", "value", "from")
    for name, value in rows.items():
        table.add_row(name, str(value), source_of(name))
    output.print(table)
    emit({key: {"value": x, "source": source_of(key)} for key, x in rows.items()})


@app.command()
def get(name: Name) -> None:
    """The value that counts."""
    source, value = source_of(name), getattr(preferences(), name)
    output.print(str(value))
    emit({"value": value, "source": source})


@app.command("set")
def set_(
    name: Name, value: Annotated[str, typer.Argument(help="Of memory, bytes: 6e9.")]
) -> None:
    """Keep a value for all images.

    device: auto, cpu, cuda, cuda:1, mps. memory_bytes: at least 1e9. journals: a
    folder. model: name or folder. look: over or beside.
    """
    kept: str | int = value
    if not value:
        raise typer.BadParameter("To forget one: napari-wsol config unset NAME.")
    if name == "memory_bytes":
        try:
            kept = round(float(value))
        except (ValueError, OverflowError) as error:
            raise typer.BadParameter("It is a number of bytes, like 6e9.") from error
    elif name == "model" and value not in model_names():
        kept = str(path_from(checked_model(value)).absolute())
    elif name == "journals":
        folder = path_from(value).absolute()
        check_folder(folder)
        kept = str(folder)
    keep(**{name: kept})
    emit({name: kept})
    if source_of(name) == VARIABLES[name]:
        note(f"{VARIABLES[name]} is set, and counts more.")


@app.command()
def unset(name: Name) -> None:
    """Forget a value: the default holds again."""
    keep(**{name: None})
    emit({name: getattr(preferences(), name)})


@app.command()
def path() -> None:
    """The file that they are kept in."""
    output.print(str(preferences_file()))
    emit({"path": preferences_file()})
