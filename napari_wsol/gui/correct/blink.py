"""The map of the round before, for as long as a key is held."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication

from napari_wsol.session.maps import REFINED

if TYPE_CHECKING:
    from napari_wsol.gui.layers.heatmaps import EvidenceLayers
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.session.session import Session


class Blink(QObject):
    """Swaps what the layer of the refined map shows; the session never hears of it."""

    changed = Signal()
    """Another map is seen than before."""

    def __init__(self, session: Session, evidence: EvidenceLayers) -> None:
        super().__init__()
        self._session = session
        self._evidence = evidence
        self._is_held = False
        self.seen: Round | None = None
        """The earlier round that is seen now."""

    def hold(self) -> None:
        """Show the earlier map."""
        if self._is_held:
            return
        self._is_held = True
        # Whoever goes to another window lets the key go there, and nobody hears of it.
        QApplication.instance().applicationStateChanged.connect(self.let_go)
        self.renew()

    def let_go(self, state: object = None) -> None:
        """Back to the map that is current, whichever that is by now."""
        del state
        if not self._is_held:
            return
        self._is_held = False
        QApplication.instance().applicationStateChanged.disconnect(self.let_go)
        if self.seen is not None:
            self.seen = None
            self._evidence.end_peek(REFINED)
            self.changed.emit()

    close = let_go

    def renew(self) -> None:
        """The rounds have changed: while held, the one before the new one is seen."""
        if not self._is_held:
            return
        earlier = round_before(self._session.rounds, self._session.round_index)
        if earlier is None:
            self._evidence.end_peek(REFINED)
        elif not self._evidence.peek(earlier.heatmap):
            earlier = None
        self.seen = earlier
        self.changed.emit()


def round_before(rounds: tuple[Round, ...], index: int) -> Round | None:
    """The round that was made before one; None where it is the first or not there."""
    places = [place for place, item in enumerate(rounds) if item.index == index]
    return rounds[places[0] - 1] if places and places[0] > 0 else None
