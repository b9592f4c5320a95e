"""The dock: one session, four panels in the order of the work.

napari hands plugins a proxy of the viewer, so one layer may come wrapped or not: layers
are compared with ``==`` here, never with ``is``.
"""

from __future__ import annotations

from functools import partial
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

from napari_wsol.gui.compare.panel import ComparePanel
from napari_wsol.gui.compat import keep_shaders, needed
from napari_wsol.gui.context import Context
from napari_wsol.gui.controller import Controller, Panels
from napari_wsol.gui.correct.earlier import EarlierBar
from napari_wsol.gui.correct.panel import CorrectPanel
from napari_wsol.gui.correct.proposals import DISMISS_KEY, GO_KEY
from napari_wsol.gui.correct.rounds import BLINK_KEY
from napari_wsol.gui.correct.tools import (
    OUTLINE_KEY,
    REDO_KEY,
    REDO_SHOWN,
    UNDO_KEY,
    UNDO_SHOWN,
    WAND_KEY,
)
from napari_wsol.gui.doctor.panel import help_entry
from napari_wsol.gui.export.panel import ExportPanel
from napari_wsol.gui.images.line import ImageLine
from napari_wsol.gui.images.list_panel import BEFORE, NEXT, UNTOUCHED, ImageList
from napari_wsol.gui.keys import DockKeys, Key, Keys
from napari_wsol.gui.localize.panel import LocalizePanel
from napari_wsol.gui.messages import LINES, MessageLine
from napari_wsol.gui.napari_preferences import NapariPreferences
from napari_wsol.gui.widgets.colours import readable_on, theme_colour
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.panel import row

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer
    from qtpy.QtGui import QResizeEvent


FOOTER, FOOTER_TIP = "Research use only.", "Not for diagnosis."

LOW = 640
"""Pixels of a dock's height below which messages get a line less."""


class Footer(QFrame):
    """What this is for, and how much is saved: one line, whatever there is to say."""

    def __init__(self) -> None:
        super().__init__()
        self._words = Words(FOOTER, lines=1, keeps=True)
        self._words.setToolTip(FOOTER_TIP)
        self._saved = QLabel()
        line = row(self._words, self._saved, stretch=0, spacing=0)
        line.setContentsMargins(2, 2, 6, 4)
        self.setLayout(line)

    def text(self) -> str:
        """All that is said."""
        return f"{self._words.text()} {self._saved.text()}".strip()

    def show_saved(self, words: str, colour: str = "") -> None:
        """What is on the disk; a warning takes the whole line, and its colour."""
        self._words.setText(words if colour else FOOTER)
        self._saved.setText("" if colour else words)
        sheet = (
            f"Footer {{ background: {colour}; }}"
            f" QLabel {{ background: transparent; color: {readable_on(colour)}; }}"
        )
        if (sheet if colour else "") != self.styleSheet():
            self.setStyleSheet(sheet if colour else "")


class WsolWidget(QWidget):
    """Localize, compare, correct, export: everything napari does not know."""

    def __init__(
        self, napari_viewer: napari.viewer.Viewer, journals: Path | bool = True
    ) -> None:
        super().__init__()
        keep_shaders()
        self._ended = self._folds = False
        self._warning_colour = ""
        self.message = MessageLine()
        self.status = Footer()
        self.image_line = ImageLine(napari_viewer)
        self.image_list = ImageList()
        self.earlier_bar = EarlierBar()
        self.localize_panel = LocalizePanel()
        self.compare_panel = ComparePanel()
        self.correct_panel = CorrectPanel()
        self.export_panel = ExportPanel()
        self._lay_out()
        self._context = Context(napari_viewer, self, self.message, journals)
        # A viewer that is closed destroys the dock. Qt holds methods weakly, and this
        # object is half gone by then: the context is bound to its own.
        self.destroyed.connect(partial(_end, self._context))
        self.session = self._context.session
        self.layers = self._context.layers
        self.controller = Controller(
            self._context,
            Panels(
                line=self.image_line,
                images=self.image_list,
                earlier=self.earlier_bar,
                localize=self.localize_panel,
                compare=self.compare_panel,
                correct=self.correct_panel,
                export=self.export_panel,
            ),
        )
        self.controller.strokes.saved_told.connect(self._show_status)
        self.controller.localized.connect(self._on_localized)
        self.keys = Keys(napari_viewer, self._key_table())
        DockKeys(self, self.keys)
        self._doctor = help_entry(napari_viewer)
        self.image_line.help_button.clicked.connect(self.show_help)
        napari_viewer.events.theme.connect(self._on_theme)
        warn = self._context.messages.warn
        self._context.at_the_end(NapariPreferences(self, warn).close)
        self._context.at_parting(self._let_go)
        self._on_theme()
        self.image_line.start()

    def _lay_out(self) -> None:
        inner = QWidget()
        rows = QVBoxLayout(inner)
        rows.setContentsMargins(6, 4, 6, 4)
        rows.setSpacing(4)
        rows.addWidget(self.image_line)
        rows.addWidget(self.image_list)
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
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(scroll, 1)
        for below in (self.earlier_bar, self.correct_panel.more_tools, self.message):
            outer.addWidget(below)
        outer.addWidget(self.status)
        self.setMinimumWidth(300)

    def _on_localized(self) -> None:
        """What was to be chosen is chosen; there are maps to be looked at now."""
        if not self.underMouse():
            self.localize_panel.fold()
        else:  # nothing moves under the hand
            self._folds = True

    def leaveEvent(self, event: QEvent) -> None:
        """The mouse is elsewhere: what waited for that may move now."""
        super().leaveEvent(event)
        if self._folds:
            self._folds = False
            self.localize_panel.fold()

    def _show_status(self, words: str, is_warning: bool) -> None:
        """What is said beside the footer: how much is saved."""
        self.status.show_saved(words, self._warning_colour if is_warning else "")

    def _key_table(self) -> tuple[Key, ...]:
        control, strokes = self.controller, self.controller.strokes
        pick, tools = control.choose_tool, strokes.choose_tool
        tour = control.proposals.tour
        return (
            Key("Enter", "Localize", control.localize, "⏎", reach="layers"),
            Key("F", "foreground brush", partial(pick, "foreground"), reach="strokes"),
            Key("B", "background brush", partial(pick, "background"), reach="strokes"),
            Key("E", "eraser", partial(pick, "erase"), reach="strokes"),
            Key(OUTLINE_KEY, "area tool", partial(tools, "outline")),
            Key(WAND_KEY, "wand", partial(tools, "wand")),
            Key(UNDO_KEY, "take back", strokes.undo, UNDO_SHOWN, reach="only strokes"),
            Key(REDO_KEY, "bring back", strokes.redo, REDO_SHOWN, reach="only strokes"),
            Key("R", "Refine", control.refine, reach="strokes"),
            Key(NEXT, "next image of the list", lambda: control.lists.step(1)),
            Key(BEFORE, "image before", lambda: control.lists.step(-1)),
            Key(UNTOUCHED, "next untouched image", control.lists.next_untouched),
            Key(GO_KEY, "where a stroke would teach most", control.proposals.go),
            Key(DISMISS_KEY, "not there", control.proposals.dismiss),
            Key("P", "pin this place", control.places.pin, reach="strokes"),
            Key("T", "where the maps disagree most", partial(tour, 1)),
            Key("Shift+T", "the place before", partial(tour, -1)),
            Key(
                BLINK_KEY,
                "hold: the map of the round before",
                control.rounds.blink.hold,
                release=control.rounds.blink.let_go,
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
            "<p><b>Keys</b>, over the image and in the dock. Where you type into a "
            "field, keys are letters.</p>"
            f"{self.keys.listed()}"
            "<p>While painting, napari's own: hold Space to pan; [ and ] change the "
            "brush. In an area set corner by corner Enter sets the last one, Esc "
            "starts again.</p>"
        )

    def event(self, event: QEvent) -> bool:
        """A dock is closed by taking away its parent; no close event comes."""
        gone = event.type() == QEvent.Type.ParentChange and self.parent() is None
        if gone and not self._ended:
            self.end()
        return super().event(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where there is little room, most of it is for the panels."""
        super().resizeEvent(event)
        self.message.set_lines(LINES if self.height() >= LOW else LINES - 1)
        # napari's controls of Labels make the window higher than a low screen: what is
        # pinned below stays above its edge.
        screen, bottom = self.screen(), self.mapToGlobal(self.rect().bottomLeft()).y()
        beyond = bottom - screen.availableGeometry().bottom() if screen else 0
        needed(self.layout()).setContentsMargins(0, 0, 0, max(0, beyond))

    def end(self) -> None:
        """Stop all work and let go of the viewer; heatmaps and strokes stay."""
        if not self._ended:
            self._ended = True
            self.layers.strokes.flush()
            self._context.part()

    def _let_go(self) -> None:
        self._context.viewer.events.theme.disconnect(self._on_theme)
        self.image_line.close_line()
        self.keys.close()
        self._doctor.deleteLater()

    def _on_theme(self) -> None:
        colour = theme_colour(self._context.viewer.theme, "warning")
        self._warning_colour = colour
        self.message.set_warning_colour(colour)
        self.correct_panel.rounds.set_warning_colour(colour)
        self.localize_panel.likeness_box.set_warning_colour(colour)


def _end(context: Context, *_: object) -> None:
    context.close()
