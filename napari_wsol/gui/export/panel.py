"""Export: what is written, where to, and what was written lately."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QStandardPaths, Qt, QTime, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
)

from napari_wsol.config import EXPORT_FORMATS, ExportConfig
from napari_wsol.gui.widgets.job_bar import JobBar
from napari_wsol.gui.widgets.panel import Choice, Panel, Words, add_row, small
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtWidgets import (
        QWidget,
    )

FORMATS = {
    "png": ("PNG mask", "The mask as a picture: 255 inside, 0 outside."),
    "tiff": ("TIFF mask", "The mask and the map as tiled TIFF, for large images."),
    "geojson": (
        "GeoJSON",
        "Outlines of the regions; QuPath opens them by drag and drop.",
    ),
    "csv": ("CSV table", "A row a region: area, position, score."),
    "zarr": ("OME-Zarr", "The map as OME-Zarr, with its place on the image."),
}


class ExportPanel(Panel):
    """Writes masks, regions and where they came from."""

    export_wanted = Signal()
    method_changed = Signal(str)
    clean_up_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Export", "Write masks, regions and tables.", parent)
        self._mpp: float | None = None
        self._folder: Path | None = None
        self._build_what()
        self._build_formats()
        self._build_folder()
        self.export_button = QPushButton("Export")
        self.export_button.setToolTip(
            "Write the ticked files, with a record of the image, the model and the "
            "strokes that they came from. Nothing existing is overwritten."
        )
        self.export_button.clicked.connect(self.export_wanted)
        self.job_bar = JobBar((JobKind.EXPORT,), self.export_button)
        self.rows.addWidget(self.job_bar)
        self.recent = QListWidget()
        self.recent.setMaximumHeight(84)
        self.recent.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.recent.setToolTip("Recent exports. Double-click to open the folder.")
        self.recent.itemActivated.connect(self._open_item)
        self.recent.hide()
        self.rows.addWidget(self.recent)
        self.open_button = QPushButton("Open folder")
        self.open_button.setToolTip("Show the files of the latest export.")
        self.open_button.clicked.connect(self._open_latest)
        self.open_button.hide()
        self.rows.addWidget(self.open_button)

    def _build_what(self) -> None:
        self.method_box = Choice()
        self.method_box.setToolTip("The method whose map is cut into a mask.")
        self.method_box.activated.connect(self._on_method)
        add_row(self.rows, "Method", self.method_box, stretch=1)
        self.threshold_words = Words("Threshold as in Compare")
        self.threshold_words.setToolTip(
            "Set it in Compare; the contours show the mask."
        )
        self.rows.addWidget(self.threshold_words)
        self.min_area = _area_box("Smaller regions are left out.")
        self.holes = _area_box("Smaller holes in a region are filled.")
        for box in (self.min_area, self.holes):
            box.valueChanged.connect(self.clean_up_changed)
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        for row, (words, box) in enumerate(
            (("Leave out below", self.min_area), ("Fill holes below", self.holes))
        ):
            grid.addWidget(QLabel(words), row, 0)
            grid.addWidget(box, row, 1)
        self.rows.addLayout(grid)

    def _build_formats(self) -> None:
        grid = QGridLayout()
        self.formats: dict[str, QCheckBox] = {}
        for place, name in enumerate(EXPORT_FORMATS):
            title, tip = FORMATS[name]
            box = QCheckBox(title)
            box.setToolTip(tip)
            box.setChecked(name in ExportConfig().formats)
            grid.addWidget(box, place // 2, place % 2)
            self.formats[name] = box
        self.rows.addLayout(grid)

    def _build_folder(self) -> None:
        self.folder_line = QLineEdit(str(default_folder()))
        self.folder_line.setToolTip(
            "Where the files go. It is made when it is missing; slides' own folders "
            "are never written to unless you choose so."
        )
        self.folder_line.setMinimumWidth(60)
        choose = small(QPushButton("…"))
        choose.setToolTip("Choose another folder.")
        choose.clicked.connect(self._choose_folder)
        self.choose_button = choose
        add_row(self.rows, "Folder", self.folder_line, choose, stretch=1)

    @property
    def method(self) -> str | None:
        """The method to export."""
        return self.method_box.currentData()

    @property
    def folder(self) -> Path:
        """Where to write."""
        return Path(
            self.folder_line.text().strip() or str(default_folder())
        ).expanduser()

    @property
    def chosen_formats(self) -> tuple[str, ...]:
        """Ticked formats."""
        return tuple(name for name, box in self.formats.items() if box.isChecked())

    def clean_up(self) -> dict[str, float]:
        """Smallest region and largest filled hole, in level-0 pixels."""
        pixel = 1.0 if self._mpp is None else self._mpp**2
        return {
            "min_area": self.min_area.value() / pixel,
            "fill_holes": self.holes.value() / pixel,
        }

    def show_methods(self, titles: Mapping[str, str]) -> None:
        """The methods that have a map."""
        keep = self.method
        self.method_box.clear()
        for name, title in titles.items():
            self.method_box.addItem(title, name)
        self.method_box.setCurrentIndex(max(0, self.method_box.findData(keep)))

    def choose_method(self, name: str) -> None:
        """Follow a choice that was made in Compare."""
        place = self.method_box.findData(name)
        if place >= 0:
            self.method_box.setCurrentIndex(place)

    def show_mpp(self, mpp: float | None) -> None:
        """Areas are in µm² where the pixel size is known, else in pixels."""
        self._mpp = mpp
        for box in (self.min_area, self.holes):
            box.setSuffix(" px" if mpp is None else " µm²")

    def show_exported(self, paths: Sequence[Path]) -> None:
        """Add an export on top of the recent ones."""
        if not paths:
            return
        self._folder = paths[0].parent
        stem, kinds = short_names(paths)
        now = QTime.currentTime().toString("HH:mm")
        item = QListWidgetItem(f"{now}  {len(kinds)} files  {stem}")
        item.setToolTip("\n".join(str(path) for path in paths))
        item.setData(Qt.ItemDataRole.UserRole, str(self._folder))
        self.recent.insertItem(0, item)
        row = self.recent.sizeHintForRow(0)
        self.recent.setFixedHeight(min(84, row * self.recent.count() + 8))
        self.recent.show()
        self.open_button.show()

    def set_ready(self, ready: bool) -> None:
        """Whether there is something to export."""
        self.export_button.setEnabled(ready)

    def _on_method(self) -> None:
        if self.method is not None:
            self.method_changed.emit(self.method)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(
            self, "Folder for exports", str(self.folder)
        )
        if folder:
            self.folder_line.setText(folder)

    def _open_latest(self) -> None:
        if self._folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))

    def _open_item(self, item: QListWidgetItem) -> None:
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


def _area_box(tip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(0)
    box.setRange(0, 1e12)
    box.setSingleStep(100)
    box.setSuffix(" px")
    box.setSpecialValueText("nothing")
    box.setToolTip(tip)
    box.setKeyboardTracking(False)
    box.setMinimumWidth(80)
    return box
