"""What a training would be, in words, and what stands in its way.

Reading a recipe imports torch, and folders may be far away, so all of it is asked for
on a thread of its own.
"""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import ConfigError, ExportError, WsolError
from napari_wsol.gui.import_dialog import next_name

if TYPE_CHECKING:
    from napari_wsol.learning.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person filled in.

    Attributes:
        recipe: a TOML file; None while none is chosen.
        data: folder that the recipe's paths start from.
        init: initial weights; random ones without.
        out: parent of the new model's folder; the user's own models without.
        name: of the new model; the recipe's, or the next that is free, without.
        seed: instead of the recipe's.
    """

    recipe: Path | None = None
    data: Path | None = None
    init: Path | None = None
    out: Path | None = None
    name: str = ""
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What would come of a wish.

    Attributes:
        wish: what was asked about.
        summary: the recipe in words, as rich text; empty if it cannot be read.
        name: of the new model.
        seed: of every random choice.
        trouble: what has to be done before it can start; empty for nothing.
        unfinished: whether an earlier training left a checkpoint there.
        folder: where the checkpoint and its log are.
        history: losses and accuracy of each step of the earlier training.
    """

    wish: Wish
    summary: str = ""
    name: str = ""
    seed: int = 0
    trouble: str = ""
    unfinished: bool = False
    folder: Path = Path()
    history: tuple[tuple[dict[str, float], float | None], ...] = ()


def look_ahead(wish: Wish) -> Outlook:
    """Read the recipe and look whether all is there; changes nothing."""
    if wish.recipe is None:
        return Outlook(wish=wish, trouble="Choose a recipe.")
    from napari_wsol.learning.recipe import read_recipe
    from napari_wsol.train_job import training_folder
    from napari_wsol.training import CHECKPOINT, LOG

    try:
        recipe = read_recipe(wish.recipe)
    except WsolError as error:
        return Outlook(wish=wish, trouble=str(error))
    name = wish.name or _free_name(recipe.name, wish.out)
    folder = wish.out or training_folder(name)
    unfinished = (folder / CHECKPOINT).is_file()
    return Outlook(
        wish=wish,
        summary=in_words(recipe),
        name=name,
        seed=recipe.train.seed if wish.seed is None else wish.seed,
        trouble=_trouble(recipe, wish, name),
        unfinished=unfinished,
        folder=folder,
        history=_history(folder / LOG) if unfinished else (),
    )


def discard(outlook: Outlook, wish: Wish) -> Outlook:
    """Throw an unfinished training away, and look ahead again.

    Raises:
        ExportError: its files cannot be removed.
    """
    from napari_wsol.training import CHECKPOINT, LOG

    try:
        for name in (CHECKPOINT, LOG):
            (outlook.folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise ExportError(
            f"The unfinished training in {outlook.folder} cannot be removed: {error}."
        ) from error
    return look_ahead(wish)


def _history(log: Path) -> tuple[tuple[dict[str, float], float | None], ...]:
    """What the log says of the steps; a line that was cut off is left out."""
    found = []
    for line in log.read_text("utf-8").splitlines() if log.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if "losses" in row:
            found.append((row["losses"], row["accuracy"]))
    return tuple(found)


def _free_name(name: str, out: Path | None) -> str:
    from napari_wsol.train_job import is_taken

    while is_taken(name, out):
        name = next_name(name)
    return name


def _trouble(recipe: Recipe, wish: Wish, name: str) -> str:
    """The first thing that has to be put right."""
    from napari_wsol.train_job import check_name

    try:
        check_name(name, wish.out)
    except ConfigError as error:
        return str(error)
    if wish.data is None:
        return f"Choose the folder with the images: “{recipe.data.train}” lies in it."
    if not (wish.data / recipe.data.train).exists():
        return (
            f"There is no “{recipe.data.train}” in {wish.data}. Choose the folder that "
            "the recipe's paths start from."
        )
    if wish.init is not None and not wish.init.is_file():
        return f"There is no file {wish.init} with initial weights."
    return ""


def in_words(recipe: Recipe) -> str:
    """A recipe as a few rows of rich text."""
    how, model = recipe.train, recipe.model
    heads = ", ".join(map(_title, model.heads)) or "none"
    rows = [
        ("Network", f"{model.encoder} with {heads}"),
        ("Classes", ", ".join(recipe.data.classes)),
        (
            "Learns",
            f"{how.steps} steps of {how.batch} images of {how.crop} × {how.crop} "
            f"pixels, out of “{recipe.data.train}”",
        ),
    ]
    if recipe.seeds is not None:
        rows.append(("Pixels", _seeds(recipe)))
    if recipe.data.validation:
        names = ", ".join(f"“{name}”" for name in recipe.data.validation)
        rows.append(("Measured", f"on {names}, once it is finished"))
    cells = "".join(
        f"<tr><td><b>{what}</b>&nbsp;&nbsp;</td><td>{html.escape(words)}</td></tr>"
        for what, words in rows
    )
    return f"<table>{cells}</table>"


def _title(head: str) -> str:
    """A head's name as its paper writes it, where it is also a method."""
    from napari_wsol.methods import get_method, list_methods

    return get_method(head).title if head in list_methods() else head


def _seeds(recipe: Recipe) -> str:
    seeds = recipe.seeds
    if seeds is None or seeds.seeder == "eigencam":
        end = seeds.foreground if seeds is not None else ""
        return f"seeds from Eigen-CAM, which uses no label; the {end} end is foreground"
    return f"seeds from the maps of “{seeds.model}” ({seeds.seeder})"
