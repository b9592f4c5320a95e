"""The map follows the strokes: a refit a little after each, the newest one wins."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsol.jobs import REFINES, JobKind

if TYPE_CHECKING:
    from napari_wsol.gui.session_events import SessionEvents
    from napari_wsol.jobs import JobStatus
    from napari_wsol.session.session import Session

DEBOUNCE_MS = 250
"""After a stroke; whoever paints several in a row waits for one refit."""

QUICK = (*REFINES, JobKind.JUDGE, JobKind.REVERT)
"""Jobs that a refit may take the place of, or that are over in no time."""


class Live(QObject):
    """Asks the session for a refit when strokes or settings have changed.

    Nothing is asked for while another job runs: it is made up for when that ends.
    """

    failed = Signal(str)
    """Why the map cannot follow: told once until it can again."""

    def __init__(
        self, session: Session, events: SessionEvents, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._is_due = False
        self._told = ""
        self._timer = QTimer(self, singleShot=True, interval=DEBOUNCE_MS)
        self._timer.timeout.connect(self._follow)
        events.scribbles_changed.connect(self._wait)
        events.settings_changed.connect(self._wait)
        events.localized.connect(self._wait)
        events.image_changed.connect(self.settle)
        events.job_changed.connect(self._on_job)

    @property
    def is_due(self) -> bool:
        """Whether a refit is owed."""
        return self._is_due

    def settle(self) -> None:
        """Nothing is owed any more: another image, or somebody refines by hand."""
        self._timer.stop()
        self._is_due = False

    close = settle

    def _wait(self) -> None:
        self._is_due = True
        self._timer.start()

    def _on_job(self, status: JobStatus) -> None:
        if status.kind is JobKind.FOLLOW and status.state == "done":
            self._told = ""
        if status.kind is JobKind.FOLLOW and status.state == "failed":
            if status.message != self._told:
                self._told = status.message
                self.failed.emit(
                    f"The map could not follow your stroke. {status.message}"
                )
        elif self._is_due and not status.is_active:
            self._timer.start()

    def _follow(self) -> None:
        session = self._session
        if not self._is_due or not session.live or session.result is None:
            return
        job = session.job
        if session.is_busy and job is not None and job.kind not in QUICK:
            return  # its end is heard
        self._is_due = False
        foreground, background = session.stroke_counts
        if foreground and background:
            if not self._is_current():
                session.finetune(live=True)
        elif not foreground and not background:
            self._forget()

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
