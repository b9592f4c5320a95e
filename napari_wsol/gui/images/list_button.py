"""Where a list of images comes from: a folder, files, a table, or an earlier day."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_wsol.gui.widgets.job_bar import grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget

    from napari_wsol.worklist.saved import SavedList

LATEST = 5
"""Lists of earlier days that are offered."""

TABLES = "Lists (*.txt *.csv *.tsv);;All files (*)"


class ListButton(QPushButton):
    """“Folder…” with a menu."""

    folder_wanted = Signal(object, bool)
    """A folder, and whether its subfolders are searched."""

    files_wanted = Signal(object)
    table_wanted = Signal(object)
    saved_wanted = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Folder…", parent)
        self.setToolTip(
            "Work on many images, one after the other: each one learns from the "
            "strokes on all others."
        )
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.setMenu(menu)
        self._saved: tuple[SavedList, ...] = ()
        menu.aboutToShow.connect(self._fill)

    def show_saved(self, saved: Sequence[SavedList]) -> None:
        """Lists of earlier days, the latest first."""
        self._saved = tuple(saved)[:LATEST]

    def _fill(self) -> None:
        menu = self.menu()
        menu.clear()
        menu.addAction("Folder…", partial(self._ask_folder, recursive=False))
        menu.addAction(
            "Folder and all in it…", partial(self._ask_folder, recursive=True)
        )
        menu.addAction("Files…", self._ask_files)
        menu.addAction("From a text file or table…", self._ask_table)
        if self._saved:
            menu.addSeparator()
        for item in self._saved:
            action = menu.addAction(saved_words(item))
            action.setToolTip(f"{item.source or item.root}\nlast on {item.time[:10]}")
            action.setEnabled(item.is_there)
            action.triggered.connect(partial(self._on_saved, item))

    def _on_saved(self, item: SavedList, *_: object) -> None:
        self.saved_wanted.emit(item)

    def _ask_folder(self, *, recursive: bool) -> None:
        found = QFileDialog.getExistingDirectory(self, "Folder with images")
        if found:
            self.folder_wanted.emit(Path(found), recursive)

    def _ask_files(self) -> None:
        found, _ = QFileDialog.getOpenFileNames(self, "Images")
        if found:
            self.files_wanted.emit([Path(name) for name in found])

    def _ask_table(self) -> None:
        found, _ = QFileDialog.getOpenFileName(self, "List of images", "", TABLES)
        if found:
            self.table_wanted.emit(Path(found))


def saved_words(item: SavedList) -> str:
    """“Go on with “glas” · 60 images”."""
    count = len(item.names)
    words = f"Go on with “{item.name}” · {grouped(count)} image{'s' * (count != 1)}"
    return words if item.is_there else f"{words} (moved: choose its folder)"
