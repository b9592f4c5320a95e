"""Joins a slide to the session: its tiles, its tissue, what is seen, what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from napari_wsol.errors import WsolError
from napari_wsol.gui.compat import camera_of
from napari_wsol.gui.layers.placement import seen_pixels
from napari_wsol.gui.layers.tiles import TileLayer
from napari_wsol.gui.layers.tissue import TissueLayer
from napari_wsol.gui.localize.slide_box import slide_words
from napari_wsol.gui.messages import STOPPED
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.job_bar import counted, grouped
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from napari_wsol.gui.context import Context
    from napari_wsol.gui.localize.panel import LocalizePanel
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import JobStatus
    from napari_wsol.session.slide_job import SlideProgress
    from napari_wsol.slides.cost import Cost
    from napari_wsol.slides.plan import SlidePlan

TISSUE_WORDS = (
    "Paint where the model should look and erase the rest; Localize reads it. Delete "
    "the layer to have tissue found again."
)
HELD_TISSUE_WORDS = (
    "Paint where there is tissue and erase the rest: it is read first, and shares of "
    "tissue count there. Delete the layer to have tissue found again."
)
LOOK = (
    "This is a first look at the whole image. It sharpens tile by tile, first where "
    "you look."
)


class SlidesController(QObject):
    """Does for what takes long what small images do not need."""

    def __init__(self, context: Context, panel: LocalizePanel) -> None:
        super().__init__(context.dock)
        self._context, self._panel = context, panel
        self._session, self._layers = context.session, context.layers
        self._messages, self._box = context.messages, panel.slide_box
        self._progress: SlideProgress | None = None
        self._count = 0  # tiles that are wanted now
        self._estimated: tuple[Cost, int] | None = None  # when so many were wanted
        self.tiles = TileLayer(context.viewer)
        self.tissue = TissueLayer(context.viewer, context.tasks, context.messages)
        # A drag of the view gives many events; the queue is sorted when it rests.
        self._look = once(self, 150, self._look_now)
        self._camera = camera_of(context.viewer).events
        for emitter in (self._camera.center, self._camera.zoom):
            emitter.connect(self._on_camera)
        context.at_parting(self.close)
        self._connect()

    def _connect(self) -> None:
        events, box = self._context.events, self._box
        self._layers.image_changed.connect(self._on_image)
        events.model_changed.connect(self._on_model)
        for changed in (events.mpp_changed, events.bag_changed):
            changed.connect(self._describe_anew)
        self._panel.bag_button.clicked.connect(lambda: self._session.use_bag(None))
        events.tissue_changed.connect(self._layers.find_tissue)
        events.slide_moved.connect(self._on_moved)
        box.show_memory(self._session.config.memory_bytes)
        box.memory_chosen.connect(self._on_memory)
        box.estimate_button.clicked.connect(self._estimate)
        box.tissue_button.clicked.connect(self.tissue.wanted)
        self.tissue.changed.connect(self._on_tissue)

    def close(self) -> None:
        """Let go of the viewer; the layers stay in it."""
        self._look.stop()
        for emitter in (self._camera.center, self._camera.zoom):
            emitter.disconnect(self._on_camera)
        self.tiles.close()
        self.tissue.close()

    def prepare(self) -> str:
        """Before Localize: the session learns where to look.

        Returns:
            What is wrong, a sentence; empty when nothing is.
        """
        if self._session.is_gradual and self._layers.image is not None:
            try:
                self._session.set_tissue(self.tissue.mask)
            except WsolError:
                return (
                    "There is no tissue in the layer “Tissue”: paint some, or delete "
                    "the layer to have it found."
                )
        return ""

    def target(self, chosen: str | None) -> str | None:
        """The class to ask for: that of the maps as it was asked for before.

        Whether it was asked for by name does not matter; that it is asked for in the
        same way lets Localize go on where it was stopped.
        """
        work, result = self._session.work, self._session.result
        if work is None or result is None:
            return chosen
        wanted = chosen or max(result.scores, key=lambda name: result.scores[name])
        return work.target if wanted == result.target else chosen

    def stopped_words(self, status: JobStatus) -> str:
        """What is said after Cancel; of a slide, how much is kept."""
        progress, plain = self._progress, STOPPED.get(status.kind, "Stopped.")
        if progress is None or status.kind is not JobKind.LOCALIZE:
            return plain
        return (
            f"Stopped. {grouped(progress.done)} of {grouped(progress.total)} tiles are "
            "kept; Localize goes on from there."
        )

    def on_job(self, status: JobStatus) -> None:
        """A job was begun or is over."""
        self._box.set_ready(not self._session.is_busy)
        if status.kind is JobKind.LOCALIZE and status.state == "running":
            self._forget_cost()

    # ------------------------------------------------------------------------ answers

    def _on_image(self) -> None:
        image, slide = self._layers.image, self._session.slide
        self._progress = None
        self._forget_cost()
        if image is None or slide is None:
            self.tiles.take_away()
            self.tiles.release()
            self.tissue.release()
            self._box.hide()
            return
        self.tiles.place_on(image, slide)
        self.tissue.work_on(image, slide)
        self._describe()

    def _on_model(self) -> None:
        if self._progress is not None:  # else it is of an earlier dock
            self.tiles.take_away()
        self._progress = None
        self._describe_anew()

    def _on_memory(self, count: int) -> None:
        """The slide is cut into other tiles where there is less room for each."""
        self._session.set_memory(count)
        self._describe_anew()

    def _on_tissue(self) -> None:
        if self.tissue.layer is not None:
            is_large = self._session.is_large
            self._messages.say(TISSUE_WORDS if is_large else HELD_TISSUE_WORDS)
        self._describe()

    def _forget_cost(self) -> None:
        self._estimated = None
        self._box.show_cost(None)

    def _describe_anew(self) -> None:
        """The tiles are others, and cost something else each."""
        self._forget_cost()
        self._describe()

    def _describe(self) -> None:
        """Count the tiles; finding tissue takes a while."""
        session, slide, panel = self._session, self._session.slide, self._panel
        bag, model = session.bag, session.model
        needs_one = model is not None and model.spec.encoder.startswith("vectors:")
        panel.bag_row.setVisible(bag is not None or (needs_one and slide is not None))
        panel.bag_button.setVisible(bag is not None)
        words = (
            "This model reads vectors of tiles, not pixels: drop the slide's bag (.h5)."
        )
        if bag is not None:
            words = f"Tiles from {bag.path.name}, {counted(len(bag), 'vector')}."
        panel.bag_words.setText(words)
        panel.offer_views(session.possible_views)
        if self._layers.image is None or slide is None or not session.is_gradual:
            self._box.hide()
            return
        self.prepare()  # what is wrong with the tissue is told when it is used
        self._context.tasks.ask(
            lambda: (slide, session.plan()),
            self._on_plan,
            self._on_no_plan,
            kind="plan",
        )

    def _on_no_plan(self, error: BaseException) -> None:
        if isinstance(error, WsolError):
            self._messages.warn(error)

    def _on_plan(self, answer: tuple[Slide, SlidePlan]) -> None:
        slide, plan = answer
        if slide is self._session.slide:
            mpp = self._session.mpp
            size = None if mpp is None else mpp * plan.seen.downsample[0]
            words = slide_words(plan, size)
            self._box.show_slide(words, knows_size=mpp is not None)
            self._count = plan.count
            if self._estimated is not None:  # the tissue was corrected
                cost, count = self._estimated
                left = max(0, cost.tiles + plan.count - count)
                self._box.show_cost(cost.of(left))
            self._box.set_ready(not self._session.is_busy)

    def _estimate(self) -> None:
        problem = self.prepare()
        panel = self._panel
        methods = panel.method_list.keys(self._layers.heatmaps.pairs)
        if problem or not methods:
            self._messages.warn(problem or "Tick at least one method.")
            return
        future = self._session.estimate(methods, self.target(panel.target))
        self._context.tasks.follow(future, self._on_cost, kind="cost")

    def _on_cost(self, cost: Cost) -> None:
        self._estimated = (cost, self._count)
        self._box.show_cost(cost)

    def _on_moved(self, progress: SlideProgress) -> None:
        if self._layers.image is None or not self._session.is_gradual:
            return
        if self._progress is None or not progress.rate:
            self._look.start()
            if progress.done < progress.total and self._context.tiles_come_in:
                self._messages.say(LOOK)
        self._progress = progress
        self._panel.job_bar.rate = progress.rate
        self.tiles.show(progress)

    def _on_camera(self) -> None:
        if self._session.is_gradual:
            self._look.start()

    def _look_now(self) -> None:
        if self._layers.image is None:
            return
        seen = seen_pixels(self._context.viewer, self._layers.image)
        if seen is not None:
            self._session.look_at(*seen)
