"""How strokes are learnt, as a form that is made from the settings' own fields."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_wsol.config import FinetuneConfig
from napari_wsol.gui.widgets.elided import Fold
from napari_wsol.gui.widgets.forms import Form

FOLD = "Advanced"


class Advanced(QWidget):
    """A line that opens a form; every change is told as new settings."""

    changed = Signal(object)
    """A :class:`FinetuneConfig`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        content = QWidget()
        self.form = Form(FinetuneConfig())
        self.form.changed.connect(self._on_changed)
        self.defaults_button = QPushButton("Back to defaults")
        self.defaults_button.setToolTip("Learn from strokes as it was meant again.")
        self.defaults_button.clicked.connect(self._on_defaults)
        inner = QVBoxLayout(content)
        inner.setContentsMargins(12, 2, 0, 4)
        inner.setSpacing(4)
        inner.addWidget(self.form)
        inner.addWidget(self.defaults_button)
        self.fold = Fold(FOLD, content)
        self.fold.setToolTip("How strokes are learnt, in every round from now on.")
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(2)
        rows.addWidget(self.fold)
        rows.addWidget(content)
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
