"""What a person fills in before a training: recipe, images, weights, name, seed."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from napari_wsol.errors import WsolError
from napari_wsol.gui.localize.import_dialog import CHECKPOINTS
from napari_wsol.gui.training.recipes import Wish
from napari_wsol.gui.widgets.panel import Choice, small
from napari_wsol.training.published import SUFFIX, list_published, write_published

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsol.gui.training.recipes import Outlook
    from napari_wsol.methods.card import Card

RECIPE = "recipe.toml"
"""Name of the recipe in a model's folder."""

HIGHEST_SEED = 2**31 - 1


class PathField(QWidget):
    """A line for a path, and a button to look for it.

    Args:
        empty: what it means when nothing is given.
        tip: what it is for.
        files: kinds of files to look for; folders where it is empty.
    """

    changed = Signal()

    def __init__(self, empty: str, tip: str, files: str = "") -> None:
        super().__init__()
        self._files = files
        self.line = QLineEdit()
        self.line.setPlaceholderText(empty)
        self.line.setClearButtonEnabled(True)
        self.line.setToolTip(tip)
        self.line.textChanged.connect(self.changed)
        button = small(QPushButton("…"))
        button.setToolTip("Look for a file." if files else "Look for a folder.")
        button.clicked.connect(self._choose)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(button)

    @property
    def path(self) -> Path | None:
        """What is given; None for nothing."""
        text = self.line.text().strip()
        return Path(text).expanduser() if text else None

    def _choose(self) -> None:
        start = self.line.text()
        if self._files:
            found, _ = QFileDialog.getOpenFileName(
                self, "Choose a file", start, self._files
            )
        else:
            found = QFileDialog.getExistingDirectory(self, "Choose a folder", start)
        if found:
            self.line.setText(found)


class TrainForm(QWidget):
    """Says what is wanted."""

    changed = Signal()
    copied = Signal(object)
    """Path of the person's own copy of a published recipe, which is chosen now."""

    failed = Signal(str)
    """Why there is no copy."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.recipe_box = Choice()
        self.recipe_box.setPlaceholderText("choose…")
        self.recipe_box.setToolTip(
            "What is built and how it learns. Those of the installed models are "
            "offered; your own is a TOML file."
        )
        self.recipe_box.currentIndexChanged.connect(self.changed)
        self.recipe_button = small(QPushButton("…"))
        self.recipe_button.setToolTip("Take a recipe from a file.")
        self.recipe_button.clicked.connect(self._choose_recipe)
        self.paper_button = QPushButton("From a paper")
        self.paper_button.setToolTip(
            "Start from what the authors used: a copy that you edit is saved."
        )
        self.paper_button.setMenu(self._papers())
        self.data = PathField(
            "choose the folder with the images",
            "The folder that the recipe's paths start from. Only labels of whole "
            "images teach; masks are for measuring.",
        )
        self.init = PathField(
            "random weights",
            "Weights that the encoder starts from, for example of ImageNet. Few "
            "images teach much more on top of such weights.",
            f"Weights ({CHECKPOINTS});;All files (*)",
        )
        self.name_line = QLineEdit()
        self.name_line.setToolTip("How the new model is called; a folder of this name.")
        self.out = PathField(
            "your own models: it joins the list",
            "Where the finished model goes. Elsewhere it is not in the list.",
        )
        self.seed_box = QSpinBox()
        self.seed_box.setRange(-1, HIGHEST_SEED)
        self.seed_box.setValue(-1)
        self.seed_box.setSpecialValueText("as in the recipe")
        self.seed_box.setToolTip(
            "Of every random choice: the same seed gives the same model."
        )
        for field in (self.data, self.init, self.out):
            field.changed.connect(self.changed)
        self.name_line.textChanged.connect(self.changed)
        self.seed_box.valueChanged.connect(self.changed)
        self._lay_out()

    def _lay_out(self) -> None:
        recipe = QWidget()
        row = QHBoxLayout(recipe)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.recipe_box, 1)
        row.addWidget(self.recipe_button)
        row.addWidget(self.paper_button)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        grid.setHorizontalSpacing(10)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        rows = (
            ("Recipe", recipe),
            ("Images", self.data),
            ("Start from", self.init),
            ("Name", self.name_line),
            ("Goes to", self.out),
            ("Seed", self.seed_box),
        )
        for place, (words, field) in enumerate(rows):
            label = QLabel(words)
            label.setBuddy(field)
            grid.addWidget(label, place, 0)
            grid.addWidget(field, place, 1)

    @property
    def wish(self) -> Wish:
        """What is filled in by now."""
        seed = self.seed_box.value()
        return Wish(
            recipe=self.recipe_box.currentData(),
            data=self.data.path,
            init=self.init.path,
            out=self.out.path,
            name=self.name_line.text().strip(),
            seed=None if seed < 0 else seed,
        )

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
        self.name_line.setPlaceholderText(outlook.name)

    def _place_of(self, path: Path) -> int:
        places = range(self.recipe_box.count())
        found = (x for x in places if self.recipe_box.itemData(x) == path)
        return next(found, -1)

    def _papers(self) -> QMenu:
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        for item in list_published():
            action = menu.addAction(item.title)
            action.setToolTip(f"{item.summary}\n{item.citation}")
            action.triggered.connect(partial(self._copy, item.name))
        return menu

    def _copy(self, name: str) -> None:
        """Save a published recipe where the person wants it, and choose it."""
        found, _ = QFileDialog.getSaveFileName(
            self,
            "Save your copy of the recipe",
            f"{name}{SUFFIX}",
            "Recipes (*.toml)",
            options=QFileDialog.Option.DontConfirmOverwrite,  # nothing is overwritten
        )
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
        found, _ = QFileDialog.getOpenFileName(
            self, "Choose a recipe", "", "Recipes (*.toml);;All files (*)"
        )
        if found:
            self.choose_recipe(Path(found))
