"""Asks which channel and plane of an image of several is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QDialog, QDialogButtonBox, QVBoxLayout

from napari_wsol.config import Option, Setting
from napari_wsol.gui.widgets.forms import Fields
from napari_wsol.gui.widgets.panel import add_buttons, put, wrapped
from napari_wsol.images.readers.stacks import answered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtWidgets import QWidget

    from napari_wsol.errors import Question, StackError
    from napari_wsol.gui.context import Context
    from napari_wsol.images.readers.stacks import Pick


class StackDialog(QDialog):
    """A list of channels, and one of planes for each further axis.

    Args:
        name: of the image.
        questions: each gets its text and below it a list; the first choice is shown.
        given: answers for an image before, which are shown where they are possible.
        parent: widget in front of which it opens.
    """

    def __init__(
        self,
        name: str,
        questions: Sequence[Question],
        given: dict[str, str] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Channel and plane")
        self.setMinimumWidth(360)
        form = Fields(above=True)
        for item in questions:
            choices = {choice: choice for choice in item.choices}
            form.add(item.key, Setting(str, Option(item.text, choices=choices), ""))
            before = (given or {}).get(item.key)
            shown = before if before in item.choices else item.choices[0]
            form.show_values(**{item.key: shown})
        self.fields = form.fields
        rows = QVBoxLayout(self)
        rows.setSpacing(10)
        words = f"“{name}” holds more than one picture. Which one is to be shown?"
        put(rows, wrapped(words), form)
        kind = QDialogButtonBox.StandardButton
        add_buttons(self, kind.Ok | kind.Cancel)

    @property
    def answers(self) -> dict[str, str]:
        """What is chosen, by key of the question."""
        return {key: str(field.value) for key, field in self.fields.items()}

    @property
    def pick(self) -> Pick:
        """What is chosen."""
        return answered(self.answers)


def pick_of(name: str, error: StackError) -> Pick:
    """Asks, and waits for the answer.

    Raises:
        StackError: nobody can be asked, or the person does not want to say.
    """
    if QApplication.instance() is None:
        raise error
    dialog = StackDialog(name, error.questions, parent=QApplication.activeWindow())
    try:
        if not dialog.exec():
            raise error
        return dialog.pick
    finally:
        dialog.deleteLater()


class Chooser(QObject):
    """Asks in front of the dock, without stopping the window."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.dock)
        self._context = context
        self._given: dict[str, str] = {}
        self.dialog: StackDialog | None = None
        """The form, while it is open."""
        context.at_parting(self.close)

    def ask(
        self,
        name: str,
        questions: Sequence[Question],
        go_on: Callable[[Pick], None],
    ) -> None:
        """Open the form; ``go_on`` is called with what was chosen, if anything."""
        self.close()
        dialog = StackDialog(name, questions, self._given, self._context.dock)

        def on_accepted() -> None:
            self._given |= dialog.answers
            go_on(dialog.pick)

        dialog.accepted.connect(on_accepted)
        dialog.finished.connect(self._forget)
        self.dialog = dialog
        dialog.open()

    def close(self) -> None:
        """Ask nothing any more."""
        if self.dialog is not None:
            self.dialog.reject()

    def _forget(self) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None
