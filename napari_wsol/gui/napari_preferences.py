"""Our preferences in napari's dialog, where it has a page for those of plugins (0.9).

What is chosen lies in our own file, which commands read, too. napari's copy is held
equal to it while a dock is open: what changes there is kept here, and what changes
here, by whichever program, is shown there. While no dock is open nobody tells: then
the file that was written last has the last word.
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
    from collections.abc import Callable, Mapping

PLUGIN, MEMORY, GIGABYTE = "napari-wsol", "memory_gb", 1e9

TYPED_MS = 300
"""Rest after a key is pressed in a field, before its text counts."""


def napari_copy() -> Any:  # noqa: ANN401 - napari makes its class of our manifest
    """What napari's dialog shows; None where it shows nothing of plugins."""
    ask = getattr(napari.settings, "get_plugin_settings", None)
    with suppress(KeyError):  # napari does not know us: a dock of a script's
        return ask and ask(PLUGIN)
    return None


class NapariPreferences(QObject):
    """Holds napari's copy equal to what is kept.

    Args:
        parent: the dock.
        warn: tells the person what cannot be kept, and why.
    """

    def __init__(self, parent: QObject, warn: Callable[[WsolError], object]) -> None:
        super().__init__(parent)
        self._whole, self._warn = napari_copy(), warn
        self._edited = once(self, TYPED_MS, self._keep)
        self._watcher = QFileSystemWatcher(self)
        if self._whole is None:
            return
        ours = preferences_file()
        theirs = Path(self._whole.config_path or ours)
        if _time_of(theirs) > _time_of(ours):
            self._keep()
        self._show()
        self._whole.preferences.events.connect(self._on_edit)
        with suppress(OSError):
            ours.parent.mkdir(parents=True, exist_ok=True)
            self._watcher.addPath(str(ours.parent))  # a file is replaced, a folder not
        self._watcher.directoryChanged.connect(self._on_file)

    def close(self) -> None:
        """Let go of napari's copy; what was typed last is kept."""
        if self._whole is not None:
            self._whole.preferences.events.disconnect(self._on_edit)
            self._watcher.directoryChanged.disconnect(self._on_file)
            if self._edited.isActive():
                with suppress(WsolError):  # there is no window left to tell it
                    self._take()
        self._edited.stop()

    def _on_edit(self) -> None:
        self._edited.start()

    def _on_file(self) -> None:
        if not self._edited.isActive():
            self._show()

    def _keep(self) -> None:
        """Keep what is chosen in the dialog, or say why not."""
        self._edited.stop()
        try:
            self._take()
        except WsolError as error:
            self._warn(error)
            self._show()

    def _take(self) -> None:
        ours = _kept()
        changed = {
            name: None if value == DEFAULTS[name] else value
            for name, value in _ours(self._whole.preferences.model_dump()).items()
            if value != ours[name]
        }
        if changed:
            keep(**changed)

    def _show(self) -> None:
        """Show what is kept, as far as the dialog has room for it."""
        page, kept = self._whole.preferences, _kept()
        kept[MEMORY] = kept.pop("memory_bytes") / GIGABYTE
        for name, value in kept.items():
            if getattr(page, name) != value:
                with suppress(ValueError):  # a device that its list lacks
                    setattr(page, name, value)


def _kept() -> dict[str, Any]:
    """What is chosen; environment variables go away again."""
    return {**DEFAULTS, **stored()}


def _ours(page: Mapping[str, Any]) -> dict[str, Any]:
    """Values of napari's page, under our names."""
    values = dict(page)
    values["memory_bytes"] = round(values.pop(MEMORY) * GIGABYTE)
    return values


def _time_of(path: Path) -> float:
    """When a file was written; before all others where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
