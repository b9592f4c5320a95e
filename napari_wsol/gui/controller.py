"""Joins image, model and strokes to the session: clicks in, changes out."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_wsol.errors import ImageError, StackError, UnansweredError, WsolError
from napari_wsol.files import path_from
from napari_wsol.gui.compare.controller import CompareController
from napari_wsol.gui.compare.places import PlacesController
from napari_wsol.gui.compare.reference import ReferenceController
from napari_wsol.gui.compare.trust import TrustBox
from napari_wsol.gui.correct.proposals import ProposalsController
from napari_wsol.gui.correct.rounds_controller import RoundsController
from napari_wsol.gui.correct.save_model import SaveModelController
from napari_wsol.gui.correct.strokes import StrokesController
from napari_wsol.gui.export.controller import ExportController
from napari_wsol.gui.images.dropping import SlideDrops, prefer_our_reader
from napari_wsol.gui.images.line import PixelSize, layer_read_anew
from napari_wsol.gui.images.list_controller import ListController
from napari_wsol.gui.images.samples import add_sample
from napari_wsol.gui.layers.marks import (
    MARK,
    file_of,
    levels_of,
    shows_file,
    source_of,
)
from napari_wsol.gui.layers.placement import plane_under
from napari_wsol.gui.localize.importing import Importer
from napari_wsol.gui.localize.likeness import LikenessController
from napari_wsol.gui.localize.models import read_catalogue
from napari_wsol.gui.localize.slides import SlidesController
from napari_wsol.gui.tasks import once
from napari_wsol.gui.training.controller import TrainingController
from napari_wsol.gui.widgets.choosing import Chooser
from napari_wsol.images.bags import is_bag, open_bag
from napari_wsol.images.level_arrays import level_arrays
from napari_wsol.images.readers import open_slide
from napari_wsol.jobs import REFINES, JobKind
from napari_wsol.paths import CARD
from napari_wsol.preferences import preferences
from napari_wsol.registry import plugins
from napari_wsol.strokes.classes import UnclearClassesError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from napari.layers import Image

    from napari_wsol.evaluation.sanity import Trust
    from napari_wsol.gui.compare.panel import ComparePanel
    from napari_wsol.gui.context import Context
    from napari_wsol.gui.correct.earlier import EarlierBar
    from napari_wsol.gui.correct.panel import CorrectPanel
    from napari_wsol.gui.export.panel import ExportPanel
    from napari_wsol.gui.images.line import ImageLine
    from napari_wsol.gui.images.list_panel import ImageList
    from napari_wsol.gui.localize.models import Catalogue
    from napari_wsol.gui.localize.panel import LocalizePanel
    from napari_wsol.images.level_arrays import LevelArray
    from napari_wsol.images.readers.stacks import Pick
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import JobStatus
    from napari_wsol.methods import Model
    from napari_wsol.methods.card import Card


SHOWS = (JobKind.LOCALIZE, JobKind.RESTORE, JobKind.REVERT, *REFINES)
"""Jobs with whose maps layers come back that the person has deleted."""

SLIDER_MS = 300
"""Milliseconds that napari's sliders rest before another plane is opened."""

UNUSED = 600_000
"""Milliseconds without a job, after which a graphics card's memory is given back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """What the dock is laid out from, in the order of the work."""

    line: ImageLine
    images: ImageList
    earlier: EarlierBar
    localize: LocalizePanel
    compare: ComparePanel
    correct: CorrectPanel
    export: ExportPanel


class Controller(QObject):
    """Knows what may be pressed, and what follows when it is.

    Args:
        context: of the dock.
        panels: each gets a controller of its own; here is what joins them.
    """

    localized = Signal()
    """Localize was pressed, and is done."""

    def __init__(self, context: Context, panels: Panels) -> None:
        super().__init__(context.dock)
        self._context, self._panels = context, panels
        self._session, self._layers = context.session, context.layers
        self._messages = context.messages
        self._catalogue: Catalogue | None = None
        self._model: str | None = preferences().model or None
        self._given: dict[str, Model | Card] = {}  # in no list: wrapped, or in a folder
        self._opening: Image | None = None
        self._opened: list[object] = []
        self._plane: tuple[int, ...] = ()
        # Whoever moves through a stack works on the plane where they stop.
        self._slider = once(self, SLIDER_MS, self._on_slider)
        self._was_stopped = False
        self._is_eager = False
        self._last_state: tuple[int, str] | None = None
        self._imported: str | None = None
        self._waiting: dict[str, Future[Any]] = {}
        self._unused = once(self, UNUSED, self._release_unused)
        self.slides = SlidesController(context, panels.localize)
        self.likeness = LikenessController(context, panels.localize.likeness_box)
        self.chooser = Chooser(context.dock)
        context.at_parting(self.chooser.close)
        self.strokes = StrokesController(
            context, panels.correct, panels.earlier, self.chooser
        )
        self.rounds = RoundsController(context, panels.correct, self.strokes.undo)
        self.pixel_size = PixelSize(context, panels.line)
        self.proposals = ProposalsController(context, panels.correct.next_row)
        self.export = ExportController(context, panels.export)
        self.compare = CompareController(context, panels.compare, self.export.config)
        self.places = PlacesController(context, panels.compare)
        self.reference = ReferenceController(context, panels.compare, self.chooser)
        self.trust = TrustBox(context)
        self.trust.found.connect(self._show_trust)
        panels.compare.rows.addWidget(self.trust)
        self.importer = Importer(context, self.chooser)
        self.training = TrainingController(context)
        self.drops = SlideDrops(context, self.chooser)
        self.lists = ListController(context, panels.images, panels.line, self.chooser)
        self.save_model = SaveModelController(context, self.chooser)
        panels.export.rows.addWidget(self.save_model.button)
        self._connect_panels()
        self._connect_models()
        self._connect_session()
        prefer_our_reader()
        self.read_catalogue()
        self._update()

    def _connect_panels(self) -> None:
        panels, strokes = self._panels, self._layers.strokes
        panels.line.image_chosen.connect(self._on_image)
        panels.line.sample_button.clicked.connect(self.open_sample)
        panels.line.reader_chosen.connect(self._read_with)
        panels.line.plane_wanted.connect(self._ask_plane)
        panels.localize.localize_button.clicked.connect(self.localize)
        panels.localize.map_wanted.connect(self.add_map)
        panels.localize.slide_box.mpp_chosen.connect(self.pixel_size.choose)
        chosen = panels.compare.method_box.chosen, panels.export.method_box.chosen
        for signal in (*chosen, self._layers.first_shown):
            signal.connect(self.compare.choose_method)
            signal.connect(self.export.choose_method)
        panels.export.clean_up_changed.connect(self.compare.list_regions)
        panels.correct.brush.valueChanged.connect(strokes.brush.choose)
        panels.correct.refine_button.clicked.connect(self.refine)
        strokes.brush.changed.connect(panels.correct.more_tools.widths.show_brush)
        self._bars = [
            panel.job_bar
            for panel in (
                panels.localize,
                panels.correct,
                panels.export,
                self.reference.scores,
                self.trust,
            )
        ]
        for bar in self._bars:
            bar.cancelled.connect(self.cancel)
        self.pixel_size.shown.connect(panels.export.show_mpp)
        self.pixel_size.changed.connect(self.compare.list_regions)
        self.lists.opened.connect(self.localize_when_ready)
        self.drops.map_wanted.connect(self.add_map)
        self.drops.folder_wanted.connect(self.lists.open_folder)
        self.lists.aside_changed.connect(self._on_aside)
        self._layers.pixels_replaced.connect(self._on_pixels)
        self._layers.maps_changed.connect(self._update)
        moved = self._context.viewer.dims.events.current_step
        moved.connect(self._on_step)
        self._context.at_parting(lambda: moved.disconnect(self._on_step))

    def _connect_models(self) -> None:
        localize = self._panels.localize
        localize.model_chosen.connect(self.use_model)
        localize.device_chosen.connect(self._on_device)
        localize.release_wanted.connect(self.release)
        localize.import_wanted.connect(self.importer.start)
        localize.train_wanted.connect(self.training.open)
        self.importer.imported.connect(self._on_imported)
        self.training.trained.connect(self._on_trained)
        self.training.use_wanted.connect(self.prefer_model)
        self.save_model.saved.connect(self.read_catalogue)

    def _connect_session(self) -> None:
        events = self._context.events
        events.model_changed.connect(self._on_model)
        events.image_replaced.connect(self._on_replaced)
        events.earlier_changed.connect(self._on_earlier)
        events.localized.connect(self._on_localized)
        events.heatmap_changed.connect(self.compare.show_heatmap)
        events.scribbles_changed.connect(self._on_scribbles)
        events.job_changed.connect(self._on_job)
        events.device_full.connect(self._messages.warn)

    # ------------------------------------------------------------------------ verbs

    def localize(self) -> None:
        """Run the ticked methods on the chosen image, as it is seen now."""
        if self._slider.isActive():
            self._slider.stop()
            self._on_slider()
        panel = self._panels.localize
        methods = panel.method_list.keys(self._layers.heatmaps.pairs)
        untold = "" if methods else "Tick at least one method."
        reason = self._why_not() or untold or self.slides.prepare()
        if reason:
            self._messages.warn(reason)
            return
        self._messages.say("")
        target = self.slides.target(panel.target)
        self._waiting["localize"] = self._session.localize(
            methods, target, views=panel.views
        )

    def refine(self) -> None:
        """One round with the strokes as they are now."""
        if self._session.result is None:
            self._messages.warn("Localize first, then refine what it found.")
            return
        self._layers.strokes.flush()
        self._messages.say("")
        self.rounds.begin()
        self._waiting["refine"] = self._session.finetune()

    def cancel(self) -> None:
        """Stop the running job; a training only from its own dialog."""
        if self.training.holds_others_up:
            self._take_back()
            return
        self._was_stopped = True
        self._session.cancel()

    def release(self) -> None:
        """Give the memory of the graphics card back."""
        self._context.tasks.follow(self._session.release(), self._on_released)

    def _on_released(self, was_there: bool) -> None:
        self._messages.say(
            "The graphics card is free; the next job takes it again."
            if was_there
            else "No graphics card was in use: the processor does the work."
        )

    def _release_unused(self) -> None:
        """Nothing was asked for in a while."""
        model = self._session.model
        if model is not None and model.device.type != "cpu":
            self._session.release()

    def use_model(self, name: str) -> None:
        """Load a model of the list."""
        self._model = name
        self._panels.localize.forget_classes(())
        self._show_methods()
        self._session.use(self._given.get(name, name))
        self._update()

    def prefer_model(self, name: str) -> None:
        """Take this model rather than the first of the list."""
        self._model = name
        if self._catalogue is not None:
            self._show_catalogue(self._catalogue)

    def localize_when_ready(self) -> None:
        """Press Localize as soon as it can be pressed."""
        self._is_eager = True
        self._update()

    def choose_tool(self, tool: str) -> None:
        """Take a brush, by key."""
        if self._layers.image is not None:
            self._layers.strokes.choose(tool)

    def open_sample(self) -> None:
        """Put the sample image into the viewer."""
        add_sample(self._context.viewer)

    def add_map(self, path: Path, answers: Mapping[str, str] | None = None) -> None:
        """Show a map that was made elsewhere; what its file does not say is asked.

        A file of vectors of the slide's tiles is no map: they are read from then on.
        """
        with suppress(ImageError):
            if is_bag(path) and open_bag(path):
                self._session.use_bag(path)
                return

        def on_failed(error: BaseException) -> None:
            if isinstance(error, UnansweredError):
                asked = "Add a map", str(error), error.questions
                self.chooser.ask(*asked, again, given={})

        def again(more: Mapping[str, str]) -> None:
            self.add_map(path, {**(answers or {}), **more})

        future = self._session.add_map(path, answers=answers or {})
        self._context.tasks.follow(future, lambda _: None, on_failed)

    # ------------------------------------------------------------------------ models

    def read_catalogue(self) -> None:
        """The list of models has to be read, or read anew."""
        self._context.tasks.ask(
            read_catalogue, self._show_catalogue, self._on_no_catalogue, kind="models"
        )

    def _on_no_catalogue(self, error: BaseException) -> None:
        self._messages.warn(f"The models could not be listed: {error}")

    def _show_catalogue(self, catalogue: Catalogue) -> None:
        """Models, methods and devices are known now."""
        left_out = "\n".join(str(plugin) for plugin in plugins() if plugin.problem)
        if left_out and self._catalogue is None:
            self._messages.warn(left_out)
        self._catalogue = catalogue
        panel = self._panels.localize
        with suppress(WsolError):
            if self._model and (path_from(self._model) / CARD).is_file():
                from napari_wsol.zoo import find_card  # torch is there

                card = find_card(path_from(self._model))
                self._model, self._given[card.name] = card.name, card
        others: Any = (getattr(item, "card", item) for item in self._given.values())
        panel.show_models((*catalogue.cards, *others), self._model)
        panel.show_devices(catalogue.devices, self._session.config.device)
        self.training.show_models(catalogue.cards)
        if self._model is not None and self._model != getattr(panel.card, "name", ""):
            self._messages.warn(
                f"There is no model “{self._model}”; choose one of the list."
            )
        if panel.card is not None:
            if getattr(self._session.model, "card", None) != panel.card:
                # Loading it again would take maps and rounds away.
                self.use_model(panel.card.name)
            if panel.card.name == self._imported:
                notes = " ".join(panel.card.limits[1:])  # what was taken, what left
                self._messages.say(
                    f"Imported “{panel.card.title}”. It is chosen now, and stays in "
                    f"the list of models. {notes}".strip()
                )
        self._imported = None
        self._update()

    def _on_device(self, name: str) -> None:
        self._messages.say("")  # that the one before does not work
        self._session.config = replace(self._session.config, device=name)
        if self._model is not None:
            self._session.use(self._given.get(self._model, self._model))

    def _on_imported(self, card: Card) -> None:
        self._model = self._imported = card.name
        self.read_catalogue()

    def _on_trained(self, card: Card) -> None:
        self._messages.say(f"“{card.title}” is trained, and in the list of models.")
        self.read_catalogue()

    def _on_model(self) -> None:
        model = self._session.model
        if model is not None:
            if model.card is not None and not model.card.folder.name:
                self._given[model.card.name] = model
                self.prefer_model(model.card.name)
            self._show_methods()
            self._begin_anew()
            self._update()

    def _show_methods(self) -> None:
        """What the model can be read out with; of the rest, why not."""
        model, panel = self._session.model, self._panels.localize
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
        from napari_wsol.methods import default_methods, unavailable  # torch is there

        own = sorted(default_methods(model), key=lambda name: name != primary)
        reasons = {item.name: unavailable(model, item.name) for item in methods}
        panel.method_list.show_layers(model.encoder.readable_layers)
        panel.method_list.show_methods(
            methods, own, {name: why for name, why in reasons.items() if why}
        )
        self._show_trust({})

    def _show_trust(self, found: Mapping[str, Trust]) -> None:
        """What was found on the open image, else what the model's card knows."""
        panel = self._panels.localize
        if panel.card is not None and self._session.model is not None:
            from napari_wsol.evaluation.sanity import known_trust  # torch is there

            panel.method_list.show_trust({**known_trust(panel.card), **found})

    # ------------------------------------------------------------------------- images

    def _on_image(self, layer: Image | None) -> None:
        if layer is None:
            self._context.tasks.forget("opening")
            self._layers.leave_image()
            self._panels.line.show_nothing()
            self._leave()
            self._update()
            return
        if self._layers.image not in (None, *self._context.viewer.layers):
            # At once, before anything is drawn: Mesa crashes where napari draws maps
            # whose image is gone, and takes them away later.
            self._layers.leave_image()
        self._layers.strokes.flush()  # to the image that is left
        self._plane = plane_under(self._context.viewer, layer)
        source, options = source_of(layer, self._plane)
        self._opening, self._opened = layer, levels_of(layer)
        self._context.tasks.follow(
            self._session.open(source, **options),
            self._on_opened,
            self._on_not_opened,
            kind="opening",
        )

    def _on_step(self) -> None:
        if self._panels.line.layer is not None:
            self._slider.start()

    def _on_slider(self) -> None:
        """Another plane of a stack is seen: it is an image of its own."""
        layer = self._panels.line.layer
        if layer is None or layer != self._opening:
            return
        if plane_under(self._context.viewer, layer) != self._plane:
            self._on_image(layer)

    def _on_opened(self, slide: Slide) -> None:
        if slide is self._session.slide and self._opening is not None:
            self._messages.say("")
            self._layers.work_on(self._opening)
            self.pixel_size.show()
            self._begin_anew()
            self._on_scribbles()
            now = map(id, levels_of(self._opening))
            if list(now) != list(map(id, self._opened)):  # replaced while it opened
                self._on_pixels()
        self._update()

    def _leave(self) -> None:
        """The window shows no image: the session has none open."""
        self._context.tasks.follow(self._session.leave(), self._on_left)

    def _on_left(self, _: None) -> None:
        """No image is open, unless another one was meanwhile."""
        if self._session.slide is None:
            if self._opening is not None:  # what is told at the start stays
                self._messages.say("")
            self._layers.leave_image()  # answers may have come since
            self._begin_anew()
            self._on_scribbles()

    def _begin_anew(self) -> None:
        """Another image or model: what was known of the one before is not shown."""
        session = self._session
        if session.result is None:
            model = session.model
            self._panels.localize.forget_classes(() if model is None else model.classes)
        self.compare.drop_results()

    def _on_pixels(self) -> None:
        """The layer was given other data; the session says whether they are others."""
        layer = self._layers.image
        if layer is not None and layer == self._opening:
            self._plane = plane_under(self._context.viewer, layer)
            source, options = source_of(layer, self._plane)
            options.pop("resume", None)
            self._session.reread(source, **options)

    def _on_replaced(self) -> None:
        """The image has other pixels than its maps are of."""
        layer, session = self._layers.image, self._session
        if layer is None or layer != self._opening or session.slide is None:
            return
        if session.drawn_on != self._layers.strokes.fingerprint:
            self._layers.take_up()
            self._begin_anew()
            self.pixel_size.show()
            if session.slide.path is not None and shows_file(layer):
                self._show_file(layer, session.slide)
        self.compare.show_results()
        self._on_scribbles()
        if session.is_replaced:
            self._messages.say(
                f"“{session.slide.name}” has changed: the maps show it as it was. "
                "Localize again; strokes from before are kept with it."
            )

    def _show_file(self, layer: Image, slide: Slide) -> None:
        """A file was overwritten: its layer shows what it was, or half of it."""
        path = layer.metadata[MARK]["path"]

        def question() -> tuple[Image, list[LevelArray]]:
            return layer, level_arrays(open_slide(path, reader=slide.reader))

        self._context.tasks.ask(
            question, self._layers.show_pixels, self._messages.warn, kind="pixels"
        )

    def _on_not_opened(self, error: BaseException) -> None:
        """The sentence comes with the failed job; here only the choice goes back."""
        del error
        shown = self._layers.image
        self._panels.line.go_back_to(shown)
        if shown is None:
            self._leave()
        elif self._session.drawn_on != self._layers.strokes.fingerprint:
            # An image between the two was opened, and never shown: back from it.
            if shown != self._opening:
                self._on_image(shown)
            else:
                self._layers.leave_image()
                self._leave()
        self._update()

    def _read_with(self, reader: str | None, pick: Pick | None = None) -> None:
        """Replace the chosen layer by the same file, read otherwise."""
        line, viewer = self._panels.line, self._context.viewer
        before = line.layer
        path = None if before is None else file_of(before)
        if before is None or path is None:
            return
        try:
            added = layer_read_anew(viewer, before, path, reader, pick)
        except StackError as error:
            again = partial(self._read_with, reader)
            self.chooser.ask_pick(before.name, error.questions, again)
            return
        except WsolError as error:
            self._messages.warn(error)
            return
        self._layers.leave_image()
        line.choose(added)
        viewer.layers.remove(before)

    def _ask_plane(self) -> None:
        """Ask for another channel or plane of the file of the chosen layer."""
        from napari_wsol.images.readers import stack_questions

        layer = self._panels.line.layer
        path = None if layer is None else file_of(layer)
        if layer is None or path is None:
            return
        reader = layer.metadata.get(MARK, {}).get("reader")
        try:
            questions = stack_questions(path, reader=reader)
        except WsolError as error:
            self._messages.warn(error)
            return
        if questions:
            again = partial(self._read_with, reader)
            self.chooser.ask_pick(layer.name, questions, again)
        else:
            self._messages.say(f"“{layer.name}” holds one picture: nothing to choose.")

    # ---------------------------------------------------------------- results, strokes

    def _on_localized(self) -> None:
        if self._session.result is None or self._layers.image is None:
            return
        self.compare.show_results()
        if not self._context.tiles_come_in:  # else every two seconds
            self._tell_result()
        self._update()

    def _tell_result(self) -> None:
        result = self._session.result
        if result is None:
            return
        self._panels.localize.show_scores(result.scores, result.target)
        self._messages.say("")  # what must be known stands at the class and the maps

    def _on_earlier(self) -> None:
        """Somebody goes on with an earlier work: its map and rounds come, too."""
        if self._session.awaits_rounds and self._session.result is None:
            self.localize_when_ready()

    def _on_scribbles(self) -> None:
        session = self._session
        self._panels.correct.show_strokes(
            *session.stroke_counts, aside=session.is_aside
        )
        self._layers.show_stale()
        self._update()

    def _on_aside(self) -> None:
        """Strokes mean something else now: the map follows them again, or is scored."""
        self._on_scribbles()
        self.rounds.live.wait()

    # --------------------------------------------------------------------------- jobs

    def _on_job(self, status: JobStatus) -> None:
        for bar in self._bars:
            bar.show_status(status)
        if (status.id, status.state) == self._last_state:
            return  # only its progress; many a second
        self._last_state = (status.id, status.state)
        (self._unused.stop if status.is_active else self._unused.start)()
        # The form asks; what does not follow is told once.
        asks = isinstance(status.error, UnansweredError | UnclearClassesError)
        is_told = asks or status.kind is JobKind.FOLLOW
        if status.state == "failed" and not is_told:
            self._messages.warn(status.message)
        elif status.state == "cancelled" and self._was_stopped:
            self._was_stopped = False
            self._messages.say(self.slides.stopped_words(status))
        elif status.state == "queued":
            self._was_stopped = False
            if status.kind in SHOWS:
                self._layers.heatmaps.begin()
        elif status.state == "done" and status.kind is JobKind.LOCALIZE:
            self._on_localized()
            self.compare.list_places()
            self.localized.emit()
        was_refined = status.state == "done" and status.kind is JobKind.REFINE
        if was_refined and self._session.is_aside:  # there is no round to tell of
            self._messages.say(self._panels.images.score_words.text())
        self.slides.on_job(status)
        self.rounds.on_job(status)
        self._update()

    def _take_back(self) -> None:
        """Jobs that wait for a training are not wanted any more; it goes on."""
        for item in (*self._waiting.values(), self.export.latest):
            if item is not None:
                item.cancel()
        for bar in self._bars:
            bar.show_idle()
        self._messages.say("Taken back. The training goes on.")

    def _why_not(self) -> str:
        """What is missing before Localize can be pressed; empty when nothing is."""
        if self._panels.line.layer is None:
            return "Open an image or slide first (Ctrl+O), or try the sample."
        if self._catalogue is None:
            return "The list of models is still being read; in a moment."
        return "" if self._model is not None else "Choose a model first."

    def _update(self) -> None:
        """Grey what cannot be pressed now."""
        panels, session = self._panels, self._session
        reason = self._why_not()
        panels.localize.set_ready(not reason, reason)
        has_image = self._layers.image is not None
        panels.correct.set_ready(has_image, has_image and session.result is not None)
        panels.export.set_ready(self.export.config() is not None)
        # Not while the window still shows the image before.
        is_shown = has_image and session.drawn_on == self._layers.strokes.fingerprint
        if self._is_eager and is_shown and not reason and session.model is not None:
            self._is_eager = False
            self.localize()
