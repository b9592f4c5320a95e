"""Can I believe this?: what the maps of the open image are worth, in words."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import JobBar
from napari_wsol.gui.widgets.panel import fill_column, push_button
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_wsol.evaluation.trust import Trust
    from napari_wsol.gui.context import Context

TIP = (
    "See whether each map changes when the model's weights are drawn anew, and whether "
    "the model needs what it marks. May take minutes; Cancel stops it."
)
COLUMNS = {
    "heads": "heads",
    "last_stage": "stage",
    "encoder": "all",
    "insertion": "ins",
    "deletion": "del",
    "road": "ROAD",
}


class TrustBox(QWidget):
    """The button, and what came of it."""

    found = Signal(object)
    """Trust in each method."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context = context
        self.button, self.words = push_button("Can I believe this?", TIP), Words()
        self.job_bar = JobBar((JobKind.TRUST,), self.button)
        self.button.clicked.connect(self._on_clicked)
        fill_column(self, self.job_bar, self.words)
        for signal in (context.layers.image_changed, context.layers.maps_changed):
            signal.connect(self._begin)
        self._begin()

    def _begin(self) -> None:
        """Other maps: what was said of those before is gone."""
        context = self._context
        has_maps = context.session.result is not None
        self.button.setEnabled(context.layers.image is not None and has_maps)
        self.say("")

    def say(self, words: str) -> None:
        """Rich text below the button; none hides it."""
        self.words.setText(words)
        self.words.setVisible(bool(words))

    def _on_clicked(self) -> None:
        self._context.tasks.follow(self._context.session.trust(), self._on_trusted)

    def _on_trusted(self, found: Mapping[str, Trust]) -> None:
        self.found.emit(found)
        rows, titles = [["", *COLUMNS.values()]], self._context.layers.titles
        for name, one in found.items():
            known = {**one.sanity, **one.faithful}
            figures = [f"{known[key]:.2f}" if key in known else "–" for key in COLUMNS]
            rows.append([titles.get(name, name), *figures])
        said = (f"<p>{escape(one.verdict[1])}</p>" for one in found.values())
        self.say(table(rows) + "".join(said))


def table(rows: Iterable[Iterable[str]]) -> str:
    """Rows as rich text."""
    lines = (
        "".join(f"<td>{escape(cell)}&nbsp;</td>" for cell in cells) for cells in rows
    )
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
