"""Many images in a session: what earlier ones taught, the score, and the saved head.

Every image teaches the next one: each round learns from the strokes of the open image
and from the samples of all other images of the list. Images that are set aside teach
nothing; they score every round. Slides learn from other images, but do not teach them:
the features under their strokes lie in tiles and are not gathered.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_wsol.errors import ConfigError, NoResultError, NoScribblesError
from napari_wsol.jobs import JobKind, Report
from napari_wsol.session.lists import ListState
from napari_wsol.session.state import REFINED
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND, now
from napari_wsol.worklist.samples import SampleShelf

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from napari_wsol.config import FinetuneConfig, InferenceConfig
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.cache import FeatureCache
    from napari_wsol.jobs import JobRunner
    from napari_wsol.methods import Model
    from napari_wsol.methods.card import Card
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.refinement.samples import Pooled, Samples, Score
    from napari_wsol.refinement.saved_model import TrainedFrom
    from napari_wsol.strokes.stroke import Stroke
    from napari_wsol.worklist.items import WorkList

SET_ASIDE = (
    "This image is set aside: its strokes score what the others teach, and teach "
    "nothing themselves. Take the mark off in the list of images to learn from them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A round, judged by the images that are set aside.

    Attributes:
        time: UTC, ISO 8601.
        image: fingerprint of the image that it was made on.
        round: its index.
        score: balanced accuracy over strokes.
    """

    time: str
    image: str
    round: int
    score: Score


class SampleState(ListState):
    """The part of a session that learns from all images of a list.

    Args:
        journals: as for :class:`~napari_wsol.session.strokes.StrokeState`.

    Signals:
        those of :class:`~napari_wsol.session.lists.ListState`, and
        scored: a :class:`Scored`.
    """

    scored = Signal(object)

    _runner: JobRunner
    _cache: FeatureCache
    config: InferenceConfig

    def __init__(self, journals: str | Path | bool = True) -> None:
        super().__init__(journals)
        self._shelf = SampleShelf(self._journals)
        self._scores: tuple[Scored, ...] = ()
        self._gathered: tuple[object, ...] = ()
        self._given: tuple[Samples, ...] | None = None

    @property
    def scores(self) -> tuple[Scored, ...]:
        """Every round since the list was opened, judged by what is set aside."""
        return self._scores

    def use_list(self, worklist: WorkList | None) -> None:
        """Works on these images; how far each is, is found in the background."""
        self._scores = ()
        super().use_list(worklist)

    def learn_beside(self, samples: Sequence[Samples] | None) -> None:
        """Says what other images teach, rather than the list; None asks the list again.

        Args:
            samples: made with the model that is used.
        """
        self._given = None if samples is None else tuple(samples)

    def others(self) -> Pooled | None:
        """What the other images of the list teach; None where there is nothing.

        Called on the worker. Images that are set aside, and images whose strokes were
        taken away again, are left out.
        """
        from napari_wsol.refinement.samples import pooled

        worklist, model = self._worklist, self._model
        if self._given is not None:
            return pooled(self._given)
        if worklist is None or model is None:
            return None
        wanted = [
            item.fingerprint
            for item in worklist
            if item.fingerprint not in ("", self._drawn_on)
            and item.status != "untouched"
            and not worklist.is_aside(item.fingerprint)
        ]
        return pooled(self._shelf.of_all(wanted, _digest(model)))

    def held_out(self) -> list[Samples]:
        """Strokes on images that are set aside. Called on the worker."""
        worklist, model = self._worklist, self._model
        if worklist is None or model is None:
            return []
        aside = [item.fingerprint for item in worklist.aside if item.fingerprint]
        return self._shelf.of_all(aside, _digest(model))

    def save_model(self, name: str, title: str = "") -> Future[Card]:
        """Makes the round that is shown a model of the user's own; does not load it.

        The whole model is written, with what the round has learnt about all images.
        What it has learnt about places of this image alone stays with the image.

        Args:
            name: of the new model.
            title: for people; from the model's by default.

        The future raises NoResultError before the first round, ConfigError for a round
        with a network of its own, and ConfigError and
        ExportError as :func:`~napari_wsol.refinement.saved_model.save_refined`.
        """

        def work(report: Report) -> Card:
            from napari_wsol.refinement.last_stage import adapted_model
            from napari_wsol.refinement.saved_model import save_refined

            model, shown = self._need_model(), self._current_round()
            if shown is None or shown.head is None:
                raise NoResultError(
                    "Nothing was learnt yet. Draw strokes and refine, or choose a "
                    "later round; then it can be saved as a model."
                )
            if shown.has_network:
                raise ConfigError(
                    "This round learnt a small network, which belongs to this image. "
                    "Choose the linear head under Advanced and refine; that can be "
                    "saved as a model."
                )
            if shown.stage is not None:
                model = adapted_model(model, shown.stage)
            report.check()
            taught = self._taught(shown)
            return save_refined(model, shown.head, taught, name, title=title)

        return self._runner.submit(JobKind.SAVE_MODEL, work)

    # ---------------------------------------------------------------- for the session

    def _begin_strokes(self, slide: Slide, *, resume: bool) -> None:
        self._gathered = ()
        super()._begin_strokes(slide, resume=resume)

    def _record(self, done: Round, strokes: Sequence[Stroke]) -> Round:
        """Writes a new round down; not one that others alone have taught.

        An image that was only looked at is untouched.
        """
        if strokes:
            return super()._record(done, strokes)
        return replace(done, scribbles=None)

    def _leave_image(self) -> None:
        """Another image is about to be opened: what its strokes teach is kept.

        Called on the worker while the features are still at hand.
        """
        if self._worklist is not None and self._result is not None:
            self._keep_samples()

    def _learnt(self, done: Round) -> None:
        """A round is shown: its strokes are kept for others, and it is scored."""
        if self._worklist is None:
            return
        self._shelf.use(done.others)
        self._keep_samples()
        self._score(done)

    def _check_teaches(self) -> None:
        """Refuses a refit on an image that is set aside; its strokes are kept.

        Raises:
            NoScribblesError: it is.
        """
        if self.is_aside:
            self._keep_samples()
            shown = self._current_round()
            if shown is not None:
                self._score(shown)
            raise NoScribblesError(SET_ASIDE)

    def _begin_with_others(self, report: Report) -> None:
        """An untouched image begins with what the others taught: its first round."""
        from napari_wsol.refinement.refine import refine

        others = self._starts_from_others(self.settings)
        if others is None:
            return
        quiet = Report(report.status, _nobody)  # it is a part of the localization
        quiet.cancelled = report.cancelled
        done = refine(
            self._need_slide(),
            self._need_model(),
            None,
            self._need_canvas(),
            self.settings,
            target=self._need_result().target,
            index=1,
            report=quiet,
            step=_nobody,
            mpp=self.mpp,
            config=self.config,
            cache=self._cache,
            others=others,
        )
        report.check()
        done = self._record(done, ())
        self._add_round(done)
        self._show(done)
        self._learnt(done)

    def _starts_from_others(self, settings: FinetuneConfig) -> Pooled | None:
        """What a round on an untouched image is made of; None where there is none."""
        untouched = not self.strokes or self.is_aside
        is_new = not any(item.index for item in self._rounds)
        is_first = is_new and REFINED in self._heatmaps
        if not untouched or not is_first or not settings.others or self.is_large:
            return None
        others = self.others()
        return others if others is not None and others.kinds == 2 else None

    def _keep_samples(self) -> None:
        """Gathers what the strokes of the open image teach; the features are cached."""
        from napari_wsol.inference.encode import encode
        from napari_wsol.refinement.refine import colour_on
        from napari_wsol.refinement.samples import gather_samples, read_by_head

        slide, model, canvas = self._slide, self._model, self._canvas
        with self._pen:
            strokes, scribbles = self.strokes, self._scribbles
        state = (model, self.mpp, tuple(stroke.number for stroke in strokes))
        if slide is None or model is None or canvas is None or scribbles is None:
            return
        if state == self._gathered or self.is_large:
            return
        features, seen = encode(
            slide, model, mpp=self.mpp, config=self.config, cache=self._cache
        )
        found = gather_samples(
            features,
            model,
            scribbles,
            scale=canvas.scale,
            translate=canvas.translate,
            seen=seen,
            fingerprint=self._drawn_on,
            colour=colour_on(slide, model, seen, read_by_head(model, features)),
            time=now(),
        )
        self._gathered = state
        self._shelf.keep(self._drawn_on, _digest(model), found, self._written_folder())

    def _written_folder(self) -> Path | None:
        """The journal's folder; None while it holds nothing."""
        journal = self._journal
        if journal is None or not journal.flush(1.0) or not journal.folder.is_dir():
            return None
        return journal.folder

    def _score(self, done: Round) -> None:
        from napari_wsol.refinement.samples import score

        samples = self.held_out()
        if done.head is None or not samples or not _holds_elsewhere(done):
            return
        found = Scored(
            time=now(),
            image=self._drawn_on,
            round=done.index,
            score=score(done.head, samples),
        )
        self._scores = (*self._scores, found)
        self.scored.emit(found)

    def _taught(self, shown: Round) -> TrainedFrom:
        """What a round has learnt from, over all images."""
        from napari_wsol.refinement.samples import score
        from napari_wsol.refinement.saved_model import TrainedFrom

        digest = _digest(self._need_model())
        worklist = self._worklist or ()
        known = self._shelf.of_all((item.fingerprint for item in worklist), digest)
        others = [item for item in known if item.digest in shown.others]
        counts = [item.stroke_counts for item in others]
        if shown.learnt_from:
            labels = [
                stroke.label
                for stroke in self.strokes
                if stroke.number in shown.learnt_from
            ]
            counts.append((labels.count(FOREGROUND), labels.count(BACKGROUND)))
        held_out = self.held_out() if _holds_elsewhere(shown) else []
        return TrainedFrom(
            foreground=sum(count[0] for count in counts),
            background=sum(count[1] for count in counts),
            images=len(counts),
            score=score(shown.head, held_out) if shown.head and held_out else None,
        )


def _holds_elsewhere(done: Round) -> bool:
    """Whether its head alone says what was learnt, on features as samples have them."""
    return done.stage is None and not done.has_network


def _digest(model: Model) -> str:
    from napari_wsol.refinement.heads import reading_digest

    return reading_digest(model)


def _nobody(item: object) -> None:
    """Progress that nobody is told of."""
    del item
