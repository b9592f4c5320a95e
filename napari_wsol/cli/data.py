"""What the data is, said first: a fault in a table is told before torch is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from napari_wsol.cli.console import errors
from napari_wsol.data.datasets import load_images
from napari_wsol.data.published import is_published, named_split
from napari_wsol.errors import MalformedError
from napari_wsol.files.parsing import parse_toml, read_text, typed
from napari_wsol.paths import bundled_folder, models_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class _Part(Struct):
    """What recipe or card say of the data; their own readers need torch."""

    train: str = ""
    validation: tuple[str, ...] = ()
    localization: str = ""
    classification: str = ""
    classes: tuple[str, ...] = ()
    multi_label: bool = False


def tell_recipe_data(recipe: Path, data: Path, splits: Sequence[str] = ()) -> None:
    """Reads the splits that a recipe names, or others; says which data set they are of.

    What is wrong with the recipe, or is not there, is told by who reads it.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    own, model = _part(recipe, "data"), _part(recipe, "model")
    every = (own.train, *own.validation, own.localization, own.classification)
    named = [x for x in every if x and ((data / x).exists() or is_published(data))]
    places = [(data, x) for x in splits] or [named_split(data, x) for x in named]
    _tell(places, own.classes, model.multi_label)


def tell_model_data(model: str, data: Path, splits: Sequence[str] | None) -> None:
    """The same for a model: its card names the classes, without the model being built.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    for folder in (Path(model), bundled_folder() / model, models_folder() / model):
        own = _part(folder / "card.toml", "spec")
        if own.classes:
            places = [(data, name) for name in splits or (None,)]
            return _tell(places, own.classes, own.multi_label)
    return None


def _part(path: Path, key: str) -> _Part:
    try:
        return typed(parse_toml(read_text(path)).get(key, {}), _Part)
    except (OSError, MalformedError):
        return _Part()


def _tell(
    places: Iterable[tuple[Path, str | None]],
    classes: Sequence[str],
    multi_label: bool,
) -> None:
    is_multi = multi_label or None  # single labels are demanded by who needs them
    for place, split in dict.fromkeys(places) if classes else ():
        said = load_images(place, split, classes=classes, multi_label=is_multi).said
        if said:
            errors.print(f"{split}: {said}" if split else said)
