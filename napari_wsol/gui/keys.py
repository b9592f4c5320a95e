"""Keys that work while the canvas has the focus."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app_model.types import KeyCode
from napari.utils.key_bindings import coerce_keybinding

from napari_wsol.gui.layers.marks import STROKES, role_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari.layers import Layer
    from napari.utils.events import Event
    from napari.utils.key_bindings import KeymapProvider
    from napari.viewer import Viewer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """A key, what it does in words, and what it calls."""

    key: str
    words: str
    action: Callable[[], None]
    shown: str = ""
    release: Callable[[], None] | None = None
    """Called when the key is let go."""
    is_ours: bool = False
    """Whether it is bound on our strokes only, and keeps its meaning elsewhere."""

    @property
    def label(self) -> str:
        """As it is written on a button."""
        return self.shown or self.key


def is_key(name: str) -> bool:
    """Whether there is such a key; napari binds any word, to a key that nobody has."""
    return coerce_keybinding(name).part0.key is not KeyCode.UNKNOWN


class Keys:
    """Binds keys to the viewer and to our strokes, and takes them away again.

    napari asks the active layer first and the viewer after it. So a key of the viewer
    never takes one away from the user's own layers: F fills in a Labels layer and moves
    a shape to the front in a Shapes layer, as always. Only on our own strokes the
    brushes come first, where filling or protecting labels makes no sense.
    """

    def __init__(
        self, viewer: Viewer, keys: Iterable[Key], on_strokes: set[str]
    ) -> None:
        self._viewer = viewer
        self.known = tuple(keys)
        self._on_strokes = on_strokes
        self._bound: list[tuple[KeymapProvider, str]] = []
        self.taken: list[Key] = []
        for key in self.known:
            if not is_key(key.key):
                logger.warning("There is no key %s here; its button works.", key.key)
                self.taken.append(key)
                continue
            if key.is_ours:
                continue
            if key.key in {str(name) for name in viewer.keymap}:
                # Another plugin was here first; the button still works.
                self.taken.append(key)
            else:
                self._bind(viewer, key)
        for layer in viewer.layers:
            self._bind_layer(layer)
        viewer.layers.events.inserted.connect(self._on_inserted)

    def close(self) -> None:
        """Give the keys back."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        for target, key in self._bound:
            target.bind_key(key, None)
        self._bound.clear()

    def listed(self) -> str:
        """The keys as rich text, for the ``?`` button."""
        rows = "".join(
            f"<tr><td><b>{key.label}</b>&nbsp;&nbsp;</td><td>{key.words}"
            f"{' (used by another plugin)' if key in self.taken else ''}</td></tr>"
            for key in self.known
        )
        return f"<table>{rows}</table>"

    def _on_inserted(self, event: Event) -> None:
        self._bind_layer(event.value)

    def _bind_layer(self, layer: Layer) -> None:
        if role_of(layer) == STROKES:
            for key in self.known:
                is_wanted = key.is_ours or key.key in self._on_strokes
                if is_wanted and is_key(key.key):
                    self._bind(layer, key)

    def _bind(self, target: KeymapProvider, key: Key) -> None:
        action, release = key.action, key.release

        def press(_target: object) -> None:
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
