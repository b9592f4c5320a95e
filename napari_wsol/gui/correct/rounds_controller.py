"""Joins rounds to the session: following strokes, going back, seeing what changed."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QSignalBlocker, QTimer, Signal

from napari_wsol.gui.correct.blink import Blink, round_before
from napari_wsol.gui.correct.live import Live
from napari_wsol.gui.correct.round_words import round_words
from napari_wsol.gui.layers.difference import DifferenceLayer
from napari_wsol.jobs import JobKind
from napari_wsol.refinement.rounds import odd_map_words

if TYPE_CHECKING:
    from napari_wsol.config import FinetuneConfig
    from napari_wsol.gui.dock import WsolWidget
    from napari_wsol.jobs import JobStatus
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.rounds import Round


SOON_MS = 30
"""A person does not see the words come after the map; a timer of the window would."""


class RoundsDesk(QObject):
    """Keeps what is seen of the rounds up to date."""

    failed = Signal(str)
    """A sentence for the person."""

    said = Signal(str)
    """Likewise, but nothing is wrong."""

    def __init__(self, window: WsolWidget) -> None:
        super().__init__(window)
        self._window = window
        self._told = ""
        self._session = window.session
        self._stage = window.stage
        self._panel = window.correct_panel
        self._box = window.correct_panel.rounds
        self.live = Live(window.session, window.events, self)
        self.blink = Blink(window.session, window.stage.evidence)
        self.difference = DifferenceLayer(window.napari_viewer)
        self._soon = QTimer(self, singleShot=True, interval=SOON_MS)
        self._soon.timeout.connect(self._show_all)
        self._connect(window)
        self._on_settings()

    def _connect(self, window: WsolWidget) -> None:
        events, panel, box = window.events, self._panel, self._box
        events.rounds_changed.connect(self._on_rounds)
        events.finetune_step.connect(self._on_step)
        events.settings_changed.connect(self._on_settings)
        self.live.failed.connect(self.failed)
        panel.live_wanted.connect(self._on_live)
        panel.advanced.changed.connect(self._on_advanced)
        panel.revert_wanted.connect(self._session.revert)
        box.held.connect(self._on_held)
        self.blink.changed.connect(self._show)
        box.difference_wanted.connect(self._show_difference)
        box.stroke_wanted.connect(self.fly_to_stroke)
        self._stage.image_changed.connect(self._on_image)
        self.difference.deleted.connect(self._on_deleted)

    def close(self) -> None:
        """Let go of the viewer; the layer goes, as it would not be kept up to date."""
        self._soon.stop()
        self.live.close()
        self.blink.close()
        self.difference.take_away()
        self.difference.close()

    def begin(self) -> None:
        """A round was asked for."""
        self.live.settle()
        self._panel.curve.start()

    def finished_words(self) -> str:
        """What is said of the newest round."""
        return " ".join(map(round_words, self._session.rounds[-1:]))

    def on_job(self, status: JobStatus) -> None:
        """A round that was asked for is over: what is odd about it is told."""
        if (
            status.kind is JobKind.REFINE
            and status.state == "done"
            and self._session.rounds
        ):
            odd = odd_map_words(self._session.rounds[-1])
            if odd:
                self.failed.emit(odd)
            else:
                self._told = self.finished_words()
                self.said.emit(self._told)
        elif status.kind is JobKind.FOLLOW and status.state == "done" and self._told:
            if self._window.message.text() == self._told:
                self.said.emit("")  # of a round that is not the newest any more
            self._told = ""

    def fly_to_stroke(self, number: int) -> None:
        """Show where a stroke lies."""
        canvas = self._session.canvas
        for stroke in self._session.strokes:
            if stroke.number == number and canvas is not None:
                sides = zip(canvas.scale, canvas.translate, strict=True)
                (step_y, first_y), (step_x, first_x) = sides
                top, left, bottom, right = stroke.box
                self._stage.fly_to_box(
                    first_y + (top - 0.5) * step_y + 0.5,
                    first_x + (left - 0.5) * step_x + 0.5,
                    first_y + (bottom - 0.5) * step_y + 0.5,
                    first_x + (right - 0.5) * step_x + 0.5,
                )
                return
        self.said.emit(f"Stroke {number} was taken back or erased.")

    def _shown(self) -> tuple[Round | None, Round | None]:
        """The round that is shown, and the one before it."""
        rounds, index = self._session.rounds, self._session.round_index
        shown = next((item for item in rounds if item.index == index), None)
        return shown, round_before(rounds, index)

    def _on_rounds(self) -> None:
        self.blink.renew()
        self._stage.show_stale()
        # Not in the same turn of the event loop as the new map.
        self._soon.start()

    def _show_all(self) -> None:
        self._show()
        self._show_difference()

    def _show(self) -> None:
        session = self._session
        held = self.blink.seen
        self._panel.show_rounds(session.rounds, session.round_index, held)

    def _show_difference(self, on: object = None) -> None:
        del on
        shown, earlier = self._shown()
        wanted = self._box.difference.isChecked() and self._stage.image is not None
        if not wanted or shown is None or not are_comparable(shown, earlier):
            self.difference.find()
            self.difference.take_away()
            return
        if self.difference.show(shown, earlier) and not self._stage.cells.is_on:
            self.difference.lift(self._stage.strokes.layer)

    def _on_deleted(self) -> None:
        """The person took the layer away: it is not wanted any more."""
        self._box.difference.setChecked(False)

    def _on_image(self) -> None:
        self.blink.let_go()
        image, slide = self._stage.image, self._session.slide
        self.difference.find()
        self.difference.take_away()
        if image is None or slide is None:
            self.difference.release()
        else:
            self.difference.place_on(image, slide.fingerprint())
        self._box.difference.setChecked(False)

    def _on_held(self, held: bool) -> None:
        if held:
            self.blink.hold()
        else:
            self.blink.let_go()

    def _on_step(self, step: FinetuneStep) -> None:
        job = self._session.job
        if job is not None and job.kind is JobKind.REFINE:
            self._panel.curve.add(float(step.loss))

    def _on_live(self, on: bool) -> None:
        self._session.live = on

    def _on_advanced(self, settings: FinetuneConfig) -> None:
        self._session.settings = settings

    def _on_settings(self) -> None:
        panel, session = self._panel, self._session
        panel.show_live(session.live)
        if panel.advanced.settings != session.settings:
            blocker = QSignalBlocker(panel.advanced)
            panel.advanced.show_settings(session.settings)
            del blocker


def are_comparable(shown: Round, earlier: Round | None) -> bool:
    """Whether two rounds have maps on the same grid."""
    if earlier is None:
        return False
    return shown.heatmap.values.shape == earlier.heatmap.values.shape
