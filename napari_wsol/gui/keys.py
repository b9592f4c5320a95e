"""Keys that work while the canvas or the dock has the focus."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakSet

from app_model.backends.qt import qkey2modelkey, qmods2modelmods
from app_model.types import KeyBinding, KeyCode
from napari.utils.key_bindings import coerce_keybinding
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLineEdit,
)

from napari_wsol.gui.compat import is_drawing
from napari_wsol.gui.layers.marks import STROKES, role_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari.layers import Layer
    from napari.utils.events import Event
    from napari.utils.key_bindings import KeymapProvider
    from napari.viewer import Viewer
    from qtpy.QtGui import QKeyEvent
    from qtpy.QtWidgets import QWidget

logger = logging.getLogger(__name__)

Reach = Literal["viewer", "strokes", "only strokes", "layers"]
"""Where a key works on the canvas: wherever the chosen layer has no such key of its
own; on our strokes all the same; on our strokes and nowhere else; on every layer."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, what it does in words, and what it calls."""

    key: str
    words: str
    action: Callable[[], None]
    shown: str = ""
    release: Callable[[], None] | None = None
    """Called when the key is let go."""
    reach: Reach = "viewer"


TYPED = (QLineEdit, QAbstractSpinBox)
"""Fields that take every key themselves."""


def is_key(name: str) -> bool:
    """Whether there is such a key; napari binds any word, to a key that nobody has."""
    return coerce_keybinding(name).part0.key is not KeyCode.UNKNOWN


class Keys:
    """Binds keys to the viewer and to layers, and takes them away again.

    napari asks the active layer first and the viewer after it. So a key of the viewer
    never takes one away from the user's own layers: F fills in a Labels layer and moves
    a shape to the front in a Shapes layer, as always. Only on our own strokes the
    brushes come first, where filling or protecting labels makes no sense; and Enter
    localizes on any layer, unless a shape is being drawn that it would end.
    Of several docks in a viewer one has the keys, until it is closed.
    """

    _all: ClassVar[WeakSet[Keys]] = WeakSet()

    def __init__(self, viewer: Viewer, keys: Iterable[Key]) -> None:
        self._viewer, self.known = viewer, tuple(keys)
        self.window = getattr(viewer, "__wrapped__", viewer)
        self._bound: list[tuple[KeymapProvider, str]] = []
        self.taken, self.holds = list(self.known), False
        if not any(keys.holds for keys in self._beside):
            self.take()
        self._all.add(self)

    @property
    def _beside(self) -> list[Keys]:
        return [x for x in self._all if x.window is self.window and x is not self]

    def take(self) -> None:
        """Bind what is free."""
        self.holds, self.taken, viewer = True, [], self._viewer
        for key in self.known:
            if not is_key(key.key):
                logger.warning("There is no key %s here; its button works.", key.key)
                self.taken.append(key)
            elif key.reach == "only strokes":
                continue
            elif key.key in {str(name) for name in viewer.keymap}:
                # Another plugin was here first; the button still works.
                self.taken.append(key)
            else:
                self._bind(viewer, key)
        for layer in viewer.layers:
            self._bind_layer(layer)
        viewer.layers.events.inserted.connect(self._on_inserted)

    def close(self) -> None:
        """Give the keys back, to the next dock if there is one."""
        self._all.discard(self)
        if not self.holds:
            return
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        for target, key in self._bound:
            target.bind_key(key, None)
        self._bound.clear()
        for keys in self._beside[:1]:
            keys.take()

    def listed(self) -> str:
        """The keys as rich text, for the ``?`` button; also what is in their way."""
        rows = "".join(
            f"<tr><td><b>{key.shown or key.key}</b>&nbsp;&nbsp;</td><td>{key.words}"
            f"{self._exception(key)}</td></tr>"
            for key in self.known
        )
        return f"<table>{rows}</table>"

    def _exception(self, key: Key) -> str:
        """Where a key does something else at present; empty where it does not."""
        if not is_key(key.key):
            return " (not on this keyboard: use the button)"
        if key in self.taken:
            return " (over the image another plugin or dock has this key)"
        active = self._viewer.layers.selection.active
        if active is None or self._is_bound(active, key):
            return ""
        if key.reach == "only strokes":
            return " (in the dock, and while the strokes are the chosen layer)"
        if _own_call(active, key.key) is not None:
            return f" (in the dock; over the image “{active.name}” has it now)"
        return ""

    def _is_bound(self, layer: Layer, key: Key) -> bool:
        return any(to == layer and name == key.key for to, name in self._bound)

    def _on_inserted(self, event: Event) -> None:
        self._bind_layer(event.value)

    def _bind_layer(self, layer: Layer) -> None:
        is_ours = role_of(layer) == STROKES
        for key in self.known:
            if not is_key(key.key):
                continue
            if is_ours and key.reach in {"strokes", "only strokes"}:
                self._bind(layer, key)
            elif key.reach == "layers" and key not in self.taken:
                own = _own_call(layer, key.key)
                if own is not None:
                    self._bind(layer, key, unless_drawing=own)

    def _bind(
        self,
        target: KeymapProvider,
        key: Key,
        *,
        unless_drawing: Callable[[Any], object] | None = None,
    ) -> None:
        action, release = key.action, key.release

        def press(target: Any) -> None:  # noqa: ANN401 - a viewer or a layer
            if isinstance(QApplication.focusWidget(), TYPED):
                return  # Enter in a field of others; Qt passes it on, to the viewer
            if unless_drawing is not None and is_drawing(target):
                unless_drawing(target)
            else:
                action()

        def hold(_target: object) -> Iterator[None]:
            """A generator, with which napari goes on when the key is let go."""
            action()
            yield
            if release is not None:
                release()

        call = press if release is None else hold
        target.bind_key(key.key, call, overwrite=True)
        self._bound.append((target, key.key))


def _own_call(layer: Layer, name: str) -> Callable[[Any], object] | None:
    """What napari calls when a key is pressed on layers of a kind."""
    binding = coerce_keybinding(name)
    for kind in layer.__class__.__mro__:  # the viewer of a plugin wraps its layers
        call = getattr(kind, "class_keymap", {}).get(binding)
        if call is not None and call is not Ellipsis:
            return call
    return None


class DockKeys(QObject):
    """Brings our keys to the dock, whichever part of it has the focus.

    Buttons and sliders leave letters alone, and they come to the dock; lists of choices
    look for an entry that begins with one, and are asked first. A field that is typed
    in keeps every key, and lists keep Enter.
    """

    def __init__(self, dock: QWidget, keys: Keys) -> None:
        super().__init__(dock)
        self._dock = dock
        self._keys = {
            coerce_keybinding(key.key): key for key in keys.known if is_key(key.key)
        }
        lists = dock.findChildren(QComboBox) + dock.findChildren(QAbstractItemView)
        for part in (dock, *lists):
            part.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take the events of keys that are ours."""
        kinds = (QEvent.Type.KeyPress, QEvent.Type.KeyRelease)
        if event.type() not in kinds:
            return super().eventFilter(watched, event)
        pressed: Any = event
        key = self._key_of(pressed)
        if key is None:
            return False
        focus = QApplication.focusWidget()
        is_enter = pressed.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}
        if isinstance(focus, TYPED):
            return watched is self._dock  # has done with it; napari need not hear of it
        if is_enter and isinstance(focus, QAbstractItemView):
            return watched is self._dock
        if not pressed.isAutoRepeat():
            is_press = event.type() == QEvent.Type.KeyPress
            call = key.action if is_press else key.release
            if call is not None:
                call()
        return True

    def _key_of(self, event: QKeyEvent) -> Key | None:
        modifiers = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        code = qkey2modelkey(Qt.Key(event.key()))
        return self._keys.get(KeyBinding.from_int(qmods2modelmods(modifiers) | code))
