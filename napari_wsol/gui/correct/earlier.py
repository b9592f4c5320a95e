"""Work that is kept: that of an earlier day, and how much of today's is on the disk."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFrame

from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import counted
from napari_wsol.gui.widgets.panel import fill_column, push_button, row

if TYPE_CHECKING:
    from napari_wsol.journal import EarlierWork, Saved


class EarlierBar(QFrame):
    """Says “You worked on this image on 19 Nov: 12 strokes, 3 rounds.”, and asks."""

    def __init__(self) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.words = Words()
        self.resume_button = push_button(
            "Go on", "Bring the earlier strokes back. Painting does the same."
        )
        self.afresh_button = push_button(
            "Start afresh",
            "Begin without the earlier strokes. They are not lost: they stay in the "
            "journal of this image.",
        )
        buttons = row(self.resume_button, self.afresh_button, stretch=(0, 1))
        fill_column(self, self.words, buttons, margins=(6, 4, 6, 6))
        self.hide()

    def ask(self, work: EarlierWork | None) -> None:
        """Ask about an earlier work; nothing to ask when None."""
        if work is not None:
            self.words.setText(
                earlier_words(work, datetime.datetime.now().astimezone())
            )
        self.setVisible(work is not None)


def earlier_words(work: EarlierWork, today: datetime.datetime) -> str:
    """What there is of an earlier work, and of which day.

    Args:
        work: as found in the journal.
        today: this moment, with its time zone.
    """
    strokes, rounds = len(work.strokes.strokes), len(work.rounds)
    counts = ((strokes, "stroke"), (rounds, "round"))
    parts = [counted(count, name) for count, name in counts if count]
    times = [stroke.time for stroke in work.strokes.strokes[-1:]]
    times += [item.time for item in work.rounds[-1:]]
    when = day_words(max(times, default=""), today)
    return f"You worked on this image{when}: {', '.join(parts)}."


def day_words(time: str, today: datetime.datetime) -> str:
    """“ on 19 Nov”, “ yesterday”, “ today at 14:05”; empty where it is not known."""
    try:
        then = datetime.datetime.fromisoformat(time).astimezone(today.tzinfo)
    except ValueError:
        return ""
    days = (today.date() - then.date()).days
    if days == 0:
        return f" today at {then:%H:%M}"
    if days == 1:
        return " yesterday"
    year = f" {then.year}" if then.year != today.year else ""
    return f" on {then.day} {then:%b}{year}"


def saved_words(saved: Saved | None, now: float) -> str:
    """“Saved 2 s ago.”, or what is not saved and why.

    Args:
        saved: of the session; None without a journal.
        now: seconds since 1970.
    """
    if saved is None:
        return ""
    if saved.problem:
        return saved.problem  # it says what is only in memory
    if saved.last is None:
        return ""
    words = f"Saved {ago(max(0.0, now - saved.last))}."
    return words.replace(" ", "\u00a0")  # in one line


def ago(seconds: float) -> str:
    """“2 s ago”, “3 min ago”, “2 h ago”."""
    if seconds < 60:
        return f"{int(seconds)} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    return f"{int(seconds // 3600)} h ago"
