"""All that is needed to build a model, before its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, cast

from napari_wsol.errors import ConfigError
from napari_wsol.files.parsing import Finite, Positive, Share, typed
from napari_wsol.images.preprocessing import LARGEST_SIDE, Preprocessing
from napari_wsol.methods.heads import list_heads

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """How a model is built.

    Attributes:
        encoder: name in the encoder table.
        output_stride: input pixels a cell of the deepest map; the encoder's own by
            default.
        taps: maps of the encoder, finest first; image-level heads read the last.
        classes: names, in the order of the logits.
        heads: names in the head table. The first that classifies gives the image's
            logits. Without any, it is an encoder that waits for strokes or a training.
        options: of each head that is not built as its class does by default.
        multi_label: whether an image may show several classes (sigmoid), or exactly
            one (softmax).
        offsets: where cell 0 of each tap looks, in input pixels, if that was measured
            or published; by the padding otherwise.
        tile: side of the tiles that the encoder reads one by one, each giving one
            cell; None for an encoder that slides over the image.
        pooling: what a transformer makes of a tile: "cls", "mean", or "cls_mean", both
            behind each other; its own way by default.
        extractor: of a model that reads vectors ("vectors:1024") the network that made
            them, as their files name it; any by default.
        preprocessing: from pixels to the network's input; the encoder's own
            normalisation, at any size, by default.
        mpp: µm a pixel of the network's input; None where it takes images as they are.
        native_mpp: µm a pixel assumed for images that do not say theirs.
        cut: probability of the second of two classes, as the network gives it, from
            which on an image is said to show it; one half by default. What the model
            says is moved, in log odds, so that the cut lies at one half.
    """

    encoder: str
    classes: tuple[str, ...]
    heads: tuple[str, ...] = ("cam",)
    options: Mapping[str, Mapping[str, object]] = field(
        default_factory=dict[str, Mapping[str, object]]
    )
    output_stride: int | None = None
    taps: tuple[str, ...] | None = None
    multi_label: bool = False
    offsets: tuple[Finite, ...] | None = None
    tile: int | None = None
    pooling: str | None = None
    extractor: str | None = None
    preprocessing: Preprocessing | None = None
    mpp: Positive | None = None
    native_mpp: Positive | None = None
    cut: Share | None = None

    def __post_init__(self) -> None:
        if not self.classes:
            raise ConfigError("A model needs at least one class.")
        known = list_heads()
        if any(name not in known for name in self.heads):
            raise ConfigError(
                f"The heads of a model are among {', '.join(known)}, "
                f"not {', '.join(self.heads)}."
            )
        if self.cut is not None and (self.multi_label or len(self.classes) != 2):
            raise ConfigError(
                "A cut is for two classes of which an image shows exactly one: leave "
                "it out."
            )
        if self.tile is not None and not 1 <= self.tile <= LARGEST_SIDE:
            raise ConfigError(
                f"A tile has 1 to {LARGEST_SIDE} pixels a side, not {self.tile}."
            )
        stray = [name for name in self.options if name not in self.heads]
        if stray:
            raise ConfigError(f"There are options for {stray[0]}, which is no head.")

    def to_dict(self) -> dict[str, object]:
        """As plain values, for a card; what is not set is left out."""
        return plain(asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The inverse of :meth:`to_dict`.

        Raises:
            MalformedError: an entry is missing, unknown or impossible.
        """
        entries = cast("dict[str, object]", _frozen(values))
        how = entries.get("preprocessing")
        if how is not None:
            entries["preprocessing"] = typed(how, Preprocessing, closed=True)
        return typed(entries, cls, closed=True)


def plain(table: Mapping[str, object]) -> dict[str, object]:
    """A table without None, tuples and empty tables, as TOML wants it."""
    found = {key: _plain(item) for key, item in table.items() if item is not None}
    return {key: item for key, item in found.items() if item != {}}


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return plain(cast("Mapping[str, object]", value))
    if isinstance(value, tuple | list):
        return [_plain(item) for item in cast("list[object]", value)]
    return value


def _frozen(value: object) -> object:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        return {key: _frozen(item) for key, item in items}
    if isinstance(value, list):
        return tuple(_frozen(item) for item in cast("list[object]", value))
    return value
