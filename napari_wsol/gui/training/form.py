"""What a person fills in before a training: recipe, images, weights, name, seed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QSizePolicy

from napari_wsol.config import listed_settings
from napari_wsol.errors import WsolError
from napari_wsol.gui.widgets.elided import Choice
from napari_wsol.gui.widgets.forms import Fields, choose_path
from napari_wsol.gui.widgets.panel import (
    add_action,
    asked_path,
    held,
    menu_of,
    push_button,
    row,
    small,
)
from napari_wsol.training.published import SUFFIX, list_published, write_published
from napari_wsol.training.wish import Wish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtWidgets import QLineEdit, QMenu

    from napari_wsol.gui.training.recipes import Outlook
    from napari_wsol.methods.card import Card

RECIPE = "recipe.toml"
"""Name of the recipe in a model's folder."""

SETTINGS = listed_settings(Wish)


class TrainForm(Fields):
    """Says what is wanted."""

    copied = Signal(object)
    """Path of the person's own copy of a published recipe, which is chosen now."""

    failed = Signal(str)
    """Why there is no copy."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        recipe = SETTINGS["recipe"]
        self.recipe_box = Choice(recipe.tip)
        self.recipe_box.setPlaceholderText(recipe.option.empty)
        self.recipe_box.currentIndexChanged.connect(self.edited)
        recipe_button = small("…", "Take a recipe from a file.")
        recipe_button.clicked.connect(self._choose_recipe)
        self.paper_button = push_button(
            "From a paper",
            "Start from what the authors used: a copy that you edit is saved.",
        )
        self.paper_button.setMenu(self._papers())
        line = row(self.recipe_box, recipe_button, self.paper_button, stretch=0)
        self.add_row(recipe.option.label, held(line), "")
        for name, setting in SETTINGS.items():
            if name != "recipe":
                self.add(name, setting)
        self.show_values(seed=None)

    @property
    def wish(self) -> Wish:
        """What is filled in by now."""
        values = self.values
        values["name"] = values["name"].strip()
        return Wish(recipe=self.recipe_box.currentData(), **values)

    def show_recipes(self, cards: Iterable[Card]) -> None:
        """Offer the recipes of models; files that were chosen stay."""
        for card in cards:
            path = card.folder / RECIPE
            if path.is_file() and self._place_of(path) < 0:
                self.recipe_box.addItem(card.title, path)
                place = self.recipe_box.count() - 1
                self.recipe_box.setItemData(place, str(path), 3)  # its tooltip

    def choose_recipe(self, path: Path) -> None:
        """Take a recipe from a file."""
        if self._place_of(path) < 0:
            self.recipe_box.addItem(str(path), path)
        self.recipe_box.setCurrentIndex(self._place_of(path))

    def show_outlook(self, outlook: Outlook) -> None:
        """The name that it gets where none is given."""
        line = cast("QLineEdit", self.fields["name"].native)
        line.setPlaceholderText(outlook.name)

    def _place_of(self, path: Path) -> int:
        places = range(self.recipe_box.count())
        found = (x for x in places if self.recipe_box.itemData(x) == path)
        return next(found, -1)

    def _papers(self) -> QMenu:
        menu = menu_of(self)
        for item in list_published():
            tip = f"{item.summary}\n{item.citation}"
            add_action(menu, item.title, partial(self._copy, item.name), tip)
        return menu

    def _copy(self, name: str) -> None:
        """Save a published recipe where the person wants it, and choose it."""
        title, kinds = "Save your copy of the recipe", "Recipes (*.toml)"
        found = asked_path(self, title, f"{name}{SUFFIX}", kinds)
        if not found:
            return
        path = Path(found)
        path = path if path.suffix else path.with_suffix(SUFFIX)
        try:
            write_published(name, path)
        except WsolError as error:
            self.failed.emit(str(error))
            return
        self.choose_recipe(path)
        self.copied.emit(path)

    def _choose_recipe(self) -> None:
        kinds = SETTINGS["recipe"].option.files
        found = choose_path(self, "Choose a recipe", files=kinds)
        if found is not None:
            self.choose_recipe(found)
