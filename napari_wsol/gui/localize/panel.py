"""Localize: which model, which class, which methods — and go."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel

from napari_wsol.gui.compat import needed
from napari_wsol.gui.localize.importing import CHECKPOINTS
from napari_wsol.gui.localize.likeness import LikenessBox
from napari_wsol.gui.localize.methods import MethodList
from napari_wsol.gui.localize.models import CardDialog
from napari_wsol.gui.localize.slide_box import SlideBox
from napari_wsol.gui.widgets.elided import Choice, Words
from napari_wsol.gui.widgets.forms import choose_path
from napari_wsol.gui.widgets.job_bar import JobBar
from napari_wsol.gui.widgets.panel import (
    Panel,
    add_action,
    held,
    menu_of,
    push_button,
    put,
    row,
    small,
)
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from qtpy.QtWidgets import QMenu

    from napari_wsol.methods.card import Card

MOST_PROBABLE = "most probable"
LOCALIZE_TIP = (
    "Find where the image shows this class. The image is encoded once for all ticked "
    "methods. Key: Enter, while the mouse is over the image."
)
ADD_TIP = (
    "Add a model to the list: from its authors' files (.pt, .pth, .ckpt, .pkl, or a "
    "folder with one), or by training it on images of your own."
)
MAP_TIP = (
    "Show a map of this image that was made elsewhere; its layer takes it away. Or "
    "take the vectors of a slide's tiles (.h5), for models that weigh them."
)
MAPS = "Maps (*.tif *.tiff *.npy *.png *.jpg *.h5 *.csv *.tsv zarr.json .zattrs)"
VIEWS_TIP = (
    "Average over the flips of the image, or over its flips at three sizes: outlines "
    "follow what is there more closely. For images without an up and down, such as "
    "tissue. Strokes are learnt on the image as it is."
)
ONE_VIEW = (
    "One view: images that are read tile by tile, and those that wait for a model, "
    "cannot be averaged over views."
)
RELEASE_TIP = (
    "Give the memory of the graphics card back to other programs. Maps and strokes "
    "stay; the next job takes it again. After ten minutes without a job it happens by "
    "itself."
)
JOBS = (
    JobKind.OPEN,
    JobKind.USE,
    JobKind.LOCALIZE,
    JobKind.IMPORT_MODEL,
    JobKind.ESTIMATE,
)


class LocalizePanel(Panel):
    """Says what is wanted; the window does it."""

    model_chosen = Signal(str)
    device_chosen = Signal(str)
    import_wanted = Signal(object)
    """Path of a checkpoint or of its folder."""

    map_wanted = Signal(object)
    """Path of a map that was made elsewhere."""

    train_wanted = Signal()
    release_wanted = Signal()

    def __init__(self) -> None:
        self.localize_button = push_button("Localize  ⏎", LOCALIZE_TIP)
        self.job_bar = JobBar(JOBS, self.localize_button)
        tip = "Choose a model and see where it looks."
        super().__init__("Localize", tip, stays=self.job_bar)
        self._is_kept = False
        needed(self.toggleButton()).clicked.connect(self._on_hand)
        self._cards: dict[str, Card] = {}
        self.model_box = Choice("The model that reads the image.")
        self.model_box.activated.connect(self._on_model)
        self.card_button = small(
            "i", "What this model was made from, for what it is good, and its licence."
        )
        self.card_button.clicked.connect(self._show_card)
        self.add_button = push_button("Add…", ADD_TIP)
        self.add_button.setMenu(self._add_menu())
        # The dots say that more follows; an arrow would take room from the models.
        self.add_button.setStyleSheet(
            "QPushButton::menu-indicator { image: none; width: 0; }"
        )
        self.summary = Words(lines=2, keeps=True)
        self.class_box = Choice(
            "The class to look for. Once localized, each shows its probability for "
            "the whole image, the most probable first."
        )
        self.class_box.addItem(MOST_PROBABLE, None)
        self.method_list = MethodList()
        self.map_button = push_button("Add map…", MAP_TIP)
        self.map_button.clicked.connect(self._add_map)
        self._wanted_views = 1
        self.views_box = Choice(VIEWS_TIP)
        self.views_box.activated.connect(self._on_views)
        self.offer_views((1,))
        self.bag_words = Words(lines=2)
        self.bag_button = push_button("Do not use", "Read the slide's pixels again.")
        self.bag_row = held(row(self.bag_words, self.bag_button, stretch=0))
        self.bag_row.hide()
        self.slide_box = SlideBox()
        self.device_box = Choice("Where to compute: a graphics card is much faster.")
        self.device_box.activated.connect(self._on_device)
        self.release_button = push_button("Release", RELEASE_TIP)
        self.release_button.clicked.connect(self.release_wanted)
        self.likeness_box = LikenessBox()
        box = self.likeness_box
        box.import_button.clicked.connect(self._import_file)
        box.train_button.clicked.connect(self.train_wanted)
        about = row(self.summary, self.card_button, stretch=0)
        about.setAlignment(self.card_button, Qt.AlignmentFlag.AlignTop)
        put(
            self.rows,
            self._form(),
            about,
            self.likeness_box,
            self.method_list,
            row("Views", self.views_box, self.map_button, stretch=1, spacing=6),
            self.bag_row,
            self.slide_box,
        )
        for box in (self.model_box, self.class_box):
            box.currentIndexChanged.connect(self._summarize)

    def _form(self) -> QGridLayout:
        form = QGridLayout()
        form.setColumnStretch(1, 1)
        self._device_label = QLabel("Device")
        for place, (label, box) in enumerate(
            (
                (QLabel("Model"), self.model_box),
                (QLabel("Class"), self.class_box),
                (self._device_label, self.device_box),
            )
        ):
            form.addWidget(label, place, 0)
            form.addWidget(box, place, 1, 1, 2 if box is self.class_box else 1)
        form.addWidget(self.add_button, 0, 2)
        form.addWidget(self.release_button, 2, 2)
        self.show_devices((), "auto")
        return form

    def _add_menu(self) -> QMenu:
        menu = menu_of(self)
        folder = partial(self._import, "Import a folder", "")
        tip = "A folder with weights and what describes them."
        add_action(menu, "Import a file…", self._import_file, "One checkpoint file.")
        add_action(menu, "Import a folder…", folder, tip)
        menu.addSeparator()
        tip = "Make a model out of labelled images, in the background."
        add_action(menu, "Train…", self.train_wanted.emit, tip)
        return menu

    def fold(self) -> None:
        """It is done; whoever has opened the panel again by hand keeps it open."""
        if not self._is_kept:
            self.collapse(animate=False)

    def _on_hand(self) -> None:
        self._is_kept = self.isExpanded()

    def _summarize(self) -> None:
        """What is chosen, beside the title."""
        target = self.class_box.currentText().rpartition(": ")[2]
        chosen = (" ".join(target.split()), self.model_box.currentText())
        self.summarize(" · ".join(filter(None, chosen)))

    @property
    def card(self) -> Card | None:
        """The chosen model's card."""
        return self._cards.get(self.model_box.currentData() or "")

    @property
    def target(self) -> str | None:
        """The class that was picked for this image; None for the most probable."""
        return self.class_box.currentData()

    @property
    def views(self) -> int:
        """Of how many views the average is wanted, where it can be taken."""
        return self.views_box.currentData()

    def offer_views(self, counts: Sequence[int]) -> None:
        """The numbers of views that can be averaged; what was chosen comes again."""
        items = [
            (f"average of {count} views, {count} × slower", count)
            for count in counts
            if count > 1
        ]
        self.views_box.offer([("one", 1), *items], self._wanted_views)
        self.views_box.setEnabled(bool(items))
        self.views_box.setToolTip(VIEWS_TIP if items else ONE_VIEW)

    def show_models(self, cards: Iterable[Card], chosen: str | None = None) -> None:
        """Fill the list of models; the first one is taken unless one is named."""
        self._cards = {card.name: card for card in cards}
        self.model_box.clear()
        for card in self._cards.values():
            self.model_box.addItem(card.title, card.name)
            last = self.model_box.count() - 1
            self.model_box.setItemData(last, card.summary, 3)
        if not self._cards:
            self.summary.setText(
                "No model is installed. Add one, or put a model folder into your "
                "models folder; “napari-wsol models list” tells where it is."
            )
        if chosen in self._cards:
            self.model_box.setCurrentIndex(self.model_box.findData(chosen))
        self._show_summary()

    def forget_classes(self, classes: Sequence[str]) -> None:
        """Another image or model: nothing is known or picked yet."""
        items = [(name, name) for name in classes]
        self.class_box.offer([(MOST_PROBABLE, None), *items])

    def show_scores(self, scores: Mapping[str, float], target: str) -> None:
        """The classes with their probabilities, the most probable first.

        What the person has picked stays; maps of another class than the most probable
        were asked for by its name.

        Args:
            scores: probability of each class for the whole image.
            target: the class that the maps are of.
        """
        ranked = sorted(scores, key=lambda name: -scores[name])
        best = f"{MOST_PROBABLE}: {ranked[0]}  {scores[ranked[0]]:.2f}"
        items = [(f"{name}  {scores[name]:.2f}", name) for name in ranked]
        chosen = self.target or (target if target != ranked[0] else None)
        self.class_box.offer([(best, None), *items], chosen)

    def show_devices(self, devices: Sequence[tuple[str, str]], chosen: str) -> None:
        """(title, name) of each; the row hides when there is nothing to choose."""
        if chosen not in ("auto", *(name for _, name in devices)):  # preferred
            devices = [*devices, (chosen, chosen)]
        self.device_box.offer(devices, chosen)
        for widget in (self._device_label, self.device_box, self.release_button):
            widget.setVisible(len(devices) > 1)

    def set_ready(self, ready: bool, reason: str) -> None:
        """Whether Localize can be pressed, and if not, why."""
        self.localize_button.setEnabled(ready)
        self.localize_button.setToolTip(LOCALIZE_TIP if ready else reason)

    def _show_summary(self) -> None:
        if self.card is not None:
            # One line here; the rest is a hover or the ⓘ button away.
            self.summary.setText(self.card.purpose)
            self.summary.setToolTip(self.card.summary)
            self.model_box.setToolTip(f"{self.card.title}: the model in use.")
        self.card_button.setEnabled(self.card is not None)

    def _on_model(self) -> None:
        self._show_summary()
        if self.card is not None:
            self.model_chosen.emit(self.card.name)

    def _import_file(self) -> None:
        self._import("Import a checkpoint", CHECKPOINTS)

    def _import(self, title: str, files: str) -> None:
        path = choose_path(self, title, files=files)
        if path is not None:
            self.import_wanted.emit(path)

    def _add_map(self) -> None:
        path = choose_path(self, "Add a map", files=MAPS)
        if path is not None:
            self.map_wanted.emit(path)

    def _on_views(self) -> None:
        self._wanted_views = self.views

    def _on_device(self) -> None:
        self.device_chosen.emit(self.device_box.currentData() or "auto")

    def _show_card(self) -> None:
        if self.card is not None:
            CardDialog(self.card, self).exec()
