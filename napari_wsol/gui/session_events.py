"""The Qt twin of a session's signals.

psygnal signals of a session are emitted on any thread. Re-emitted as Qt signals on the
GUI thread they are dropped by Qt when the receiver is gone, and here once the session
is closed. Widgets connect here, never to the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psygnal
from qtpy.QtCore import QObject, Signal

from napari_wsol.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import SignalInstance


def signals_of(owner: type) -> dict[str, psygnal.Signal]:
    """The signals that a class declares, by name, with those of its bases."""
    return {
        name: value
        for base in reversed(owner.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, psygnal.Signal)
    }


class SessionEvents(QObject):
    """Signals of a session, emitted on the GUI thread until it is closed."""

    _told = Signal(str, object)

    vars().update(
        {
            name: Signal(*[object] * len(signal.signature.parameters))
            for name, signal in signals_of(Session).items()
        }
    )

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session, self._closed = session, False
        self._told.connect(self._deliver)
        self._relays = {name: self._relay(name) for name in signals_of(Session)}
        for name, relay in self._relays.items():
            getattr(session, name).connect(relay)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> SignalInstance: ...

    def close(self) -> None:
        """Stop listening; what Qt has already queued is dropped, too."""
        self._closed = True
        for name, relay in self._relays.items():
            getattr(self._session, name).disconnect(relay, missing_ok=True)

    def _relay(self, name: str) -> Callable[..., None]:
        def relay(*values: object) -> None:
            self._told.emit(name, values)

        return relay

    def _deliver(self, name: str, values: tuple[object, ...]) -> None:
        if not self._closed:
            getattr(self, name).emit(*values)
