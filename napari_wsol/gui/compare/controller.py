"""Joins Compare and Export to the maps: cells, threshold, probe, regions, files."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsol.config import ExportConfig
from napari_wsol.errors import JobCancelledError, WsolError
from napari_wsol.export import regions_of
from napari_wsol.gui.background import Background
from napari_wsol.gui.compare.panel import EMPTY
from napari_wsol.gui.compare.probe import summary_words

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari_wsol.export import Region
    from napari_wsol.gui.compare.threshold import Threshold
    from napari_wsol.gui.dock import WsolWidget
    from napari_wsol.images.heatmap import Heatmap

LIST_CELLS = 1_000_000
"""The list of regions must keep up with the slider; the export is exact."""

SOON_MS, LATER_MS = 150, 5000


class Comparison(QObject):
    """What is done with maps that are there."""

    failed = Signal(str)
    """A sentence for the person."""

    def __init__(self, window: WsolWidget) -> None:
        super().__init__(window)
        self._window = window
        self._session = window.session
        self._stage = window.stage
        self._compare = window.compare_panel
        self._export = window.export_panel
        self._titles: dict[str, str] = {}
        self.exporting: list[Future] = []
        """The latest export, done or not."""
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._list_regions)
        # Thousands of specks take seconds to outline: never on the GUI thread.
        self.look_up = Background()
        self.look_up.answered.connect(self._on_regions)
        self._connect()

    def _connect(self) -> None:
        compare, stage, export = self._compare, self._stage, self._export
        compare.side_by_side_wanted.connect(self._on_side_by_side)
        compare.threshold_changed.connect(stage.set_threshold)
        compare.currency_wanted.connect(self._on_currency)
        compare.contours_changed.connect(stage.set_contours)
        compare.opacity_changed.connect(stage.evidence.set_opacity)
        compare.method_changed.connect(self._on_method)
        compare.regions.wanted.connect(stage.fly_to)
        export.method_changed.connect(self._on_method)
        export.clean_up_changed.connect(self.list_regions)
        export.export_wanted.connect(self.export)
        stage.maps_changed.connect(self._show_methods)
        stage.cuts_changed.connect(self._on_cuts)
        stage.cursor_moved.connect(self._on_cursor)
        stage.cells.left.connect(self._on_cells_left)

    def close(self) -> None:
        """No more lists."""
        self._timer.stop()
        self.look_up.close()

    def show_results(self) -> None:
        """Bring layers, rows and lists up to date with the session's maps."""
        from napari_wsol.methods import method_title  # torch is there by now

        self._titles = {key: method_title(key) for key in self._session.heatmaps}
        self._stage.show_results(self._titles)

    def show_heatmap(self, method: str) -> None:
        """One map has changed, or is there for the first time."""
        if method in self._stage.evidence.pairs:
            self._stage.show_heatmap(method)
        elif self._session.heatmaps and self._stage.image is not None:
            self.show_results()

    def drop_results(self) -> None:
        """The session has no maps any more."""
        if not self._session.heatmaps:
            self._stage.drop_results()
            self._compare.show_side_by_side(False)
            self._show_methods()

    def list_regions(self) -> None:
        """Count the regions anew, in a moment; less often while tiles come in."""
        if not self._window.desk.slides.is_running:
            self._timer.start(SOON_MS)
        elif not self._timer.isActive():
            self._timer.start(LATER_MS)

    def export(self) -> None:
        """Write the files of the ticked formats."""
        if not self._export.chosen_formats:
            self.failed.emit("Tick at least one format to export.")
            return
        config = self._config()
        if config is None:
            self.failed.emit("Localize first; then there is something to export.")
            return
        future = self._session.export(self._export.folder, config=config)
        self.exporting = [future]

    def _show_methods(self) -> None:
        have = {
            heatmap.method: self._titles.get(heatmap.method, heatmap.method)
            for heatmap in self._stage.heatmaps()
        }
        self._compare.show_methods(have)
        self._export.show_methods(have)
        self.list_regions()

    def _on_side_by_side(self, on: bool) -> None:
        if on and not self._stage.heatmaps():
            self._compare.show_side_by_side(False)
            self.failed.emit("Localize first; then the methods stand side by side.")
            return
        self._stage.show_cells(on)

    def _on_cells_left(self) -> None:
        self._stage.show_cells(False)
        self._compare.show_side_by_side(False)

    def _on_currency(self, currency: str) -> None:
        heatmap = self._session.heatmaps.get(self._compare.method or "")
        before = self._compare.threshold
        threshold = before.converted(currency, heatmap, self._stage.tissue)
        self._compare.show_threshold(threshold)
        self._stage.set_threshold(threshold)

    def _on_method(self, method: str) -> None:
        self._compare.choose_method(method)
        self._export.choose_method(method)
        self._on_cuts()

    def _on_cuts(self) -> None:
        threshold: Threshold = self._compare.threshold
        words = f"Threshold as in Compare: {threshold.words()}"
        cut = self._stage.cuts.get(self._export.method or "")
        if cut is not None and threshold.currency != "value":
            words += f" (value {cut:.2f})"
        self._export.threshold_words.setText(words)
        self.list_regions()

    def _on_cursor(self, y: float, x: float) -> None:
        table = self._compare.probe
        if table.isVisible():
            table.probe(self._stage.heatmaps(), self._stage.cuts, (y, x))

    def _list_regions(self) -> None:
        panel, config, slide = self._compare, self._config(), self._session.slide
        if config is None or slide is None:
            panel.regions.show_regions(())
            panel.summary.say(EMPTY)
            return
        heatmap, mpp = self._session.heatmaps[config.method], self._session.mpp
        look_up = self.look_up

        def stop_when_outdated(number: int = look_up.latest + 1) -> None:
            if look_up.latest != number:
                raise JobCancelledError("Another threshold is wanted by now.")

        def question() -> tuple[Heatmap, list[Region], float | None]:
            regions = regions_of(
                heatmap,
                slide.shape,
                config,
                mpp,
                max_pixels=LIST_CELLS,
                tick=stop_when_outdated,
            )
            return heatmap, regions, mpp

        look_up.ask(question)

    def _on_regions(self, answer: object) -> None:
        if isinstance(answer, WsolError):
            self.failed.emit(str(answer))
        elif isinstance(answer, tuple):
            heatmap, regions, mpp = answer
            if self._session.heatmaps.get(heatmap.method) is heatmap:
                self._compare.regions.show_regions(regions)
                self._compare.summary.say(summary_words(regions, mpp))

    def _config(self) -> ExportConfig | None:
        """As the panels are set; None while there is no map."""
        method = self._export.method
        if method is None or method not in self._stage.cuts:
            return None
        if method not in self._session.heatmaps:
            return None
        return ExportConfig(
            method=method,
            threshold=self._stage.cuts[method],
            formats=self._export.chosen_formats or ("png",),
            **self._export.clean_up(),
        )
