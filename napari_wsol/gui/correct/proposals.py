"""Where the next stroke would teach most: a line, a key, a ring on the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_wsol.gui.layers.ring import Ring
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.panel import fill_column, push_button, row
from napari_wsol.guidance.proposals import nothing_words

if TYPE_CHECKING:
    from napari_wsol.gui.context import Context
    from napari_wsol.guidance.proposals import Proposal
    from napari_wsol.images.slide import Slide

GO_KEY, DISMISS_KEY = "G", "Shift+G"

FIRST = "Where next? Localize first; then the dock shows where a stroke helps most."


class NextRow(QWidget):
    """“next: upper left – methods disagree  [Go there G] [Not here]”."""

    def __init__(self) -> None:
        super().__init__()
        self.words = Words(lines=2, keeps=True)
        self.go_button = push_button(
            "",
            "Fly to the place where the next stroke would teach the model most. Again: "
            f"to the next best. Key: {GO_KEY}.",
        )
        self.dismiss_button = push_button(
            "Not here  ⇧G",
            "Do not propose this place again, on this image. Key: Shift+G.",
        )
        buttons = row(self.go_button, self.dismiss_button, stretch=(0, 1))
        fill_column(self, self.words, buttons, margins=(0, 2, 0, 0))
        self.say(FIRST)

    def show_place(self, place: Proposal, *, here: bool) -> None:
        """The place to go to, or the one that is being looked at."""
        self.words.setText(
            f"{'here' if here else 'next'}: {place.place} – {place.short}"
        )
        self.words.setToolTip(place.reason)
        self.go_button.setText(f"{'Next place' if here else 'Go there'}  {GO_KEY}")
        self._enable(True)

    def say(self, sentence: str) -> None:
        """There is no place to go to, and this is why."""
        self.words.setText(sentence)
        self.words.setToolTip("")
        self.go_button.setText(f"Go there  {GO_KEY}")
        self._enable(False)

    def _enable(self, on: bool) -> None:
        self.go_button.setEnabled(on)
        self.dismiss_button.setEnabled(on)


COUNT = 8
"""Places that the key walks through."""

NO_LABELS = np.zeros((0, 0), np.uint8)

SOON_MS = 200
"""After a change."""


class ProposalsController(QObject):
    """Keeps the places up to date, flies to them, and forgets those not wanted."""

    def __init__(self, context: Context, row: NextRow) -> None:
        super().__init__(context.dock)
        self._context, self._row = context, row
        self._session, self._layers = context.session, context.layers
        self._messages = context.messages
        self.places: list[Proposal] = []
        """The places that the key walks through, the best first."""
        self._turn = 0  # the place to go to next
        self._toured = -1  # the place of the tour, from 0
        self._here: Proposal | None = None
        self._labels_here = NO_LABELS
        self._changes = 0  # of maps and strokes
        self._known = -1  # how many of them the places know of
        self._is_eager = False  # the key was pressed while places are being found
        self.ring = Ring(context.viewer)
        self._timer = once(self, SOON_MS, self._look)
        context.at_parting(self.close)
        self._connect()

    def _connect(self) -> None:
        events, layers = self._context.events, self._layers
        layers.image_changed.connect(self._on_image)
        layers.maps_changed.connect(self._soon)
        events.scribbles_changed.connect(self._on_scribbles)
        for changed in (
            events.localized,
            events.heatmap_changed,
            events.rounds_changed,
            events.mpp_changed,
            events.dismissed_changed,
        ):
            changed.connect(self._soon)
        self._row.go_button.clicked.connect(self.go)
        self._row.dismiss_button.clicked.connect(self.dismiss)

    def close(self) -> None:
        """Take the ring away; no more places."""
        self._timer.stop()
        self.ring.close()

    # -------------------------------------------------------------------------- verbs

    def go(self) -> None:
        """Fly to the best place; again, to the next best, and round to the first."""
        if self._layers.image is None or not self._session.heatmaps:
            self._messages.warn(
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
            self._messages.say(self._nothing())
            return
        self._leave()
        self.places = [item for item in self.places if item is not place]
        self._turn = 0
        self._session.dismiss(place)
        self._messages.say(f"Not proposed any more: {place.place}.")
        self._show()

    def tour(self, by: int) -> None:
        """Fly on, or back, through the places where the maps disagree most."""
        session, slide = self._session, self._session.slide
        question = lambda: (slide, by, session.doubt(COUNT)[1])  # noqa: E731
        ask = self._context.tasks.ask
        ask(question, self._on_tour, self._messages.excuse, kind="tour")

    def _on_tour(self, answer: tuple[Slide | None, int, list[Proposal]]) -> None:
        slide, by, places = answer
        if slide is not self._session.slide:
            return
        if not places:
            self._messages.say("The maps agree wherever there is tissue.")
            return
        self._toured = (max(self._toured, min(0, -by)) + by) % len(places)
        place = places[self._toured]
        number = f"{self._toured + 1} of {len(places)}"
        where = number if len(places) > 1 else "The only place"
        self._visit(place, f"{where}: {place.reason}.")

    # ------------------------------------------------------------------------- places

    @property
    def is_old(self) -> bool:
        """Whether something has changed since the places were found."""
        return self._known != self._changes

    @property
    def _named(self) -> Proposal | None:
        """The place that the line is about."""
        if self._here is not None or not self.places:
            return self._here
        return self.places[self._turn % len(self.places)]

    def _jump(self) -> None:
        if not self.places:
            self._leave()
            self._show()
            self._messages.say(self._nothing())
            return
        place = self.places[self._turn % len(self.places)]
        self._turn = (self._turn + 1) % len(self.places)
        self._here, self._labels_here = place, self._labels_in(place)
        self._visit(place, place.reason)
        self._show()

    def _visit(self, place: Proposal, words: str) -> None:
        self._layers.fly_to_box(*place.box)
        self.ring.show(place.y, place.x, place.radius)
        self._messages.say(words)

    def _leave(self) -> None:
        """Not at a proposed place any more."""
        self._here = None
        self.ring.take_away()

    def _show(self) -> None:
        place = self._named
        if place is not None:
            self._row.show_place(place, here=self._here is not None)
        elif self._layers.image is None or not self._session.heatmaps:
            self._row.say(FIRST)
        elif not self.is_old:
            self._row.say(self._nothing())

    def _nothing(self) -> str:
        scribbles = self._session.scribbles
        drawn = scribbles is not None and bool(scribbles.any())
        return nothing_words(len(self._layers.heatmaps.pairs), strokes=drawn)

    def _labels_in(self, place: Proposal) -> np.ndarray:
        """The strokes in the square around a place, copied; empty without any."""
        canvas, scribbles = self._session.canvas, self._session.scribbles
        if canvas is None or scribbles is None:
            return NO_LABELS
        corners = np.reshape(place.box, (2, 2)) - canvas.translate
        cells = np.maximum(np.round(corners / canvas.scale), 0).astype(int)
        (top, left), (bottom, right) = cells
        part = scribbles[top : bottom + 1, left : right + 1]
        return part.copy() if part.any() else NO_LABELS

    # ------------------------------------------------------------------------ changes

    def _on_image(self) -> None:
        self.places, self._turn, self._is_eager = [], 0, False
        self._toured = -1
        self._here = None
        self.ring.begin_on(self._layers.image, self._session.slide)
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
        self._context.soon(self._timer, SOON_MS)

    def _look(self) -> None:
        self._timer.stop()
        session, slide, number = self._session, self._session.slide, self._changes
        if self._layers.image is None or slide is None or not session.heatmaps:
            self.places, self._turn, self._is_eager = [], 0, False
            self._show()
            return
        methods = list(self._layers.heatmaps.pairs) or None
        self._context.tasks.ask(
            lambda: (slide, number, session.propose(COUNT, methods=methods)),
            self._on_answer,
            self._on_error,
            kind="where next",
        )

    def _on_answer(self, answer: tuple[Slide, int, list[Proposal]]) -> None:
        slide, self._known, places = answer
        if slide is not self._session.slide or not self._session.heatmaps:
            return
        self.places = places
        self._turn = self._turn_after(self._here)
        self._show()
        if self._is_eager:
            self._is_eager = False
            self._jump()

    def _turn_after(self, here: Proposal | None) -> int:
        """The place to go to next: after the one looked at, if it is still there."""
        for turn, place in enumerate(self.places):
            if here is None:
                break
            if np.hypot(place.y - here.y, place.x - here.x) < here.radius:
                return (turn + 1) % len(self.places)
        return 0

    def _on_error(self, error: BaseException) -> None:
        """Maps that were dropped meanwhile are no reason to worry anybody."""
        eager, self._is_eager = self._is_eager, False
        if eager:
            self._messages.excuse(error)
