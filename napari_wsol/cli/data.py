"""What the data is, said first: a fault in a table is told before torch is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from napari_wsol.cli.console import errors
from napari_wsol.data.datasets import labels_of, load_images
from napari_wsol.data.published import is_published, named_split, recognised
from napari_wsol.data.published.camelyon import FOLDS
from napari_wsol.errors import MalformedError
from napari_wsol.files.parsing import parse_toml, read_text, typed
from napari_wsol.paths import bundled_folder, models_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_T = TypeVar("_T")


def tell_data(
    places: Iterable[tuple[Path, str | None]],
    classes: Sequence[str] | None,
    *,
    multi_label: bool | None,
) -> None:
    """Reads lists of images and labels, and says which published data set they are of.

    Args:
        places: folder or table, and name of the split where one is chosen there.
        classes: those that are wanted; None where that is not known yet.
        multi_label: whether an image may have none or several of them.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    for place, split in dict.fromkeys(places):
        found = recognised(place, split, folds=True)
        if found is not None:
            errors.print(f"{split}: {found.said()}" if split else found.said())
        if found is not None and found.layout is not FOLDS:
            labels_of(found, classes, multi_label)
        elif classes is not None:
            load_images(place, split, classes=classes, multi_label=multi_label)


def tell_recipe_data(recipe: Path, data: Path, splits: Sequence[str] = ()) -> None:
    """The same for the splits that a recipe names, or for others of the data.

    What is wrong with the recipe, or is not there, is told by who reads it.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    own, spec = _part(recipe, "data", _Data), _part(recipe, "model", _Spec)
    every = (own.train, *own.validation, own.localization, own.classification)
    named = [named_split(data, name) for name in every if name]
    places = [(data, name) for name in splits] or [
        (place, split)
        for place, split in named
        if place.exists() and (split is None or is_published(place))
    ]
    tell_data(places, own.classes, multi_label=spec.multi_label)


def tell_model_data(model: str, data: Path, splits: Sequence[str] | None) -> None:
    """The same for a model: its card names the classes, without the model being built.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    folders = (Path(model), bundled_folder() / model, models_folder() / model)
    cards = (folder / "card.toml" for folder in folders)
    card = next((path for path in cards if path.is_file()), None)
    spec = _part(card, "spec", _Spec)
    places = [(data, name) for name in splits or (None,)]
    tell_data(places, spec.classes, multi_label=spec.multi_label or None)


class _Data(Struct):
    """What a recipe says of the data; see training/recipe.py, which loads torch."""

    train: str = ""
    validation: tuple[str, ...] = ()
    localization: str = ""
    classification: str = ""
    classes: tuple[str, ...] | None = None


class _Spec(Struct):
    classes: tuple[str, ...] | None = None
    multi_label: bool = False


def _part(path: Path | None, key: str, kind: type[_T]) -> _T:
    """A table of a TOML file; an empty one where it cannot be read."""
    try:
        return typed(parse_toml(read_text(path)).get(key, {}), kind) if path else kind()
    except (OSError, MalformedError):
        return kind()
