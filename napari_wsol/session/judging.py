"""What can be said of a round once it is there, while the person goes on working.

Two questions that take longer than the map: does a stroke that is left out agree with
what the others teach, and does the image's prediction, read through the map, hold? They
are asked after the map is shown; a newer stroke stops them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.jobs import JobKind
from napari_wsol.refinement.rounds import LeftOut
from napari_wsol.session.rounds import RoundState
from napari_wsol.strokes.stroke import FOREGROUND, UNLABELLED, drawn, owners

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    import numpy.typing as npt

    from napari_wsol.config import FinetuneConfig, InferenceConfig
    from napari_wsol.encoders import Features
    from napari_wsol.inference.cache import FeatureCache
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.jobs import JobRunner, Report
    from napari_wsol.refinement.left_out import Marked
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.strokes.canvas import Canvas
    from napari_wsol.strokes.stroke import Stroke

MOST_PIXELS = 400
"""Pixels of a stroke that are judged."""


class JudgingState(RoundState):
    """The part of a session that judges rounds."""

    _runner: JobRunner
    _cache: FeatureCache
    config: InferenceConfig

    def _judge_later(self, done: Round, strokes: Sequence[Stroke]) -> Future[Round]:
        """Judges a round when nothing more urgent waits.

        Args:
            done: a round that is shown.
            strokes: those that it learnt from.
        """

        def work(report: Report) -> Round:
            judged = self._judged(done, strokes, report)
            report.check()
            rounds = list(self._rounds)
            for place, item in enumerate(rounds):
                if item.index == done.index and item.head is done.head:
                    # Its map may have been moved to a file meanwhile.
                    judged = replace(judged, heatmap=item.heatmap)
                    rounds[place] = judged
                    self._rounds = tuple(rounds)
                    self._write_round(judged)
                    self.rounds_changed.emit()
            return judged

        return self._runner.submit(JobKind.JUDGE, work, replaces=(JobKind.JUDGE,))

    def _judged(self, done: Round, strokes: Sequence[Stroke], report: Report) -> Round:
        from napari_wsol.inference.encode import encode
        from napari_wsol.inference.read_through import contradiction, prediction_through
        from napari_wsol.refinement.last_stage import adapted_model

        slide, model = self._need_slide(), self._need_model()
        if done.settings is None:
            return done
        if self.is_large:
            return self._judged_slide(done, done.settings, strokes, report)
        features, seen = encode(
            slide,
            model,
            mpp=self.mpp,
            config=self.config,
            cache=self._cache,
            check=report.check,
        )
        first = next((item for item in self._rounds if item.index == 0), None)
        before = (
            prediction_through(model, features, seen, first.heatmap)
            if first is not None
            else {}
        )
        adapted, found = model, features
        if done.stage is not None:
            adapted = adapted_model(model, done.stage)
            found, _ = encode(
                slide,
                adapted,
                mpp=self.mpp,
                config=self.config,
                cache=self._cache,
                check=report.check,
            )
        after = prediction_through(adapted, found, seen, done.heatmap)
        finds = model.card.finds if model.card is not None else "what you look for"
        return replace(
            done,
            before=before,
            after=after,
            warning=contradiction(before, after, done.heatmap, finds),
            left_out=self._left_out(done.settings, strokes, features, seen, report),
        )

    def _left_out(
        self,
        settings: FinetuneConfig,
        strokes: Sequence[Stroke],
        features: Features,
        seen: Geometry,
        report: Report,
    ) -> tuple[LeftOut, ...]:
        from napari_wsol.refinement.left_out import left_out
        from napari_wsol.refinement.refine import surroundings

        slide, model = self._need_slide(), self._need_model()
        found = left_out(
            model,
            features,
            _marked(strokes, self._need_canvas(), seen),
            settings,
            around=lambda head: surroundings(
                slide, model, seen, head, features, cache=self._cache
            ),
            check=report.check,
        )
        return _of_strokes(strokes, found)

    def _judged_slide(
        self,
        done: Round,
        settings: FinetuneConfig,
        strokes: Sequence[Stroke],
        report: Report,
    ) -> Round:
        """The same on a slide, tile by tile."""
        from napari_wsol.inference.read_through import contradiction

        model, canvas, work = self._need_model(), self._need_canvas(), self.work
        if work is None:
            return done
        job = self._slide_round(settings, drawn(strokes, canvas.shape), done.index)
        first = next((item for item in self._rounds if item.index == 0), None)
        before = job.seen_through(first.heatmap, report) if first is not None else {}
        after = job.seen_through(done.heatmap, report)
        finds = model.card.finds if model.card is not None else "what you look for"
        found = job.agreement(_marked(strokes, canvas, work.plan.seen), report)
        return replace(
            done,
            before=before,
            after=after,
            warning=contradiction(before, after, done.heatmap, finds),
            left_out=_of_strokes(strokes, found),
        )


def _of_strokes(
    strokes: Sequence[Stroke], agreements: Mapping[int, float]
) -> tuple[LeftOut, ...]:
    """Agreements by places in ``strokes``, with what the strokes are."""
    return tuple(
        LeftOut(
            number=strokes[place].number,
            label=strokes[place].label,
            agreement=agreement,
        )
        for place, agreement in agreements.items()
    )


def _marked(strokes: Sequence[Stroke], canvas: Canvas, seen: Geometry) -> Marked:
    """Where strokes still show, thinned along each; owned by places in ``strokes``."""
    from napari_wsol.refinement.left_out import Marked

    drawing = drawn(strokes, canvas.shape)
    owner = owners(strokes, drawing)
    cells = np.argwhere(drawing != UNLABELLED)
    of_cell = owner[tuple(cells.T)]
    picks: list[npt.NDArray[np.intp]] = [np.zeros(0, np.intp)]
    for place in np.unique(of_cell):
        own = np.flatnonzero(of_cell == place)
        at = np.linspace(0, len(own) - 1, min(len(own), MOST_PIXELS))
        picks.append(own[at.round().astype(np.intp)])
    pick = np.concatenate(picks)
    cells, of_cell = cells[pick], of_cell[pick]
    level0 = cells * np.array(canvas.scale) + np.array(canvas.translate)
    points = (level0 + 0.5) / np.array(seen.downsample) - 0.5 - np.array(seen.origin)
    labels = (drawing[tuple(cells.T)] == FOREGROUND).astype(np.int64)
    return Marked(points.astype(np.float32), labels, of_cell.astype(np.int64))
