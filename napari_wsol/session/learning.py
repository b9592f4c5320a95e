"""How a session learns from strokes: when, with which settings, and what it keeps."""

from __future__ import annotations

import logging
from dataclasses import asdict, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

from psygnal import Signal

from napari_wsol.config import FinetuneConfig
from napari_wsol.journal import SettingsChanged
from napari_wsol.refinement.rounds import bytes_in_memory, spilled
from napari_wsol.session.strokes import StrokeState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.journal import Work
    from napari_wsol.refinement.rounds import Round

logger = logging.getLogger(__name__)

LIVE, REFINEMENT = "live", "refinement"
"""Names of the settings in the journal."""


class LearningState(StrokeState):
    """The part of a session that knows how strokes are learnt.

    Args:
        journals: as for :class:`StrokeState`.

    Signals:
        those of :class:`StrokeState`, and
        settings_changed: no argument.
    """

    settings_changed = Signal()

    def __init__(self, journals: str | Path | bool = True) -> None:
        super().__init__(journals)
        self._live = True
        self._settings = FinetuneConfig()
        self._spill: TemporaryDirectory[str] | None = None

    @property
    def live(self) -> bool:
        """Whether each stroke is to be followed by a refit; whoever paints does it."""
        return self._live

    @live.setter
    def live(self, on: bool) -> None:
        if on != self._live:
            self._live = on
            self._write(SettingsChanged(values={LIVE: on}))
            self.settings_changed.emit()

    @property
    def settings(self) -> FinetuneConfig:
        """How strokes are learnt where nothing else is said."""
        return self._settings

    @settings.setter
    def settings(self, settings: FinetuneConfig) -> None:
        if settings != self._settings:
            self._settings = settings
            self._write(SettingsChanged(values={REFINEMENT: asdict(settings)}))
            self.settings_changed.emit()

    def _take_up(self, work: Work) -> None:
        super()._take_up(work)
        live, values = work.settings.get(LIVE), work.settings.get(REFINEMENT)
        if isinstance(live, bool):
            self._live = live
        if isinstance(values, dict):
            self._settings = settings_of(cast("dict[str, object]", values))
        if live is not None or values is not None:
            self.settings_changed.emit()

    def _add_round(self, done: Round) -> None:
        """One more; the oldest are kept in files when their maps take too much."""
        rounds = [*self._rounds, done]
        over = sum(map(bytes_in_memory, rounds)) - self.config.round_bytes
        for place, item in enumerate(rounds[:-1]):
            size = bytes_in_memory(item)
            if over <= 0:
                break
            if item.index == 0 or not size:
                continue  # the result of the localization holds it, or it is in a file
            try:
                rounds[place] = spilled(item, self._spill_folder())
            except OSError as error:
                logger.warning("Round %d stays in memory: %s", item.index, error)
                break
            over -= size
        self._rounds = tuple(rounds)

    def _spill_folder(self) -> Path:
        if self._spill is None:
            self._spill = TemporaryDirectory(
                prefix="napari-wsol-rounds-", ignore_cleanup_errors=True
            )
        return Path(self._spill.name)

    def _forget_result(self) -> None:
        super()._forget_result()
        self._drop_spilled()

    def _drop_spilled(self) -> None:
        """Nobody asks for the files any more; what is still mapped stays readable."""
        spill, self._spill = self._spill, None
        if spill is not None:
            spill.cleanup()


def settings_of(values: Mapping[str, object]) -> FinetuneConfig:
    """Settings as a journal keeps them; those that are not known here are passed over.

    Values that are not allowed any more give the defaults.
    """
    known = {item.name for item in fields(FinetuneConfig)}
    chosen = cast("dict[str, Any]", {k: v for k, v in values.items() if k in known})
    try:
        return FinetuneConfig(**chosen)
    except (TypeError, ValueError) as error:
        logger.warning("Settings of the journal do not fit: %s", error)
        return FinetuneConfig()
