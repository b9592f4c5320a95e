"""From an authors' checkpoint to a model of the list, in the background."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.errors import UnansweredError
from napari_wsol.gui.localize.import_dialog import NAME, ImportDialog, next_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from qtpy.QtWidgets import QWidget

    from napari_wsol.methods.card import Card

    Import = Callable[[Path, str | None, Mapping[str, str]], Future[Card]]


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be imported, and what was answered so far."""

    path: Path
    name: str | None = None
    answers: dict[str, str] = field(default_factory=dict)


class Importer(QObject):
    """Imports, asks for what the files do not say, and imports again.

    Args:
        start: imports a path under a name with answers; gives a Future.
        parent: widget in front of which the form opens.
    """

    imported = Signal(object)
    """The card of the new model. What goes wrong comes with the failed job."""

    _done = Signal(object, object)

    def __init__(self, start: Import, parent: QWidget) -> None:
        super().__init__(parent)
        self._start = start
        self._parent = parent
        self._closed = False
        self.dialog: ImportDialog | None = None
        """The form, while it is open."""
        self._done.connect(self._on_done)

    def close(self) -> None:
        """Ask nothing any more; what is being imported goes on or not, as the job."""
        self._closed = True
        if self.dialog is not None:
            self.dialog.reject()

    def start(self, path: Path) -> None:
        """Import a checkpoint or a folder."""
        self._try(Wish(path))

    def _try(self, wish: Wish) -> None:
        future = self._start(wish.path, wish.name, wish.answers)
        future.add_done_callback(lambda done: self._tell(wish, done))

    def _tell(self, wish: Wish, done: Future[Card]) -> None:
        """Called on the worker's thread."""
        if not self._closed and not done.cancelled():
            self._done.emit(wish, done)

    def _on_done(self, wish: Wish, done: Future[Card]) -> None:
        error = done.exception()
        if self._closed:
            return
        if error is None:
            self.imported.emit(done.result())
        elif isinstance(error, UnansweredError):
            self._ask(wish, error)

    def _ask(self, wish: Wish, error: UnansweredError) -> None:
        """Open the form; it does not stop the window."""
        is_taken = any(item.key == NAME for item in error.questions)
        from napari_wsol.zoo import proposed_name  # asked after an import

        name = wish.name or proposed_name(wish.path)
        dialog = ImportDialog(
            f"Before “{wish.path.name}” can be imported:",
            error.questions,
            next_name(name) if is_taken else name,
            wish.answers,
            self._parent,
        )

        def go_on() -> None:
            answers = {**wish.answers, **dialog.answers}
            self._try(replace(wish, name=dialog.name, answers=answers))

        dialog.accepted.connect(go_on)
        dialog.finished.connect(self._forget_dialog)
        self.dialog = dialog
        dialog.open()

    def _forget_dialog(self) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None
