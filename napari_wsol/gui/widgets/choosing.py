"""Asks what only the person knows: which picture of an image, what classes mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QApplication, QDialog, QDialogButtonBox, QVBoxLayout

from napari_wsol.config import Option, Setting
from napari_wsol.gui.compat import needed
from napari_wsol.gui.widgets.forms import Fields
from napari_wsol.gui.widgets.panel import add_buttons, put, wrapped
from napari_wsol.images.readers.stacks import answered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qtpy.QtWidgets import QWidget

    from napari_wsol.errors import Question, StackError
    from napari_wsol.images.readers.stacks import Pick


class ChoiceDialog(QDialog):
    """A list of choices, or a line, for each question; all have to be answered.

    Args:
        title: of the window.
        words: what is asked.
        questions: each gets its text and below it a field; what is proposed is shown.
        given: answers to earlier questions, which are shown where they are possible.
        parent: widget in front of which it opens.
        verb: what the answers are for, where none may be proposed by itself: a wrong
            guess would give wrong maps without a word.
    """

    def __init__(
        self,
        title: str,
        words: str,
        questions: Sequence[Question],
        given: Mapping[str, str] | None = None,
        parent: QWidget | None = None,
        *,
        verb: str = "",
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setMinimumWidth(420)
        form = Fields(above=True)
        for item in questions:
            choices = {choice: choice for choice in item.choices}
            setting = Setting(str, Option(item.text, choices=choices), item.text)
            form.add(item.key, setting)
            before = (given or {}).get(item.key, "")
            first = item.proposed or ("" if verb else next(iter(choices), ""))
            if shown := before if before and setting.allows(before) else first:
                form.show_values(**{item.key: shown})
        form.edited.connect(self._update)
        self.fields = form.fields
        rows = QVBoxLayout(self)
        rows.setSpacing(10)
        put(rows, wrapped(words), form)
        kind = QDialogButtonBox.StandardButton
        buttons = add_buttons(self, kind.Ok | kind.Cancel)
        self.ok_button = needed(buttons.button(kind.Ok))
        self.ok_button.setText(verb or "OK")
        self._update()

    @property
    def answers(self) -> dict[str, str]:
        """What is answered, by key of the question."""
        return {key: self.answer(key) for key in self.fields}

    def answer(self, key: str) -> str:
        """What is answered to a question by now; empty for nothing."""
        return str(self.fields[key].value or "").strip()

    def _update(self) -> None:
        is_done = all(self.answers.values())
        self.ok_button.setEnabled(is_done)
        self.ok_button.setToolTip("" if is_done else "Answer all questions first.")


def _of_stack(name: str) -> tuple[str, str]:
    words = f"“{name}” holds more than one picture. Which one is to be shown?"
    return "Channel and plane", words


def pick_of(name: str, error: StackError) -> Pick:
    """Asks, and waits for the answer.

    Raises:
        StackError: nobody can be asked, or the person does not want to say.
    """
    if QApplication.instance() is None:
        raise error
    parent = QApplication.activeWindow()
    dialog = ChoiceDialog(*_of_stack(name), error.questions, parent=parent)
    try:
        if not dialog.exec():
            raise error
        return answered(dialog.answers)
    finally:
        dialog.deleteLater()


class Chooser(QObject):
    """Asks in front of a widget, without stopping the window."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent = parent
        self._given: dict[str, str] = {}
        self.dialog: ChoiceDialog | None = None
        """The form, while it is open."""

    def ask_pick(
        self, name: str, questions: Sequence[Question], go_on: Callable[[Pick], None]
    ) -> None:
        """Ask which picture of an image is shown."""
        self.ask(*_of_stack(name), questions, lambda given: go_on(answered(given)))

    def ask(
        self,
        title: str,
        words: str,
        questions: Sequence[Question],
        go_on: Callable[[dict[str, str]], None],
        *,
        given: Mapping[str, str] | None = None,
        verb: str = "",
    ) -> None:
        """Open the form; ``go_on`` is called with what was answered, if anything.

        What was answered here before is shown again, unless something is ``given``.
        """
        self.close()
        before = self._given if given is None else given
        dialog = ChoiceDialog(title, words, questions, before, self._parent, verb=verb)

        def on_accepted() -> None:
            self._given |= dialog.answers
            go_on(dialog.answers)

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
