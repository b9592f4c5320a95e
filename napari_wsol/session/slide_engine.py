"""What a session does with slides: tile by tile, in the order of what is looked at."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from napari_wsol.config import SlideConfig
from napari_wsol.errors import MethodUnavailableError, NoResultError
from napari_wsol.images.bags import lattice_of
from napari_wsol.inference.bags import read_of_bag
from napari_wsol.inference.whole_image import localize_bag
from napari_wsol.paths import features_folder, tiles_folder
from napari_wsol.refinement.on_slides.descriptors import SlideSpace
from napari_wsol.refinement.on_slides.job import LOCALIZE_FIRST, SlideRounds
from napari_wsol.session.engine import Engine, ImageEngine
from napari_wsol.session.judging import Judged
from napari_wsol.session.maps import REFINED
from napari_wsol.session.slide_job import SlideJob
from napari_wsol.slides.bag import read_slide
from napari_wsol.slides.feature_store import keep_features
from napari_wsol.slides.held_image import plan_held
from napari_wsol.slides.large import check_slide_views, is_large
from napari_wsol.slides.localize import SlideWork
from napari_wsol.slides.plan import plan_slide
from napari_wsol.slides.result import slide_result
from napari_wsol.slides.scores import scored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.inference.view import ModelView
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import Report
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.refine import RoundRequest
    from napari_wsol.refinement.rounds import Refined, Round
    from napari_wsol.session.document import Document, Drawn
    from napari_wsol.session.engine import Shows
    from napari_wsol.session.judging import Judgeable
    from napari_wsol.session.maps import Maps, Wanted
    from napari_wsol.session.slide_job import Check
    from napari_wsol.slides.cost import Cost
    from napari_wsol.slides.feature_store import FeatureStore
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.strokes.annotations import Part

TOO_LARGE = (
    "Growing from a point needs the features of the whole image in memory, and this is "
    "a slide that is read tile by tile. Draw around the place instead."
)


class SlideEngine(Engine):
    """A slide: planned, encoded tile by tile, its features kept on the disk."""

    teaches_others = keeps_rounds = False

    def __init__(self, view: ModelView, shows: Shows) -> None:
        super().__init__(view, shows)
        self._store: FeatureStore | None = None
        self._space = SlideSpace()  # of the features in the store
        self._folder: TemporaryDirectory[str] | None = None  # of refined tiles

    @override
    def localize(self, wanted: Wanted, report: Report) -> Localization:
        check_slide_views(wanted.views)
        model, shape = self.view.model, self.view.slide.shape
        bag = self.shows.document.bag
        if bag is None:
            return self._job(wanted)(report)
        asked, check = (wanted.methods, wanted.target), report.check
        return localize_bag(model, bag, *asked, image_shape=shape, check=check)

    @override
    def estimate(self, wanted: Wanted, report: Report) -> Cost:
        return self._job(wanted).estimate(report)

    @override
    def refine(
        self,
        request: RoundRequest,
        maps: Maps,
        report: Report,
        step: Callable[[FinetuneStep], None],
    ) -> Round:
        return self._rounds().refine(request, maps.heatmap(REFINED), report, step)

    @override
    def shown_again(self, refined: Refined) -> Heatmap:
        raise MethodUnavailableError(
            f"Round {refined.index} of a slide cannot be shown again as it was: its "
            "tiles are gone. Refine, and the strokes give it again."
        )

    @override
    def judge(self, round_: Judgeable, report: Report) -> Judged | None:
        if self.work is None:
            return None
        rounds, done = self._rounds(), round_.done
        before: dict[str, float] = {}
        if round_.first is not None:
            before = rounds.seen_through(round_.first, report)
        after = rounds.seen_through(done.heatmap, report)
        marked = round_.marked(rounds.work.plan.seen)
        agreements = rounds.agreement(marked, round_.settings, report)
        return Judged(before=before, after=after, agreements=agreements)

    @override
    def grow(
        self, point: tuple[float, float], tolerance: float | None, report: Report
    ) -> Part:
        raise NoResultError(TOO_LARGE)

    @override
    def without(self, cells: Sequence[int], report: Report) -> Mapping[str, float]:
        model, bag, check = self.view.model, self.shows.document.bag, report.check
        if bag is not None:
            places = lattice_of(bag, self.view.slide.shape).places
            left = np.flatnonzero(np.isin(places, cells)).tolist()
            found, kept = read_of_bag(model, bag, without=left, check=check)
            return scored(model, found.logits, len(kept)).probabilities
        if self.work is None:
            raise NoResultError(LOCALIZE_FIRST)
        read = read_slide(model, self.work.kept, without=cells, check=check)
        return read.scores.probabilities

    @override
    def samples(self, drawn: Drawn) -> None:
        del drawn  # the features under strokes lie in tiles, and are not gathered

    @override
    def discard(self) -> None:
        super().discard()
        work, store = self.work, self._store
        self.close()
        if work is None or self.view.slide.path is not None:
            return  # once a file is overwritten, no tile of it is kept
        with suppress(OSError):
            work.log.path.unlink()
        if store is not None:
            rmtree(features_folder() / store.key, ignore_errors=True)

    @override
    def close(self) -> None:
        super().close()
        self.work = None
        self._close_store()
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()

    def _job(self, wanted: Wanted) -> SlideJob:
        view, document = self.view, self.shows.document

        def work(check: Check) -> SlideWork:
            return SlideWork(
                view.slide,
                view.model,
                wanted.methods,
                wanted.target,
                mpp=view.mpp,
                tissue=document.tissue,
                config=self._config(),
                folder=tiles_folder(document.fingerprint),
                keep=self._keep_features,
                check=check,
            )

        return SlideJob(
            work=work,
            result=slide_result,
            started=self._begin,
            shown=self.shows.localized,
            moved=self.shows.moved,
        )

    def _rounds(self) -> SlideRounds:
        """What all rounds on the slide have in common.

        Raises:
            NoResultError: nothing is localized.
        """
        if self.work is None or self._store is None:
            raise NoResultError(LOCALIZE_FIRST)
        if self._folder is None:
            self._folder = TemporaryDirectory(ignore_cleanup_errors=True)
        return SlideRounds(
            work=self.work,
            config=self._config(),
            store=self._store,
            space=self._space,
            folder=Path(self._folder.name),
            started=self._run,
            shown=self.shows.previewed,
        )

    def _config(self) -> SlideConfig:
        return slide_config(self.view, self.shows.config())

    def _keep_features(self, plan: SlidePlan) -> FeatureStore:
        """Opens the features of the slide's tiles; those of another plan are closed."""
        self._close_store()
        self._store = keep_features(
            self.view.slide, self.view.model, plan, self._config()
        )
        self._space = SlideSpace()
        return self._store

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    def _begin(self, work: SlideWork) -> None:
        self.work = work
        self._run(work)


def slide_config(view: ModelView, chosen: SlideConfig | None) -> SlideConfig:
    """How a slide is cut and read: as it was chosen, else as the budget allows."""
    return chosen or SlideConfig(
        core=view.config.slide_core, memory_bytes=view.config.tile_bytes
    )


def planned(
    view: ModelView, document: Document, chosen: SlideConfig | None
) -> SlidePlan:
    """Which tiles of a gradual image are read; on any thread."""
    if not view_is_large(view):
        return plan_held(view, document.tissue)
    config = slide_config(view, chosen)
    return plan_slide(
        view.slide, view.model, config, mpp=view.mpp, tissue=document.tissue
    )


def view_is_large(view: ModelView) -> bool:
    """Whether image and model make it a slide, within the memory budget."""
    return is_large(view.slide, view.model, view.mpp, view.config.image_bytes)


def engine_for(
    view: ModelView, known: Mapping[type[Engine], Engine], shows: Shows
) -> Engine:
    """The engine that reads an image as it is wanted now.

    Args:
        view: the image as the model sees it.
        known: those that have read it before, by their kind: each goes on.
        shows: whom a new one tells of what comes bit by bit.
    """
    of_bag = shows.document.bag is not None
    kind = SlideEngine if of_bag or view_is_large(view) else ImageEngine
    engine = known.get(kind) or kind(view, shows)
    engine.view = view
    return engine
