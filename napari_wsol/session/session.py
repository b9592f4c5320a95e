"""One person's work on one image: the only object that the window talks to.

Every call that takes time returns a Future and runs on the session's one worker thread,
which owns torch (:mod:`~napari_wsol.session.worker`). What belongs to the open image is
its :class:`~napari_wsol.session.document.Document`'s, and is asked there. Signals are
emitted on whichever thread makes the change.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from psygnal import Signal

from napari_wsol.config import InferenceConfig
from napari_wsol.journal import JournalLibrary
from napari_wsol.preferences import preferences
from napari_wsol.session.comparison import Comparison
from napari_wsol.session.document import Document
from napari_wsol.session.facade import (
    Parts,
    Reads,
    if_open,
    known,
    of_all,
    of_comparison,
    of_document,
    of_jobs,
    of_others,
    relay,
    shown,
)
from napari_wsol.session.figures import figure, table
from napari_wsol.session.jobs import SessionJobs
from napari_wsol.session.other_images import OtherImages
from napari_wsol.session.report import report
from napari_wsol.session.state import State

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari_wsol.config import FinetuneConfig, SlideConfig
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.session.worker import Worker


class Session:
    """State of the work, and the verbs that change it.

    Args:
        config: tile size, device, memory budget; the defaults if None, with the budget
            that the person chose.
        threads: CPU threads for torch; its own default if None. A viewer wants one
            core left for itself.
        journals: folder of the journals of strokes and rounds; True for the one in the
            user's data, False where nothing shall be written.

    Attributes:
        config: as given; another one may be assigned at any time.
        slide_config: how slides are cut and read; the defaults, within the budget, if
            None.
        threads: as given.
    """

    image_changed = Signal()
    image_replaced = Signal()  # it has other pixels than its maps are of
    mpp_changed = Signal()
    tissue_changed = Signal()
    bag_changed = Signal()  # other tiles are read than before
    model_changed = Signal()
    localized = Signal()
    heatmap_changed = Signal(str)  # name of the method
    slide_moved = Signal(object)  # a SlideProgress
    scribbles_changed = Signal()
    dismissed_changed = Signal()
    pins_changed = Signal()
    status_changed = Signal(str)  # of the open image
    settings_changed = Signal()
    saved_changed = Signal(object)  # a Saved: something reached the disk, or failed
    earlier_changed = Signal()  # somebody said what to do with an earlier work
    rounds_changed = Signal()
    finetune_step = Signal(object)  # a FinetuneStep
    list_changed = Signal()
    scored = Signal(object)  # a Scored
    reference_changed = Signal()
    figures_changed = Signal()  # maps were measured beside the reference
    exported = Signal(object)  # paths
    device_full = Signal(str)  # a sentence: the processor does the work now
    train_step = Signal(object)  # a TrainStep
    train_evaluated = Signal(object)  # an Evaluation
    job_changed = Signal(object)  # a JobStatus

    def __init__(
        self,
        config: InferenceConfig | None = None,
        *,
        threads: int | None = None,
        journals: str | Path | bool = True,
    ) -> None:
        mine = preferences()
        self.config = config or InferenceConfig(
            device=mine.device, memory_bytes=mine.memory_bytes
        )
        self.slide_config: SlideConfig | None = None
        self.threads = threads
        state = State()
        folder = None if isinstance(journals, bool) else Path(journals)
        others = OtherImages(
            state, None if journals is False else JournalLibrary(folder)
        )
        jobs = SessionJobs(state, self._make_worker, lambda: self.config)
        comparison = Comparison(state, others, jobs)
        self._parts = Parts(state, others, jobs, comparison)
        for part in (others, jobs, comparison):
            relay(part, self)
        jobs.start()

    # ------------------------------------------------------- what is open and shown

    slide = known(lambda document: document.slide, None)
    """The open image."""
    mpp = known(lambda document: document.known_mpp, None)
    """µm a level-0 pixel: the person's word, else the file's, else None."""
    bag = known(lambda document: document.bag, None)
    """Vectors of the slide's tiles, read instead of its pixels; None for the pixels."""
    tissue = known(lambda document: document.tissue, None)
    """Where to look, as a person drew it; None where it is found by itself."""
    canvas = known(lambda document: document.canvas, None)
    """The grid for strokes."""
    drawn_on = known(lambda document: document.fingerprint, "")
    """Fingerprint of the image whose strokes these are; empty before the first."""
    strokes = known(lambda document: document.strokes.strokes, ())
    """The strokes that count, in the order in which they were made."""
    scribbles = known(lambda document: document.scribbles, None)
    """Strokes on the canvas: 0 none, 1 background, 2 foreground. Do not write."""
    stroke_counts = known(lambda document: document.strokes.counts, (0, 0))
    """Strokes of foreground and background that still show."""
    undo_steps = known(lambda document: document.strokes.steps, 0)
    """How often :meth:`undo` takes something back."""
    can_undo = known(lambda document: document.strokes.can_undo, nothing=False)
    """Whether there is a stroke to take back."""
    can_redo = known(lambda document: document.strokes.can_redo, nothing=False)
    """Whether a stroke that was taken back can come again."""
    status = known(lambda document: document.status, "untouched")
    """How far the work on the open image is."""
    dismissed = known(lambda document: document.dismissed, ())
    """Places on this image that nobody wants to see proposed again."""
    pins = known(lambda document: document.pins, ())
    """Places (y, x) that a person marked to compare maps there; the first is no. 1."""
    earlier = known(lambda document: document.earlier, None)
    """Work on this image from an earlier day, while nobody said what to do."""
    awaits_rounds = known(lambda document: document.has_waiting_rounds, nothing=False)
    """Whether rounds of an earlier work come back once it is localized."""
    journal = known(lambda document: document.journal, None)
    """The journal of the open image."""
    saved = known(lambda document: document.saved, None)
    """What has reached the disk; None without a journal."""
    model = Reads(lambda parts: parts.state.current.model)
    """The loaded model."""
    work = Reads(lambda parts: parts.state.work)
    """The work on the open slide: its plan, its finished tiles."""
    result = shown(lambda maps: maps.result)
    """Scores and heatmaps as the model gave them, before any refinement."""
    heatmaps = shown(lambda maps: maps.heatmaps)
    """The current map of each method, then those that are kept."""
    kept = shown(lambda maps: maps.kept)
    """Maps of former models and from elsewhere, by their keys."""
    stale = Reads(lambda parts: parts.others.stale)
    """Methods whose map is older than the last stroke, or than the pixels."""
    is_replaced = shown(lambda maps: maps.before is not None)
    """Whether the image has other pixels by now than its maps are of."""
    mapped = Reads(lambda parts: parts.state.current.mapped)
    """Fingerprint of the image that the maps are of: open, or as it was."""
    rounds = shown(lambda maps: maps.rounds)
    """All refits, the unrefined model first."""
    round_index = shown(lambda maps: maps.round_index)
    """The round whose map is shown."""
    reference = Reads(lambda parts: parts.comparison.reference)
    """What the maps of the open image are compared with; None for nothing."""
    worklist = Reads(lambda parts: parts.others.worklist)
    """The images that are worked on; None where there is one only."""
    is_aside = Reads(lambda parts: parts.others.is_aside)
    """Whether the open image is set aside: its strokes score, and teach nothing."""
    scores = Reads(lambda parts: parts.others.scores)
    """Every round since the list was opened, judged by what is set aside."""
    journals = Reads(lambda parts: parts.others.journals)
    """Where journals are kept; None where nothing is written."""
    lists_folder = Reads(lambda parts: parts.others.folder)
    """Where lists are remembered; None where nothing is written."""

    is_large = Reads(lambda parts: parts.jobs.is_large)
    """Whether image and model make it a slide, read tile by tile."""
    is_gradual = Reads(lambda parts: parts.jobs.is_gradual)
    """Whether its maps come in tile by tile: of a slide, or because it takes long."""
    possible_views = Reads(lambda parts: parts.jobs.possible_views)
    """How many views of the open image can be averaged."""
    is_busy = Reads(lambda parts: parts.jobs.is_busy)
    """Whether a job runs or waits."""
    job = Reads(lambda parts: parts.jobs.latest)
    """The latest status of the latest job."""

    @property
    def live(self) -> bool:
        """Whether each stroke is to be followed by a refit; whoever paints does it."""
        return self._parts.state.learning_now.live

    @live.setter
    def live(self, on: bool) -> None:
        self._learn(live=on)

    @property
    def settings(self) -> FinetuneConfig:
        """How strokes are learnt where nothing else is said."""
        return self._parts.state.learning_now.settings

    @settings.setter
    def settings(self, settings: FinetuneConfig) -> None:
        self._learn(settings=settings)

    def heatmap(self, method: str) -> Heatmap:
        """The current heatmap of a method.

        Raises:
            NoResultError: it was not localized yet.
        """
        return self._parts.state.current.maps.heatmap(method)

    # ----------------------------------------------------------------- verbs of parts

    open = of_jobs(SessionJobs.open)
    leave = of_jobs(SessionJobs.leave)
    reread = of_jobs(SessionJobs.reread)
    use = of_jobs(SessionJobs.use)
    release = of_jobs(SessionJobs.release)
    set_mpp = of_jobs(SessionJobs.set_mpp)
    set_tissue = of_document(Document.set_tissue)
    look_at = of_jobs(SessionJobs.look_at)
    plan = of_jobs(SessionJobs.plan)
    estimate = of_jobs(SessionJobs.estimate)
    localize = of_jobs(SessionJobs.localize)
    compare = of_jobs(SessionJobs.compare)
    use_bag = of_jobs(SessionJobs.use_bag)
    without_tiles = of_jobs(SessionJobs.without_tiles)
    trust = of_jobs(SessionJobs.trust)
    occlude = of_jobs(SessionJobs.occlude)
    finetune = of_jobs(SessionJobs.finetune)
    revert = of_jobs(SessionJobs.revert)
    add_map = of_jobs(SessionJobs.add_map)
    remove_map = of_jobs(SessionJobs.remove_map)
    export = of_jobs(SessionJobs.export)
    save_map = of_jobs(SessionJobs.save_map)
    figure = of_all(figure)
    table = of_all(table)
    report = of_all(report)
    cancel = of_jobs(SessionJobs.cancel)

    put = of_document(Document.put)
    brush = of_document(Document.brush)
    fill = of_document(Document.fill)
    clear = of_document(Document.clear)
    undo = of_document(Document.undo)
    redo = of_document(Document.redo)
    set_scribbles = of_jobs(SessionJobs.set_scribbles)
    grow = of_jobs(SessionJobs.grow)
    import_annotations = of_jobs(SessionJobs.import_annotations)
    propose = of_jobs(SessionJobs.propose)
    doubt = of_jobs(SessionJobs.doubt)
    set_pins = of_document(Document.set_pins)
    dismiss = of_document(Document.dismiss)
    resume = if_open(Document.resume, nothing=False)
    start_afresh = if_open(Document.start_afresh, nothing=False)
    set_status = of_document(Document.set_status)
    _set_learning = of_document(Document.learn)

    set_reference = of_comparison(Comparison.set_reference)
    clear_reference = of_comparison(Comparison.clear_reference)
    figures = of_comparison(Comparison.figures)
    score = of_comparison(Comparison.score)

    use_list = of_others(OtherImages.use_list)
    remember_list = of_others(OtherImages.remember_list)
    remembered_lists = of_others(OtherImages.remembered_lists)
    learn_beside = of_others(OtherImages.learn_beside)
    others = of_others(OtherImages.others)
    held_out = of_others(OtherImages.held_out)

    import_model = of_jobs(SessionJobs.import_model)
    save_model = of_jobs(SessionJobs.save_model)
    train = of_jobs(SessionJobs.train)

    # ------------------------------------------------------------------- its own verbs

    def set_memory(self, count: int) -> Future[None]:
        """How many bytes images may take in memory; remembered for the next sessions.

        The features of a slide that is open keep the budget that they began with.

        Raises:
            ConfigError: it is too small.
        """
        self.config = replace(self.config, memory_bytes=count)
        return self._parts.jobs.keep_memory(count)

    def close(self, *, wait: bool = False) -> None:
        """Stops everything; harmless when called again.

        Strokes that are not on the disk yet are written first.
        """
        self._parts.jobs.close(wait=wait)
        self._parts.others.close()
        document = self._parts.state.current.document
        if document is not None:
            document.close(keep_slide=True)  # a job that is being stopped may read it
        if self._parts.state.history is not None:
            self._parts.state.history.close()

    def _learn(
        self, *, live: bool | None = None, settings: FinetuneConfig | None = None
    ) -> None:
        state = self._parts.state
        while True:
            document = state.current.document
            if document is None:
                before, state.learning = (
                    state.learning,
                    state.learning.but(live, settings),
                )
                if state.learning != before:
                    self.settings_changed.emit()
            else:
                self._set_learning(live=live, settings=settings)
            if state.current.document is document:
                return  # else another image was opened meanwhile: it is wanted there

    def _adopt(self, document: Document) -> None:
        """Another image is open: whatever it tells is told here."""
        here = ref(document)  # or it would keep itself until the garbage is collected

        def hear(*_: object) -> None:
            if (known := here()) is not None:
                self._parts.others.hear_status(known)

        document.scribbles_changed.connect(hear)
        document.status_changed.connect(hear)
        document.earlier_changed.connect(self._bring_back)
        relay(document, self)

    def _bring_back(self) -> None:
        """An earlier work goes on after the image was localized: its rounds too."""
        current = self._parts.state.current
        waits = current.document is not None and current.document.has_waiting_rounds
        if waits and current.maps.result is not None:
            self._parts.jobs.restore()

    def _make_worker(self) -> Worker:
        """The worker; torch is imported here, on its thread: a window opens at once."""
        import torch

        from napari_wsol.session.worker import Worker

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        worker = Worker(
            self._parts.state,
            self._parts.others,
            config=lambda: self.config,
            slide_config=lambda: self.slide_config,
            adopt=self._adopt,
            follow=lambda: self.finetune(live=True),
        )
        relay(worker, self)
        return worker
