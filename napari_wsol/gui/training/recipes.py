"""What a training would be, in words, and what stands in its way.

Reading a recipe imports torch, and folders may be far away, so all of it is asked for
on a thread of its own.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import ConfigError, WsolError
from napari_wsol.files import unwritable
from napari_wsol.paths import trainings_folder

if TYPE_CHECKING:
    from napari_wsol.training.config import TrainConfig
    from napari_wsol.training.recipe import Recipe
    from napari_wsol.training.wish import Wish


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What would come of a wish.

    Attributes:
        wish: what was asked about.
        summary: the recipe in words, as rich text; empty if it cannot be read.
        name: of the new model.
        trouble: what has to be done before it can start; empty for nothing.
        unfinished: whether an earlier training left a checkpoint there.
        folder: where the checkpoint and its log are.
        history: losses and accuracy of each step of the earlier training.
        evaluations: its evaluations: steps done, values, whether it was the best.
        steps: of the whole training, as far as it is known before the images are.
        evaluates: whether it is measured on the way.
        select: by which of these values weights are chosen, or "last".
        by_loss: whether the loss on other images counts.
    """

    wish: Wish
    summary: str = ""
    name: str = ""
    trouble: str = ""
    unfinished: bool = False
    folder: Path = Path()
    history: tuple[tuple[dict[str, float], float | None], ...] = ()
    evaluations: tuple[tuple[int, dict[str, float], bool], ...] = ()
    steps: int = 0
    evaluates: bool = False
    select: str = "last"
    by_loss: bool = False


def look_ahead(wish: Wish) -> Outlook:
    """Read the recipe and look whether all is there; changes nothing."""
    if wish.recipe is None:
        return Outlook(wish=wish, trouble="Choose a recipe.")
    from napari_wsol.training.recipe import read_recipe
    from napari_wsol.training.run import CHECKPOINT, LOG, read_log

    try:
        recipe = read_recipe(wish.recipe)
    except WsolError as error:
        return Outlook(wish=wish, trouble=str(error))
    name = wish.name or _free_name(recipe.name, wish.out)
    folder = wish.out or trainings_folder() / name
    unfinished = (folder / CHECKPOINT).is_file()
    log = read_log(folder / LOG) if unfinished else []
    how = recipe.train
    return Outlook(
        wish=wish,
        summary=in_words(recipe),
        name=name,
        trouble=_trouble(recipe, wish, name),
        unfinished=unfinished,
        folder=folder,
        history=tuple((x.losses, x.accuracy) for x in log if x.losses is not None),
        evaluations=tuple(
            (x.step, x.evaluation, x.best) for x in log if x.evaluation is not None
        ),
        steps=0 if how.epochs else how.steps,
        evaluates=how.evaluates,
        select=how.select,
        by_loss="loss" in (how.select, how.schedule == "plateau" and how.plateau_by),
    )


def discard(outlook: Outlook, wish: Wish) -> Outlook:
    """Throw an unfinished training away, and look ahead again.

    Raises:
        ExportError: its files cannot be removed.
    """
    from napari_wsol.training.run import CHECKPOINT, LOG

    with unwritable(f"The unfinished training in {outlook.folder} stays", "."):
        for name in (CHECKPOINT, LOG):
            (outlook.folder / name).unlink(missing_ok=True)
    return look_ahead(wish)


def _free_name(name: str, out: Path | None) -> str:
    from napari_wsol.training.job import is_taken
    from napari_wsol.zoo import next_name

    while is_taken(name, out):
        name = next_name(name)
    return name


def _trouble(recipe: Recipe, wish: Wish, name: str) -> str:
    """The first thing that has to be put right."""
    from napari_wsol.training.job import check_name
    from napari_wsol.training.recipe import check_splits
    from napari_wsol.zoo import find_card

    try:
        check_name(name, wish.out)
    except ConfigError as error:
        return str(error)
    if wish.data is None:
        return f"Choose the folder with the images: “{recipe.data.train}” lies in it."
    try:
        check_splits(recipe, wish.data)
        if recipe.seeds is not None and recipe.seeds.model:
            find_card(recipe.seeds.model)
    except WsolError as error:
        return str(error)
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
            f"{_length(how)} of {how.batch} images of {how.crop} × {how.crop} "
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


def _length(how: TrainConfig) -> str:
    """How long it trains, before “of so many images”."""
    return f"{how.epochs} epochs in batches" if how.epochs else f"{how.steps} steps"


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
