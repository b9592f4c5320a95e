"""Can I believe this?, and Occlude here: what the maps of the open image are worth."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_wsol.gui.compat import is_drawing
from napari_wsol.gui.layers.marks import BOX, raise_in_order
from napari_wsol.gui.layers.overlay import ZoomedOverlay
from napari_wsol.gui.layers.placement import screen_a_pixel
from napari_wsol.gui.layers.touch import canvas_beside
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import JobBar
from napari_wsol.gui.widgets.panel import fill_column, push_button, row
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from napari_wsol.evaluation.occluding import Occluded
    from napari_wsol.evaluation.sanity import Trust
    from napari_wsol.gui.context import Context

TIP = (
    "See whether each map changes when the model's weights are drawn anew, and whether "
    "the model needs what it marks. May take minutes; Cancel stops it."
)
OCCLUDE_TIP = (
    "Drag a box on the image: it is blurred, and what the class's score really loses "
    "stands beside what each map claims there. Esc leaves."
)
COLUMNS = {
    "heads": "heads",
    "last_stage": "stage",
    "encoder": "all",
    "insertion": "ins↑",
    "deletion": "del↓",
    "road": "ROAD↑",
}
LEGEND = (
    "heads, stage, all: rank correlation of a map with itself after these weights are "
    "drawn anew; near 0 where it depends on them. ins, del: the probability as the "
    "strongest pixels come or go; ROAD: how much sooner it falls without the strongest "
    "than without the weakest. ↑ high is good, ↓ low is."
)
LINE_PIXELS = 1.5


class Box(ZoomedOverlay[Shapes]):
    """A white box, as thin at any zoom."""

    def _fit(self) -> None:
        if self.layer is not None and self._image is not None:
            width = LINE_PIXELS / screen_a_pixel(self._viewer, self._image)
            self.layer.edge_width = self.layer.current_edge_width = width

    def renew(self) -> Shapes | None:
        """An empty one, above all layers."""
        self.take_away()
        how = {"edge_color": "white", "face_color": "transparent", "ndim": 2}
        layer = self.hold(
            (0,),
            ((1.0, 1.0), (0.0, 0.0)),
            lambda place: Shapes(name="Occluded", **how, **place),
        )
        if layer is not None:
            self._fit()
            raise_in_order(self._viewer, [layer])
        return layer


class TrustBox(QWidget):
    """The two buttons, and what came of them."""

    found = Signal(object)
    """Trust in each method."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._context, self.words, viewer = context, Words(), context.viewer
        self._is_checked = False  # the maps that are shown
        self.button = push_button("Can I believe this?", TIP)
        self.occlude_button = push_button("Occlude here", OCCLUDE_TIP, checkable=True)
        self.job_bar = JobBar((JobKind.TRUST,), self.button)
        self.box, self._before = Box(viewer, BOX, 120), viewer.layers.selection.active
        self.button.clicked.connect(self._on_clicked)
        self.occlude_button.toggled.connect(self._on_occlude)
        # At once is too soon: napari may be in the midst of removing the layer.
        self._leave = once(self, 0, partial(self.occlude_button.setChecked, False))
        fill_column(self, row(self.job_bar, self.occlude_button, stretch=0), self.words)
        for signal in (context.layers.image_changed, context.layers.values_changed):
            signal.connect(self._begin)
        active = viewer.layers.selection.events.active
        active.connect(self._on_active)
        context.at_parting(self.box.close)
        context.at_parting(lambda: active.disconnect(self._on_active))
        self._begin()

    def _begin(self) -> None:
        """Other maps: what was said of those before is gone."""
        session, image = self._context.session, self._context.layers.image
        for button in (self.button, self.occlude_button):
            button.setEnabled(image is not None and session.result is not None)
        self.occlude_button.setChecked(False)
        self.say("")
        if self._is_checked:
            self._is_checked = False
            self.found.emit({})
        self.box.take_away()
        self.box.place_on(image, session.slide)
        self.box.take_away()  # that of an earlier dock

    def say(self, words: str) -> None:
        """Rich text below the buttons; none hides it."""
        self.words.setText(words)
        self.words.setVisible(bool(words))

    def _on_clicked(self) -> None:
        self._context.tasks.follow(self._context.session.trust(), self._on_trusted)

    def _on_trusted(self, found: Mapping[str, Trust]) -> None:
        self._is_checked = True
        self.found.emit(found)
        self.words.setToolTip(LEGEND)
        rows, titles = [["", *COLUMNS.values()]], self._context.layers.titles
        for name, one in found.items():
            known = {**one.sanity, **one.faithful}
            figures = [f"{known[key]:.2f}" if key in known else "–" for key in COLUMNS]
            rows.append([titles.get(name, name), *figures])
        said = [one.verdict[1] for one in found.values()]
        said += dict.fromkeys(words for one in found.values() for words in one.caveats)
        self.say(table(rows) + "".join(f"<p>{escape(words)}</p>" for words in said))

    def _on_occlude(self, on: bool) -> None:
        """Let a box be dragged on a layer of its own, or leave that layer."""
        layers = self._context.viewer.layers
        selection = layers.selection
        if on:
            if self._context.layers.wall is not None:
                self._context.layers.cells_left.emit()
            self.say("")
            self._before, layer = selection.active, self.box.renew()
            if layer is None:
                return
            selection.active = layer
            layer.mode = "add_rectangle"
            layer.mouse_drag_callbacks.append(self._on_drag)  # after napari's own
            layer.bind_key("Escape", lambda _: self._leave.start(), overwrite=True)
            if (canvas := canvas_beside(self._context.dock)) is not None:
                canvas.setFocus()  # for Esc
            return
        layer = self.box.layer
        if selection.active in (layer, None) and self._before in layers:
            selection.active = self._before
        if layer is not None:
            unfinished = not layer.data or is_drawing(layer)
            layer.mode = "pan_zoom"
            if unfinished:
                self.box.take_away()

    def _on_active(self) -> None:
        if self._context.viewer.layers.selection.active != self.box.layer:
            self._leave.start()

    def _on_drag(self, layer: Shapes, event: Any) -> Iterator[None]:  # noqa: ANN401
        start = layer.world_to_data(event.position)
        while event.type != "mouse_release":
            yield
        if not self.occlude_button.isChecked():  # it was left, or the person pans
            return
        # napari, which draws it meanwhile, leaves out the last moves of the mouse.
        corners = np.array([start, layer.world_to_data(event.position)])
        layer.data, layer.selected_data = [corners], set()
        self.occlude_button.setChecked(False)
        box = (*corners.min(0) + 0.5, *corners.max(0) + 0.5)
        job = self._context.session.occlude(box)
        self._context.tasks.follow(job, self._on_occluded)

    def _on_occluded(self, found: Occluded) -> None:
        titles = self._context.layers.titles
        rows = [
            [f"“{found.target}”", "before", "after"],
            ["probability", *(f"{p:.3f}" for p in found.probabilities)],
            ["logit", *(f"{y:.2f}" for y in found.logits)],
            ["claimed by", "in the box", "× the mean"],
        ]
        for key, share in found.evidence.items():
            times = f"{share / found.area:.1f} ×"
            rows.append([titles.get(key, key), f"{share:.0%}", times])
        self.words.setToolTip(OCCLUDE_TIP)
        self.say(f"Blurred: {found.area:.0%} of the image.{table(rows)}")


def table(rows: Iterable[Iterable[str]]) -> str:
    """Rows as rich text."""
    lines = (
        "".join(f"<td>{escape(cell)}&nbsp;</td>" for cell in cells) for cells in rows
    )
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
