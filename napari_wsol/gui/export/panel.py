"""Export: what is written, where to, and what was written lately."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from qtpy.QtCore import QStandardPaths, Qt, QTime, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_wsol.config import (
    ExportConfig,
    FigureConfig,
    Option,
    Setting,
    listed_settings,
)
from napari_wsol.gui.compat import needed
from napari_wsol.gui.widgets.elided import Fold, MethodChoice, Words
from napari_wsol.gui.widgets.forms import Fields, Form
from napari_wsol.gui.widgets.job_bar import JobBar
from napari_wsol.gui.widgets.panel import Panel, push_button, put, row
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QDoubleSpinBox

SETTINGS = listed_settings(ExportConfig)

AREAS = ("min_area", "fill_holes")

MORE = {
    "Figure…": "Draw the image and all maps beside each other, as PDF, SVG or PNG.",
    "Table…": "Write a row a method: area, regions and, beside a reference, scores; "
    "as CSV, Markdown or LaTeX.",
    "Report…": "Write all of it as one HTML page: maps, scores, strokes, rounds, the "
    "model's limits.",
    "Copy as Python": "Copy a script that does all of this again.",
    "Copy as command": "Copy a command for a shell that gives the same files.",
}
"""Buttons beside Export: what they are called, and what they do."""

FOLDER = Setting(
    Path | None,
    Option("Folder", empty="napari-wsol in your documents"),
    "Where the files go. It is made when it is missing; slides' own folders are never "
    "written to unless you choose so.",
)


class ExportPanel(Panel):
    """Writes masks, regions and where they came from."""

    clean_up_changed = Signal()

    def __init__(self) -> None:
        super().__init__("Export", "Write masks, regions and tables.")
        self._mpp: float | None = None
        self._build_what()
        self.export_button = push_button(
            "Export",
            "Write the ticked files, with a record of the image, the model and the "
            "strokes that they came from. Nothing existing is overwritten.",
        )
        self.job_bar = JobBar((JobKind.EXPORT,), self.export_button)
        self.more = {name: push_button(name, tip) for name, tip in MORE.items()}
        self.figure_form = Form(FigureConfig())
        fold = Fold("How figures look", self.figure_form, "What Figure… draws.")
        figure, table, report, *copies = self.more.values()
        self.recent = QListWidget()
        self.recent.setMaximumHeight(84)
        self.recent.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.recent.setToolTip("Recent exports. Double-click to open the folder.")
        self.recent.itemActivated.connect(self._open)
        self.recent.hide()
        self.open_button = push_button(
            "Open folder", "Show the files of the latest export."
        )
        self.open_button.clicked.connect(
            lambda: self._open(needed(self.recent.item(0)))
        )
        self.open_button.hide()
        put(self.rows, self.form, self.job_bar, row(figure, table, report))
        put(self.rows, row(*copies), fold, self.figure_form)
        put(self.rows, self.recent, self.open_button)

    def _build_what(self) -> None:
        self.method_box = MethodChoice()
        self.threshold_words = Words("Threshold as in Compare")
        self.threshold_words.setToolTip(
            "Set it in Compare; the contours show the mask."
        )
        self.form = Fields()
        method = SETTINGS["method"]
        self.form.add_row(method.option.label, self.method_box, method.tip)
        self.form.add_wide(self.threshold_words)
        for name in AREAS:
            self.form.add(name, SETTINGS[name]).changed.connect(
                lambda _: self.clean_up_changed.emit()
            )
        self.form.add("formats", SETTINGS["formats"])
        self.form.show_values(formats=ExportConfig().formats)
        self.form.add("folder", FOLDER)
        self.form.show_values(folder=default_folder())

    @property
    def folder(self) -> Path:
        """Where to write."""
        return self.form.values["folder"] or default_folder()

    @property
    def chosen_formats(self) -> tuple[str, ...]:
        """Ticked formats."""
        return self.form.values["formats"]

    def clean_up(self) -> dict[str, float]:
        """Smallest region and largest filled hole, in level-0 pixels."""
        pixel = 1.0 if self._mpp is None else self._mpp**2
        values = self.form.values
        return {name: values[name] / pixel for name in AREAS}

    def show_mpp(self, mpp: float | None) -> None:
        """Areas are in µm² where the pixel size is known, else in pixels."""
        self._mpp = mpp
        for name in AREAS:
            box = cast("QDoubleSpinBox", self.form.fields[name].native)
            box.setSuffix(" px" if mpp is None else " µm²")

    def show_exported(self, paths: Sequence[Path]) -> None:
        """Add an export on top of the recent ones."""
        if not paths:
            return
        stem, kinds = short_names(paths)
        now = QTime.currentTime().toString("HH:mm")
        what = f"{len(kinds)} files  {stem}" if len(kinds) > 1 else paths[0].name
        item = QListWidgetItem(f"{now}  {what}")
        item.setToolTip("\n".join(str(path) for path in paths))
        item.setData(Qt.ItemDataRole.UserRole, str(paths[0].parent))
        self.recent.insertItem(0, item)
        high = self.recent.sizeHintForRow(0)
        self.recent.setFixedHeight(min(84, high * self.recent.count() + 8))
        self.recent.show()
        self.open_button.show()

    def set_ready(self, ready: bool) -> None:
        """Whether there is something to export."""
        for button in (self.export_button, *self.more.values()):
            button.setEnabled(ready)

    def _open(self, item: QListWidgetItem) -> None:
        folder = item.data(Qt.ItemDataRole.UserRole)
        QDesktopServices.openUrl(QUrl.fromLocalFile(folder))


def default_folder() -> Path:
    """``napari-wsol`` in the user's documents."""
    place = QStandardPaths.StandardLocation.DocumentsLocation
    documents = QStandardPaths.writableLocation(place)
    return Path(documents or Path.home()) / "napari-wsol"


def short_names(paths: Sequence[Path]) -> tuple[str, list[str]]:
    """What all names begin with, and what each is: “mask.png”, “regions.csv”."""
    names = [path.name for path in paths]
    alike = takewhile(lambda signs: len(set(signs)) == 1, zip(*names, strict=False))
    stem = "".join(signs[0] for signs in alike).rpartition("_")[0]
    return stem, [name[len(stem) + bool(stem) :] for name in names]
