"""The rounds of one image under one model: kept, written down, and brought back.

The head of each round is kept as weights, so that a person sees tomorrow what they saw
today, also where a newer version would learn something else from the same strokes.
Belongs to the worker.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

import torch
from msgspec import Struct

from napari_wsol import __version__
from napari_wsol.errors import WsolError
from napari_wsol.files.parsing import Count, Finite, typed
from napari_wsol.journal import RoundMade, RoundShown
from napari_wsol.refinement.heads import (
    field_from,
    head_from,
    head_state,
    stage_from,
    weights_digest,
)
from napari_wsol.refinement.rounds import (
    LeftOut,
    Refined,
    Round,
    bytes_in_memory,
    spilled,
)
from napari_wsol.session.learning import settings_of_round
from napari_wsol.strokes.stroke import now

if TYPE_CHECKING:
    from napari_wsol.methods import Model
    from napari_wsol.session.document import Document, Drawn
    from napari_wsol.session.engine import Engine
    from napari_wsol.session.maps import Maps

logger = logging.getLogger(__name__)


class RoundHistory:
    """Builds the next :class:`Maps` from each round, and keeps the journal up to date.

    Goes with its document and its model: a round means nothing under another one.

    Args:
        document: the open image.
        model: whose head learns.
        budget: bytes that the maps of rounds may take in memory; older ones lie in
            files.
    """

    def __init__(self, document: Document, model: Model, budget: int) -> None:
        self._document, self._model, self.budget = document, model, budget
        self._spill: TemporaryDirectory[str] | None = None
        self._written: dict[int, tuple[object, str, str]] = {}  # heads, by round

    def close(self) -> None:
        """Nobody asks for the files any more; what is still mapped stays readable."""
        spill, self._spill = self._spill, None
        if spill is not None:
            spill.cleanup()

    def add(self, maps: Maps, done: Round) -> Maps:
        """One more; the oldest are kept in files when their maps take too much."""
        rounds = [*maps.rounds, done]
        over = sum(map(bytes_in_memory, rounds)) - self.budget
        for place, item in enumerate(rounds[:-1]):
            size = bytes_in_memory(item)
            if over <= 0:
                break
            if item.index == 0 or not size:
                continue  # the result of the localization holds it, or it is in a file
            try:
                rounds[place] = spilled(item, self.spill_folder())
            except OSError as error:
                logger.warning("Round %d stays in memory: %s", item.index, error)
                break
            over -= size
        return replace(maps, rounds=tuple(rounds))

    def spill_folder(self) -> Path:
        """Where maps lie that do not fit into memory."""
        if self._spill is None:
            self._spill = TemporaryDirectory(
                prefix="napari-wsol-rounds-", ignore_cleanup_errors=True
            )
        return Path(self._spill.name)

    def show(self, maps: Maps, item: Round) -> Maps:
        """Shows a round; that it is an older one is written down."""
        is_new = not maps.rounds or item is maps.rounds[-1]
        if item.index != maps.round_index and not is_new:
            self._document.write(RoundShown(index=item.index, time=now()))
        return maps.showing(item)

    def record(self, done: Round, drawn: Drawn) -> Round:
        """Writes a new round down; not one that other images alone have taught.

        An image that was only looked at is untouched.

        Args:
            done: as it was learnt.
            drawn: what it learnt from.

        Returns:
            The round with what is known of its strokes.
        """
        if not drawn.strokes:
            return replace(done, scribbles=None)
        canvas = done.scribbles
        done = replace(
            done,
            strokes=len(drawn.teaching),
            teaching=drawn.teaching,
            learnt_from=drawn.numbers,
            strokes_sha256=_digest(canvas.tobytes()) if canvas is not None else "",
            scribbles=None,  # The strokes give it again; a hundred would fill memory.
        )
        self._write(done)
        self._document.refined()
        return done

    def judged(self, maps: Maps, judged: Round) -> Maps | None:
        """With what was found out about a round; None where it is gone."""
        known = maps.round(judged.index)
        if known is None or known.head is not judged.head:
            return None
        # Its map may have been moved to a file meanwhile.
        judged = replace(judged, heatmap=known.heatmap)
        self._write(judged)
        rounds = (judged if item is known else item for item in maps.rounds)
        return replace(maps, rounds=tuple(rounds))

    def restored(self, made: RoundMade, engine: Engine) -> Round | None:
        """A round from the journal; None where its head cannot be read."""
        journal = self._document.journal
        if journal is None or not made.head:
            return None
        try:
            facts = typed(made.facts, _Facts)
            kept = journal.load_head(made)
            refined = Refined(
                index=made.index,
                target=made.target,
                head=head_from(*kept),
                stroke_field=field_from(kept[0]),
                stage=stage_from(kept[0]),
                settings=settings_of_round(made.settings),
            )
            heatmap = engine.shown_again(refined)
        except WsolError as error:
            logger.warning("Round %d stays in the journal: %s", made.index, error)
            return None
        self._written[made.index] = (refined.head, made.head, made.head_sha256)
        return Round(
            index=made.index,
            heatmap=heatmap,
            head=refined.head,
            stroke_field=refined.stroke_field,
            stage=refined.stage,
            loss=tuple(map(float, facts.loss)),
            strokes=facts.strokes,
            foreground=facts.foreground,
            background=facts.background,
            seconds=facts.seconds,
            settings=refined.settings,
            left_out=tuple(
                LeftOut(number=number, label=label, agreement=agreement)
                for number, label, agreement in facts.left_out
            ),
            before=facts.before,
            after=facts.after,
            warning=facts.warning,
            teaching=MappingProxyType(self._teaching(made, facts)),
            learnt_from=made.strokes,
            others=made.others,
            other_strokes=facts.other_strokes,
            strokes_sha256=facts.strokes_sha256,
        )

    def _teaching(self, made: RoundMade, facts: _Facts) -> dict[int, int]:
        """Number → label of the strokes that taught a round."""
        if facts.teaching is not None:
            return dict(facts.teaching)
        # At first erasures were not told from what they had left.
        strokes = self._document.strokes.strokes
        known = {stroke.number: stroke.label for stroke in strokes if stroke.label}
        return {number: known[number] for number in made.strokes if number in known}

    def _write(self, done: Round) -> None:
        journal = self._document.journal
        if journal is None:
            return
        name, digest = "", ""
        known = self._written.get(done.index)
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
                self._written[done.index] = (done.head, name, digest)
        card = self._model.card
        self._document.write(
            RoundMade(
                index=done.index,
                model=card.name if card is not None else "",
                model_sha256=weights_digest(self._model),
                target=done.heatmap.target,
                head=name,
                head_sha256=digest,
                map_sha256=_digest(done.heatmap.values.astype("<f4").tobytes()),
                settings=asdict(done.settings) if done.settings is not None else {},
                strokes=done.learnt_from,
                others=done.others,
                facts={**facts_of(done), "mpp": self._document.known_mpp},
                time=now(),
            )
        )


def _digest(values: bytes) -> str:
    """sha256 of an array, row by row."""
    return hashlib.sha256(values).hexdigest()


class _Facts(Struct):
    """What :func:`facts_of` writes, read again; a loss may be no number."""

    loss: list[float | Literal["nan", "inf", "-inf"]] = []
    strokes: Count = 0
    foreground: Count = 0
    background: Count = 0
    seconds: Finite = 0.0
    left_out: list[tuple[Count, Count, Finite]] = []
    before: dict[str, Finite] = {}
    after: dict[str, Finite] = {}
    warning: str = ""
    strokes_sha256: str = ""
    teaching: list[tuple[Count, Count]] | None = None
    other_strokes: Count = 0


def facts_of(done: Round) -> dict[str, object]:
    """What a journal says of a round beside its head, as plain values."""
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
        "teaching": [[number, label] for number, label in done.teaching.items()],
        "other_strokes": done.other_strokes,
        "threads": torch.get_num_threads(),
        "versions": {"napari-wsol": __version__, "torch": torch.__version__},
    }
