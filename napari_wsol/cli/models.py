"""``napari-wsol models``: what is installed, what it is for, whether it is intact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from napari_wsol.cli.console import errors, output
from napari_wsol.errors import ModelError, UnansweredError

app = typer.Typer(help="Installed models.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """All installed models."""
    from napari_wsol.paths import models_folder
    from napari_wsol.zoo import list_models

    table = Table("name", "what it finds", "methods", "licence", "where")
    for card in list_models():
        table.add_row(
            escape(card.name),
            escape(card.title),
            ", ".join(card.methods),
            escape(card.license),
            "bundled" if card.bundled else escape(str(card.folder)),
        )
    output.print(table)
    output.print(f"Your own models belong in {escape(str(models_folder()))}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name or folder.")]) -> None:
    """A model's card: data, licence, limits, figures."""
    from napari_wsol.zoo import find_card

    card = find_card(name)
    output.print(f"[bold]{escape(card.title)}[/] ({escape(card.name)})")
    output.print(escape(card.summary))
    spec = card.spec
    size = f"{spec.mpp:g} µm a pixel" if spec.mpp else "the image's own size"
    if spec.preprocessing is not None and spec.preprocessing.size is not None:
        size = f"{spec.preprocessing.size} × {spec.preprocessing.size} pixels"
    facts = {
        "classes": ", ".join(card.classes),
        "methods": ", ".join(card.methods),
        "network": f"{spec.encoder}, output stride {spec.output_stride}, at {size}",
        "data": card.data,
        "origin": card.origin,
        "licence": card.license,
        "weights": f"sha256 {card.sha256}",
        "folder": str(card.folder),
    }
    for key, value in facts.items():
        output.print(f"[cyan]{key}:[/] {escape(value)}")
    _lines("limits", card.limits)
    _lines("cite", card.citations)
    for key, value in card.metrics.items():
        output.print(f"[cyan]{escape(key)}:[/] {escape(str(value))}")
    _lines("the same recipe again", card.reproducibility)


def _lines(title: str, values: tuple[str, ...]) -> None:
    for value in values:
        output.print(f"[cyan]{title}:[/] {escape(value)}")


@app.command("import")
def import_(
    checkpoint: Annotated[
        Path, typer.Argument(help="Weight file, or the folder that holds it.")
    ],
    name: Annotated[
        str | None, typer.Option(help=escape("Of the new model [the file's name]."))
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(
            help="What the checkpoint does not tell, as KEY=VALUE, e.g. pooling=PCAM "
            "or classes=benign,malignant. Repeat for more."
        ),
    ] = None,
) -> None:
    """Make an authors' checkpoint one of your models.

    Checkpoints of PixelCAM's, PCAM's, PYLON's and A-MIL's code are recognised by their
    content, and torchvision's networks as a start for training. Nothing in a file is
    run.
    """
    from napari_wsol.zoo import import_model

    answers = dict(_pair(item) for item in answer or ())
    try:
        card = import_model(checkpoint, name=name, answers=answers)
    except UnansweredError as error:
        asked = (
            f"  --answer {item.key}={'|'.join(item.choices) or 'TEXT'}   {item.text}"
            for item in error.questions
        )
        errors.print(escape("\n".join((str(error), *asked))))
        raise typer.Exit(1) from error
    output.print(f"[green]{escape(card.name)}[/]: {escape(card.summary)}")
    output.print(f"methods: {', '.join(card.methods)}")
    output.print(f"in {escape(str(card.folder))}")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise typer.BadParameter(f"“{text}” is not KEY=VALUE.")
    return key.strip(), value.strip()


@app.command()
def verify(
    name: Annotated[
        str | None, typer.Argument(help=escape("Name or folder [all]."))
    ] = None,
) -> None:
    """Check that weights are intact and still compute what the card says."""
    from napari_wsol.zoo import find_card, list_models
    from napari_wsol.zoo import verify as verify_card

    failed = False
    for card in [find_card(name)] if name else list_models():
        try:
            verify_card(card)
        except ModelError as error:
            failed = True
            errors.print(f"[bold red]{escape(card.name)}:[/] {escape(str(error))}")
        else:
            output.print(f"[green]{escape(card.name)}: ok[/]")
    if failed:
        raise typer.Exit(1)
