"""What a session does with slides: tile by tile, in the order of what is looked at."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_wsol.errors import (
    ImageError,
    MethodUnavailableError,
    NoImageError,
    NoResultError,
)
from napari_wsol.jobs import LOCALIZES, JobKind
from napari_wsol.paths import tiles_folder
from napari_wsol.session.state import REFINED, SessionState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    import numpy.typing as npt

    from napari_wsol.config import FinetuneConfig, InferenceConfig
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import JobRunner, Report
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.on_slides.descriptors import SlideSpace
    from napari_wsol.refinement.on_slides.job import SlideRound
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.refinement.samples import Pooled
    from napari_wsol.session.slide_job import SlideJob
    from napari_wsol.slides.config import SlideConfig
    from napari_wsol.slides.cost import Cost
    from napari_wsol.slides.feature_store import FeatureStore
    from napari_wsol.slides.localize import Keeper, SlideWork
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.strokes.canvas import Scribbles

LARGEST_MASK = 64_000_000
SMALL = "This image is small enough to be read at once: localize it."


class SlideState(SessionState):
    """The part of a session that knows slides.

    Signals:
        those of :class:`SessionState`, and
        slide_moved: a :class:`~napari_wsol.session.slide_job.SlideProgress`.
        tissue_changed: no argument.
    """

    slide_moved = Signal(object)
    tissue_changed = Signal()

    _runner: JobRunner
    config: InferenceConfig

    def __init__(self) -> None:
        super().__init__()
        self._work: SlideWork | None = None
        self._running: SlideWork | None = None
        self._view: tuple[float, float, float, float] | None = None
        self._store: FeatureStore | None = None
        self._space: SlideSpace | None = None  # of the features in the store
        self._folder: TemporaryDirectory[str] | None = None  # of refined tiles
        self._tissue: npt.NDArray[np.bool_] | None = None
        self.slide_config: SlideConfig | None = None
        """How slides are cut and read; the defaults, within the budget, if None."""

    @property
    def work(self) -> SlideWork | None:
        """The work on the open slide: its plan, its finished tiles."""
        return self._work

    @property
    def tissue(self) -> npt.NDArray[np.bool_] | None:
        """Where to look, as a person drew it; None where it is found by itself."""
        return self._tissue

    @property
    def is_large(self) -> bool:
        """Whether image and model make it a slide, read tile by tile."""
        if self._slide is None or self._model is None:
            return False
        from napari_wsol.slides.large import is_large

        limit = self.config.image_bytes
        return is_large(self._slide, self._model, self.mpp, limit)

    def set_tissue(self, mask: npt.ArrayLike | None) -> None:
        """Where to look on a slide: tiles elsewhere are left out.

        Args:
            mask: (h, w) over the whole slide, at any resolution; not 0 where there is
                tissue. None finds it by itself.

        Raises:
            NoImageError: nothing is open.
            ImageError: it is empty or no plane.
        """
        if self._slide is None:
            raise NoImageError("Open an image first.")
        found = None
        if mask is not None:
            found = np.asarray(mask) != 0
            if found.ndim != 2 or found.size > LARGEST_MASK or not found.any():
                raise ImageError(
                    "A tissue mask is one plane over the whole slide, of at most "
                    f"{LARGEST_MASK} cells, with some tissue in it; this has the "
                    f"shape {found.shape}."
                )
        self._tissue = found
        self.tissue_changed.emit()

    def look_at(self, top: float, left: float, bottom: float, right: float) -> None:
        """What the person sees, in level-0 pixels: a slide goes on there first."""
        self._view = (top, left, bottom, right)
        work = self._running
        if work is not None:
            work.run.queue.look_at(work.plan.tiles_of(top, left, bottom, right))

    def plan(self) -> SlidePlan:
        """How the open slide is cut: which tiles, and how many.

        What :meth:`localize` would do now, with the tissue and the budget of this
        session. On any thread; finding the tissue of a slide takes a while.

        Raises:
            NoImageError: nothing is open.
            NoModelError: no model is loaded.
            ImageError: the image is small enough to be read at once.
            MethodUnavailableError: the model looks at whole images only.
        """
        from napari_wsol.slides import plan_slide

        slide, model = self._need_slide(), self._need_model()
        if not self.is_large:
            raise ImageError(SMALL)
        return plan_slide(
            slide, model, self._slide_settings(), mpp=self.mpp, tissue=self._tissue
        )

    def estimate(
        self, methods: Sequence[str] | None = None, target: str | None = None
    ) -> Future[Cost]:
        """What the rest of a slide will cost, from three of its tiles, which are kept.

        Args:
            methods: as for localizing.
            target: likewise.

        The future raises ImageError where the image is no slide.
        """

        def work(report: Report) -> Cost:
            self._need_model()
            if not self.is_large:
                raise ImageError(SMALL)
            return self._slide_job(methods, target).estimate(report)

        return self._runner.submit(JobKind.ESTIMATE, work, replaces=LOCALIZES)

    def _localize_slide(
        self, methods: Sequence[str] | None, target: str | None, report: Report
    ) -> Localization:
        """Runs on the worker until all tiles are finished, or it is stopped."""
        return self._slide_job(methods, target)(report)

    def _slide_job(self, methods: Sequence[str] | None, target: str | None) -> SlideJob:
        from napari_wsol.session.slide_job import SlideJob

        slide = self._need_slide()
        return SlideJob(
            slide=slide,
            model=self._need_model(),
            methods=methods,
            target=target,
            mpp=self.mpp,
            tissue=self._tissue,
            config=self._slide_settings(),
            folder=tiles_folder(slide.fingerprint()),
            keep=self._keep_features,
            started=self._begin_work,
            shown=self._present,
            moved=self.slide_moved.emit,
        )

    def _keep_features(self, plan: SlidePlan) -> Keeper:
        """Opens the features of the slide's tiles; those of another plan are closed."""
        from napari_wsol.refinement.on_slides.descriptors import SlideSpace
        from napari_wsol.slides.feature_store import keep_features

        self._close_store()
        config = self._slide_settings()
        self._store = keep_features(
            self._need_slide(), self._need_model(), plan, config
        )
        self._space = SlideSpace()
        return self._store

    def _forget_slide(self) -> None:
        """Another image: nothing of this one is asked for any more."""
        self._tissue = self._work = self._running = self._view = None
        self._close_store()

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = self._space = None

    def _slide_settings(self) -> SlideConfig:
        from napari_wsol.slides import SlideConfig

        return self.slide_config or SlideConfig(
            core=self.config.slide_core, memory_bytes=self.config.tile_bytes
        )

    def _begin_work(self, work: SlideWork) -> None:
        self._work = self._running = work
        self._look_again()

    def _begin_round(self, work: SlideWork) -> None:
        self._running = work
        self._look_again()

    def _look_again(self) -> None:
        if self._view is not None:
            self.look_at(*self._view)

    def _refine_slide(
        self,
        settings: FinetuneConfig,
        scribbles: Scribbles | None,
        index: int,
        report: Report,
        step: Callable[[FinetuneStep], None],
        *,
        others: Pooled | None = None,
    ) -> Round:
        """One round on a slide, from the features that are kept."""
        if settings.encoder == "last_stage":
            raise MethodUnavailableError(
                "On a slide the encoder cannot learn from strokes, as all tiles would "
                "have to be encoded anew. Keep it frozen, under Advanced."
            )
        job = self._slide_round(settings, scribbles, index, step=step, others=others)
        shown = self._heatmaps
        try:
            return job(report)
        except BaseException:
            self._heatmaps = shown  # what had been previewed of it goes
            self.heatmap_changed.emit(REFINED)
            raise

    def _slide_round(
        self,
        settings: FinetuneConfig,
        scribbles: Scribbles | None,
        index: int,
        *,
        step: Callable[[FinetuneStep], None] = lambda _item: None,
        others: Pooled | None = None,
    ) -> SlideRound:
        """What is asked of a round on a slide, or said of it later.

        Raises:
            NoResultError: nothing is localized.
        """
        from napari_wsol.refinement.on_slides.job import SlideRound

        work = self._work
        if work is None or self._store is None:
            raise NoResultError("Localize first, then refine what it found.")
        if self._folder is None:
            self._folder = TemporaryDirectory(ignore_cleanup_errors=True)
        return SlideRound(
            work=work,
            before=self.heatmap(REFINED),
            scribbles=scribbles,
            canvas=self._need_canvas(),
            settings=settings,
            config=self._slide_settings(),
            store=self._store,
            folder=Path(self._folder.name),
            index=index,
            step=step,
            started=self._begin_round,
            shown=self._preview,
            others=others,
            space=self._space,
        )

    def _preview(self, heatmap: Heatmap) -> None:
        """Shows a round that is not finished yet."""
        self._heatmaps = MappingProxyType({**self._heatmaps, REFINED: heatmap})
        self.heatmap_changed.emit(REFINED)

    def _present(self, result: Localization) -> None:
        """Puts a result in place and tells everybody."""
        self._keep(result)
        self.localized.emit()
        self.rounds_changed.emit()
