"""Places to compare maps at: pins of the person, and where the maps are in doubt."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_wsol.errors import WsolError
from napari_wsol.files import free_name, unwritable, write_whole
from napari_wsol.files.tables import table_of
from napari_wsol.gui.layers.difference import ValuesLayer
from napari_wsol.gui.layers.marks import PINS
from napari_wsol.gui.layers.region_mark import Badges
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.colours import doubt_colours
from napari_wsol.gui.widgets.panel import asked_path
from napari_wsol.guidance.factors import stroke_length
from napari_wsol.images.heatmap import covering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.gui.compare.panel import ComparePanel
    from napari_wsol.gui.context import Context
    from napari_wsol.guidance.factors import Guide
    from napari_wsol.images.slide import Slide

SOON_MS = 150


class PlacesController(QObject):
    """Pins, layers of doubt, and the table of both.

    Args:
        context: of the dock.
        panel: where they are chosen and shown.
    """

    def __init__(self, context: Context, panel: ComparePanel) -> None:
        super().__init__(context.dock)
        self._context, self._panel = context, panel
        self._session, self._layers = context.session, context.layers
        self._mouse = (-1.0, -1.0)  # level-0 pixel
        self._timer = once(self, SOON_MS, self._look)
        viewer, colours = context.viewer, doubt_colours()
        self._pins = Badges(viewer, PINS, 120)
        self._doubts = {
            role: ValuesLayer(viewer, role, colours, (0.0, 1.0))
            for role in panel.doubts
        }
        self._overlays = (self._pins, *self._doubts.values())
        for end in (self._timer.stop, *(x.close for x in self._overlays)):
            context.at_parting(end)
        self._connect()

    def _connect(self) -> None:
        panel, layers = self._panel, self._layers
        layers.cursor_moved.connect(self._on_cursor)
        layers.image_changed.connect(self._on_image)
        layers.cuts_changed.connect(self._soon)  # it comes with other values, too
        self._context.events.pins_changed.connect(self._show_pins)
        panel.pins.wanted.connect(self._fly_to)
        panel.pins.unwanted.connect(self._unpin)
        panel.places_csv.clicked.connect(self._save)
        for role, box in panel.doubts.items():
            box.toggled.connect(partial(self._on_ticked, role))
            self._doubts[role].deleted.connect(partial(box.setChecked, False))

    def _on_cursor(self, y: float, x: float) -> None:
        self._mouse = (y, x)

    def _on_image(self) -> None:
        for overlay in self._overlays:
            overlay.begin_on(self._layers.image, self._session.slide)
        self._show_pins()

    def _soon(self) -> None:
        self._context.soon(self._timer, SOON_MS)

    # --------------------------------------------------------------------------- pins

    def pin(self) -> None:
        """Mark the place under the mouse, on the image and in all cells."""
        try:
            self._session.set_pins([*self._session.pins, self._mouse])
        except WsolError as error:
            self._context.messages.warn(error)

    def _unpin(self, number: int) -> None:
        """The list may be older than the pins, and nothing may be chosen in it."""
        pins = self._session.pins
        if 0 <= number < len(pins):
            self._session.set_pins([*pins[:number], *pins[number + 1 :]])

    def _fly_to(self, number: int) -> None:
        pins, slide = self._session.pins, self._session.slide
        if slide is not None and 0 <= number < len(pins):
            y, x = pins[number]
            reach = stroke_length(slide.shape, self._session.mpp) / 2
            self._layers.fly_to_box(y - reach, x - reach, y + reach, x + reach)

    def _show_pins(self) -> None:
        pins = self._session.pins
        numbers = [str(k + 1) for k in range(len(pins))]
        self._pins.draw(pins, numbers, "Pins", "square")
        self._layers.show_marks()
        self._look()

    # -------------------------------------------------------------- what the maps say

    def _on_ticked(self, role: str, on: bool) -> None:
        """One at a time: the upper would hide the other one."""
        for other, box in self._panel.doubts.items():
            if on and other != role:
                box.setChecked(False)
        self._look()

    def _look(self) -> None:
        """Show of pins and doubt what the maps say as they are now."""
        session, panel, ask = self._session, self._panel, self._context.tasks.ask
        panel.places_csv.setEnabled(bool(self._layers.maps()))
        ask(partial(self._rows, session.pins), panel.pins.show_rows, kind="pins")
        any_maps, boxes = bool(session.heatmaps), panel.doubts.items()
        wanted = [role for role, box in boxes if any_maps and box.isChecked()]
        for role in self._doubts.keys() - wanted:
            self._doubts[role].take_away()
        if wanted and (slide := session.slide) is not None:
            doubt = lambda: (slide, session.doubt(0)[0])  # noqa: E731
            ask(doubt, self._on_doubt, self._on_no_doubt, kind="doubt")

    def _rows(self, places: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
        """What each map says at each place, numbered from 1; on any thread."""
        layers, mm, rows = self._layers, (self._session.mpp or 0) / 1000, []
        titles, cuts, maps = layers.titles, layers.cuts, layers.maps()
        for number, (y, x) in enumerate(places, 1):
            at = {"place": number, "y_px": y, "x_px": x}
            at |= {"y_mm": y * mm, "x_mm": x * mm} if mm else {"y_mm": "", "x_mm": ""}
            for one in maps:
                value = one.at(y, x) or 0.0
                told: dict[str, Any] = {"value": value, "percentile": one.rank(value)}
                told["evidence"] = one.words(value) if one.signed else ""
                told["above"] = one.strength(value) >= cuts.get(one.key, 1.0)
                rows.append({**at, "method": titles.get(one.key, one.key), **told})
        return rows

    def _on_no_doubt(self, error: BaseException) -> None:
        for box in self._panel.doubts.values():
            box.setChecked(False)
        self._context.messages.excuse(error)

    def _on_doubt(self, answer: tuple[Slide, Guide]) -> None:
        slide, known = answer
        for role, layer in self._doubts.items():
            if slide is self._session.slide and self._panel.doubts[role].isChecked():
                values = getattr(known, role) * known.tissue
                place, name = covering(slide.shape, values.shape), role.capitalize()
                above = self._layers.strokes.layer, self._pins.layer
                layer.show(values, place, name, *above)

    def _save(self) -> None:
        """Pins, then the places where the maps disagree most, in one table."""
        session, messages = self._session, self._context.messages
        name, kinds = f"{self._layers.image} places.csv", "Tables (*.csv)"
        found = asked_path(self._panel, "Save the places", name, kinds)

        def write() -> str:
            worst = session.doubt()[1] if len(self._layers.maps()) > 1 else []
            told = [{"kind": "pinned"} for _ in session.pins]
            for x in worst:
                words = {"disagreement": f"{x.score:.3f}", "sentence": x.reason}
                told.append({"kind": "disagreement", **words})
            places = [*session.pins, *((x.y, x.x) for x in worst)]
            rows = [told[row["place"] - 1] | row for row in self._rows(places)]
            path = free_name(Path(found))
            with unwritable(f"“{path}” cannot be written", ""):
                write_whole(path, table_of(rows)[1])
            return f"Written to {path}"

        if found:
            tasks = self._context.tasks
            tasks.ask(write, messages.say, messages.excuse, kind="csv")
