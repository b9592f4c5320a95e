"""Our preferences in napari's dialog, where it has pages for those of plugins (0.9).

What is chosen lies in our own file, which commands read, too. While a dock is open,
napari's copy is held equal to it, whoever changes either. What the page showed last is
noted: what differs from that was chosen there, also while no dock was open. When napari
wrote its copy says nothing: with *OK* it writes all pages.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import napari.settings
from qtpy.QtCore import QFileSystemWatcher, QObject

from napari_wsol.errors import ConfigError, MalformedError, WsolError
from napari_wsol.files import write_whole
from napari_wsol.files.parsing import read_json
from napari_wsol.gui.tasks import once
from napari_wsol.paths import preferences_file
from napari_wsol.preferences import DEFAULTS, VARIABLES, keep, source_of, stored

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
        self._page: Any = getattr(copies.get("napari-wsol"), "preferences", None)
        if self._page is None:
            return
        folder = preferences_file().parent
        with suppress(OSError):  # whoever keeps something there is told
            folder.mkdir(parents=True, exist_ok=True)
        self._note = folder / "shown-in-napari.json"
        self._keep()
        self._page.events.connect(self._on_edit)
        self._watcher.addPath(str(folder))  # a file is replaced, its folder not
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
        kept, shown = {**DEFAULTS, **stored()}, {**DEFAULTS, **self._shown()}
        given = self._given()
        chosen = {x: y for x, y in given.items() if y not in (shown[x], kept[x])}
        if chosen:  # a default is what nobody chose
            keep(**{x: None if y == DEFAULTS[x] else y for x, y in chosen.items()})
        self._write(given)
        for name in chosen:
            if source_of(name) == VARIABLES[name]:
                raise ConfigError(f"{VARIABLES[name]} counts more than what you chose.")

    def _show(self) -> None:
        """Show what is kept, as far as the dialog has room for it."""
        if self._edited.isActive():  # somebody types
            return
        kept: dict[str, Any] = {**DEFAULTS, **stored()}
        kept["memory_gb"] = round(kept.pop("memory_bytes") / 1e9, 2)  # as there
        for name, value in kept.items():
            if getattr(self._page, name) != value:
                with suppress(ValueError):  # a device that its list lacks
                    setattr(self._page, name, value)
        self._write(self._given())

    def _given(self) -> dict[str, Any]:
        """What the page says, in our words."""
        values = self._page.model_dump()
        return values | {"memory_bytes": round(values.pop("memory_gb") * 1e9)}

    def _shown(self) -> dict[str, Any]:
        with suppress(OSError, MalformedError):
            return read_json(self._note, dict[str, Any])
        return {}

    def _write(self, shown: dict[str, Any]) -> None:
        if shown != self._shown():
            with suppress(OSError):
                write_whole(self._note, json.dumps(shown))
