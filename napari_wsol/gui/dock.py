"""The dock: one session, four panels in the order of the work.

napari hands plugins a proxy of the viewer, so one layer may come wrapped or not: layers
are compared with ``==`` here, never with ``is``.
"""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import (
    QFrame,
    QLabel,
    QMessageBox,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_wsol.errors import WsolError
from napari_wsol.gui.background import Background
from napari_wsol.gui.compare.panel import ComparePanel
from napari_wsol.gui.compat import keep_shaders
from napari_wsol.gui.controller import Desk
from napari_wsol.gui.correct.earlier import EarlierBar
from napari_wsol.gui.correct.next_row import DISMISS_KEY, GO_KEY
from napari_wsol.gui.correct.panel import CorrectPanel
from napari_wsol.gui.correct.rounds import BLINK_KEY
from napari_wsol.gui.correct.tools import (
    OUTLINE_KEY,
    REDO_KEY,
    REDO_SHOWN,
    UNDO_KEY,
    UNDO_SHOWN,
    WAND_KEY,
)
from napari_wsol.gui.export.panel import ExportPanel
from napari_wsol.gui.images.line import ImageLine
from napari_wsol.gui.images.list_panel import BEFORE, NEXT, UNTOUCHED, ImageList
from napari_wsol.gui.images.reader_button import layer_read_by
from napari_wsol.gui.keys import Key, Keys
from napari_wsol.gui.layers.image_layers import Stage
from napari_wsol.gui.localize.models import Catalogue, read_catalogue
from napari_wsol.gui.localize.panel import LocalizePanel
from napari_wsol.gui.session_events import SessionEvents
from napari_wsol.gui.widgets.colours import readable_on, theme_colour
from napari_wsol.gui.widgets.messages import MessageLine
from napari_wsol.session.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer

    from napari_wsol.gui.widgets.panel import Panel

FOOTER = "Research use only, not for diagnosis."


class WsolWidget(QWidget):
    """Localize, compare, correct, export: everything napari does not know."""

    def __init__(
        self, napari_viewer: napari.viewer.Viewer, journals: Path | bool = True
    ) -> None:
        super().__init__()
        keep_shaders()
        self._viewer = napari_viewer
        self._ended = False
        self._warning_colour = ""
        self.session = Session(threads=default_threads(), journals=journals)
        self.events = SessionEvents(self.session)
        self.stage = Stage(napari_viewer, self.session)
        self.image_line = ImageLine(napari_viewer)
        self.image_list = ImageList()
        self.localize_panel = LocalizePanel()
        self.compare_panel = ComparePanel()
        self.correct_panel = CorrectPanel()
        self.export_panel = ExportPanel()
        self.message = MessageLine()
        self.earlier_bar = EarlierBar()
        self.status = QLabel(FOOTER)
        self._lay_out()
        self.desk = Desk(self)
        self.keys = Keys(napari_viewer, self._key_table(), {"F", "B", "E", "R"})
        self.image_line.help_wanted.connect(self.show_help)
        self.image_line.reader_chosen.connect(self._read_with)
        napari_viewer.events.theme.connect(self._on_theme)
        self._on_theme()
        self._catalogue = Background()
        self._catalogue.answered.connect(self._on_catalogue)
        self.desk.catalogue_wanted.connect(self._read_catalogue)
        self._read_catalogue()
        self._close_at_the_end()
        self.image_line.start()

    def _lay_out(self) -> None:
        inner = QWidget()
        rows = QVBoxLayout(inner)
        rows.setContentsMargins(6, 4, 6, 4)
        rows.setSpacing(4)
        rows.addWidget(self.image_line)
        rows.addWidget(self.message)
        rows.addWidget(self.image_list)
        rows.addWidget(self.earlier_bar)
        panels = (
            self.localize_panel,
            self.compare_panel,
            self.correct_panel,
            self.export_panel,
        )
        for panel in panels:
            rows.addWidget(panel)
        rows.addStretch(1)
        for panel in panels[:3]:
            panel.expand(animate=False)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inner.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        scroll.setWidget(inner)
        self.scroll_area = scroll
        self.status.setContentsMargins(6, 2, 6, 4)
        self.status.setWordWrap(True)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll, 1)
        outer.addWidget(self.status)
        self.setMinimumWidth(300)

    @property
    def napari_viewer(self) -> napari.viewer.Viewer:
        """The viewer that this dock belongs to."""
        return self._viewer

    def bring_into_view(self, panel: Panel) -> None:
        """Open a panel and scroll the dock so that it is seen."""
        if not panel.isExpanded():
            panel.expand(animate=False)
        self.scroll_area.ensureWidgetVisible(panel, 0, 4)

    def show_status(self, words: str, *, is_warning: bool = False) -> None:
        """What is said beside the footer: how much is saved."""
        self.status.setText(f"{FOOTER} {words}".strip())
        colour = self._warning_colour if is_warning else ""
        style = f"background: {colour}; color: {readable_on(colour)};" if colour else ""
        if style != self.status.styleSheet():
            self.status.setStyleSheet(style)

    def _read_with(self, reader: str) -> None:
        """Replace the chosen layer by the same file, read by another reader."""
        before = self.image_line.layer
        if before is None:
            return
        try:
            added = layer_read_by(self._viewer, before, reader)
        except WsolError as error:
            self.desk.warn(str(error))
            return
        self.stage.leave_image()
        self.image_line.choose(added)
        self._viewer.layers.remove(before)

    def _key_table(self) -> tuple[Key, ...]:
        desk, tools = self.desk, self.desk.strokes.choose_tool
        return (
            Key("Enter", "Localize", desk.localize, "⏎"),
            Key("F", "foreground brush", lambda: desk.choose_tool("foreground")),
            Key("B", "background brush", lambda: desk.choose_tool("background")),
            Key("E", "eraser", lambda: desk.choose_tool("erase")),
            Key(OUTLINE_KEY, "area tool", lambda: tools("outline")),
            Key(WAND_KEY, "wand", lambda: tools("wand")),
            Key(UNDO_KEY, "take back", desk.strokes.undo, UNDO_SHOWN, is_ours=True),
            Key(REDO_KEY, "bring back", desk.strokes.redo, REDO_SHOWN, is_ours=True),
            Key("R", "Refine", desk.refine),
            Key(NEXT, "next image of the list", lambda: desk.lists.step(1)),
            Key(BEFORE, "image before", lambda: desk.lists.step(-1)),
            Key(UNTOUCHED, "next untouched image", desk.lists.next_untouched),
            Key(GO_KEY, "where a stroke would teach most", desk.where_next.go),
            Key(DISMISS_KEY, "not there", desk.where_next.dismiss),
            Key(
                BLINK_KEY,
                "hold: the map of the round before",
                desk.rounds.blink.hold,
                release=desk.rounds.blink.let_go,
            ),
        )

    def show_help(self) -> None:
        """The keys, and the way through the panels."""
        box = QMessageBox(self)
        box.setWindowTitle("Keys and first steps")
        box.setTextFormat(Qt.TextFormat.RichText)
        box.setText(self.help_text())
        box.exec()

    def help_text(self) -> str:
        """What the ``?`` button shows."""
        return (
            "<p><b>First steps.</b> Open an image, press Localize, look at the map. "
            "Where it is wrong, paint: background over what is wrong, foreground over "
            "what was missed. Refine, and export.</p>"
            "<p><b>Keys</b>, while the mouse is over the image:</p>"
            f"{self.keys.listed()}"
            "<p>napari's own: Space to pan while painting, [ and ] for the brush.</p>"
        )

    def event(self, event: QEvent) -> bool:
        """A dock is closed by taking away its parent; no close event comes."""
        gone = event.type() == QEvent.Type.ParentChange and self.parent() is None
        if gone and not self._ended:
            self.end()
        return super().event(event)

    def end(self) -> None:
        """Stop all work and let go of the viewer; heatmaps and strokes stay."""
        if self._ended:
            return
        self._ended = True
        self.stage.strokes.flush()
        self.session.close()
        self.events.close()
        self._catalogue.close()
        self.desk.close()
        self.keys.close()
        self.image_line.close_line()
        self.stage.close()
        self._viewer.events.theme.disconnect(self._on_theme)

    def _close_at_the_end(self) -> None:
        """A viewer that is closed destroys the dock without another word.

        Qt holds methods weakly, and this object is half gone by then: the closure
        keeps what has to be closed.
        """
        closing = (
            self.session,
            self.events,
            self._catalogue,
            self.stage.look_up,
            self.stage.evidence.lines,
            self.desk.comparison.look_up,
            self.desk.where_next.look_up,
            self.desk.training.look_up,
            self.desk.training.end,
            *self.desk.slides.look_ups,
            *self.desk.lists.look_ups,
            self.image_list.model,
        )

        def close_all() -> None:
            for item in closing:
                item.close()

        self.destroyed.connect(close_all)

    def _read_catalogue(self) -> None:
        self._catalogue.ask(read_catalogue)

    def _on_catalogue(self, answer: object) -> None:
        if isinstance(answer, Catalogue):
            self.desk.show_catalogue(answer)
        else:
            self.message.warn(f"The models could not be listed: {answer}")

    def _on_theme(self, event: object = None) -> None:
        del event
        colour = theme_colour(self._viewer.theme, "warning")
        self._warning_colour = colour
        self.message.set_warning_colour(colour)
        self.correct_panel.rounds.set_warning_colour(colour)


def default_threads() -> int:
    """Threads for torch beside a viewer: all cores but one."""
    return max(1, (os.cpu_count() or 2) - 1)
