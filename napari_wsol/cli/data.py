"""What the data is, said first: a fault in a table is told before torch is loaded."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from napari_wsol.cli.console import note
from napari_wsol.data.datasets import load_images
from napari_wsol.data.published import is_published, named_split
from napari_wsol.errors import ConfigError, DatasetError, MalformedError
from napari_wsol.files.parsing import parse_toml, read_text, typed
from napari_wsol.paths import CARD, bundled_folder, models_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class _Part(Struct):
    """What recipe or card say of the data; their own readers need torch."""

    train: str = ""
    validation: tuple[str, ...] = ()
    localization: str = ""
    classification: str = ""
    features: str = ""
    classes: tuple[str, ...] = ()
    multi_label: bool = False


def tell_recipe_data(recipe: Path, data: Path, splits: Sequence[str] = ()) -> None:
    """Reads the splits that a recipe names, or others; says which data set they are of.

    What is wrong with the entries of a recipe is told by who reads it.

    Raises:
        ConfigError: the recipe is no TOML file.
        DatasetError: names the first line that cannot be used.
    """
    try:
        values = parse_toml(read_text(recipe))
    except (OSError, MalformedError) as error:
        raise ConfigError(f"The recipe {recipe} cannot be read: {error}.") from error
    check_there(data)
    own, is_multi = _part(values, "data"), _part(values, "model").multi_label
    every = (own.train, *own.validation, own.localization, own.classification)
    named = [x for x in every if x and ((data / x).exists() or is_published(data))]
    places = [(data, x) for x in splits] or [named_split(data, x) for x in named]
    _tell(places, own, is_multi, data / own.features if own.features else None)


def tell_model_data(model: str, data: Path, splits: Sequence[str] | None) -> None:
    """The same for a model, whose card names the classes; it is not built."""
    check_there(data)
    own = _Part()
    for folder in (Path(model), bundled_folder() / model, models_folder() / model):
        with suppress(OSError, MalformedError):
            own = _part(parse_toml(read_text(folder / CARD)), "spec")
            break
    _tell([(data, x) for x in splits or (None,)], own, own.multi_label)


def check_there(data: Path) -> None:
    """Refuses data that is not there.

    Raises:
        DatasetError: names it.
    """
    if not data.exists():
        raise DatasetError(f"There is no folder or table {data}.")


def _part(values: Mapping[str, object], key: str) -> _Part:
    try:
        return typed(values.get(key, {}), _Part)
    except MalformedError:
        return _Part()


def _tell(
    places: Sequence[tuple[Path, str | None]],
    own: _Part,
    is_multi: bool,
    bags: Path | None = None,
) -> None:
    wanted, multi = own.classes, is_multi or None  # single: demanded by who needs it
    for place, split in dict.fromkeys(places) if wanted else ():
        found = load_images(
            place, split, classes=wanted, multi_label=multi, features=bags
        )
        if found.said:
            note(f"{split}: {found.said}" if split else found.said)
