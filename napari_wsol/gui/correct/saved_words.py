"""How much of the work is on the disk, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_wsol.journal import Saved


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
