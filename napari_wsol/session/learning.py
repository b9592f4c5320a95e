"""How strokes on an image are learnt, and how a journal says so."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from napari_wsol.config import FinetuneConfig
from napari_wsol.errors import MalformedError
from napari_wsol.files.parsing import typed

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

LIVE, REFINEMENT = "live", "refinement"
"""Names of the settings in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How strokes are learnt.

    Attributes:
        live: whether each stroke is followed by a refit; whoever paints does it.
        settings: of a refit, where nothing else is said.
    """

    live: bool = True
    settings: FinetuneConfig = field(default_factory=FinetuneConfig)

    def but(self, live: bool | None, settings: FinetuneConfig | None) -> Learning:
        """With other values, where they are not None."""
        values = {"live": live, "settings": settings}
        return replace(self, **{k: v for k, v in values.items() if v is not None})

    def told_after(self, before: Learning) -> dict[str, object]:
        """What a journal is told, where it was otherwise before."""
        values: dict[str, object] = {}
        if self.live != before.live:
            values[LIVE] = self.live
        if self.settings != before.settings:
            values[REFINEMENT] = asdict(self.settings)
        return values

    def as_told(self, values: Mapping[str, object]) -> Learning:
        """With what a journal says."""
        live, settings = values.get(LIVE), values.get(REFINEMENT)
        return self.but(
            live if isinstance(live, bool) else None,
            settings_of(cast("dict[str, object]", settings))
            if isinstance(settings, dict)
            else None,
        )


AT_FIRST: Mapping[str, object] = MappingProxyType({"cautious": False})
"""What rounds were made with before there was such a setting."""


def settings_of_round(values: Mapping[str, object]) -> FinetuneConfig:
    """What a round was made with, as a journal keeps it: the same map comes again."""
    return settings_of({**AT_FIRST, **values})


def settings_of(values: Mapping[str, object]) -> FinetuneConfig:
    """Settings as a journal keeps them; those that are not known here are passed over.

    Values that are not allowed any more give the defaults.
    """
    try:
        return typed(values, FinetuneConfig)
    except MalformedError as error:
        logger.warning("Settings of the journal do not fit: %s", error)
        return FinetuneConfig()
