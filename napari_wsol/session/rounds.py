"""Rounds that outlive the session: written down when they are made, and brought back.

The head of each round is kept as weights, so that a person sees tomorrow what they saw
today, also where a newer version would learn something else from the same strokes.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, cast

from psygnal import Signal

from napari_wsol.errors import WsolError
from napari_wsol.jobs import JobKind
from napari_wsol.journal import RoundMade, RoundShown, StatusChanged
from napari_wsol.refinement.rounds import LeftOut, Round
from napari_wsol.session.learning import LearningState, settings_of
from napari_wsol.session.state import REFINED
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from napari_wsol.config import InferenceConfig
    from napari_wsol.inference.cache import FeatureCache
    from napari_wsol.jobs import Report
    from napari_wsol.journal import Status, Work
    from napari_wsol.strokes.canvas import Scribbles
    from napari_wsol.strokes.stroke import Stroke

logger = logging.getLogger(__name__)


class RoundState(LearningState):
    """The part of a session that keeps rounds.

    Args:
        journals: as for :class:`~napari_wsol.session.strokes.StrokeState`.

    Signals:
        those of :class:`LearningState`, and
        status_changed: the status of the open image.
    """

    status_changed = Signal(str)

    _cache: FeatureCache
    config: InferenceConfig

    def __init__(self, journals: str | Path | bool = True) -> None:
        super().__init__(journals)
        self._waiting_rounds: tuple[RoundMade, ...] = ()
        self._waiting_shown = 0
        self._heads_written: dict[int, tuple[object, str, str]] = {}
        self._status: Status = "untouched"

    @property
    def status(self) -> Status:
        """How far the work on the open image is."""
        if self._status == "untouched" and self.strokes:
            return "stroked"
        return self._status

    def set_status(self, status: Status) -> None:
        """Says how far the work on the open image is; written to the journal."""
        if status != self._status:
            self._status = status
            self._write(StatusChanged(status=status, time=now()))
            self.status_changed.emit(status)

    def _take_up(self, work: Work) -> None:
        super()._take_up(work)
        self._waiting_rounds = tuple(sorted(work.rounds, key=lambda one: one.index))
        self._waiting_shown = work.shown
        self._status = work.status
        self.status_changed.emit(self.status)
        if self._result is not None and self._waiting_rounds:
            # Localized before anybody said to go on.
            self._runner.submit(JobKind.RESTORE, self._bring_back)

    def _forget_strokes(self) -> None:
        super()._forget_strokes()
        self._waiting_rounds, self._waiting_shown = (), 0
        self._status = "untouched"

    def _forget_result(self) -> None:
        super()._forget_result()
        self._heads_written = {}

    def _record(self, done: Round, strokes: Sequence[Stroke]) -> Round:
        """Writes a new round down. Called on the worker.

        Args:
            done: as it was learnt.
            strokes: those that it learnt from.

        Returns:
            The round with what is known of its strokes.
        """
        labels = [stroke.label for stroke in strokes]
        counted = [label for label in labels if label in (BACKGROUND, FOREGROUND)]
        canvas = done.scribbles
        done = replace(
            done,
            strokes=len(counted) or done.strokes,
            learnt_from=tuple(stroke.number for stroke in strokes),
            strokes_sha256=canvas_digest(canvas) if canvas is not None else "",
            scribbles=None,  # The strokes give it again; a hundred would fill memory.
        )
        self._write_round(done)
        if self._status in ("untouched", "stroked"):
            self.set_status("refined")
        return done

    def _write_round(self, done: Round) -> None:
        journal = self.journal
        if journal is None:
            return
        from napari_wsol.refinement.heads import head_state, weights_digest

        model = self._need_model()
        name, digest = "", ""
        known = self._heads_written.get(done.index)
        if known is not None and known[0] is done.head:
            name, digest = known[1:]
        elif done.head is not None:
            try:
                kept = head_state(done.head, done.stroke_field, done.stage)
                name, digest = journal.save_head(done.index, *kept)
            except WsolError as error:
                # The strokes are what cannot be made again; they are safe.
                logger.warning("%s", error)
            else:
                self._heads_written[done.index] = (done.head, name, digest)
        card = model.card
        journal.append(
            RoundMade(
                index=done.index,
                model=card.name if card is not None else "",
                model_sha256=weights_digest(model),
                target=done.heatmap.target,
                head=name,
                head_sha256=digest,
                map_sha256=map_digest(done),
                settings=asdict(done.settings) if done.settings is not None else {},
                strokes=done.learnt_from,
                others=done.others,
                facts={**facts_of(done), "mpp": self.mpp},
                time=now(),
            )
        )

    def _show(self, item: Round) -> None:
        before = self._round_index
        super()._show(item)
        is_new = not self._rounds or item is self._rounds[-1]
        if item.index != before and not is_new:
            self._write(RoundShown(index=item.index, time=now()))

    def _bring_back(self, report: Report) -> None:
        """Rounds of an earlier session, now that there is a result to show them on.

        Those of another model or class stay in the journal.
        """
        from napari_wsol.refinement.heads import weights_digest

        waiting, shown = self._waiting_rounds, self._waiting_shown
        journal, model = self.journal, self._model
        if not waiting or journal is None or model is None or self._result is None:
            return
        digest, target = weights_digest(model), self._result.target
        fitting = [
            made
            for made in waiting
            if made.model_sha256 == digest and made.target == target
        ]
        if not fitting or REFINED not in self._heatmaps:
            return
        self._waiting_rounds = ()
        if self.is_large:
            # Its maps are on no disk any more; the strokes give the last one again.
            self._again()
            return
        for done, made in enumerate(fitting):
            report(done, len(fitting), "bringing rounds back")
            found = self._read_round(made)
            if found is not None:
                self._add_round(found)
        for item in self._rounds:
            if item.index == shown:
                super()._show(item)
                return
        self.rounds_changed.emit()

    def _again(self) -> Future[Round]:
        """One more round from the strokes as they are, that nobody asked for."""
        raise NotImplementedError

    def _read_round(self, made: RoundMade) -> Round | None:
        """A round from the journal; None where its head cannot be read."""
        from napari_wsol.refinement.heads import field_from, head_from, stage_from
        from napari_wsol.refinement.refine import shown_by

        journal = self.journal
        if journal is None or not made.head:
            return None
        try:
            kept = journal.load_head(made)
            head, field = head_from(*kept), field_from(kept[0])
            stage, settings = stage_from(kept[0]), settings_of(made.settings)
            heatmap = shown_by(
                head,
                self._need_slide(),
                self._need_model(),
                target=made.target,
                index=made.index,
                stroke_field=field,
                stage=stage,
                settings=settings,
                mpp=self.mpp,
                config=self.config,
                cache=self._cache,
            )
        except WsolError as error:
            logger.warning("Round %d stays in the journal: %s", made.index, error)
            return None
        facts = made.facts
        self._heads_written[made.index] = (head, made.head, made.head_sha256)
        return Round(
            index=made.index,
            heatmap=heatmap,
            head=head,
            stroke_field=field,
            stage=stage,
            loss=tuple(cast("list[float]", facts.get("loss", []))),
            strokes=int(cast("int", facts.get("strokes", 0))),
            foreground=int(cast("int", facts.get("foreground", 0))),
            background=int(cast("int", facts.get("background", 0))),
            seconds=float(cast("float", facts.get("seconds", 0.0))),
            settings=settings,
            left_out=tuple(
                LeftOut(number=int(n), label=int(k), agreement=float(a))
                for n, k, a in cast("list[list[float]]", facts.get("left_out", []))
            ),
            before=cast("Mapping[str, float]", facts.get("before", {})),
            after=cast("Mapping[str, float]", facts.get("after", {})),
            warning=str(facts.get("warning", "")),
            learnt_from=made.strokes,
            others=made.others,
            strokes_sha256=str(facts.get("strokes_sha256", "")),
        )


def canvas_digest(canvas: Scribbles) -> str:
    """sha256 of a canvas, row by row."""
    return hashlib.sha256(canvas.tobytes()).hexdigest()


def map_digest(done: Round) -> str:
    """sha256 of a map's values, little-endian float32, row by row."""
    return hashlib.sha256(done.heatmap.values.astype("<f4").tobytes()).hexdigest()


def facts_of(done: Round) -> dict[str, object]:
    """What a journal says of a round beside its head, as plain values."""
    import torch

    from napari_wsol import __version__

    return {
        "seconds": round(done.seconds, 4),
        "loss": [round(value, 6) for value in done.loss],
        "strokes": done.strokes,
        "strokes_sha256": done.strokes_sha256,
        "foreground": done.foreground,
        "background": done.background,
        "left_out": [
            [item.number, item.label, round(item.agreement, 4)]
            for item in done.left_out
        ],
        "before": dict(done.before),
        "after": dict(done.after),
        "warning": done.warning,
        "threads": torch.get_num_threads(),
        "versions": {"napari-wsol": __version__, "torch": torch.__version__},
    }
