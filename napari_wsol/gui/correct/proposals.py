"""Joins the session's proposals to the window: a line, a key, a ring on the image."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsol.errors import WsolError
from napari_wsol.gui.background import Background
from napari_wsol.gui.correct.next_row import FIRST
from napari_wsol.gui.layers.halo import Halo
from napari_wsol.guidance.proposals import nothing_words

if TYPE_CHECKING:
    from napari_wsol.gui.dock import WsolWidget
    from napari_wsol.guidance.proposals import Proposal

COUNT = 8
"""Places that the key walks through."""

SOON_MS, LATER_MS = 200, 5000
"""After a change; and while tiles of a slide come in."""


class WhereNext(QObject):
    """Keeps the places up to date, flies to them, and forgets those not wanted."""

    failed = Signal(str)
    """A sentence for the person."""

    said = Signal(str)
    """Likewise, but nothing is wrong."""

    def __init__(self, window: WsolWidget) -> None:
        super().__init__(window)
        self._window = window
        self._session = window.session
        self._stage = window.stage
        self._row = window.correct_panel.next_row
        self._places: list[Proposal] = []
        self._turn = 0  # the place to go to next
        self._here: Proposal | None = None
        self._labels_here: np.ndarray | None = None
        self._changes = 0  # of maps and strokes
        self._known = -1  # how many of them the places know of
        self._is_eager = False  # the key was pressed while places are being found
        self.halo = Halo(window.napari_viewer)
        self.look_up = Background()
        self.look_up.answered.connect(self._on_answer)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self._look)
        self._connect()

    def _connect(self) -> None:
        events, stage = self._window.events, self._stage
        stage.image_changed.connect(self._on_image)
        stage.maps_changed.connect(self._soon)
        events.scribbles_changed.connect(self._on_scribbles)
        for changed in (
            events.localized,
            events.heatmap_changed,
            events.rounds_changed,
            events.mpp_changed,
            events.dismissed_changed,
        ):
            changed.connect(self._soon)
        self._row.go_wanted.connect(self.go)
        self._row.dismiss_wanted.connect(self.dismiss)

    def close(self) -> None:
        """Take the ring away; no more places."""
        self._timer.stop()
        self.look_up.close()
        self.halo.close()

    # -------------------------------------------------------------------------- verbs

    def go(self) -> None:
        """Fly to the best place; again, to the next best, and round to the first."""
        if self._stage.image is None or not self._session.heatmaps:
            self.failed.emit(
                "Localize first; then G goes to the place where a stroke teaches most."
            )
        elif self.is_old:
            self._is_eager = True  # in a moment: old places would lead astray
            self._look()
        else:
            self._jump()

    def dismiss(self) -> None:
        """The place that the line names is not proposed any more."""
        place = self._named
        if place is None:
            self.said.emit(self._nothing())
            return
        self._leave()
        self._places = [item for item in self._places if item is not place]
        self._turn = 0
        self._session.dismiss(place)
        self.said.emit(f"Not proposed any more: {place.place}.")
        self._show()

    # ------------------------------------------------------------------------- places

    @property
    def places(self) -> tuple[Proposal, ...]:
        """The places that the key walks through, the best first."""
        return tuple(self._places)

    @property
    def is_old(self) -> bool:
        """Whether something has changed since the places were found."""
        return self._known != self._changes

    @property
    def _named(self) -> Proposal | None:
        """The place that the line is about."""
        if self._here is not None or not self._places:
            return self._here
        return self._places[self._turn % len(self._places)]

    def _jump(self) -> None:
        if not self._places:
            self._leave()
            self._show()
            self.said.emit(self._nothing())
            return
        place = self._places[self._turn % len(self._places)]
        self._turn = (self._turn + 1) % len(self._places)
        self._here, self._labels_here = place, self._labels_in(place)
        self._stage.fly_to_box(*place.box)
        if self._stage.cells.is_on:
            self.halo.take_away()  # one more layer would move the cells
        else:
            self.halo.show(place.y, place.x, place.radius)
        self.said.emit(place.reason)
        self._show()

    def _leave(self) -> None:
        """Not at a proposed place any more."""
        self._here = self._labels_here = None
        self.halo.take_away()

    def _show(self) -> None:
        place = self._named
        if place is not None:
            self._row.show_place(place, here=self._here is not None)
        elif self._stage.image is None or not self._session.heatmaps:
            self._row.say(FIRST)
        elif not self.is_old:
            self._row.say(self._nothing())

    def _nothing(self) -> str:
        scribbles = self._session.scribbles
        drawn = scribbles is not None and bool(scribbles.any())
        return nothing_words(len(self._stage.evidence.pairs), strokes=drawn)

    def _labels_in(self, place: Proposal) -> np.ndarray | None:
        """The strokes in the square around a place, copied; None without any."""
        canvas, scribbles = self._session.canvas, self._session.scribbles
        if canvas is None or scribbles is None:
            return None
        top, left, bottom, right = place.box
        (y, x), (dy, dx) = canvas.translate, canvas.scale
        first = max(0, round((top - y) / dy)), max(0, round((left - x) / dx))
        last = round((bottom - y) / dy), round((right - x) / dx)
        rows, columns = (
            slice(start, max(start, end + 1))
            for start, end in zip(first, last, strict=True)
        )
        part = scribbles[rows, columns]
        return part.copy() if part.any() else None

    # ------------------------------------------------------------------------ changes

    def _on_image(self) -> None:
        image, slide = self._stage.image, self._session.slide
        self._places, self._turn, self._is_eager = [], 0, False
        self._leave()
        if image is None or slide is None:
            self.halo.release()
        else:
            self.halo.place_on(image, slide.fingerprint())
            self.halo.find()  # of an earlier dock
            self.halo.take_away()
        self._soon()
        self._show()

    def _on_scribbles(self) -> None:
        if self._here is not None:
            now = self._labels_in(self._here)
            if not np.array_equal(now, self._labels_here):
                self._leave()
        self._soon()

    def _soon(self, *_: object) -> None:
        """Find the places anew, in a moment; less often while tiles come in."""
        self._changes += 1
        if not self._window.desk.slides.is_running:
            self._timer.start(SOON_MS)
        elif not self._timer.isActive():
            self._timer.start(LATER_MS)

    def _look(self) -> None:
        self._timer.stop()
        session, slide, number = self._session, self._session.slide, self._changes
        if self._stage.image is None or slide is None or not session.heatmaps:
            self._places, self._turn, self._is_eager = [], 0, False
            self._show()
            return
        methods = list(self._stage.evidence.pairs) or None
        self.look_up.ask(
            lambda: (slide, number, session.propose(COUNT, methods=methods))
        )

    def _on_answer(self, answer: object) -> None:
        if not isinstance(answer, tuple):
            self._on_error(answer)
            return
        slide, self._known, places = answer
        if slide is not self._session.slide or not self._session.heatmaps:
            return
        self._places = list(places)
        self._turn = self._turn_after(self._here)
        self._show()
        if self._is_eager:
            self._is_eager = False
            self._jump()

    def _turn_after(self, here: Proposal | None) -> int:
        """The place to go to next: after the one looked at, if it is still there."""
        for turn, place in enumerate(self._places):
            if here is None:
                break
            if np.hypot(place.y - here.y, place.x - here.x) < here.radius:
                return (turn + 1) % len(self._places)
        return 0

    def _on_error(self, error: object) -> None:
        """Maps that were dropped meanwhile are no reason to worry anybody."""
        eager, self._is_eager = self._is_eager, False
        if eager and isinstance(error, WsolError):
            self.failed.emit(str(error))
