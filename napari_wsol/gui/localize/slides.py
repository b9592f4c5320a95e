"""Joins a slide to the session: its tiles, its tissue, what is seen, what it costs."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsol.errors import WsolError
from napari_wsol.gui.background import Background
from napari_wsol.gui.compare.gallery import COUNT
from napari_wsol.gui.compare.gallery import SIDE as PICTURE_SIDE
from napari_wsol.gui.compare.threshold import on_grid
from napari_wsol.gui.compat import camera_of
from napari_wsol.gui.layers.placement import seen_pixels
from napari_wsol.gui.layers.tiles import TileLayer
from napari_wsol.gui.layers.tissue import TissueLayer
from napari_wsol.gui.localize.slide_box import slide_words
from napari_wsol.gui.widgets.job_bar import grouped
from napari_wsol.gui.widgets.messages import STOPPED
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from napari_wsol.gui.dock import WsolWidget
    from napari_wsol.jobs import JobStatus
    from napari_wsol.session.slide_job import SlideProgress

TISSUE_WORDS = (
    "Paint where the model should look and erase the rest; Localize reads it. Delete "
    "the layer to have tissue found again."
)
LOOK = (
    "This is a first look at the whole slide. It sharpens tile by tile, first where "
    "you look."
)
PLACE_SIDE = 256
"""Network pixels along a picture of the gallery."""


class SlideDesk(QObject):
    """Does for a slide what small images do not need."""

    failed = Signal(str)
    """A sentence for the person."""

    said = Signal(str)
    """Likewise, but nothing is wrong."""

    def __init__(self, window: WsolWidget) -> None:
        super().__init__(window)
        viewer = window.napari_viewer
        self._window = window
        self._viewer = viewer
        self._session = window.session
        self._stage = window.stage
        self._box = window.localize_panel.slide_box
        self._gallery = window.compare_panel.gallery
        self._progress: SlideProgress | None = None
        self.tiles = TileLayer(viewer)
        self.tissue = TissueLayer(viewer)
        self.plans, self.costs, self.places = Background(), Background(), Background()
        # A drag of the view gives many events; the queue is sorted when it rests.
        self._look = QTimer(self, singleShot=True, interval=150)
        self._look.timeout.connect(self._look_now)
        self._camera = camera_of(viewer).events
        for emitter in (self._camera.center, self._camera.zoom):
            emitter.connect(self._on_camera)
        self._connect()

    def _connect(self) -> None:
        events, box = self._window.events, self._box
        self._stage.image_changed.connect(self._on_image)
        events.model_changed.connect(self._on_model)
        events.mpp_changed.connect(self._on_mpp)
        events.slide_moved.connect(self._on_moved)
        self.plans.answered.connect(self._on_plan)
        self.costs.answered.connect(self._on_cost)
        self.places.answered.connect(self._on_places)
        box.show_memory(self._session.config.memory_bytes)
        box.memory_chosen.connect(self._session.set_memory)
        box.estimate_wanted.connect(self._estimate)
        box.tissue_wanted.connect(self.tissue.wanted)
        self.tissue.changed.connect(self._on_tissue)
        self.tissue.failed.connect(self.failed)
        self._gallery.wanted.connect(self._on_place)
        self._window.compare_panel.method_changed.connect(self.list_places)

    def close(self) -> None:
        """Let go of the viewer; the layers stay in it."""
        self._look.stop()
        for emitter in (self._camera.center, self._camera.zoom):
            emitter.disconnect(self._on_camera)
        for look_up in (self.plans, self.costs, self.places):
            look_up.close()
        self.tiles.close()
        self.tissue.close()

    @property
    def look_ups(self) -> tuple[Background, ...]:
        """Threads that have to be closed with the window."""
        return (self.plans, self.costs, self.places, self.tissue.look_up)

    @property
    def is_running(self) -> bool:
        """Whether tiles come in."""
        job = self._session.job
        if job is None or not job.is_active or job.kind is not JobKind.LOCALIZE:
            return False
        return self._session.is_large

    def prepare(self) -> str:
        """Before Localize: the session learns where to look.

        Returns:
            What is wrong, a sentence; empty when nothing is.
        """
        if self._session.is_large and self._stage.image is not None:
            try:
                self._session.set_tissue(self.tissue.mask)
            except WsolError:
                return (
                    "There is no tissue in the layer “Tissue”: paint some, or delete "
                    "the layer to have it found."
                )
        return ""

    def target(self, chosen: str | None) -> str | None:
        """The class to ask for.

        The most probable one stands in the list once it is known. That it is not asked
        for by name lets Localize go on where it was stopped.
        """
        session = self._session
        asked_none = session.work is not None and session.work.target is None
        if asked_none and session.result is not None and session.is_large:
            return None if chosen == session.result.target else chosen
        return chosen

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
            self._box.show_cost(None)
        if status.kind is JobKind.LOCALIZE and status.state == "done":
            self.list_places()

    def list_places(self) -> None:
        """Look for the places where the map is highest, in the background."""
        slide, panel = self._session.slide, self._window.compare_panel
        heatmap = self._session.heatmaps.get(panel.method or "")
        work = self._session.work
        if slide is None or heatmap is None or work is None or self.is_running:
            self._gallery.show_tiles((), ())
            return
        from napari_wsol.slides.localize import uses_tiles
        from napari_wsol.slides.top_tiles import thumbnail, top_tiles

        tissue = self._stage.tissue
        step = max(work.plan.seen.downsample)
        side = None if uses_tiles(work.model) else PLACE_SIDE * step

        def question() -> object:
            values = heatmap.values
            if tissue is not None:  # empty glass teaches nobody
                values = values * on_grid(tissue, values.shape)
            found = top_tiles(replace(heatmap, values=values), COUNT, side)
            return slide, found, [thumbnail(slide, x, 2 * PICTURE_SIDE) for x in found]

        self.places.ask(question)

    # ------------------------------------------------------------------------ answers

    def _on_image(self) -> None:
        image, slide = self._stage.image, self._session.slide
        self._progress = None
        self._gallery.show_tiles((), ())
        self._box.show_cost(None)
        if image is None or slide is None:
            self.tiles.find()
            self.tiles.take_away()
            self.tiles.release()
            self.tissue.release()
            self._box.hide()
            return
        self.tiles.place_on(image, slide.fingerprint())
        self.tissue.work_on(image, slide)
        self._describe()

    def _on_model(self) -> None:
        if self._progress is not None:  # else it is of an earlier dock
            self.tiles.take_away()
        self._progress = None
        self._gallery.show_tiles((), ())
        self._box.show_cost(None)
        self._describe()

    def _on_mpp(self) -> None:
        self._box.show_cost(None)
        self._describe()

    def _on_tissue(self) -> None:
        if self.tissue.layer is not None:
            self.said.emit(TISSUE_WORDS)
        self._box.show_cost(None)
        self._describe()

    def _describe(self) -> None:
        """Count the tiles; finding tissue takes a while."""
        session = self._session
        if self._stage.image is None or not session.is_large:
            self._box.hide()
            return
        slide = session.slide
        self.prepare()  # what is wrong with the tissue is told when it is used
        self.plans.ask(lambda: (slide, session.plan()))

    def _on_plan(self, answer: object) -> None:
        if isinstance(answer, WsolError):
            self.failed.emit(str(answer))
        elif isinstance(answer, tuple) and answer[0] is self._session.slide:
            mpp = self._session.mpp
            size = None if mpp is None else mpp * answer[1].seen.downsample[0]
            words = slide_words(answer[1].count, size)
            self._box.show_slide(words, knows_size=mpp is not None)
            self._box.set_ready(not self._session.is_busy)

    def _estimate(self) -> None:
        problem = self.prepare()
        panel = self._window.localize_panel
        methods = panel.method_list.keys(self._stage.evidence.pairs)
        if problem or not methods:
            self.failed.emit(problem or "Tick at least one method.")
            return
        self.costs.follow(self._session.estimate(methods, self.target(panel.target)))

    def _on_cost(self, answer: object) -> None:
        # An error comes with the failed job.
        if not isinstance(answer, BaseException):
            self._box.show_cost(answer)

    def _on_moved(self, progress: SlideProgress) -> None:
        if self._stage.image is None or self._session.work is None:
            return
        if self._progress is None or not progress.rate:
            self._look.start()
            if progress.done < progress.total and self.is_running:
                self.said.emit(LOOK)
        self._progress = progress
        self._window.localize_panel.job_bar.show_rate(progress.rate)
        self.tiles.show(progress)

    def _on_camera(self, event: object = None) -> None:
        del event
        if self._session.is_large:
            self._look.start()

    def _look_now(self) -> None:
        if self._stage.image is None:
            return
        seen = seen_pixels(self._viewer, self._stage.image)
        if seen is not None:
            self._session.look_at(*seen)

    def _on_places(self, answer: object) -> None:
        if isinstance(answer, tuple) and answer[0] is self._session.slide:
            self._gallery.show_tiles(answer[1], answer[2])

    def _on_place(self, tile: object) -> None:
        self._stage.fly_to_box(
            tile.y, tile.x, tile.y + tile.height, tile.x + tile.width
        )
