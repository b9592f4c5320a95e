"""Joins the layer of strokes to the session.

What is painted goes in, once, and what the session holds is shown, whatever made it.
"""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QFileDialog

from napari_wsol.errors import WsolError
from napari_wsol.gui.correct.saved_words import saved_words
from napari_wsol.gui.correct.tools import UNDO_SHOWN, StrokeTools
from napari_wsol.gui.layers.touch import TouchPen

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from qtpy.QtGui import QDropEvent

    from napari_wsol.gui.dock import WsolWidget
    from napari_wsol.gui.layers.pen import Drag, Painted
    from napari_wsol.strokes.stroke import Stroke

SAVED_EVERY_MS = 1000
"""How often “Saved 2 s ago.” is told anew."""

REGROW_MS = 60
"""A slider gives more values than can be grown: the newest wins."""


class StrokeDesk(QObject):
    """Knows what follows from what the hand does on the strokes."""

    failed = Signal(str)
    """A sentence for the person."""

    said = Signal(str)
    """Likewise, but nothing is wrong."""

    _grown = Signal(object)
    _imported = Signal(object)

    def __init__(self, window: WsolWidget) -> None:
        super().__init__(window)
        self._window = window
        self._session = window.session
        self._layer = window.stage.strokes
        self._closed = False
        self._problem = ""
        self._seed: tuple[float, float, int] | None = None
        self._growing: Future[Stroke | None] | None = None
        self.tools = StrokeTools()
        window.correct_panel.tools_row.addWidget(self.tools)
        self.touch = TouchPen(self._layer, self)
        self._regrow = QTimer(self, singleShot=True, interval=REGROW_MS)
        self._regrow.timeout.connect(self._grow_again)
        self._clock = QTimer(self, interval=SAVED_EVERY_MS)
        self._clock.timeout.connect(self._tell_saved)
        self._clock.start()
        window.setAcceptDrops(True)
        window.installEventFilter(self)
        self._connect()
        self._refresh()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take annotations that are dropped on the dock."""
        if event.type() not in {QEvent.Type.DragEnter, QEvent.Type.Drop}:
            return super().eventFilter(watched, event)
        path = dropped(event)
        if path is None or self._window.stage.image is None:
            return False
        event.acceptProposedAction()
        if event.type() == QEvent.Type.Drop:
            self.load(path)
        return True

    def close(self) -> None:
        """Do nothing any more."""
        self._closed = True
        self._clock.stop()
        self._regrow.stop()
        self.touch.close()

    def _connect(self) -> None:
        window, layer, tools = self._window, self._layer, self.tools
        layer.painted.connect(self._on_painted)
        layer.lifted.connect(self.show)
        layer.outlined.connect(self._on_outlined)
        layer.pointed.connect(self._on_pointed)
        layer.reach_wanted.connect(tools.step_reach)
        layer.removed.connect(self._on_removed)
        layer.tool_changed.connect(self._on_tool)
        tools.tool_wanted.connect(layer.choose)
        tools.reach_changed.connect(lambda _: self._regrow.start())
        tools.undo_wanted.connect(self.undo)
        tools.redo_wanted.connect(self.redo)
        tools.clear_wanted.connect(self.clear)
        tools.import_wanted.connect(self._choose_file)
        window.earlier_bar.resume_wanted.connect(self._resume)
        window.earlier_bar.afresh_wanted.connect(self._start_afresh)
        window.stage.image_changed.connect(self._on_image)
        events = window.events
        events.scribbles_changed.connect(self.show)
        events.earlier_changed.connect(self._refresh)
        events.saved_changed.connect(self._tell_saved)
        self._grown.connect(self._on_grown)
        self._imported.connect(self._on_imported)

    # ------------------------------------------------------------------------ verbs

    def undo(self) -> None:
        """Take back the last step, whatever made it."""
        self._layer.flush()
        if self._window.stage.image is None:
            return
        if not self._session.undo():
            self.said.emit("There is no stroke to take back.")
        self.show()

    def redo(self) -> None:
        """Bring back what was taken back last."""
        self._layer.flush()
        if self._window.stage.image is None:
            return
        if not self._session.redo():
            self.said.emit("There is nothing to bring back.")
        self.show()

    def clear(self) -> None:
        """Wipe all strokes off; asks nothing, because it can be taken back."""
        self._layer.flush()
        if self._session.clear():
            self.said.emit(f"All strokes are cleared. Undo ({UNDO_SHOWN}) brings back.")
        self.show()

    def choose_tool(self, tool: str) -> None:
        """Take a tool, by key; the one in the hand is put away."""
        if self._window.stage.image is not None:
            self._layer.choose(None if self._layer.tool == tool else tool)

    def load(self, path: str | Path) -> None:
        """Take the annotations of a file as strokes."""
        if self._window.stage.image is None:
            self.failed.emit("Open the image first that the annotations belong to.")
            return
        self._layer.flush()
        future = self._session.import_annotations(path)
        future.add_done_callback(self._tell_imported)

    def show(self) -> None:
        """Show the session's strokes, on the layer and in words."""
        session, layer = self._session, self._layer
        if self._window.stage.image is None or session.drawn_on != layer.fingerprint:
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
            self.failed.emit(str(error))
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
        if not self._closed and self._session.scribbles is not None:
            self.clear()

    def _on_tool(self, tool: str | None) -> None:
        self.tools.show_tool(tool)
        self.tools.show_label(self._layer.label)

    def _on_image(self) -> None:
        """Another image: strokes that lie on it in the viewer count as they are."""
        session, layer = self._session, self._layer
        if layer.layer is not None and layer.layer.data.any():
            session.resume()
            layer.adopt(session.scribbles, session.strokes)
        self.touch.listen(self._window)
        journal = session.journal
        notes = journal.notes if journal is not None else ()
        if self._window.stage.image is not None and notes:
            self.said.emit(" ".join(notes))  # what was damaged, or is open elsewhere
        self.show()
        self._refresh()
        self._tell_saved()

    # --------------------------------------------------------------- wand and files

    def _on_pointed(self, y: float, x: float) -> None:
        self._seed = (y, x, self._layer.label)
        self._grow()

    def _grow_again(self) -> None:
        # Only the last region follows, and only while it is the last stroke.
        last = self._session.strokes[-1:]
        if self._seed is not None and last and last[0].tool == "grow":
            self._grow(instead=True)

    def _grow(self, *, instead: bool = False) -> None:
        y, x, label = self._seed
        self._layer.flush()
        reach = self.tools.reach_value / 100
        future = self._growing = self._session.grow(y, x, label, reach, instead=instead)
        future.add_done_callback(self._tell_grown)

    def _tell_grown(self, future: Future[Stroke | None]) -> None:
        """Called on the worker's thread."""
        if not self._closed:
            self._grown.emit(future)

    def _on_grown(self, future: Future[Stroke | None]) -> None:
        if self._closed or future is not self._growing or future.cancelled():
            return
        if future.exception() is not None:
            return  # told with the failed job
        if future.result() is None:
            self.said.emit("All that looks alike there is painted already.")
        self.show()

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self._window,
            "Annotations to take as strokes",
            "",
            "Annotations (*.geojson *.json)",
        )
        if path:
            self.load(path)

    def _tell_imported(self, future: Future) -> None:
        """Called on the worker's thread."""
        if not self._closed:
            self._imported.emit(future)

    def _on_imported(self, future: Future) -> None:
        if self._closed or future.cancelled() or future.exception() is not None:
            return  # told with the failed job
        self.show()
        self.said.emit(future.result().words + " One Undo takes them back.")

    # ------------------------------------------------------------- earlier, and saved

    def _resume(self) -> None:
        self._session.resume()
        self.show()
        self.said.emit("Your earlier strokes are back.")

    def _start_afresh(self) -> None:
        self._session.start_afresh()
        self.show()
        self.said.emit("The earlier strokes stay in the journal of this image.")

    def _refresh(self) -> None:
        session = self._session
        has_image = self._window.stage.image is not None
        is_current = has_image and session.drawn_on == self._layer.fingerprint
        self._window.earlier_bar.ask(session.earlier if is_current else None)
        self.tools.set_ready(has_image)
        shows = is_current and any(session.stroke_counts)
        steps = session.undo_steps if is_current else 0
        self.tools.show_steps(steps, is_current and session.can_redo, shows)

    def _tell_saved(self, saved: object = None) -> None:
        """In the footer; a problem also as a notification, once."""
        del saved
        window, now = self._window, self._session.saved
        has_image = window.stage.image is not None
        problem = now.problem if now is not None and has_image else ""
        words = saved_words(now if has_image else None, time.time())
        window.show_status(words, is_warning=bool(problem))
        kind = problem.partition(":")[0]  # the number of strokes grows
        if kind and kind != self._problem:
            show_warning(problem)
        self._problem = kind


def dropped(event: QDropEvent) -> str | None:
    """The file of annotations that is dropped, if it is one."""
    paths = [url.toLocalFile() for url in event.mimeData().urls()]
    if len(paths) == 1 and paths[0].lower().endswith((".geojson", ".json")):
        return paths[0]
    return None
