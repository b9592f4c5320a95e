"""Joins Export to the maps: which is written, cut where, and what was written."""

from __future__ import annotations

from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication

from napari_wsol.config import ExportConfig
from napari_wsol.errors import WsolError
from napari_wsol.gui.compat import needed
from napari_wsol.gui.export.panel import short_names
from napari_wsol.gui.layers.placement import seen_pixels
from napari_wsol.gui.widgets.panel import asked_path
from napari_wsol.session.script import COMMAND, PYTHON, script

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from napari_wsol.gui.context import Context
    from napari_wsol.gui.export.panel import ExportPanel

FIGURES = {".pdf", ".svg", ".png"}


class ExportController(QObject):
    """Writes the map that is chosen as it is cut in the window."""

    def __init__(self, context: Context, panel: ExportPanel) -> None:
        super().__init__(context.dock)
        self._context = context
        self._session, self._layers = context.session, context.layers
        self._messages, self._panel = context.messages, panel
        self.latest: Future[tuple[Path, ...]] | None = None
        """The latest export, done or not."""
        panel.export_button.clicked.connect(self.export)
        self._written: list[tuple[str, dict[str, object]]] = []
        calls = (
            self.draw,
            self.tabulate,
            partial(self._write, "report", "report.html"),
            partial(self.copy, PYTHON),
            partial(self.copy, COMMAND),
        )
        for button, call in zip(panel.more.values(), calls, strict=True):
            button.clicked.connect(lambda _=False, call=call: call())
        # What was written of other maps would not come out again.
        for changed in (context.layers.image_changed, context.layers.values_changed):
            changed.connect(self._written.clear)
        context.layers.maps_changed.connect(self._show_methods)
        context.layers.cuts_changed.connect(self._show_threshold)
        context.events.exported.connect(self._on_exported)

    def export(self) -> None:
        """Write the files of the ticked formats."""
        if not self._panel.chosen_formats:
            self._messages.warn("Tick at least one format to export.")
            return
        config = self.config()
        if config is None:
            self._messages.warn("Localize first; then there is something to export.")
            return
        self.latest = self._session.export(self._panel.folder, config=config)

    def draw(self) -> None:
        """Write the figure as it is set, of the maps as they are cut."""
        config, image = self._panel.figure_form.settings, needed(self._layers.image)
        box = seen_pixels(self._context.viewer, image)
        self._write("figure", "figure.pdf", config=config, box=box)

    def tabulate(self) -> None:
        """Write the table of the maps, cleaned up as an export is."""
        self._write("table", "table.csv", config=self.config())

    def copy(self, kind: str) -> None:
        """What was done, to the clipboard."""
        config = self.config()
        if config is None:
            return
        folder, more = self._panel.folder, self._written
        try:
            text = script(kind, self._session, folder, config, *more)
        except WsolError as error:
            self._messages.warn(error)
            return
        needed(QApplication.clipboard()).setText(text)
        where = "a file NAME.py and run it" if kind == PYTHON else "a terminal"
        self._messages.say(f"Copied. Paste it into {where}.")

    def _write(self, verb: str, name: str, **how: object) -> None:
        """As it is shown: the maps in their order, cut as they are."""
        folder, title = self._panel.folder, f"Save the {verb}"
        path = asked_path(self._panel, title, str(folder / name))
        if not path:
            return
        layers, ending = self._layers, PurePath(path).suffix or PurePath(name).suffix
        given = {"path": str(PurePath(path).with_suffix(ending)), **how}
        given |= {"cuts": layers.every_cut, "methods": [x.key for x in layers.maps()]}
        self._context.tasks.follow(
            getattr(self._session, verb)(**given),
            lambda _: self._written.append((verb, given)),
        )

    def config(self) -> ExportConfig | None:
        """As the panels are set; None while there is no map."""
        method, cuts = self._panel.method_box.method, self._layers.cuts
        if method not in cuts or method not in self._session.heatmaps:
            return None
        return ExportConfig(
            method=method,
            threshold=cuts[method],
            formats=self._panel.chosen_formats or ("png",),
            **self._panel.clean_up(),
        )

    def choose_method(self, method: str) -> None:
        """Write another map."""
        self._panel.method_box.choose(method)
        self._show_threshold()

    def _show_methods(self) -> None:
        self._panel.method_box.show_methods(self._layers.titles)

    def _show_threshold(self) -> None:
        threshold = self._layers.threshold
        words = f"Threshold as in Compare: {threshold.words()}"
        cut = self._layers.cuts.get(self._panel.method_box.method or "")
        if cut is not None and threshold.currency != "value":
            words += f" (value {cut:.2f})"
        self._panel.threshold_words.setText(words)

    def _on_exported(self, paths: Sequence[Path]) -> None:
        self._panel.show_exported(paths)
        names = ", ".join(short_names(paths)[1])
        # The folder first: what does not fit ends in dots.
        words = f"Written to {paths[0].parent}: {names}"
        if self._session.mpp is None and [x.suffix in FIGURES for x in paths] == [True]:
            words += ". No scale bar: the pixel size is not set."
        self._messages.say(words)
