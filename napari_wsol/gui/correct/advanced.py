"""How strokes are learnt, as a form that is made from the settings' own fields."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_wsol.config import FinetuneConfig
from napari_wsol.gui.widgets.elided import Fold
from napari_wsol.gui.widgets.forms import Form
from napari_wsol.gui.widgets.panel import fill_column, push_button

FOLD = "Advanced"


class Advanced(QWidget):
    """A line that opens a form; every change is told as new settings.

    Args:
        results: what came of the settings, below the form.
    """

    changed = Signal(object)
    """A :class:`FinetuneConfig`."""

    def __init__(self, *results: QWidget) -> None:
        super().__init__()
        self.form = Form(FinetuneConfig())
        self.form.changed.connect(self._on_changed)
        self.defaults_button = push_button(
            "Back to defaults", "Learn from strokes as it was meant again."
        )
        self.defaults_button.clicked.connect(self._on_defaults)
        content, tip = QWidget(), "How strokes are learnt, in every round from now on."
        rows = (self.form, self.defaults_button, *results)
        fill_column(content, *rows, margins=(12, 2, 0, 4))
        self.fold = Fold(FOLD, content, tip)
        fill_column(self, self.fold, content, spacing=2)
        self._say_whether_changed()

    @property
    def settings(self) -> FinetuneConfig:
        """What is shown."""
        return self.form.settings

    def show_settings(self, settings: FinetuneConfig) -> None:
        """Follow settings that were chosen elsewhere."""
        self.form.show_settings(settings)
        self._say_whether_changed()

    def _say_whether_changed(self) -> None:
        is_default = self.settings == FinetuneConfig()
        self.defaults_button.setEnabled(not is_default)
        self.fold.say(FOLD if is_default else f"{FOLD} · changed")

    def _on_changed(self, settings: FinetuneConfig) -> None:
        self._say_whether_changed()
        self.changed.emit(settings)

    def _on_defaults(self) -> None:
        self.show_settings(FinetuneConfig())
        self.changed.emit(self.settings)
