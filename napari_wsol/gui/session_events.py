"""The Qt twin of a session's signals.

psygnal signals of a session are emitted on any thread. Re-emitted as Qt signals they
are queued to the thread of the receiver, and dropped by Qt when the receiver is gone.
Widgets connect here, never to the session.
"""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from napari_wsol.session.session import Session

NAMES = (
    "image_changed",
    "mpp_changed",
    "model_changed",
    "localized",
    "heatmap_changed",
    "scribbles_changed",
    "dismissed_changed",
    "rounds_changed",
    "saved_changed",
    "earlier_changed",
    "settings_changed",
    "exported",
    "job_changed",
    "finetune_step",
    "train_step",
    "slide_moved",
    "train_evaluated",
    "scored",
)


class SessionEvents(QObject):
    """Signals of a session, delivered on the thread of whoever connects."""

    image_changed = Signal()
    mpp_changed = Signal()
    model_changed = Signal()
    localized = Signal()
    heatmap_changed = Signal(object)
    scribbles_changed = Signal()
    dismissed_changed = Signal()
    rounds_changed = Signal()
    saved_changed = Signal(object)
    earlier_changed = Signal()
    settings_changed = Signal()
    exported = Signal(object)
    job_changed = Signal(object)
    finetune_step = Signal(object)
    train_step = Signal(object)
    slide_moved = Signal(object)
    train_evaluated = Signal(object)
    scored = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._relays = {name: getattr(self, name).emit for name in NAMES}
        for name, relay in self._relays.items():
            getattr(session, name).connect(relay)

    def close(self) -> None:
        """Stop listening; what Qt has already queued still arrives."""
        for name, relay in self._relays.items():
            getattr(self._session, name).disconnect(relay, missing_ok=True)
