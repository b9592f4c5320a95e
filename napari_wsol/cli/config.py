"""``napari-wsol config``: what holds for all images, for commands and window alike."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from napari_wsol.cli.console import Listing, commands, emit, note, output
from napari_wsol.cli.installed import checked_model
from napari_wsol.config import listed_settings
from napari_wsol.errors import choices
from napari_wsol.files import check_folder, path_from
from napari_wsol.paths import preferences_file
from napari_wsol.preferences import (
    DEFAULTS,
    VARIABLES,
    Preferences,
    keep,
    preferences,
    source_of,
)

app = commands("What holds for all images: device, memory, journals, model, look.")

Name = Annotated[
    str,
    typer.Argument(help="Name in the list.", autocompletion=lambda: list(DEFAULTS)),
]


@app.command("list")
def list_() -> None:
    """All preferences: value, where it is from, and what it is."""
    mine, settings = preferences(), listed_settings(Preferences)
    every = {
        name: {"value": getattr(mine, name), "source": source_of(name)}
        for name in DEFAULTS
    }
    rows = (
        (name, f"{item['value']}" or settings[name].option.empty, item["source"])
        for name, item in every.items()
    )
    output.print(Listing(("name", "value", "from"), rows))
    output.print("An option counts more than a variable, and that more than the file.")
    emit(every)


@app.command()
def get(name: Name) -> None:
    """The value that counts."""
    if name not in DEFAULTS:
        raise choices("preference", name, list(DEFAULTS))
    value = getattr(preferences(), name)
    output.print(str(value))
    emit(value)


@app.command("set")
def set_(
    name: Name,
    value: Annotated[
        str, typer.Argument(help="Of memory_bytes also in GB: 2.5GB.", metavar="VALUE")
    ],
) -> None:
    """Keep a value for all images.

    device: auto, cpu, cuda, cuda:1, mps. memory_bytes: at least 1 GB. journals: a
    folder. model: name or folder. look: over or beside.
    """
    kept: str | int = value
    if name == "memory_bytes":
        number = re.fullmatch(r"(\d+(?:\.\d+)?) ?(GB)?", value)
        if number:
            kept = round(float(number[1]) * (1e9 if number[2] else 1))
    elif name == "model":
        checked_model(value)
    elif name == "journals":
        kept = str(path_from(value).absolute())
        check_folder(path_from(kept))
    keep(**{name: kept})
    emit({name: kept})
    if source_of(name) == VARIABLES[name]:
        note(f"{VARIABLES[name]} is set, and counts more.", style="yellow")


@app.command()
def unset(name: Name) -> None:
    """Forget a value: the default holds again."""
    keep(**{name: None})
    emit({name: getattr(preferences(), name)})


@app.command()
def path() -> None:
    """The file that they are kept in."""
    output.print(str(preferences_file()))
    emit(preferences_file())
