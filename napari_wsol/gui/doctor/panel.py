"""*Help › Doctor…*: the lines as they come, and a bundle for whoever helps."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAction,
    QApplication,
    QDialog,
    QDialogButtonBox,
    QPlainTextEdit,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from napari_wsol.doctor.bundle import bundle_of, write_bundle
from napari_wsol.doctor.examine import examinations
from napari_wsol.files import free_name
from napari_wsol.gui.compat import needed
from napari_wsol.gui.tasks import Tasks
from napari_wsol.gui.widgets.panel import add_buttons, asked_path, push_button, row

if TYPE_CHECKING:
    import napari.viewer

    from napari_wsol.doctor.finding import Finding

SIGNS = {"ok": ("✓", "#2e9e4f"), "warning": ("!", "#c98a00"), "fault": ("✗", "#d9534f")}
"""Sign and colour of each state; they are read on dark and on light."""
LOOKING = "Looking…"


class Doctor(QDialog):
    """What does not work on this machine, and what mends it.

    Attributes:
        findings: what was found by now.
        preview: what a bundle would hold, while it is shown.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Doctor")
        self.resize(820, 560)
        self.findings: list[Finding] = []
        self.preview: QDialog | None = None
        self._waits = 0
        self._tasks = Tasks()
        self.destroyed.connect(self._tasks.close)
        self.lines = QTextEdit(readOnly=True)
        self.again_button = push_button("Again", "Look at everything once more.")
        self.copy_button = push_button("Copy", "Copy the lines, names and all.")
        self.save_button = push_button("Save bundle…", "Without names; shown first.")
        self.again_button.clicked.connect(self.look)
        self.copy_button.clicked.connect(self.copy)
        self.save_button.clicked.connect(self.show_bundle)
        column = QVBoxLayout(self)
        column.addWidget(self.lines)
        buttons = (self.again_button, self.copy_button, self.save_button)
        column.addLayout(row(*buttons, stretch=None))
        self.look()

    def look(self) -> None:
        """Look at everything; a line appears when its answer is there."""
        self.findings.clear()
        checks = examinations()
        self._waits = len(checks)
        self._show()
        for number, examine in enumerate(checks):
            self._tasks.ask(examine, self._add, kind="doctor", about=number)

    def copy(self) -> None:
        """Put the lines onto the clipboard."""
        needed(QApplication.clipboard()).setText(self.lines.toPlainText())

    def show_bundle(self) -> None:
        """Show what a bundle would hold; it is written from there."""
        make = partial(bundle_of, list(self.findings))
        self._tasks.ask(make, self._preview, kind="bundle")

    def _add(self, found: list[Finding]) -> None:
        self.findings += found
        self._waits -= 1
        self._show()

    def _show(self) -> None:
        told = [
            f"<span style='color: {colour}'><b>{sign}</b></span> "
            f"<b>{item.name}</b>: {escape(str(item))}"
            for item in self.findings
            for sign, colour in [SIGNS[item.state]]
        ]
        self.lines.setHtml("<br>".join([*told, *([LOOKING] if self._waits else [])]))
        self.save_button.setEnabled(not self._waits)

    def _preview(self, texts: dict[str, str]) -> None:
        dialog = QDialog(self)
        dialog.setWindowTitle("What the bundle holds")
        dialog.resize(720, 480)
        shown = QPlainTextEdit(readOnly=True)
        told = (f"———— {name}\n{text}" for name, text in texts.items())
        shown.setPlainText("\n\n".join(told))
        QVBoxLayout(dialog).addWidget(shown)
        kind = QDialogButtonBox.StandardButton
        add_buttons(dialog, kind.Save | kind.Cancel)
        dialog.accepted.connect(partial(self._save, texts))
        self.preview = dialog
        dialog.open()

    def _save(self, texts: dict[str, str]) -> None:
        path = asked_path(self, "Save bundle", "napari-wsol-doctor.zip", "Zip (*.zip)")
        if path:
            write = partial(write_bundle, free_name(Path(path)), texts)
            self._tasks.ask(write, self._saved, self._saved, kind="bundle")

    def _saved(self, error: object) -> None:
        self.lines.append(f"{error or 'The bundle was written.'}")


_shown: list[Doctor] = []
"""The dialog that is open: nobody else may hold it."""


def show_doctor() -> None:
    """Open the dialog, in front of the window that is active."""
    dialog = Doctor(QApplication.activeWindow())
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    _shown[:] = [dialog]
    dialog.show()


def help_entry(viewer: napari.viewer.Viewer) -> QAction:
    """*Help › Doctor…*, until it is deleted: napari opens that menu to no manifest."""
    entry = QAction("Doctor…")
    entry.triggered.connect(show_doctor)
    viewer.window.help_menu.addAction(entry)
    return entry
