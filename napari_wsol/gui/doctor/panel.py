"""*Help, Doctor…*: what the command says, as it says it, and its bundle."""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QProcess
from qtpy.QtGui import QTextCursor
from qtpy.QtWidgets import QAction, QApplication, QDialog, QTextEdit

from napari_wsol.files import free_name
from napari_wsol.gui.compat import needed
from napari_wsol.gui.widgets.panel import asked_path, fill_column, push_button, row

if TYPE_CHECKING:
    import napari.viewer

COLOURS = {"ok": "#2e9e4f", "warning": "#c98a00", "fault": "#d9534f"}
"""Of each state; they are read on dark and on light."""
COMMAND = ["-X", "utf8", "-P", "-m", "napari_wsol", "doctor"]


class Doctor(QDialog):
    """``napari-wsol doctor`` in a process of its own: nothing waits for it."""

    def __init__(self) -> None:
        super().__init__(QApplication.activeWindow())
        self.resize(820, 560)
        self._said = b""
        self.process = QProcess(self)
        self.process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        self.process.readyRead.connect(self._show)
        self.process.stateChanged.connect(self._tell)
        self.lines = QTextEdit()
        self.lines.setReadOnly(True)
        self.again_button = push_button("Again", "Look at everything once more.")
        self.copy_button = push_button("Copy", "Copy what is shown.")
        self.save_button = push_button("Save bundle…", "For who helps; shown first.")
        self.write_button = push_button("Write it", "Write the bundle that is shown.")
        self.again_button.clicked.connect(lambda: self.look())  # noqa: PLW0108
        self.copy_button.clicked.connect(self._copy)
        self.save_button.clicked.connect(self._save)
        self.write_button.clicked.connect(lambda: self.process.write(b"y\n"))
        buttons = (self.copy_button, self.save_button, self.write_button)
        fill_column(self, self.lines, row(None, self.again_button, *buttons))
        self.finished.connect(self.end)

    def look(self, *words: str) -> None:
        """Look at everything; lines appear when they are known."""
        self.end()
        self._said = b""
        self.lines.clear()
        self.process.start(sys.executable, [*COMMAND, *words])

    def end(self) -> None:
        """Stop looking."""
        self.process.kill()
        self.process.waitForFinished()

    def _tell(self) -> None:
        looks = self.process.state() != QProcess.ProcessState.NotRunning
        self.setWindowTitle(f"Doctor{': looking…' * looks}")
        self.save_button.setEnabled(not looks)
        self.write_button.setEnabled(False)

    def _show(self) -> None:
        self._said += self.process.readAll().data()
        told = escape(self._said.decode("utf-8", "replace"))
        for state, colour in COLOURS.items():
            bold = f"<b style='color: {colour}'>{state}</b>"
            told = re.sub(f"^{state} ", f"{bold} ", told, flags=re.MULTILINE)
        self.lines.setHtml(told.replace("\n", "<br>"))
        self.lines.moveCursor(QTextCursor.MoveOperation.End)
        self.write_button.setEnabled(self._said.rstrip().endswith(b"[y/N]:"))

    def _copy(self) -> None:
        needed(QApplication.clipboard()).setText(self.lines.toPlainText())

    def _save(self) -> None:
        path = asked_path(self, "Save bundle", "napari-wsol-doctor.zip", "Zip (*.zip)")
        if path:
            self.look("--bundle", str(free_name(Path(path))))


_shown: list[Doctor] = []
"""The dialog that is open: nobody else may hold it."""


def show_doctor() -> None:
    """Open the dialog, in front of the window that is active; there is but one."""
    if not _shown:
        _shown.append(Doctor())
        _shown[0].destroyed.connect(lambda: _shown.clear())  # noqa: PLW0108
    if not _shown[0].isVisible():
        _shown[0].look()
    _shown[0].show()
    _shown[0].activateWindow()


def help_entry(viewer: napari.viewer.Viewer) -> QAction:
    """*Doctor…* in the menu *Help*, until it is deleted: no manifest can add to it."""
    entry = QAction("Doctor…")
    entry.triggered.connect(show_doctor)
    viewer.window.help_menu.addAction(entry)
    return entry
