"""Progress of the running job: done/total, time left, and a way out."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_wsol.gui.panel import Words

if TYPE_CHECKING:
    from napari_wsol.jobs import JobStatus

UNITS = {"Localizing": "tiles", "Refining": "steps", "Exporting": "files"}


class JobBar(QWidget):
    """A bar with “412/1 030 tiles · 38 s left” and Cancel; hidden while it is quiet."""

    cancelled = Signal()

    def __init__(self, names: tuple[str, ...], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names = names
        self._bar = QProgressBar(self)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(10)
        self._words = Words("", self)
        self.cancel_button = QPushButton("Cancel", self)
        self.cancel_button.setToolTip(
            "Stop the job. What was there before stays as it was."
        )
        self.cancel_button.clicked.connect(self.cancelled)
        row = QHBoxLayout()
        row.addWidget(self._words, 1)
        row.addWidget(self.cancel_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setSpacing(3)
        layout.addWidget(self._bar)
        layout.addLayout(row)
        self.hide()

    def text(self) -> str:
        """What is written beside the bar."""
        return self._words.text()

    def show_status(self, status: JobStatus) -> None:
        """Follow a job of one of our names; other jobs leave the bar alone."""
        if status.name not in self._names:
            return
        active = status.state in ("queued", "running")
        self.setVisible(active)
        if not active:
            return
        self._bar.setRange(0, max(status.total, 0))
        self._bar.setValue(status.done if status.total else 0)
        self._words.setText(describe(status))


def describe(status: JobStatus) -> str:
    """“Localizing · 412/1 030 tiles · 38 s left”."""
    if status.state == "queued":
        return f"{status.name} waits for its turn…"
    words = [status.name if not status.message else status.message]
    if status.total:
        unit = UNITS.get(status.name, "")
        words.append(f"{grouped(status.done)}/{grouped(status.total)} {unit}".strip())
    if status.seconds_left is not None and status.seconds_left >= 1:
        words.append(f"{duration(status.seconds_left)} left")
    return " · ".join(words)


def grouped(number: int) -> str:
    """Thousands apart by a thin space that does not break: 40 320."""
    return f"{number:,}".replace(",", "\u202f")


def duration(seconds: float) -> str:
    """“38 s”, “4 min”, “1 h 20 min”."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
