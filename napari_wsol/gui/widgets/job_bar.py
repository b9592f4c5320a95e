"""A job's button, and its progress while it runs: done/total, time left, a way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QProgressBar, QStackedWidget

from napari_wsol.gui.widgets.panel import held, push_button, row
from napari_wsol.jobs import JobKind, duration

if TYPE_CHECKING:
    from qtpy.QtWidgets import QPushButton

    from napari_wsol.jobs import JobStatus

UNITS = {
    JobKind.LOCALIZE: "tiles",
    JobKind.REFINE: "steps",
    JobKind.FOLLOW: "steps",
    JobKind.IMPORT_ANNOTATIONS: "annotations",
    JobKind.EXPORT: "files",
    JobKind.SCORE: "images",
}

PATIENCE = 0.6
"""Seconds after which a job that nobody asked for shows itself."""

STEPS = ("looking for tissue", "a first look", "the slide as a whole")
"""What a slide is about before and after its tiles."""


class JobBar(QStackedWidget):
    """The button of a job; while it runs, “412/1 030 tiles · 38 s left” and Cancel.

    Both have the same place, so that nothing below moves when a job starts or ends, and
    the dock is not laid out again for it.

    Args:
        kinds: of the jobs that are followed.
        button: what starts them.
        patient: kinds of jobs that start by themselves, often; only those that take a
            while are shown.
    """

    cancelled = Signal()

    def __init__(
        self,
        kinds: tuple[JobKind, ...],
        button: QPushButton,
        patient: tuple[JobKind, ...] = (),
    ) -> None:
        super().__init__()
        self._kinds = (*kinds, *patient)
        self._patient = patient
        self._text = ""
        self.rate = 0.0
        """Tiles a second of the slide that is localized; 0 while that is not known."""
        self._bar = QProgressBar()
        self._bar.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._bar.setMinimumWidth(40)
        self.cancel_button = push_button(
            "Cancel", "Stop the job. What is finished is kept; nothing else changes."
        )
        self.cancel_button.clicked.connect(self.cancelled)
        self.addWidget(button)
        self.addWidget(held(row(self._bar, self.cancel_button, stretch=0)))
        self.setFixedHeight(
            max(button.sizeHint().height(), self.cancel_button.sizeHint().height(), 26)
        )

    def text(self) -> str:
        """What is written on the bar."""
        return self._text

    def show_idle(self) -> None:
        """The button again: what waited was taken back."""
        self.setCurrentIndex(0)

    def show_status(self, status: JobStatus) -> None:
        """Follow a job of one of our kinds; other jobs leave the bar alone."""
        if status.kind not in self._kinds:
            return
        if not status.is_active:
            self.setCurrentIndex(0)
            self.rate = 0.0
            return
        if status.kind in self._patient and status.seconds < PATIENCE:
            return
        self._text = describe(status, self.rate)
        width = max(self._bar.width() - 8, 60)
        elide = Qt.TextElideMode.ElideRight
        words = self._bar.fontMetrics().elidedText(self._text, elide, width)
        show_progress(self._bar, status, words)
        self._bar.setToolTip(self._text)
        self.setCurrentIndex(1)


def show_progress(bar: QProgressBar, status: JobStatus, words: str) -> None:
    """Show how far a job is, with words on the bar.

    Never busy while the total is unknown: at each step of that animation Qt puts the
    whole window together again, 17 ms with software OpenGL.
    """
    bar.setRange(0, max(status.total, 1))
    bar.setValue(status.done if status.total else 0)
    bar.setFormat(words.replace("%", "%%"))


def describe(status: JobStatus, rate: float = 0.0) -> str:
    """“Localizing · 412/1 030 tiles · 38 s left”, “Score-CAM (2 of 3) · 41 s left”.

    Args:
        status: of the job.
        rate: tiles a second, of a slide.
    """
    if status.state == "queued":
        return f"{status.name} waits for its turn…"
    if status.message.endswith("tiles/s"):
        return tile_words(status, rate)
    if status.message in STEPS or status.kind is JobKind.ESTIMATE:
        return f"{status.message or status.name}…".capitalize()
    words, count, left = [status.message or status.name], "", ""
    if status.total:
        count = f"{grouped(status.done)}/{grouped(status.total)}"
    if status.seconds_left is not None and status.seconds_left >= 1:
        left = f"{duration(status.seconds_left)} left"
    if status.kind is JobKind.LOCALIZE and status.message:
        words += [left, count]  # of a method with a long name the count may not fit
    else:
        unit = UNITS.get(status.kind, "") if count else ""
        words += [f"{count} {unit}".strip(), left]
    return " · ".join(filter(None, words))


def tile_words(status: JobStatus, rate: float) -> str:
    """“412/1 030 tiles · 3.2 tiles/s · 4 min left”: the rate is that of this run."""
    words = f"{grouped(status.done)}/{grouped(status.total)} tiles · {status.message}"
    if not rate or status.done >= status.total:
        return words
    return f"{words} · {duration((status.total - status.done) / rate)} left"


def grouped(number: int) -> str:
    """Thousands apart by a thin space that does not break: 40 320."""
    return f"{number:,}".replace(",", "\u202f")


def counted(number: int, noun: str) -> str:
    """“1 tile”, “40 320 tiles”."""
    return f"{grouped(number)} {noun}{'' if number == 1 else 's'}"
