"""``napari-wsol verify``: does an export come out the same when it is made again?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.cli.console import emit, named, output
from napari_wsol.cli.journal import Folder

Exported = Annotated[Path, typer.Argument(help="Folder of an export.", exists=True)]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images", "--image", help="An image or its folder, where it is elsewhere now."
    ),
]
Model = Annotated[
    str | None, typer.Option(help="Name or folder of the model [as recorded].")
]


def report(
    folder: Exported,
    out: Annotated[Path, typer.Option(help="The new HTML file.")],
    images: Images = None,
    model: Model = None,
    journals: Folder = None,
) -> None:
    """Make an export again, and one HTML file of image, maps, strokes and model."""
    from napari_wsol.session.again import Again

    with Again(images, model, journals).shown(folder) as (session, cuts):
        written = session.report(out, cuts).result()
    output.print(str(written))
    emit({"report": written})


def verify(
    folder: Exported,
    images: Images = None,
    model: Model = None,
    journals: Folder = None,
) -> None:
    """Make an export again from its record: is each file the same?

    On the processor, with as many threads as were recorded. The exit status is 1 where
    a file is different or cannot be made again.
    """
    from napari_wsol.session.again import SAME, Again

    found: list[dict[str, object]] = []
    for name, word, why in Again(images, model, journals).verify(folder):
        words = f"{word}: {why}" if why else word
        output.print(named(name, words, "" if word == SAME else "yellow"))
        found.append({"file": name, "same": word == SAME, "found": word, "why": why})
    same = sum(item["same"] is True for item in found)
    output.print(f"{same} of {len(found)} files are the same")
    emit({"same": same == len(found), "files": found})
    if same < len(found):
        raise typer.Exit(1)
