"""Joins the layer of strokes to the session.

What is painted goes in, once, and what the session holds is shown, whatever made it.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QFileDialog

from napari_wsol.errors import WsolError
from napari_wsol.gui.compat import dropped_files
from napari_wsol.gui.correct.earlier import saved_words
from napari_wsol.gui.correct.tools import UNDO_SHOWN
from napari_wsol.gui.layers.touch import TouchPen
from napari_wsol.gui.tasks import once
from napari_wsol.strokes.annotation_files import ENDINGS, is_annotations
from napari_wsol.strokes.classes import MEANINGS, UnclearClassesError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qtpy.QtGui import QDropEvent

    from napari_wsol.gui.context import Context
    from napari_wsol.gui.correct.earlier import EarlierBar
    from napari_wsol.gui.correct.panel import CorrectPanel
    from napari_wsol.gui.layers.pen import Drag, Painted
    from napari_wsol.gui.widgets.choosing import Chooser
    from napari_wsol.strokes.annotations import Imported
    from napari_wsol.strokes.stroke import Stroke

MOST_CLASSES = 40
"""More are not asked for one by one."""

SAVED_EVERY_MS = 1000
"""How often “Saved 2 s ago.” is told anew."""

REGROW_MS = 60
"""A slider gives more values than can be grown: the newest wins."""


class StrokesController(QObject):
    """Knows what follows from what the hand does on the strokes.

    Args:
        context: of the dock.
        panel: gets the tools.
        earlier: asks whether to go on with earlier strokes.
        chooser: asks what classes of annotations mean.
    """

    saved_told = Signal(str, bool)
    """How much is saved, in words; and whether that is a warning."""

    def __init__(
        self,
        context: Context,
        panel: CorrectPanel,
        earlier: EarlierBar,
        chooser: Chooser,
    ) -> None:
        super().__init__(context.dock)
        self._context, self._earlier, self._chooser = context, earlier, chooser
        self._session, self._messages = context.session, context.messages
        self._layers, self._layer = context.layers, context.layers.strokes
        self._problem = ""
        self._seed: tuple[float, float, int] | None = None
        self.tools = panel.more_tools
        self.touch = TouchPen(self._layer, self)
        self._regrow = once(self, REGROW_MS, self._grow_again)
        self._clock = QTimer(self)
        self._clock.timeout.connect(self._tell_saved)
        self._clock.start(SAVED_EVERY_MS)
        context.dock.setAcceptDrops(True)
        context.dock.installEventFilter(self)
        context.at_parting(self.close)
        self._connect()
        self._refresh()

    def eventFilter(self, watched: QObject, event: Any) -> bool:  # noqa: ANN401 - one of many
        """Take annotations that are dropped on the dock."""
        if event.type() not in {QEvent.Type.DragEnter, QEvent.Type.Drop}:
            return super().eventFilter(watched, event)
        path = dropped(event)
        if path is None or self._layers.image is None:
            return False
        event.acceptProposedAction()
        if event.type() == QEvent.Type.Drop:
            self.load(path)
        return True

    def close(self) -> None:
        """Do nothing any more."""
        self._clock.stop()
        self._regrow.stop()
        self.touch.close()

    def _connect(self) -> None:
        layer, tools, events = self._layer, self.tools, self._context.events
        layer.painted.connect(self._on_painted)
        layer.lifted.connect(self.show)
        layer.outlined.connect(self._on_outlined)
        layer.pointed.connect(self._on_pointed)
        layer.reach_wanted.connect(tools.step_reach)
        layer.removed.connect(self._on_removed)
        layer.tool_changed.connect(self._on_tool)
        tools.tool_wanted.connect(layer.choose)
        tools.reach.valueChanged.connect(lambda _: self._regrow.start())
        tools.undo.clicked.connect(self.undo)
        tools.redo.clicked.connect(self.redo)
        tools.clear.clicked.connect(self.clear)
        tools.load.clicked.connect(self._choose_file)
        self._earlier.resume_button.clicked.connect(self._resume)
        self._earlier.afresh_button.clicked.connect(self._start_afresh)
        self._layers.image_changed.connect(self._on_image)
        events.scribbles_changed.connect(self.show)
        events.earlier_changed.connect(self._refresh)
        events.saved_changed.connect(self._tell_saved)

    # ------------------------------------------------------------------------ verbs

    def undo(self) -> None:
        """Take back the last step, whatever made it."""
        self._step(self._session.undo, "There is no stroke to take back.")

    def redo(self) -> None:
        """Bring back what was taken back last."""
        self._step(self._session.redo, "There is nothing to bring back.")

    def _step(self, take: Callable[[], bool], nothing: str) -> None:
        self._layer.flush()
        if self._layers.image is None:
            return
        if not take():
            self._messages.say(nothing)
        self.show()

    def clear(self) -> None:
        """Wipe all strokes off; asks nothing, because it can be taken back."""
        self._layer.flush()
        if self._session.clear():
            self._messages.say(
                f"All strokes are cleared. Undo ({UNDO_SHOWN}) brings back."
            )
        self.show()

    def choose_tool(self, tool: str) -> None:
        """Take a tool, by key; the one in the hand is put away."""
        if self._layers.image is not None:
            self._layer.choose(None if self._layer.tool == tool else tool)

    def load(self, path: str | Path, labels: Mapping[str, int] | None = None) -> None:
        """Take the annotations of a file as strokes; asks for what names do not tell.

        Args:
            path: of the file.
            labels: class → 0 left out, 1 background, 2 foreground, as was answered.
        """
        if self._layers.image is None:
            self._messages.warn("Open the image first that the annotations belong to.")
            return
        self._layer.flush()
        future = self._session.import_annotations(path, labels)
        image, tasks = self._layer.fingerprint, self._context.tasks
        failed = partial(self._on_unclear, Path(path), image)
        tasks.follow(future, self._on_imported, failed)

    def show(self) -> None:
        """Show the session's strokes, on the layer and in words."""
        session, layer = self._session, self._layer
        if self._layers.image is None or session.drawn_on != layer.fingerprint:
            return  # another image is opened; the layer is left in a moment
        layer.flush()
        layer.show(session.scribbles, session.strokes)
        self._refresh()

    # ---------------------------------------------------------------------- the layer

    def _on_painted(self, painted: Painted) -> None:
        is_edit = painted.drawing.tool == "edit"
        try:
            self._session.put(
                painted.part,
                painted.origin,
                painted.drawing,
                labels=painted.labels if is_edit else None,
                resume=True,
                on=painted.image,
            )
        except WsolError as error:
            self._layer.restore()
            self._messages.warn(error)
            return
        self._show_quickly()

    def _on_outlined(self, drag: Drag) -> None:
        label, image = self._layer.label, self._layer.fingerprint
        if len(drag.path) >= 3:
            self._session.fill(
                drag.path, label, seconds=drag.seconds, resume=True, on=image
            )
        self._show_quickly()

    def _show_quickly(self) -> None:
        """What follows from a stroke; the words come with the session's signal."""
        session, layer = self._session, self._layer
        if session.drawn_on == layer.fingerprint:
            layer.show(session.scribbles, session.strokes)

    def _on_removed(self) -> None:
        """The layer was deleted by hand: that is clearing, and can be taken back."""
        if self._session.scribbles is not None:
            self.clear()

    def _on_tool(self, tool: str | None) -> None:
        self.tools.show_tool(tool)
        self.tools.show_label(self._layer.label)

    def _on_image(self) -> None:
        """Another image: strokes that lie on it in the viewer count as they are."""
        session, layer = self._session, self._layer
        if layer.layer is not None and np.asarray(layer.layer.data).any():
            session.resume()
            layer.adopt(session.scribbles, session.strokes)
        self.touch.listen(self._context.dock)
        notes = session.journal.notes if session.journal is not None else ()
        if self._layers.image is not None and notes:  # damaged, or open elsewhere
            self._messages.say(" ".join(notes))
        self.show()
        self._refresh()
        self._tell_saved()

    # --------------------------------------------------------------- wand and files

    def _on_pointed(self, y: float, x: float) -> None:
        self._seed = (y, x, self._layer.label)
        self._grow(*self._seed)

    def _grow_again(self) -> None:
        # Only the last region follows, and only while it is the last stroke.
        last = self._session.strokes[-1:]
        if self._seed is not None and last and last[0].tool == "grow":
            self._grow(*self._seed, instead=True)

    def _grow(self, y: float, x: float, label: int, *, instead: bool = False) -> None:
        self._layer.flush()
        reach = self.tools.reach.value() / 100
        future = self._session.grow(y, x, label, reach, instead=instead)
        self._context.tasks.follow(future, self._on_grown, kind="grow")

    def _on_grown(self, stroke: Stroke | None) -> None:
        if stroke is None:
            self._messages.say("All that looks alike there is painted already.")
        self.show()

    def _choose_file(self) -> None:
        kinds = f"Annotations ({' '.join(f'*{end}' for end in (*ENDINGS, '.gz'))})"
        title = "Annotations to take as strokes"
        path, _ = QFileDialog.getOpenFileName(self._context.dock, title, "", kinds)
        if path:
            self.load(path)

    def _on_imported(self, imported: Imported) -> None:
        self.show()
        self._messages.say(imported.words + " One Undo takes them back.")

    def _on_unclear(self, path: Path, image: str, error: BaseException) -> None:
        """Ask what classes mean; other errors come with the failed job."""
        if not isinstance(error, UnclearClassesError):
            return
        if len(error.questions) > MOST_CLASSES:
            self._messages.warn(error)
            return

        def go_on(answers: dict[str, str]) -> None:
            if self._layer.fingerprint == image:
                self.load(path, {name: MEANINGS[x] for name, x in answers.items()})

        words = f"What do the classes of “{path.name}” mean?"
        self._chooser.ask("Classes of annotations", words, error.questions, go_on)

    # ------------------------------------------------------------- earlier, and saved

    def _resume(self) -> None:
        self._session.resume()
        self.show()
        self._messages.say("Your earlier strokes are back.")

    def _start_afresh(self) -> None:
        self._session.start_afresh()
        self.show()
        self._messages.say("The earlier strokes stay in the journal of this image.")

    def _refresh(self) -> None:
        session = self._session
        has_image = self._layers.image is not None
        is_current = has_image and session.drawn_on == self._layer.fingerprint
        self._earlier.ask(session.earlier if is_current else None)
        self.tools.set_ready(has_image)
        shows = is_current and any(session.stroke_counts)
        steps = session.undo_steps if is_current else 0
        self.tools.show_steps(steps, is_current and session.can_redo, shows)

    def _tell_saved(self) -> None:
        """In the footer; a problem also as a message, once."""
        now, has_image = self._session.saved, self._layers.image is not None
        problem = now.problem if now is not None and has_image else ""
        words = saved_words(now if has_image else None, time.time())
        self.saved_told.emit(words, bool(problem))
        kind = problem.partition(":")[0]  # the number of strokes grows
        if kind and kind != self._problem:
            self._messages.warn(problem)
        self._problem = kind


def dropped(event: QDropEvent) -> Path | None:
    """The file of annotations that is dropped, if it is one."""
    paths = dropped_files(event)
    return paths[0] if len(paths) == 1 and is_annotations(paths[0]) else None
