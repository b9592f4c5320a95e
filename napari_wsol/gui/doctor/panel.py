"""*Help, Doctor…*: the lines as they come, and a bundle for whoever helps."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QAction, QApplication, QDialog, QTextEdit

from napari_wsol.doctor.bundle import bundle_of, write_bundle
from napari_wsol.doctor.checks import examinations
from napari_wsol.files import free_name
from napari_wsol.gui.compat import needed
from napari_wsol.gui.tasks import Tasks
from napari_wsol.gui.widgets.panel import asked_path, fill_column, push_button, row

if TYPE_CHECKING:
    import napari.viewer

    from napari_wsol.doctor.finding import Finding

SIGNS = {"ok": ("#2e9e4f", "✓"), "warning": ("#c98a00", "!"), "fault": ("#d9534f", "✗")}
"""Colour and sign of each state; they are read on dark and on light."""
LOOKING = "Looking…"


class Doctor(QDialog):
    """What does not work on this machine, and what mends it."""

    def __init__(self) -> None:
        super().__init__(QApplication.activeWindow())
        self.setWindowTitle("Doctor")
        self.resize(820, 560)
        self._tasks = Tasks()
        self.destroyed.connect(self._tasks.close)
        self.finished.connect(self.deleteLater)
        self.lines = QTextEdit()
        self.lines.setReadOnly(True)
        self.again_button = push_button("Again", "Look at everything once more.")
        self.copy_button = push_button("Copy", "Copy what is shown.")
        self.bundle_button = push_button("Bundle", "Show what goes to whoever helps.")
        self.save_button = push_button("Save bundle…", "Save what is shown as a zip.")
        self.again_button.clicked.connect(self.look)
        self.copy_button.clicked.connect(self._copy)
        self.bundle_button.clicked.connect(self._make)
        self.save_button.clicked.connect(self._save)
        buttons = (self.copy_button, self.bundle_button, self.save_button)
        fill_column(self, self.lines, row(None, self.again_button, *buttons))
        self.look()

    def look(self) -> None:
        """Look at everything; a line appears when its answer is there."""
        checks = examinations()
        self._found: list[Finding] = []
        self._waits = len(checks) + 1
        self._add([])
        for number, examine in enumerate(checks):
            self._tasks.ask(examine, self._add, kind="doctor", about=number)

    def _add(self, found: list[Finding]) -> None:
        self._found += found
        self._waits -= 1
        told = [
            "<b style='color: {}'>{}</b> ".format(*SIGNS[item.state])
            + escape(str(item))
            for item in self._found
        ]
        self.lines.setHtml("<br>".join(told + [LOOKING] * (self._waits > 0)))
        self.bundle_button.setEnabled(not self._waits)
        self.save_button.setEnabled(False)

    def _copy(self) -> None:
        needed(QApplication.clipboard()).setText(self.lines.toPlainText())

    def _make(self) -> None:
        self._tasks.ask(partial(bundle_of, self._found), self._show, kind="bundle")

    def _show(self, texts: dict[str, str]) -> None:
        self._texts = texts
        told = (f"———— {name}\n{text}" for name, text in texts.items())
        self.lines.setPlainText("\n\n".join(told))
        self.save_button.setEnabled(True)

    def _save(self) -> None:
        path = asked_path(self, "Save bundle", "napari-wsol-doctor.zip", "Zip (*.zip)")
        if path:
            write = partial(write_bundle, free_name(Path(path)), self._texts)
            self._tasks.ask(write, self._saved, self._saved, kind="bundle")

    def _saved(self, error: object) -> None:
        self.lines.setPlainText(str(error or "The bundle was written."))


_shown: list[Doctor] = []
"""The dialog that is open: nobody else may hold it."""


def show_doctor() -> None:
    """Open the dialog, in front of the window that is active."""
    _shown[:] = [Doctor()]
    _shown[0].show()


def help_entry(viewer: napari.viewer.Viewer) -> QAction:
    """*Doctor…* in the menu *Help*, until it is deleted: no manifest can add to it."""
    entry = QAction("Doctor…")
    entry.triggered.connect(show_doctor)
    viewer.window.help_menu.addAction(entry)
    return entry
