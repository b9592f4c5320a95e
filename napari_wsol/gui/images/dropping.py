"""Slides and folders that are dropped on the window: nobody is asked who reads them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from napari.plugins.utils import get_preferred_reader
from napari.settings import get_settings
from npe2 import PluginManager
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QWidget

from napari_wsol.errors import StackError
from napari_wsol.gui.compat import dropped_files
from napari_wsol.gui.images.reader import layer_of
from napari_wsol.gui.layers.touch import canvas_beside
from napari_wsol.images.bags import is_bag
from napari_wsol.images.readers import SCANNED, is_slide, is_zarr

if TYPE_CHECKING:
    from qtpy.QtGui import QDropEvent

    from napari_wsol.gui.context import Context
    from napari_wsol.gui.widgets.choosing import Chooser
    from napari_wsol.images.readers.stacks import Pick

OURS, NAPARIS = "napari-wsol", "napari"
"""Names of plugins that read files."""


class SlideDrops(QObject):
    """Opens slides that are dropped beside a dock, and lists a folder of images.

    All other files are napari's. Of these it would ask which reader is to be taken, or
    read all of a pyramid, or of a folder, at once.
    """

    folder_wanted = Signal(Path)
    map_wanted = Signal(Path)

    def __init__(self, context: Context, chooser: Chooser) -> None:
        super().__init__(context.dock)
        self._context, self._chooser = context, chooser
        # A viewer that is closed shall be gone, though the dock may not be yet.
        self._places: WeakSet[QWidget] = WeakSet()
        context.dock.installEventFilter(self)
        context.at_parting(self.close)

    def close(self) -> None:
        """Leave all files to napari again."""
        self._context.dock.removeEventFilter(self)
        for place in self._places:
            place.removeEventFilter(self)
        self._places = WeakSet()

    def eventFilter(self, watched: QObject, event: Any) -> bool:  # noqa: ANN401 - one of many
        """Take the slides of a drop; whether they were taken."""
        kind = event.type()
        if watched is self._context.dock:
            if kind == QEvent.Type.Show and not self._places:
                self._listen()
        elif kind == QEvent.Type.Drop and (paths := dropped(event)):
            if all(map(_is_ours, paths)):
                event.acceptProposedAction()
                for path in paths:
                    self.open(path)
                return True
            if len(paths) == 1 and self._context.session.slide and is_bag(paths[0]):
                event.acceptProposedAction()
                self.map_wanted.emit(paths[0])
                return True
            if len(paths) == 1 and _is_list(paths[0]):
                event.acceptProposedAction()
                self.folder_wanted.emit(paths[0])
                return True
        return False

    def open(self, path: Path, pick: Pick | None = None) -> None:
        """Put a slide into the viewer."""
        self._context.messages.say(f"Opening “{path.name}” …")
        self._context.tasks.ask(
            lambda: layer_of(path, pick=pick),
            self._on_read,
            partial(self._on_unreadable, path),
            kind="dropped",
            about=path,
        )

    def _listen(self) -> None:
        """The dock is in its window: files are dropped on the canvas and around it."""
        canvas = canvas_beside(self._context.dock)
        found = [] if canvas is None else [canvas, *canvas.findChildren(QWidget)]
        parent = None if canvas is None else canvas.parentWidget()
        while parent is not None and not parent.isWindow():
            found.append(parent)
            parent = parent.parentWidget()
        self._places = WeakSet(widget for widget in found if widget.acceptDrops())
        for place in self._places:
            place.installEventFilter(self)

    def _on_read(self, found: tuple[Any, dict[str, Any], str]) -> None:
        data, options, _ = found
        self._context.messages.say("")
        self._context.viewer.add_image(data, **options)

    def _on_unreadable(self, path: Path, error: BaseException) -> None:
        self._context.messages.say("")
        if isinstance(error, StackError):
            again = partial(self.open, path)
            self._chooser.ask_pick(path.name, error.questions, again)
        else:
            self._context.messages.warn(error)


def dropped(event: QDropEvent) -> list[Path]:
    """The files that are dropped; none where something else is, or is wanted.

    With Alt napari asks for a reader, with Shift it makes a stack; and whoever has told
    napari to take another reader for such files gets that one.
    """
    held = Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.ShiftModifier
    if QGuiApplication.keyboardModifiers() & held:
        return []
    return dropped_files(event)


def _is_ours(path: Path) -> bool:
    return get_preferred_reader(path) in (None, OURS) and is_slide(path)


def _is_list(path: Path) -> bool:
    """Whether it is a folder of files, and no image that is a folder itself."""
    if not path.is_dir() or get_preferred_reader(path) not in (None, OURS):
        return False
    return not is_zarr(path)


def prefer_our_reader() -> None:
    """Tell napari to take our reader for slides, where it would have to ask.

    napari's own reader claims them too, and reads the largest level as a whole. What a
    person has chosen stays, and where another plugin reads slides nothing is chosen.
    The choice stands in napari's preferences, under *Plugins*.
    """
    manager, plugins = PluginManager.instance(), get_settings().plugins
    wanted = {}
    for ending in sorted(SCANNED):  # whatever else is a slide, its content tells
        name = f"slide{ending}"
        readers = {item.plugin_name for item in manager.iter_compatible_readers(name)}
        if readers == {OURS, NAPARIS} and get_preferred_reader(name) is None:
            wanted[f"*{ending}"] = OURS
    if wanted:
        plugins.extension2reader = {**plugins.extension2reader, **wanted}
