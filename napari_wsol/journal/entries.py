"""What a journal can say: one frozen class a kind of entry.

Taking back, erasing and clearing are entries like painting. What a network predicted is
never an entry: a round is kept by the settings and digests that give it again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar, Literal, Self, TypeAlias, get_args

from typing_extensions import override

from napari_wsol.files.parsing import Count, Finite, typed
from napari_wsol.registry import Registry
from napari_wsol.strokes.stroke import Stroke, now

if TYPE_CHECKING:
    from collections.abc import Mapping

Status = Literal["untouched", "stroked", "refined", "reviewed"]
"""How far the work on an image is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Something that happened.

    Attributes:
        time: when, UTC, ISO 8601.
    """

    kind: ClassVar[str] = ""

    time: str = field(default_factory=now)

    def to_dict(self) -> dict[str, object]:
        """As plain values, with the kind as ``type``."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"type": self.kind, **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The inverse of :meth:`to_dict`; unknown values are passed over.

        Raises:
            MalformedError: these are not the values of such an entry.
        """
        return typed(values, cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrokeMade(_Entry):
    """The canvas was changed: painted, erased or cleared."""

    kind: ClassVar[str] = "stroke"

    stroke: Stroke

    def to_dict(self) -> dict[str, object]:
        """As plain values, with the kind as ``type``."""
        return {**_Entry.to_dict(self), "stroke": self.stroke.to_dict()}

    @classmethod
    @override
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The inverse of :meth:`to_dict`; unknown values are passed over."""
        stroke = typed(values.get("stroke"), dict[str, object])
        return typed({**values, "stroke": Stroke.from_dict(stroke)}, cls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone(_Entry):
    """A stroke was taken back; ``number`` is the stroke's."""

    kind: ClassVar[str] = "undone"

    number: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Redone(_Entry):
    """A stroke was brought again; ``number`` is the stroke's."""

    kind: ClassVar[str] = "redone"

    number: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundMade(_Entry):
    """The pixel head was refitted to strokes.

    Attributes:
        index: counts up.
        model: its name.
        model_sha256: of its weights.
        target: the class localized.
        head: file in the journal's folder; empty where none was written.
        head_sha256: of that file.
        map_sha256: of the map's values.
        settings: what it was made with, as plain values.
        strokes: numbers of those that it learnt from.
        others: digests of samples of other images.
        facts: whatever else is known, as plain values: seconds, loss, scores, threads,
            versions.
    """

    kind: ClassVar[str] = "round"

    index: Count
    model: str
    model_sha256: str
    target: str
    head: str = ""
    head_sha256: str = ""
    map_sha256: str = ""
    settings: dict[str, object] = field(default_factory=dict[str, object])
    strokes: tuple[Count, ...] = ()
    others: tuple[str, ...] = ()
    facts: dict[str, object] = field(default_factory=dict[str, object])


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundShown(_Entry):
    """An earlier or later round was shown; 0 is the model as it was loaded."""

    kind: ClassVar[str] = "shown"

    index: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChanged(_Entry):
    """Settings got new values; those that are not named stay."""

    kind: ClassVar[str] = "settings"

    values: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged(_Entry):
    """The work went on a step."""

    kind: ClassVar[str] = "status"

    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Dismissed(_Entry):
    """A proposed place was not wanted.

    Attributes:
        y, x, radius: in level-0 pixels.
    """

    kind: ClassVar[str] = "dismissed"

    y: Finite
    x: Finite
    radius: Finite


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedAfresh(_Entry):
    """What came before does not count any more; it stays in the file."""

    kind: ClassVar[str] = "afresh"


Entry: TypeAlias = (
    StrokeMade
    | Undone
    | Redone
    | RoundMade
    | RoundShown
    | SettingsChanged
    | StatusChanged
    | Dismissed
    | StartedAfresh
)

KINDS = Registry[type[Entry]](
    "kind of entry", {item.kind: item for item in get_args(Entry)}
)
"""Every kind of entry by its ``type``."""


def entry_from(values: Mapping[str, object]) -> Entry:
    """An entry from plain values.

    Raises:
        UnknownNameError: a kind that this version does not know.
        MalformedError: these are not the values of such an entry.
    """
    return KINDS[str(values.get("type"))].from_dict(values)
