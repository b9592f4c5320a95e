"""Our preferences in napari's dialog, where it has pages for those of plugins (0.9).

What is chosen lies in our own file, which commands read, too. While a dock is open,
napari's copy is held equal to it, whoever changes either. Of what was changed while
none was open, the file that was written last counts.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari.settings
from qtpy.QtCore import QFileSystemWatcher, QObject

from napari_wsol.errors import WsolError
from napari_wsol.gui.tasks import once
from napari_wsol.paths import preferences_file
from napari_wsol.preferences import DEFAULTS, keep, stored

if TYPE_CHECKING:
    from collections.abc import Callable


class NapariPreferences(QObject):
    """Holds napari's copy equal to what is kept; ``warn`` tells what cannot be kept."""

    def __init__(self, parent: QObject, warn: Callable[[WsolError], object]) -> None:
        super().__init__(parent)
        self._warn = warn
        self._edited = once(self, 300, self._keep)  # when nobody types any more
        self._watcher = QFileSystemWatcher(self)
        copies: Any = getattr(napari.settings, "get_plugin_settings", dict)()
        copy = copies.get("napari-wsol")
        self._page = copy and copy.preferences
        if copy is None:
            return
        ours, theirs = preferences_file(), Path(copy.config_path or "")
        then = [x.stat().st_mtime if x.is_file() else 0 for x in (theirs, ours)]
        if then[0] > then[1]:
            self._keep()
        self._show()
        self._page.events.connect(self._on_edit)
        with suppress(OSError):  # whoever keeps something there is told
            ours.parent.mkdir(parents=True, exist_ok=True)
        self._watcher.addPath(str(ours.parent))  # a file is replaced, its folder not
        self._watcher.directoryChanged.connect(self._show)

    def close(self) -> None:
        """Let go of napari's copy; what was typed last is kept."""
        if self._page is not None:
            self._watcher.blockSignals(True)
            self._page.events.disconnect(self._on_edit)
            if self._edited.isActive():
                self._edited.stop()
                with suppress(WsolError):  # there is no window left to tell it
                    self._take()

    def _on_edit(self) -> None:
        self._edited.start()

    def _keep(self) -> None:
        """Keep what is chosen in the dialog, or say why not."""
        try:
            self._take()
        except WsolError as error:
            self._warn(error)
            self._show()

    def _take(self) -> None:
        given, kept = self._page.model_dump(), {**DEFAULTS, **stored()}
        given["memory_bytes"] = round(given.pop("memory_gb") * 1e9)
        changed = {name: x for name, x in given.items() if x != kept[name]}
        if changed:  # a default is what nobody chose
            keep(**{x: None if y == DEFAULTS[x] else y for x, y in changed.items()})

    def _show(self) -> None:
        """Show what is kept, as far as the dialog has room for it."""
        if self._edited.isActive():  # somebody types
            return
        kept: dict[str, Any] = {**DEFAULTS, **stored()}
        kept["memory_gb"] = kept.pop("memory_bytes") / 1e9
        for name, value in kept.items():
            if getattr(self._page, name) != value:
                with suppress(ValueError):  # a device that its list lacks
                    setattr(self._page, name, value)
