"""Joins image, model and strokes to the session: clicks in, changes out."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal

from napari_wsol.errors import UnansweredError
from napari_wsol.gui.compare.controller import Comparison
from napari_wsol.gui.correct.proposals import WhereNext
from napari_wsol.gui.correct.rounds_controller import RoundsDesk
from napari_wsol.gui.correct.save_model import SaveModelDesk
from napari_wsol.gui.correct.strokes import StrokeDesk
from napari_wsol.gui.export.panel import short_names
from napari_wsol.gui.images.list_controller import ListDesk
from napari_wsol.gui.images.pixel_size import PixelSize
from napari_wsol.gui.images.samples import add_sample
from napari_wsol.gui.layers.marks import source_of
from napari_wsol.gui.localize.importing import Importer
from napari_wsol.gui.localize.slides import SlideDesk
from napari_wsol.gui.training.controller import TrainingDesk
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from napari.layers import Image

    from napari_wsol.gui.dock import WsolWidget
    from napari_wsol.gui.localize.models import Catalogue
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import JobStatus
    from napari_wsol.methods.card import Card


class Desk(QObject):
    """Knows what may be pressed, and what follows when it is."""

    catalogue_wanted = Signal()
    """The list of models has to be read anew."""

    _opened = Signal(object, object)

    def __init__(self, window: WsolWidget) -> None:
        super().__init__(window)
        self._window = window
        self._session = window.session
        self._stage = window.stage
        self._catalogue: Catalogue | None = None
        self._model: str | None = None
        self._opening: Future[Slide] | None = None
        self._closed = False
        self._was_stopped = False
        self._is_eager = False
        self._last_state: tuple[int, str] | None = None
        self._imported: str | None = None
        self._waiting: dict[str, Future] = {}
        self.slides = SlideDesk(window)
        self.strokes = StrokeDesk(window)
        self.rounds = RoundsDesk(window)
        self.pixel_size = PixelSize(window)
        self.where_next = WhereNext(window)
        self.comparison = Comparison(window)
        self.importer = Importer(self._session.import_model, window)
        self.training = TrainingDesk(window)
        self.lists = ListDesk(window)
        self.saving = SaveModelDesk(window)
        self._connect_panels()
        self._connect_session()
        self._update()

    def close(self) -> None:
        """Do nothing any more."""
        self._closed = True
        self.slides.close()
        self.strokes.close()
        self.rounds.close()
        self.comparison.close()
        self.where_next.close()
        self.importer.close()
        self.training.close()
        self.lists.close()
        self.saving.close()

    def _connect_panels(self) -> None:
        window, strokes = self._window, self._stage.strokes
        window.image_line.image_chosen.connect(self._on_image)
        window.image_line.sample_wanted.connect(self.open_sample)
        localize, correct = window.localize_panel, window.correct_panel
        localize.wanted.connect(self.localize)
        localize.model_chosen.connect(self.use_model)
        localize.device_chosen.connect(self._on_device)
        localize.import_wanted.connect(self.importer.start)
        localize.train_wanted.connect(self.training.open)
        self.importer.imported.connect(self._on_imported)
        self.training.trained.connect(self._on_trained)
        self.training.use_wanted.connect(self.prefer_model)
        self.saving.saved.connect(self.catalogue_wanted)
        correct.tool_wanted.connect(strokes.choose)
        correct.brush_wanted.connect(strokes.brush.choose)
        correct.refine_wanted.connect(self.refine)
        strokes.tool_changed.connect(self._on_tool)
        strokes.brush.changed.connect(correct.show_brush)
        self._panels = (localize, correct, window.export_panel)
        for panel in self._panels:
            panel.job_bar.cancelled.connect(self.cancel)
        parts = (self.slides, self.pixel_size, self.rounds, self.strokes)
        parts += (self.lists, self.saving)
        for part in (self.comparison, *parts):
            part.failed.connect(self.warn)
        for part in parts:
            part.said.connect(self._say)
        self.where_next.failed.connect(self.warn)
        self.where_next.said.connect(self._say)
        self.pixel_size.changed.connect(self.comparison.list_regions)
        self._opened.connect(self._on_opened)

    def _connect_session(self) -> None:
        events = self._window.events
        events.model_changed.connect(self._on_model)
        events.localized.connect(self._on_localized)
        events.heatmap_changed.connect(self.comparison.show_heatmap)
        events.scribbles_changed.connect(self._on_scribbles)
        events.exported.connect(self._on_exported)
        events.job_changed.connect(self._on_job)

    # ------------------------------------------------------------------------ verbs

    def localize(self) -> None:
        """Run the ticked methods on the chosen image."""
        panel = self._window.localize_panel
        methods = panel.method_list.keys(self._stage.evidence.pairs)
        untold = "" if methods else "Tick at least one method."
        reason = self._why_not() or untold or self.slides.prepare()
        if reason:
            self.warn(reason)
            return
        self._say("")
        self._stage.evidence.begin()
        target = self.slides.target(panel.target)
        self._waiting["localize"] = self._session.localize(methods, target)

    def refine(self) -> None:
        """One round with the strokes as they are now."""
        if self._session.result is None:
            self.warn("Localize first, then refine what it found.")
            return
        self._stage.strokes.flush()
        self._say("")
        self.rounds.begin()
        self._waiting["refine"] = self._session.finetune()

    def cancel(self) -> None:
        """Stop the running job; a training only from its own dialog."""
        if self.training.holds_others_up:
            self._take_back()
            return
        self._was_stopped = True
        self._session.cancel()

    def use_model(self, name: str) -> None:
        """Load a model of the list."""
        self._model = name
        self._show_methods()
        self._session.use(name)
        self._update()

    def prefer_model(self, name: str) -> None:
        """Take this model rather than the first of the list."""
        self._model = name
        if self._catalogue is not None:
            self.show_catalogue(self._catalogue)

    def localize_when_ready(self) -> None:
        """Press Localize as soon as it can be pressed."""
        self._is_eager = True
        self._update()

    def choose_tool(self, tool: str) -> None:
        """Take a brush, by key."""
        if self._stage.image is not None:
            self._stage.strokes.choose(tool)

    def open_sample(self) -> None:
        """Put the sample image into the viewer."""
        add_sample(self._window.napari_viewer)

    def show_catalogue(self, catalogue: Catalogue) -> None:
        """Models, methods and devices are known now."""
        self._catalogue = catalogue
        panel = self._window.localize_panel
        panel.show_models(catalogue.cards, self._model)
        panel.show_devices(catalogue.devices)
        self.training.show_models(catalogue.cards)
        if self._model is not None and self._model != getattr(panel.card, "name", ""):
            self.warn(f"There is no model “{self._model}”; choose one of the list.")
        if panel.card is not None:
            if getattr(self._session.model, "card", None) != panel.card:
                # Loading it again would take maps and rounds away.
                self.use_model(panel.card.name)
            if panel.card.name == self._imported:
                self._say(
                    f"Imported “{panel.card.title}”. It is chosen now, and stays in "
                    "the list of models."
                )
        self._imported = None
        self._update()

    def warn(self, sentence: str) -> None:
        """Tell what went wrong and what to do, in the dock and as a notification."""
        self._window.message.warn(sentence)
        show_warning(sentence)

    # ---------------------------------------------------------------- image and model

    def _on_image(self, layer: Image | None) -> None:
        if layer is None:
            self._opening = None
            self._stage.leave_image()
            self._window.image_line.show_nothing()
            self._update()
            return
        if self._stage.image not in (None, *self._window.napari_viewer.layers):
            # At once, before anything is drawn: Mesa crashes where napari draws maps
            # whose image is gone, and takes them away later.
            self._stage.leave_image()
        self._stage.strokes.flush()  # to the image that is left
        source, options = source_of(layer)
        future = self._opening = self._session.open(source, **options)
        future.add_done_callback(lambda done: self._tell_opened(layer, done))

    def _tell_opened(self, layer: Image, done: Future[Slide]) -> None:
        """Called on the worker's thread."""
        if not self._closed and not done.cancelled():
            self._opened.emit(layer, done)

    def _on_opened(self, layer: Image, done: Future[Slide]) -> None:
        window = self._window
        if self._closed or done is not self._opening:
            return  # another image was chosen meanwhile
        if done.exception() is not None:
            # The sentence comes with the failed job; here only the choice goes back.
            window.image_line.go_back_to(self._stage.image)
        elif done.result() is self._session.slide:
            self._say("")
            self._stage.work_on(layer)
            self.pixel_size.show()
            self.comparison.drop_results()
            self._on_scribbles()
        self._update()

    def _on_device(self, name: str) -> None:
        self._session.config = replace(self._session.config, device=name)
        if self._model is not None:
            self._session.use(self._model)

    def _on_imported(self, card: Card) -> None:
        self._model = self._imported = card.name
        self.catalogue_wanted.emit()

    def _on_trained(self, card: Card) -> None:
        self._say(f"“{card.title}” is trained, and in the list of models.")
        self.catalogue_wanted.emit()

    def _on_model(self) -> None:
        model = self._session.model
        if model is not None:
            self._window.localize_panel.show_classes(model.classes, None, None)
            self._show_methods()
            self.comparison.drop_results()
            self._update()

    def _show_methods(self) -> None:
        """What the model can be read out with; of the rest, why not."""
        model, panel = self._session.model, self._window.localize_panel
        if self._catalogue is None or panel.card is None:
            return
        methods = self._catalogue.methods
        primary = panel.card.primary
        own = sorted(panel.card.methods, key=lambda name: name != primary)
        if model is None or model.card != panel.card:
            # Until it is loaded nothing is known but its card.
            known = [item for item in methods if item.name in own]
            panel.method_list.show_methods(known, own, {})
            return
        from napari_wsol.methods import unavailable  # torch is there by now

        reasons = {item.name: unavailable(model, item.name) for item in methods}
        panel.method_list.show_layers(model.encoder.readable_layers)
        panel.method_list.show_methods(
            methods, own, {name: why for name, why in reasons.items() if why}
        )

    # ---------------------------------------------------------------- results, strokes

    def _on_localized(self) -> None:
        if self._session.result is None or self._stage.image is None:
            return
        self.comparison.show_results()
        if not self.slides.is_running:  # else every two seconds
            self._tell_result()
        self._update()

    def _tell_result(self) -> None:
        result, session = self._session.result, self._session
        if result is None or session.model is None:
            return
        show = self._window.localize_panel.show_classes
        show(session.model.classes, result.scores, result.target)
        known = set(session.slide.notes)  # they stand at the image already
        notes = [note for note in result.notes if note not in known]
        self._say(" ".join(notes))  # the probability stands at the class

    def _on_tool(self, tool: str | None) -> None:
        self._window.correct_panel.show_tool(tool)
        if tool is not None:
            self._window.bring_into_view(self._window.correct_panel)

    def _on_scribbles(self) -> None:
        self._window.correct_panel.show_strokes(*self._session.stroke_counts)
        self._stage.show_stale()
        self._update()

    def _on_exported(self, paths: Sequence[Path]) -> None:
        self._window.export_panel.show_exported(paths)
        names = ", ".join(short_names(paths)[1])
        # The folder first: what does not fit ends in dots.
        self._say(f"Written to {paths[0].parent}: {names}")

    # --------------------------------------------------------------------------- jobs

    def _on_job(self, status: JobStatus) -> None:
        for panel in self._panels:
            panel.job_bar.show_status(status)
        if (status.id, status.state) == self._last_state:
            return  # only its progress; many a second
        self._last_state = (status.id, status.state)
        if status.state == "failed" and isinstance(status.error, UnansweredError):
            pass  # the form asks
        elif status.state == "failed" and status.kind is JobKind.FOLLOW:
            pass  # told once
        elif status.state == "failed":
            self.warn(status.message)
        elif status.state == "cancelled" and self._was_stopped:
            self._was_stopped = False
            self._say(self.slides.stopped_words(status))
        elif status.state == "queued":
            self._was_stopped = False
        elif status.state == "done" and status.kind is JobKind.LOCALIZE:
            self._on_localized()
        self.slides.on_job(status)
        self.rounds.on_job(status)
        self._update()

    def _take_back(self) -> None:
        """Jobs that wait for a training are not wanted any more; it goes on."""
        for item in (*self._waiting.values(), *self.comparison.exporting):
            item.cancel()
        for panel in self._panels:
            panel.job_bar.show_idle()
        self._say("Taken back. The training goes on.")

    def _say(self, sentence: str) -> None:
        self._window.message.say(sentence)

    def _why_not(self) -> str:
        """What is missing before Localize can be pressed; empty when nothing is."""
        if self._window.image_line.layer is None:
            return "Open an image or slide first (Ctrl+O), or try the sample."
        if self._catalogue is None:
            return "The list of models is still being read; in a moment."
        return "" if self._model is not None else "Choose a model first."

    def _update(self) -> None:
        """Grey what cannot be pressed now."""
        window, session = self._window, self._session
        reason = self._why_not()
        window.localize_panel.set_ready(not reason, reason)
        has_image = self._stage.image is not None
        window.correct_panel.set_ready(has_image, session.result is not None)
        window.export_panel.set_ready(bool(session.heatmaps))
        if self._is_eager and has_image and not reason and session.model is not None:
            self._is_eager = False
            self.localize()
