"""How an image is read: what every engine does, and the one for images in one piece.

:func:`~napari_wsol.session.slide_engine.engine_for` is the only place that chooses.
Whatever a slide cannot do is refused by its own engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from typing_extensions import override

from napari_wsol.errors import ImageError
from napari_wsol.inference.read_through import prediction_through
from napari_wsol.inference.whole_image import check_methods, localize
from napari_wsol.methods import evaluating, get_method
from napari_wsol.methods.mil import cells_of, read_bag
from napari_wsol.refinement.grow import TOLERANCE, grow
from napari_wsol.refinement.last_stage import adapted_model
from napari_wsol.refinement.left_out import left_out
from napari_wsol.refinement.refine import colour_on, refine, shown_by, surroundings
from napari_wsol.refinement.samples import gather_samples, read_by_head
from napari_wsol.session.judging import Judged
from napari_wsol.session.slide_job import SlideJob
from napari_wsol.slides.expected import is_gradual, is_long
from napari_wsol.slides.held_image import held_features, held_work, plan_held
from napari_wsol.slides.readouts import tile_methods
from napari_wsol.slides.scores import scored
from napari_wsol.strokes.stroke import kinds_of, now

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from napari_wsol.config import SlideConfig
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.inference.view import ModelView
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import Report
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.refine import RoundRequest
    from napari_wsol.refinement.rounds import Refined, Round
    from napari_wsol.refinement.samples import Samples
    from napari_wsol.session.document import Document, Drawn
    from napari_wsol.session.judging import Judgeable
    from napari_wsol.session.maps import Maps, Wanted
    from napari_wsol.session.slide_job import SlideProgress
    from napari_wsol.slides.cost import Cost
    from napari_wsol.slides.held_image import HeldFeatures
    from napari_wsol.slides.localize import SlideWork
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.strokes.annotations import Part

SMALL = "This image is small enough to be read at once: localize it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Shows:
    """Whom an engine tells of what comes bit by bit, and what it asks meanwhile.

    Attributes:
        document: the open image: its tissue, and what is looked at.
        config: how slides are cut and read; the defaults, within the budget, if None.
        localized: called with what there is so far.
        moved: called with how far the slide is.
        previewed: called with the map of a round that is not finished yet.
    """

    document: Document
    config: Callable[[], SlideConfig | None]
    localized: Callable[[Localization], None]
    moved: Callable[[SlideProgress], None]
    previewed: Callable[[Heatmap], None]


class Engine(ABC):
    """Reads one image under one model. All but ``look_again`` belongs to the worker.

    Args:
        view: the image as the model sees it; another one when it is wanted otherwise.
        shows: whom to tell of what comes bit by bit.

    Attributes:
        teaches_others: whether strokes on this image can teach others, and others this
            one before its first stroke.
        keeps_rounds: whether rounds of an earlier day can be shown again as they were.
    """

    teaches_others: ClassVar[bool]
    keeps_rounds: ClassVar[bool]
    work: SlideWork | None = None
    """The tiles of a slide; None for an image in one piece."""

    def __init__(self, view: ModelView, shows: Shows) -> None:
        self.view, self.shows = view, shows
        self._running: SlideWork | None = None

    @abstractmethod
    def localize(self, wanted: Wanted, report: Report) -> Localization:
        """Scores, and the maps of methods, from one encoding of each view."""

    @abstractmethod
    def estimate(self, wanted: Wanted, report: Report) -> Cost:
        """What localizing will cost."""

    @abstractmethod
    def refine(
        self,
        request: RoundRequest,
        maps: Maps,
        report: Report,
        step: Callable[[FinetuneStep], None],
    ) -> Round:
        """One round: strokes in, a refined head and its map out.

        Args:
            request: the strokes, and how they are learnt.
            maps: what is shown now.
            report: hears of the progress; may stop it.
            step: hears of every step of the solver.
        """

    @abstractmethod
    def shown_again(self, refined: Refined) -> Heatmap:
        """The map of a round that was made before."""

    @abstractmethod
    def judge(self, round_: Judgeable, report: Report) -> Judged | None:
        """What can be said of a round; None where nothing can."""

    @abstractmethod
    def grow(
        self, point: tuple[float, float], tolerance: float | None, report: Report
    ) -> Part:
        """The connected place around a point that looks alike to the model."""

    @abstractmethod
    def samples(self, drawn: Drawn) -> Samples | None:
        """What the strokes teach other images; None where nothing is painted."""

    @abstractmethod
    def without(self, cells: Sequence[int], report: Report) -> Mapping[str, float]:
        """Probability of each class without the tiles of some cells of their map."""

    def look_again(self) -> None:
        """The person looks elsewhere. On any thread."""
        work, seen = self._running, self.shows.document.looked_at
        if work is not None and seen is not None:
            work.run.queue.look_at(work.plan.tiles_of(*seen))

    def _run(self, work: SlideWork) -> None:
        """Its tiles come in the order of what is looked at, from now on."""
        self._running = work
        self.look_again()

    def discard(self) -> None:
        """Forgets what was kept of the image: some of it may be of other pixels."""
        if self.view.cache is not None:
            self.view.cache.clear()

    def close(self) -> None:
        """Lets go of files."""
        self._running = None


class ImageEngine(Engine):
    """An image in one piece: encoded once, its features are kept by the cache.

    Where that takes long, it is shown as a slide is while its tiles come in.
    """

    teaches_others = keeps_rounds = True

    @override
    def localize(self, wanted: Wanted, report: Report) -> Localization:
        view = self.view
        if is_gradual(view):
            self._encode_in_view(wanted, report)
        found = localize(
            view.model,
            view.slide,
            wanted.methods,
            wanted.target,
            views=wanted.views,
            mpp=view.mpp,
            config=view.config,
            cache=view.cache,
            report=report,
            check=report.check,
        )
        report.check()
        return found

    @override
    def estimate(self, wanted: Wanted, report: Report) -> Cost:
        view = self.view
        if not is_gradual(view):
            raise ImageError(SMALL)
        names = tile_methods(view.model, check_methods(view.model, wanted.methods))
        plan = plan_held(view, self.shows.document.tissue)
        features = held_features(view, plan)
        missing = np.zeros(plan.wanted.size, np.bool_)
        missing[[tile.index for tile in features.missing]] = True
        plan = replace(plan, wanted=missing.reshape(plan.wanted.shape))
        with self._job(features, plan, names or None, wanted.target) as job:
            return replace(job.estimate(report), disk_bytes=0)

    def _encode_in_view(self, wanted: Wanted, report: Report) -> None:
        """Puts features into the cache, those of what is looked at first.

        What would not take long any more, or could not be shown, is left to
        :func:`~napari_wsol.inference.whole_image.localize`.
        """
        model = self.view.model
        names = check_methods(model, wanted.methods)
        picked = [get_method(name) for name in names]
        layers = [name for item in picked for name in item.taps(model)]
        report(0, 0, "looking for tissue")
        plan = plan_held(self.view, self.shows.document.tissue)
        features = held_features(self.view, plan, layers)
        shown = tile_methods(model, names)
        if shown and is_long(features.missing, model):
            with self._job(features, plan, shown, wanted.target, layers) as job:
                job(report)

    @contextmanager
    def _job(
        self,
        features: HeldFeatures,
        plan: SlidePlan,
        methods: Sequence[str] | None,
        target: str | None,
        layers: Sequence[str] = (),
    ) -> Generator[SlideJob]:
        """Fills features tile by tile, and shows what there is of the maps."""
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            yield SlideJob(
                work=lambda check: held_work(
                    self.view,
                    plan,
                    features,
                    methods,
                    target,
                    layers=layers,
                    folder=Path(folder),
                    check=check,
                ),
                result=lambda work, _check: work.result(),
                started=self._run,
                shown=self.shows.localized,
                moved=self.shows.moved,
            )
            self._running = None

    @override
    def refine(
        self,
        request: RoundRequest,
        maps: Maps,
        report: Report,
        step: Callable[[FinetuneStep], None],
    ) -> Round:
        del maps
        return refine(self.view, request, report=report, step=step)

    @override
    def shown_again(self, refined: Refined) -> Heatmap:
        return shown_by(self.view, refined)

    @override
    def judge(self, round_: Judgeable, report: Report) -> Judged:
        done, view, seen = round_.done, self.view, self.view.geometry()
        features = view.features(check=report.check)
        before: dict[str, float] = {}
        if round_.first is not None:
            before = prediction_through(view.model, features, seen, round_.first)
        adapted = view
        if done.stage is not None:
            adapted = view.by(adapted_model(view.model, done.stage))
        after = prediction_through(
            adapted.model,
            adapted.features(check=report.check),
            seen,
            done.heatmap,
        )
        agreements = left_out(
            view.model,
            features,
            round_.marked(seen),
            round_.settings,
            around=lambda head: surroundings(view, head, features),
            check=report.check,
        )
        return Judged(before=before, after=after, agreements=agreements)

    @override
    def grow(
        self, point: tuple[float, float], tolerance: float | None, report: Report
    ) -> Part:
        canvas, seen = self.shows.document.canvas, self.view.geometry()
        features = self.view.features(check=report.check)

        def seen_at(place: tuple[float, float]) -> tuple[float, float]:
            # Pixel centres are integers on both grids.
            y, x = (
                (at + 0.5) / step - 0.5 - begin
                for at, step, begin in zip(
                    place, seen.downsample, seen.origin, strict=True
                )
            )
            return y, x

        return grow(
            features,
            seen_at(point),
            shape=canvas.shape,
            scale=(
                canvas.scale[0] / seen.downsample[0],
                canvas.scale[1] / seen.downsample[1],
            ),
            translate=seen_at(canvas.translate),
            tolerance=TOLERANCE if tolerance is None else tolerance,
        )

    @override
    def without(self, cells: Sequence[int], report: Report) -> Mapping[str, float]:
        model = self.view.model
        vectors = cells_of(self.view.features(check=report.check))[0]
        kept = np.delete(np.arange(len(vectors)), cells)
        if not len(kept):
            return {}
        with evaluating(model), torch.inference_mode():
            found = read_bag(model, lambda: [vectors[kept]], check=report.check)
        return scored(model, found.logits, len(kept)).probabilities

    @override
    def samples(self, drawn: Drawn) -> Samples | None:
        if drawn.scribbles is None:
            return None
        view, canvas = self.view, drawn.document.canvas
        features = view.features()
        return gather_samples(
            features,
            view.model,
            drawn.scribbles,
            scale=canvas.scale,
            translate=canvas.translate,
            seen=view.geometry(),
            fingerprint=drawn.document.fingerprint,
            colour=colour_on(view, read_by_head(view.model, features)),
            time=now(),
            drawn=kinds_of(drawn.teaching),
        )
