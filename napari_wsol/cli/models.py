"""``napari-wsol models``: what is installed, what it is for, whether it is intact."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.cli import installed
from napari_wsol.cli.console import Failures, Listing, commands, emit, named, output
from napari_wsol.cli.installed import checked_model, model_names
from napari_wsol.cli.options import Preset, files_there
from napari_wsol.errors import UnansweredError
from napari_wsol.paths import NO_MODEL, installed_folders, models_folder

Name = Annotated[
    str,
    typer.Argument(
        help="Name or folder.", callback=checked_model, autocompletion=model_names
    ),
]

app = commands("Installed models.")


@app.command("list")
def list_() -> None:
    """All installed models."""
    found = installed.models()
    table = Listing("name", "what it finds", "methods", "licence", "where")
    for card in found:
        table.add_row(
            card.name,
            card.title,
            ", ".join(card.methods),
            card.license,
            "bundled" if card.bundled else card.folder,
        )
    output.print(table if found else NO_MODEL)
    output.print(f"Your own models belong in {models_folder()}")
    emit(found)


@app.command()
def show(name: Name) -> None:
    """A model's card: data, licence, limits, figures."""
    from napari_wsol.zoo import find_card

    card = find_card(name)
    emit({"name": card.name, "folder": card.folder, **card.to_dict()})
    output.print(f"{card.title} ({card.name})", style="bold")
    output.print(card.summary)
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
    several = {
        **{key: (value,) for key, value in facts.items()},
        "cut": filter(None, (card.cut_note,)),
        "other images": (card.appearance_note,),
        "limits": card.limits,
        "cite": card.citations,
        **{key: (value,) for key, value in card.metrics.items()},
        "the same recipe again": card.reproducibility,
    }
    for key, values in several.items():
        for value in values:
            output.print(named(key, value))


@app.command()
def presets() -> None:
    """Foundation encoders; import FILE --preset NAME makes one a model."""
    from napari_wsol.encoders.presets import PRESETS

    emit(PRESETS)
    for name, preset in PRESETS.items():
        terms = f"licence: {preset.license}; weights: {preset.weights}"
        output.print(named(name, f"{preset.title}; {terms}", "green"))


@app.command("import")
def import_(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(
            help="Weight files, or the folders that hold them.", callback=files_there
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="Of the new model [the file's name].")
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(
            help="What the checkpoint does not tell, as KEY=VALUE, e.g. size=224, "
            "activation=softmax or classes=benign,malignant. Repeat for more."
        ),
    ] = None,
    preset: Preset = None,
) -> None:
    """Make checkpoints your models, one each.

    Checkpoints of PixelCAM's, PCAM's, PYLON's, A-MIL's and CLAM's code are recognised
    by their content, and ResNet, DenseNet, VGG, Inception-v3 and ViT of torchvision and
    timm with their own classifier, under any names; foundation encoders by --preset.
    Nothing in a file is run. One that cannot be used does not stop the others; the exit
    status is then 1.
    """
    if name is not None and len(checkpoints) > 1:
        raise typer.BadParameter("Only one model can have this name.")
    answers, failures = dict(_pair(item) for item in answer or ()), Failures()
    answers |= {} if preset is None else {"preset": preset}
    made: list[dict[str, object]] = []
    for path in checkpoints:
        alone = len(checkpoints) == 1  # then its error is that of the command
        with nullcontext() if alone else failures.edge(path):
            made += _import(path, name, answers, failures)
    emit(made)
    failures.leave()


def _import(
    path: Path, name: str | None, answers: dict[str, str], failures: Failures
) -> list[dict[str, object]]:
    """Makes one checkpoint a model, or tells what has to be answered before."""
    from napari_wsol.zoo import import_model

    try:
        card = import_model(path, name=name, answers=answers)
    except UnansweredError as error:
        asked = (
            f"  --answer {item.key}={'|'.join(item.choices) or 'TEXT'}   {item.text}"
            for item in error.questions
        )
        failures.tell(path, "\n".join((str(error), *asked)))
        return []
    output.print(named(card.name, card.summary, "green"))
    for note in card.limits[1:]:
        output.print(note)
    output.print(f"methods: {', '.join(card.methods)}")
    output.print(f"in {card.folder}")
    return [{"checkpoint": path, "name": card.name, "folder": card.folder}]


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise typer.BadParameter(f"“{text}” is not KEY=VALUE.")
    return key.strip(), value.strip()


@app.command()
def verify(
    name: Annotated[
        str | None,
        typer.Argument(help="Name or folder [all].", autocompletion=model_names),
    ] = None,
) -> None:
    """Check that weights are intact and still compute what the card says."""
    if name is not None:
        installed.checked_model(name)
    from napari_wsol.zoo import find_card, read_card
    from napari_wsol.zoo import verify as verify_card

    folders = [find_card(name).folder] if name else installed_folders()
    failures, intact = Failures(), dict.fromkeys((x.name for x in folders), False)
    for folder in folders:
        with failures.edge(folder.name) if name is None else nullcontext():
            card = read_card(folder)
            verify_card(card)
            output.print(named(card.name, "ok", "green"))
            intact[folder.name] = True
    emit(intact)
    failures.leave()
