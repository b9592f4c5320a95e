"""Asks what classes of annotations mean, where their names do not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QVBoxLayout

from napari_wsol.config import Option, Setting
from napari_wsol.gui.widgets.forms import Fields
from napari_wsol.gui.widgets.panel import add_buttons, put, wrapped
from napari_wsol.strokes.classes import MEANINGS, listed

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_wsol.strokes.classes import UnclearClassesError


class ClassesDialog(QDialog):
    """A list for each class: foreground, background or left out.

    Args:
        name: of the file.
        error: says which classes occur; what names tell is proposed, and of the others
            that they are left out.
        parent: widget in front of which it opens.
    """

    def __init__(
        self, name: str, error: UnclearClassesError, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Classes of annotations")
        self.setMinimumWidth(360)
        choices = {words: words for words in MEANINGS}
        form = Fields()
        for found, label in error.classes.items():
            text = listed([found], error.counts)
            form.add(found, Setting(str, Option(text, choices=choices), ""))
            shown = next(x for x, y in MEANINGS.items() if y == (label or 0))
            form.show_values(**{found: shown})
        self.fields = form.fields
        rows = QVBoxLayout(self)
        rows.setSpacing(10)
        put(rows, wrapped(f"What do the classes of “{name}” mean?"), form)
        kind = QDialogButtonBox.StandardButton
        add_buttons(self, kind.Ok | kind.Cancel)

    @property
    def labels(self) -> dict[str, int]:
        """Class → 0 left out, 1 background, 2 foreground."""
        return {key: MEANINGS[str(field.value)] for key, field in self.fields.items()}
