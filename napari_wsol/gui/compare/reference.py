"""The reference: chosen among layers and files, and what it says of each map."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog
from superqt.utils import signals_blocked

from napari_wsol.gui.compare.scores import Row, ScoresWindow
from napari_wsol.gui.layers.marks import role_of
from napari_wsol.gui.layers.placement import TRANSFORMS
from napari_wsol.gui.layers.reference import is_possible, place_of, read_layer
from napari_wsol.gui.tasks import once
from napari_wsol.strokes.classes import MEANINGS, UnclearClassesError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Layer

    from napari_wsol.gui.compare.panel import ComparePanel
    from napari_wsol.gui.context import Context
    from napari_wsol.gui.widgets.choosing import Chooser

FILE, SOON_MS = "File…", 200
KINDS = "Masks and annotations (*.png *.tif *.tiff *.bmp *.geojson *.json *.xml *.gz)"
EDITS = ("labels_update", "set_data", "data", "name", *TRANSFORMS)
"""Events of a layer after which it may be another reference; napari tells of what was
taken back, and of panning over large data, as ``set_data`` alone."""


class ReferenceController(QObject):
    """What maps are compared with, and the figures of each.

    Args:
        context: of the dock.
        panel: where it is chosen and shown.
        chooser: asks what classes of annotations mean.
    """

    def __init__(self, context: Context, panel: ComparePanel, chooser: Chooser) -> None:
        super().__init__(context.dock)
        self._context, self._panel, self._chooser = context, panel, chooser
        self._session, self._layers = context.session, context.layers
        self._layer: Layer | None = None
        self._read: dict[str, Any] = {}  # what it was when it was read last
        self._edited = once(self, SOON_MS, self._read_layer)
        self._changed = once(self, SOON_MS, self._measure)
        self.scores = ScoresWindow(context.dock)
        for end in (self._edited.stop, self._changed.stop):
            context.at_parting(end)
        self._connect()

    def _connect(self) -> None:
        panel, layers, events = self._panel, self._layers, self._context.events
        panel.reference_box.activated.connect(self._on_chosen)
        panel.scores_button.clicked.connect(self.scores.show)
        panel.scores_button.clicked.connect(self._show)
        panel.best_first.clicked.connect(self._put_best_first)
        panel.method_box.currentIndexChanged.connect(self._show)
        self.scores.score_button.clicked.connect(self._score)
        layers.image_changed.connect(self._on_image)
        events.reference_changed.connect(self._on_reference)
        layers.values_changed.connect(self._changed.start)
        for changed in (events.figures_changed, layers.cuts_changed):
            changed.connect(self._show)
        listed = self._context.viewer.layers.events
        for changed in (listed.inserted, listed.removed, listed.renamed):
            changed.connect(self._offer)
            self._context.at_parting(partial(changed.disconnect, self._offer))
        self._context.at_parting(partial(self._follow, None))
        self._offer()

    # ----------------------------------------------------------------------- choosing

    def _offer(self) -> None:
        """List what there is to choose from."""
        every, reference = self._context.viewer.layers, self._session.reference
        layers = [x for x in every if is_possible(x) and role_of(x) is None]
        if self._layer not in (None, *layers):
            self._context.messages.say("")
            self._follow(None)
        items: list[tuple[str, object]] = [("none", None)]
        items += [(layer.name, layer) for layer in layers]
        if reference is not None and self._layer is None:
            items.append((reference.name, reference))
        values = [value for _, value in items]
        box, chosen = self._panel.reference_box, self._layer or reference
        with signals_blocked(box):
            box.offer([*items, (FILE, FILE)])
            box.setCurrentIndex(values.index(chosen) if chosen in values else 0)

    def _on_chosen(self, place: int) -> None:
        value = self._panel.reference_box.itemData(place)
        self._context.messages.say("")  # why the one before failed
        if self._layers.image is None:
            self._context.messages.warn("Open an image first, then its reference.")
        elif value == FILE:
            path, _ = QFileDialog.getOpenFileName(self._panel, "Reference", "", KINDS)
            if path:
                self.load(Path(path))
        elif value is None:
            self._follow(None)
            self._session.clear_reference()
        elif is_possible(value):
            self.compare_with(value)
        self._offer()

    def compare_with(self, layer: Layer) -> None:
        """Take a layer of the person's own; an image is open."""
        self._follow(layer)
        self._read_layer()
        self._offer()

    def load(self, path: Path, classes: Mapping[str, int] | None = None) -> None:
        """Take a file; what its classes mean is asked where they do not tell."""

        def on_failed(error: BaseException) -> None:
            if isinstance(error, UnclearClassesError):
                words = f"What do the classes of “{path.name}” mean?"
                self._chooser.ask("Reference", words, error.questions, again)

        def again(answers: Mapping[str, str]) -> None:
            self.load(path, {name: MEANINGS[x] for name, x in answers.items()})

        self._follow(None)
        future = self._session.set_reference(path, classes=classes)
        self._context.tasks.follow(future, lambda _: None, on_failed, kind="reference")

    def _follow(self, layer: Layer | None) -> None:
        """What is drawn in this layer, if any, is the reference from now on."""
        for one, wanted in ((self._layer, False), (layer, True)):
            emitters = (getattr(one.events, x, None) for x in EDITS) if one else ()
            for emitter in filter(None, emitters):
                (emitter.connect if wanted else emitter.disconnect)(self._on_edit)
        self._layer, self._read = layer, {}
        self._edited.stop()
        self._context.tasks.forget("reference")

    def _on_edit(self) -> None:
        self._edited.start()

    def _read_layer(self) -> None:
        layer, image, slide = self._layer, self._layers.image, self._session.slide
        if layer is None or image is None or slide is None:
            return
        question = partial(read_layer, layer, place_of(layer, image), slide.shape)

        def take(found: dict[str, Any]) -> None:
            found["name"], before = layer.name, self._read
            if slide is not self._session.slide:
                return
            if found.keys() != before.keys() or not all(
                np.array_equal(found[x], before[x]) for x in found
            ):
                self._context.messages.say("")
                self._read = found
                self._session.set_reference(**found)

        self._context.tasks.ask(question, take, kind="reference")

    def _on_image(self) -> None:
        """What is drawn in a layer is the reference of one image alone."""
        if self._session.reference is None:
            self._follow(None)
        self._on_reference()

    # ------------------------------------------------------------------------ figures

    def _on_reference(self) -> None:
        self._layers.outline.show(self._session.reference)
        self._layers.show_marks()
        self._offer()
        self._measure()
        self._show()

    def _measure(self) -> None:
        """Figures of maps that have none yet, off this thread."""
        self._context.tasks.ask(self._session.figures, lambda _: None, kind="figures")

    def _show(self) -> None:
        """The figures that there are, at the cuts as they are now."""
        figures, reference = self._session.figures(wait=False), self._session.reference
        self._panel.best_first.setEnabled(bool(figures))
        layers, titles = self._layers, dict(self._layers.titles)
        cuts, priors = layers.every_cut, {}
        if reference is not None:
            from napari_wsol.evaluation.benchmark.baselines import (
                TITLES,  # torch is there
            )

            priors = {key: TITLES[key] for key in reference.priors}
        rows = [
            Row(title, figures.get(key), cuts.get(key, 1.0), key in priors)
            for key, title in {**titles, **priors}.items()
        ]
        self._panel.probe.show_scores(rows)
        if self.scores.isVisible():
            chosen = titles.get(self._panel.method_box.method or "", "")
            self.scores.show_rows(rows if reference else [], chosen)

    def _put_best_first(self) -> None:
        figures = self._session.figures(wait=False).items()
        scores = {key: one.headline[1] for key, one in figures}
        self._layers.set_order(sorted(scores, key=lambda key: -scores[key]))

    def _score(self) -> None:
        """Figures over the list, of the methods whose maps are shown."""
        result = self._session.result
        methods = None if result is None else list(result.heatmaps)
        future = self._session.score(methods)
        self._context.tasks.follow(future, self.scores.show_report, kind="score")
