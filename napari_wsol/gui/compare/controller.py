"""Joins Compare to the maps: cells, threshold, probe, regions, places to look at."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject
from superqt.utils import signals_blocked

from napari_wsol.export import regions_of, why_empty
from napari_wsol.gui.compare.gallery import COUNT
from napari_wsol.gui.compare.gallery import SIDE as PICTURE_SIDE
from napari_wsol.gui.compare.panel import EMPTY
from napari_wsol.gui.compare.probe import summary_words
from napari_wsol.gui.compat import needed
from napari_wsol.gui.layers.region_mark import RegionMark
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.job_bar import counted, grouped
from napari_wsol.images.heatmap import mask_on_grid
from napari_wsol.preferences import preferences

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from napari_wsol.config import ExportConfig
    from napari_wsol.export import Region
    from napari_wsol.gui.compare.panel import ComparePanel
    from napari_wsol.gui.context import Context
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.slides.top_tiles import TopTile

    Found = tuple[Heatmap, list[Region], str]
    Pictures = tuple[list[TopTile], list[npt.NDArray[np.uint8]]]
    Places = tuple[Slide | None, str, list[Pictures]]

LIST_CELLS = 1_000_000
"""The list of regions must keep up with the slider; the export is exact."""

SOON_MS = 150

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
        context.at_parting(self.mark.close)
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
        for gallery in panel.verdict.galleries:
            gallery.wanted.connect(self._on_place)
        panel.verdict.button.toggled.connect(self._on_without)
        layers.maps_changed.connect(self._tell_verdict)
        layers.maps_changed.connect(self._show_methods)
        layers.values_changed.connect(self.list_places)  # after the job's end
        layers.cuts_changed.connect(self.list_regions)
        layers.cursor_moved.connect(self._on_cursor)
        layers.cells_left.connect(self._on_cells_left)
        if preferences().look == "beside":
            layers.first_shown.connect(self._begin_beside)
        layers.image_changed.connect(self._on_image)
        self._context.events.model_changed.connect(self._forget_places)

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
        else:
            self._context.soon(self._timer, SOON_MS)

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

        excuse = self._context.messages.excuse
        tasks.ask(question, self._on_regions, excuse, kind="regions")

    def _on_regions(self, answer: Found) -> None:
        heatmap, regions, words = answer
        if self._session.heatmaps.get(heatmap.key) is heatmap:
            self._panel.regions.show_regions(regions, heatmap.words)
            self._panel.summary.say(words)

    def _on_region(self, region: Region | None) -> None:
        """Mark a region of the list; the view stays where some of it is seen."""
        if region is not None:
            self._layers.reveal(region)
        # The cells lie over the picture: the mark would not be seen.
        self.mark.show(None if self._layers.wall is not None else region)

    def _on_image(self) -> None:
        self._forget_places()
        self._panel.regions.show_regions(())
        self.mark.begin_on(self._layers.image, self._session.slide)

    # ------------------------------------------------------------------------- places

    def list_places(self) -> None:
        """Look for the places where the map is highest, in the background."""
        session = self._session
        slide, work = session.slide, session.work
        key = self._panel.method_box.method or ""
        heatmap = session.heatmaps.get(key)
        busy, is_tiled = self._context.tiles_come_in, self._weighs_tiles(key)
        if slide is None or heatmap is None or busy or not (work or is_tiled):
            self._forget_places()
            return
        from napari_wsol.slides.top_tiles import thumbnail, top_tiles

        tissue, side = self._layers.tissue, None
        if work is not None and not is_tiled:
            side = PLACE_SIDE * max(work.plan.seen.downsample)

        def question() -> Places:
            values = heatmap.values
            if tissue is not None and not is_tiled:  # empty glass teaches nobody
                zero, seen = heatmap.signed / 2, mask_on_grid(tissue, values.shape)
                values = np.where(seen, values, np.float32(zero))
            one = replace(heatmap, values=values)
            sides: list[Pictures] = []
            for against in (False, True)[: 1 + heatmap.signed]:
                found = top_tiles(one, COUNT, side, against=against)
                pixels = [thumbnail(slide, x, 2 * PICTURE_SIDE) for x in found]
                sides.append((found, pixels))
            return slide, heatmap.target if heatmap.signed else "", sides

        self._context.tasks.ask(question, self._on_places, kind="places")

    def _on_places(self, answer: Places) -> None:
        slide, target, sides = answer
        if slide is self._session.slide:
            sides = [*sides, ([], []), ([], [])]
            galleries = self._panel.verdict.galleries
            for gallery, side in zip(galleries, sides, strict=False):
                gallery.show_tiles(*side, target)
            self._tell_verdict()

    def _forget_places(self) -> None:
        self._on_places((self._session.slide, "", []))

    def _weighs_tiles(self, key: str) -> bool:
        """Whether a map is what the model in use says of the tiles that it pools."""
        result = self._session.result
        if result is None or key not in result.heatmaps:
            return False
        from napari_wsol.methods import get_method  # torch is there by now

        return get_method(key).pools_tiles

    def _tell_verdict(self) -> None:
        """How sure the verdict is, and how many tiles speak for and against it."""
        maps = [x for x in self._layers.maps() if self._weighs_tiles(x.key)]
        result, words = self._session.result, ""
        if result is not None and maps:
            words = f"{result.target} {result.scores[result.target] * 100:.0f}\u00a0%"
            one = max(maps, key=lambda x: (x.signed, x.bias is not None))
            count = int((one.values > 0.5).sum()), int((one.values < 0.5).sum())
            if one.signed:
                words += f" · {counted(count[0], 'tile')} for"
                words += f", {grouped(count[1])} against"
            if one.bias is not None:
                words += f", bias {one.bias:+.2f}"
        self._panel.verdict.say(words)

    def _on_without(self, on: bool) -> None:
        """Look again without the chosen tiles, or forget what came of it."""
        box = self._panel.verdict
        box.answer.setText("")
        if on:
            at = [(x.y + x.height / 2, x.x + x.width / 2) for x in box.chosen]
            job, about = self._session.without_tiles(at), counted(len(at), "tile")
            told = partial(self._on_verdict, about)
            self._context.tasks.follow(
                job, told, lambda _: box.button.setChecked(False)
            )

    def _on_verdict(self, about: str, scores: Sequence[Mapping[str, float]]) -> None:
        best = [max(one, key=one.__getitem__) for one in scores]
        now, was = (
            f"{x} {y[x] * 100:.0f}\u00a0%" for x, y in zip(best, scores, strict=True)
        )
        if self._panel.verdict.button.isChecked():
            self._panel.verdict.answer.setText(f"Without {about}: {now} (was {was}).")

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

    def _begin_beside(self) -> None:
        self._layers.first_shown.disconnect(self._begin_beside)
        self._panel.side_by_side.setChecked(True)

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
        table = self._panel.probe
        if table.isVisible():
            with signals_blocked(needed(table.model())):  # painted once, not each cell
                table.probe(self._layers.maps(), self._layers.cuts, (y, x))
            needed(table.viewport()).update()
