"""Joins rounds to the session: following strokes, going back, seeing what changed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication
from superqt.utils import signals_blocked

from napari_wsol.gui.correct.rounds import round_words
from napari_wsol.gui.layers.difference import ValuesLayer, change
from napari_wsol.gui.layers.marks import DIFFERENCE
from napari_wsol.gui.messages import Action
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.colours import change_colours
from napari_wsol.jobs import REFINES, JobKind
from napari_wsol.refinement.rounds import jump_words, odd_map_words
from napari_wsol.session.maps import REFINED

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.gui.context import Context
    from napari_wsol.gui.correct.panel import CorrectPanel
    from napari_wsol.gui.layers.heatmaps import HeatmapLayers
    from napari_wsol.gui.session_events import SessionEvents
    from napari_wsol.jobs import JobStatus
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.session.session import Session


class Blink(QObject):
    """Swaps what the layer of the refined map shows; the session never hears of it."""

    changed = Signal()
    """Another map is seen than before."""

    def __init__(self, session: Session, heatmaps: HeatmapLayers) -> None:
        super().__init__()
        self._session = session
        self._heatmaps = heatmaps
        self._is_held = False
        self.seen: Round | None = None
        """The earlier round that is seen now."""

    def hold(self) -> None:
        """Show the earlier map."""
        if self._is_held:
            return
        self._is_held = True
        # Whoever goes to another window lets the key go there, and nobody hears of it.
        _application().applicationStateChanged.connect(self.let_go)
        self.renew()

    def let_go(self) -> None:
        """Back to the map that is current, whichever that is by now."""
        if not self._is_held:
            return
        self._is_held = False
        _application().applicationStateChanged.disconnect(self.let_go)
        if self.seen is not None:
            self.seen = None
            self._heatmaps.end_peek(REFINED)
            self.changed.emit()

    def renew(self) -> None:
        """The rounds have changed: while held, the one before the new one is seen."""
        if not self._is_held:
            return
        earlier = round_before(self._session.rounds, self._session.round_index)
        if earlier is None:
            self._heatmaps.end_peek(REFINED)
        elif not self._heatmaps.peek(earlier.heatmap):
            earlier = None
        self.seen = earlier
        self.changed.emit()


def _application() -> QApplication:
    return cast("QApplication", QApplication.instance())


def round_before(rounds: tuple[Round, ...], index: int) -> Round | None:
    """The round that was made before one; None where it is the first or not there."""
    places = [place for place, item in enumerate(rounds) if item.index == index]
    return rounds[places[0] - 1] if places and places[0] > 0 else None


DEBOUNCE_MS = 250
"""After a stroke; whoever paints several in a row waits for one refit."""

QUICK = (*REFINES, JobKind.JUDGE, JobKind.REVERT)
"""Jobs that a refit may take the place of, or that are over in no time."""


class Live(QObject):
    """Asks the session for a refit when strokes or settings have changed.

    Nothing is asked for while another job runs: it is made up for when that ends. Why
    the map cannot follow is told once, until it can again.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context.dock)
        self._session, self._messages = context.session, context.messages
        self.is_due = False
        """Whether a refit is owed."""
        self._told = ""
        self._timer = once(self, DEBOUNCE_MS, self._follow)
        events = context.events
        events.scribbles_changed.connect(self.wait)
        events.settings_changed.connect(self.wait)
        events.localized.connect(self.wait)
        events.image_changed.connect(self.settle)
        events.job_changed.connect(self._on_job)
        context.at_parting(self.settle)

    def settle(self) -> None:
        """Nothing is owed any more: another image, or somebody refines by hand."""
        self._timer.stop()
        self.is_due = False

    def wait(self) -> None:
        """A refit is owed, once nothing more changes."""
        self.is_due = True
        self._timer.start()

    def _on_job(self, status: JobStatus) -> None:
        if status.kind is JobKind.FOLLOW and status.state == "done":
            self._told = ""
        if status.kind is JobKind.FOLLOW and status.state == "failed":
            if status.message != self._told:
                self._told = status.message
                self._messages.warn(
                    f"The map could not follow your stroke. {status.message}"
                )
        elif self.is_due and not status.is_active:
            self._timer.start()

    def _follow(self) -> None:
        session = self._session
        if not self.is_due or not session.live or session.result is None:
            return
        job = session.job
        if session.is_busy and job is not None and job.kind not in QUICK:
            return  # its end is heard
        self.is_due = False
        if not any(session.stroke_counts):
            self._forget()
        elif session.is_aside or not self._is_current():
            session.finetune(live=True)

    def _is_current(self) -> bool:
        """Whether the newest round has learnt from just these strokes.

        It need not be the one that is shown: whoever went back to an earlier one stays
        there until the next stroke.
        """
        rounds = self._session.rounds
        if not rounds or not rounds[-1].index:
            return False
        numbers = tuple(stroke.number for stroke in self._session.strokes)
        same = rounds[-1].learnt_from == numbers
        return same and rounds[-1].settings == self._session.settings

    def _forget(self) -> None:
        """All strokes are gone: what was there without any is shown again."""
        session = self._session
        without = [item.index for item in session.rounds if not item.learnt_from]
        if without and session.round_index not in without:
            session.revert(without[-1])


SOON_MS = 30
"""A person does not see the words come after the map; a timer of the window would."""


class RoundsController(QObject):
    """Keeps what is seen of the rounds up to date.

    Args:
        context: of the dock.
        panel: shows the rounds.
        undo: takes the last stroke back.
    """

    def __init__(
        self, context: Context, panel: CorrectPanel, undo: Callable[[], None]
    ) -> None:
        super().__init__(context.dock)
        self._told, self._undo = "", undo
        self._session, self._layers = context.session, context.layers
        self._messages = context.messages
        self._panel, self._box = panel, panel.rounds
        self.live = Live(context)
        self.blink = Blink(context.session, context.layers.heatmaps)
        colours, limits = change_colours(), (-1.0, 1.0)
        self.difference = ValuesLayer(context.viewer, DIFFERENCE, colours, limits)
        self._soon = once(self, SOON_MS, self._show_all)
        context.at_parting(self.close)
        self._connect(context.events)
        self._on_settings()

    def _connect(self, events: SessionEvents) -> None:
        panel, box = self._panel, self._box
        events.rounds_changed.connect(self._on_rounds)
        events.finetune_step.connect(self._on_step)
        events.settings_changed.connect(self._on_settings)
        panel.live.toggled.connect(self._on_live)
        panel.advanced.changed.connect(self._on_advanced)
        box.dots.chosen.connect(self._session.revert)
        box.blink_button.pressed.connect(self.blink.hold)
        box.blink_button.released.connect(self.blink.let_go)
        self.blink.changed.connect(self._show)
        box.difference.toggled.connect(self._show_difference)
        box.stroke_wanted.connect(self.fly_to_stroke)
        self._layers.image_changed.connect(self._on_image)
        self.difference.deleted.connect(self._on_deleted)

    def close(self) -> None:
        """Let go of the viewer; the layer goes, as it would not be kept up to date."""
        self._soon.stop()
        self.blink.let_go()
        self.difference.take_away()
        self.difference.close()

    def begin(self) -> None:
        """A round was asked for."""
        self.live.settle()
        self._box.curve.show_values(())

    def on_job(self, status: JobStatus) -> None:
        """A round is over: what is odd about it is told, of one that was asked for all.

        On an image that is set aside there is none; the score tells of its strokes.
        """
        newest = self._session.rounds[-1:]
        if status.state != "done" or status.kind not in REFINES:
            return
        if self._told:
            self._messages.take_back(self._told)  # that round is not the newest now
            self._told = ""
        if not newest or self._session.is_aside:
            return
        was_asked = status.kind is JobKind.REFINE
        odd = odd_map_words(newest[0]) if was_asked else ""
        if odd:
            self._messages.warn(odd)
        elif not self._tell_jump(newest[0]) and was_asked:
            self._told = round_words(newest[0])
            self._messages.say(self._told)

    def _tell_jump(self, newest: Round) -> bool:
        """Whether the last stroke moved much of the map; it can be taken back there."""
        session = self._session
        before = round_before(session.rounds, newest.index)
        numbers = tuple(stroke.number for stroke in session.strokes)
        if before is None or newest.learnt_from != numbers:
            return False  # more strokes were drawn: the next round tells
        words = jump_words(before, newest)
        if words:
            self._told = f"{words} Undo takes the last stroke back."
            undo = partial(self._take_back, before.index)
            tip = "Take the last stroke back, and see the map as it was before."
            self._messages.say(self._told, Action("Undo", undo, tip))
        return bool(words)

    def _take_back(self, index: int) -> None:
        """The last stroke goes; where nothing follows, the map before it is shown."""
        self._undo()
        if not self._session.live:
            self._session.revert(index)

    def fly_to_stroke(self, number: int) -> None:
        """Show where a stroke lies."""
        canvas = self._session.canvas
        for stroke in self._session.strokes:
            if stroke.number == number and canvas is not None:
                first, step = np.tile(canvas.translate, 2), np.tile(canvas.scale, 2)
                box = first + (np.array(stroke.box) - 0.5) * step + 0.5
                self._layers.fly_to_box(*box.tolist())
                return
        self._messages.say(f"Stroke {number} was taken back or erased.")

    def _compared(self) -> tuple[Round, Round] | None:
        """The round that is shown and the one before it, on the same grid."""
        rounds, index = self._session.rounds, self._session.round_index
        shown = next((item for item in rounds if item.index == index), None)
        earlier = round_before(rounds, index)
        if shown is None or earlier is None:
            return None
        same = shown.heatmap.values.shape == earlier.heatmap.values.shape
        return (shown, earlier) if same else None

    def _on_rounds(self) -> None:
        self.blink.renew()
        self._layers.show_stale()
        # Not in the same turn of the event loop as the new map.
        self._soon.start()

    def _show_all(self) -> None:
        self._show()
        self._show_difference()

    def _show(self) -> None:
        session, held = self._session, self.blink.seen
        self._box.show_rounds(session.rounds, session.round_index, held)

    def _show_difference(self) -> None:
        rounds = self._compared() if self._box.difference.isChecked() else None
        if rounds is None or self._layers.image is None:
            self.difference.take_away()
            return
        shown, earlier = (item.index for item in rounds)
        name = f"What changed · round {shown} after {earlier}"
        self.difference.show(*change(*rounds), name, self._layers.strokes.layer)

    def _on_deleted(self) -> None:
        """The person took the layer away: it is not wanted any more."""
        self._box.difference.setChecked(False)

    def _on_image(self) -> None:
        self.blink.let_go()
        self.difference.take_away()
        self.difference.place_on(self._layers.image, self._session.slide)
        self._box.difference.setChecked(False)

    def _on_step(self, step: FinetuneStep) -> None:
        job = self._session.job
        if job is not None and job.kind is JobKind.REFINE:
            self._box.curve.add(float(step.loss))

    def _on_live(self, on: bool) -> None:
        self._session.live = on

    def _on_advanced(self, settings: FinetuneConfig) -> None:
        self._session.settings = settings

    def _on_settings(self) -> None:
        panel, session = self._panel, self._session
        panel.show_live(session.live)
        if panel.advanced.settings != session.settings:
            with signals_blocked(panel.advanced):
                panel.advanced.show_settings(session.settings)
