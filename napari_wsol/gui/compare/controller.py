"""Joins Compare to the maps: cells, threshold, probe, regions, places to look at."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QFileDialog
from superqt.utils import signals_blocked

from napari_wsol.errors import WsolError
from napari_wsol.export import regions_of, why_empty
from napari_wsol.files import free_name, unwritable, write_whole
from napari_wsol.files.tables import table_of
from napari_wsol.gui.compare.gallery import COUNT
from napari_wsol.gui.compare.gallery import SIDE as PICTURE_SIDE
from napari_wsol.gui.compare.panel import EMPTY
from napari_wsol.gui.compare.probe import summary_words
from napari_wsol.gui.compat import needed
from napari_wsol.gui.layers.difference import ValuesLayer
from napari_wsol.gui.layers.image_layers import score_of
from napari_wsol.gui.layers.marks import PINS
from napari_wsol.gui.layers.region_mark import Badges, RegionMark
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.colours import doubt_colours
from napari_wsol.guidance.factors import stroke_length
from napari_wsol.images.heatmap import covering, mask_on_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_wsol.config import ExportConfig
    from napari_wsol.export import Region
    from napari_wsol.gui.compare.panel import ComparePanel
    from napari_wsol.gui.context import Context
    from napari_wsol.guidance.factors import Guide
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.slides.top_tiles import TopTile

    Found = tuple[Heatmap, list[Region], str]
    Places = tuple[Slide, list[TopTile], list[npt.NDArray[np.uint8]]]

LIST_CELLS = 1_000_000
"""The list of regions must keep up with the slider; the export is exact."""

SOON_MS, LATER_MS = 150, 5000

PLACE_SIDE = 256
"""Network pixels along a picture of the gallery."""


class CompareController(QObject):
    """What is done with maps that are there.

    Args:
        context: of the dock.
        panel: where it is chosen and shown.
        config: what would be exported now, whose regions are listed; None for nothing.
    """

    def __init__(
        self,
        context: Context,
        panel: ComparePanel,
        config: Callable[[], ExportConfig | None],
    ) -> None:
        super().__init__(context.dock)
        self._context, self._panel, self._config = context, panel, config
        self._session, self._layers = context.session, context.layers
        self._timer = once(self, SOON_MS, self._list_regions)
        self.mark = RegionMark(context.viewer)
        self._mouse = (-1.0, -1.0)  # level-0 pixel
        viewer, colours = context.viewer, doubt_colours()
        self._doubts = {
            x: ValuesLayer(viewer, x, colours, (0.0, 1.0)) for x in panel.doubts
        }
        self._pins = Badges(viewer, PINS, 120)
        self._overlays = (self.mark, self._pins, *self._doubts.values())
        self._timer.timeout.connect(self._look)
        for overlay in self._overlays:
            context.at_parting(overlay.close)
        context.at_parting(self._timer.stop)
        self._connect()

    def _connect(self) -> None:
        panel, layers = self._panel, self._layers
        panel.side_by_side_wanted.connect(self._on_side_by_side)
        panel.threshold_changed.connect(layers.set_threshold)
        panel.currency_wanted.connect(self._on_currency)
        panel.contours.toggled.connect(layers.set_contours)
        panel.opacity_changed.connect(layers.heatmaps.set_opacity)
        panel.method_box.chosen.connect(self.list_places)
        panel.regions.chosen.connect(self._on_region)
        panel.regions.wanted.connect(layers.fly_to)
        panel.gallery.wanted.connect(self._on_place)
        layers.maps_changed.connect(self._show_methods)
        layers.maps_changed.connect(self.list_places)  # layers come after the job's end
        layers.cuts_changed.connect(self.list_regions)
        layers.cursor_moved.connect(self._on_cursor)
        layers.cells_left.connect(self._on_cells_left)
        layers.image_changed.connect(self._forget_places)
        layers.image_changed.connect(self._on_image)
        events = self._context.events
        events.model_changed.connect(self._forget_places)
        panel.best_first.clicked.connect(self._put_best_first)
        panel.places_csv.clicked.connect(self._save_places)
        panel.pins.itemClicked.connect(self._on_pin)
        panel.pins.installEventFilter(self)
        events.pins_changed.connect(self._show_pins)
        for told in (events.reference_changed, events.figures_changed):
            told.connect(self.list_regions)
        for role, box in panel.doubts.items():
            box.toggled.connect(self._look)
            self._doubts[role].deleted.connect(partial(box.setChecked, False))

    def show_results(self) -> None:
        """Bring layers, rows and lists up to date with the session's maps."""
        from napari_wsol.inference.whole_image import map_title  # torch is there by now

        titles = {key: map_title(one) for key, one in self._session.heatmaps.items()}
        self._layers.show_results(titles)
        self._show_notes()

    def show_heatmap(self, method: str) -> None:
        """One map has changed, or is there for the first time."""
        if {method} <= self._layers.heatmaps.pairs.keys() & self._session.heatmaps:
            self._layers.show_heatmap(method)
            self._show_notes()
        else:
            self.drop_results()

    def drop_results(self) -> None:
        """The session has fewer maps, or none any more."""
        if self._session.heatmaps and self._layers.image is not None:
            self.show_results()
        elif not self._session.heatmaps:
            self._layers.drop_results()
            self._panel.show_side_by_side(False)
            self._panel.show_notes(())

    def _show_notes(self) -> None:
        """What must be known of the result and its maps, as long as they are shown."""
        from napari_wsol.inference.whole_image import map_notes  # torch is there by now

        session = self._session
        result, slide = session.result, session.slide
        known = slide.notes if slide is not None else ()  # they stand at the image
        notes = () if result is None else result.notes
        own = [note for note in notes if note not in known]
        self._panel.show_notes([*own, *map_notes(session.heatmaps.values())])

    def choose_method(self, method: str) -> None:
        """List the regions of another map."""
        self._panel.method_box.choose(method)
        self.list_regions()

    # ------------------------------------------------------------------------ regions

    def list_regions(self) -> None:
        """Count the regions anew, in a moment; less often while tiles come in."""
        if not self._layers.maps():
            self._timer.stop()
            self._list_regions()  # those of a map that is gone go with it
        elif not self._context.tiles_come_in:
            self._timer.start(SOON_MS)
        elif not self._timer.isActive():
            self._timer.start(LATER_MS)

    def _list_regions(self) -> None:
        panel, config = self._panel, self._config()
        if config is None or self._session.slide is None:
            panel.regions.show_regions(())
            panel.summary.say(EMPTY)
            return
        heatmap, mpp = self._session.heatmaps[config.method], self._session.mpp
        shape, tasks = heatmap.image_shape, self._context.tasks

        def question() -> Found:
            """Thousands of specks take seconds to outline."""
            cells, check = LIST_CELLS, tasks.check
            found = regions_of(
                heatmap, shape, config, mpp, max_pixels=cells, tick=check
            )
            return heatmap, found, summary_words(found, mpp, why_empty(heatmap, config))

        tasks.ask(question, self._on_regions, self._on_error, kind="regions")

    def _on_error(self, error: BaseException) -> None:
        if isinstance(error, WsolError):
            self._context.messages.warn(error)

    def _on_regions(self, answer: Found) -> None:
        heatmap, regions, words = answer
        if self._session.heatmaps.get(heatmap.key) is heatmap:
            self._panel.regions.show_regions(regions)
            self._panel.summary.say(words)

    def _on_region(self, region: Region | None) -> None:
        """Mark a region of the list; the view stays where some of it is seen."""
        if region is not None:
            self._layers.reveal(region)
        # The cells lie over the picture: the mark would not be seen.
        self.mark.show(None if self._layers.wall is not None else region)

    def _on_image(self) -> None:
        self._panel.regions.show_regions(())
        for overlay in self._overlays:
            overlay.take_away()
            overlay.place_on(self._layers.image, self._session.slide)
            overlay.take_away()  # that of an earlier dock
        self._show_pins()

    # ------------------------------------------------------------------------- places

    def list_places(self) -> None:
        """Look for the places where the map is highest, in the background."""
        session = self._session
        slide, work = session.slide, session.work
        heatmap = session.heatmaps.get(self._panel.method_box.method or "")
        if slide is None or heatmap is None or work is None:
            self._forget_places()
            return
        if self._context.tiles_come_in:
            self._forget_places()
            return
        from napari_wsol.slides.localize import uses_tiles
        from napari_wsol.slides.top_tiles import thumbnail, top_tiles

        tissue = self._layers.tissue
        step = max(work.plan.seen.downsample)
        side = None if uses_tiles(work.model) else PLACE_SIDE * step

        def question() -> Places:
            values = heatmap.values
            if tissue is not None:  # empty glass teaches nobody
                values = values * mask_on_grid(tissue, values.shape)
            found = top_tiles(replace(heatmap, values=values), COUNT, side)
            return slide, found, [thumbnail(slide, x, 2 * PICTURE_SIDE) for x in found]

        self._context.tasks.ask(question, self._on_places, kind="places")

    def _on_places(self, answer: Places) -> None:
        slide, tiles, pictures = answer
        if slide is self._session.slide:
            self._panel.gallery.show_tiles(tiles, pictures)

    def _forget_places(self) -> None:
        self._panel.gallery.show_tiles((), ())

    def _on_place(self, tile: TopTile) -> None:
        self._layers.fly_to_box(
            tile.y, tile.x, tile.y + tile.height, tile.x + tile.width
        )

    # -------------------------------------------------------------- cells and threshold

    def _show_methods(self) -> None:
        self._panel.show_methods(self._layers.titles)
        self.list_regions()

    def _on_side_by_side(self, on: bool) -> None:
        if on and not self._layers.maps():
            self._panel.show_side_by_side(False)
            self._context.messages.warn(
                "Localize first; then the methods stand side by side."
            )
            return
        self.mark.show(None)
        self._layers.show_cells(on)

    def _on_cells_left(self) -> None:
        self._layers.show_cells(False)
        self._panel.show_side_by_side(False)

    def _on_currency(self, currency: str) -> None:
        heatmap = self._session.heatmaps.get(self._panel.method_box.method or "")
        before = self._panel.threshold
        threshold = before.converted(currency, heatmap, self._layers.tissue)
        self._panel.show_threshold(threshold)
        self._layers.set_threshold(threshold)

    def _on_cursor(self, y: float, x: float) -> None:
        self._mouse = (y, x)
        table = self._panel.probe
        if table.isVisible():
            with signals_blocked(needed(table.model())):  # painted once, not each cell
                table.probe(self._layers.maps(), self._layers.cuts, (y, x))
            needed(table.viewport()).update()

    def _put_best_first(self) -> None:
        figures = self._session.figures(wait=False)
        scores = {key: score_of(one) for key, one in figures.items()}
        keys = [heatmap.key for heatmap in self._layers.maps()]
        self._layers.set_order(sorted(keys, key=lambda key: -scores.get(key, -1.0)))

    # ----------------------------------------------------------------- pins and doubt

    def pin(self) -> None:
        """Mark the place under the mouse in all cells."""
        try:
            self._session.set_pins([*self._session.pins, self._mouse])
        except WsolError as error:
            self._context.messages.warn(error)

    def eventFilter(self, watched: QObject, event: Any) -> bool:  # noqa: ANN401 - of Qt
        """Delete takes the chosen pin away."""
        pins, is_press = self._session.pins, event.type() == QEvent.Type.KeyPress
        if is_press and event.key() == Qt.Key.Key_Delete:
            at = self._panel.chosen_pin()
            self._session.set_pins([p for k, p in enumerate(pins) if k != at])
        return super().eventFilter(watched, event)

    def _on_pin(self) -> None:
        y, x = self._session.pins[self._panel.chosen_pin()]
        if self._session.slide is not None:
            reach = stroke_length(self._session.slide.shape, self._session.mpp) / 2
            self._layers.fly_to_box(y - reach, x - reach, y + reach, x + reach)

    def _show_pins(self) -> None:
        pins = self._session.pins
        if self._layers.wall is not None:
            self._layers.wall.show_pins(pins)
        numbers = [str(k + 1) for k in range(len(pins))]
        self._pins.draw(pins, numbers, "Pins", "square")
        self._look()

    def _look(self) -> None:
        """Show of pins and doubt what the maps say as they are now."""
        session, panel, tasks = self._session, self._panel, self._context.tasks
        panel.best_first.setEnabled(bool(session.figures(wait=False)))
        panel.places_csv.setEnabled(bool(self._layers.maps()))
        rows = partial(self._rows, session.pins)
        tasks.ask(rows, panel.show_pins, kind="pins")
        for role, layer in self._doubts.items():
            if not panel.doubts[role].isChecked():
                layer.take_away()
        if slide := any(x.isChecked() for x in panel.doubts.values()) and session.slide:
            doubt = lambda: (slide, session.doubt(0)[0])  # noqa: E731
            tasks.ask(doubt, self._on_doubt, self._on_no_doubt, kind="doubt")

    def _rows(self, places: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
        """What each map says at each place, numbered from 1; on any thread."""
        layers, mm, rows = self._layers, (self._session.mpp or 0) / 1000, []
        titles, cuts, maps = layers.titles, layers.cuts, layers.maps()
        for number, (y, x) in enumerate(places, 1):
            at = {"place": number, "y_px": y, "x_px": x}
            at |= {"y_mm": y * mm, "x_mm": x * mm} if mm else {"y_mm": "", "x_mm": ""}
            for one in maps:
                value = one.at(y, x) or 0.0
                told = {"value": value, "percentile": one.rank(value)}
                told["above"] = value >= cuts.get(one.key, 1.0)
                rows.append({**at, "method": titles.get(one.key, one.key), **told})
        return rows

    def _on_no_doubt(self, error: BaseException) -> None:
        for box in self._panel.doubts.values():
            box.setChecked(False)
        self._on_error(error)

    def _on_doubt(self, answer: tuple[Slide, Guide]) -> None:
        slide, known = answer
        for role, layer in self._doubts.items():
            if slide is self._session.slide and self._panel.doubts[role].isChecked():
                values = getattr(known, role) * known.tissue
                place, name = covering(slide.shape, values.shape), role.capitalize()
                above = self._layers.strokes.layer, self._pins.layer
                layer.show(values, place, name, *above)

    def _save_places(self) -> None:
        """Pins, then the places where the maps disagree most, in one table."""
        session, layers = self._session, self._layers
        keep = QFileDialog.Option.DontConfirmOverwrite  # nothing is overwritten
        name = f"{layers.image} places.csv"
        asked = (self._panel, "Save as", name, "Tables (*.csv)")
        found, _ = QFileDialog.getSaveFileName(*asked, options=keep)

        def write() -> str:
            worst = session.doubt()[1] if len(layers.maps()) > 1 else []
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
            say, tasks = self._context.messages.say, self._context.tasks
            tasks.ask(write, say, self._on_error, kind="csv")
