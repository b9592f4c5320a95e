"""What each refit gave."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.config import FinetuneConfig
from napari_wsol.images.heatmap import MARKED
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.stroke_field import StrokeField
    from napari_wsol.strokes.canvas import Scribbles


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What the other strokes say of one stroke.

    Attributes:
        number: of the stroke.
        label: what it says, 1 background, 2 foreground.
        agreement: share of its pixels, in [0, 1], to which a head that learnt from all
            other strokes gives the same label.
    """

    number: int
    label: int
    agreement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refined:
    """What a round learnt: enough to see its map again.

    Attributes:
        index: of the round.
        target: class whose map was refined.
        head: its pixel head.
        stroke_field: what its strokes say beside the head, of this image only; None
            where the head says all.
        stage: weights by name of the encoder's last stage as its strokes taught it;
            None where the encoder is the model's own.
        settings: what it was made with: they say what becomes of edges.
    """

    index: int
    target: str
    head: PixelHead
    stroke_field: StrokeField | None = None
    stage: Mapping[str, Tensor] | None = None
    settings: FinetuneConfig = field(default_factory=FinetuneConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One refit; round 0 is the model as it was loaded. Never changed afterwards.

    Attributes:
        index: counts up.
        heatmap: what it gave.
        head: its pixel head; None for round 0.
        stroke_field, stage: as of :class:`Refined`.
        scribbles: the canvas that it learnt from; None for round 0, and where the
            session keeps the strokes themselves.
        loss: the loss at each step.
        strokes: how many it learnt from: those of ``teaching``, or the connected ones
            on ``scribbles`` where nobody numbered them.
        foreground: labelled foreground pixels.
        background: labelled background pixels.
        seconds: from the start of the work to the map.
        settings: what it was made with.
        left_out: each stroke judged by a head that learnt from the others; empty where
            there are too few.
        before: class → probability of the image, read through round 0's map.
        after: the same, read through this round's map.
        warning: a sentence where the strokes contradict what the model says of the
            image; empty where they do not.
        teaching: number → label of the strokes that it learnt from.
        learnt_from: numbers of all strokes and erasures that made its canvas.
        others: digests of the samples of other images that it learnt from.
        other_strokes: how many strokes these are.
        strokes_sha256: of the canvas that it learnt from.
    """

    index: int
    heatmap: Heatmap
    head: PixelHead | None = None
    stroke_field: StrokeField | None = None
    stage: Mapping[str, Tensor] | None = None
    scribbles: Scribbles | None = None
    loss: tuple[float, ...] = ()
    strokes: int = 0
    foreground: int = 0
    background: int = 0
    seconds: float = 0.0
    settings: FinetuneConfig | None = None
    left_out: tuple[LeftOut, ...] = ()
    before: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    after: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    warning: str = ""
    teaching: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    learnt_from: tuple[int, ...] = ()
    others: tuple[str, ...] = ()
    other_strokes: int = 0
    strokes_sha256: str = ""

    @property
    def has_network(self) -> bool:
        """Whether it learnt a network, which belongs to its image, and not its head."""
        return self.settings is not None and self.settings.head == "mlp"

    @property
    def agreement(self) -> float | None:
        """Mean over both kinds of the agreement with strokes left out; None if unknown.

        Strokes weigh the same, however long they are, and both kinds weigh the same.
        """
        means: list[float] = []
        for label in (BACKGROUND, FOREGROUND):
            found = [item.agreement for item in self.left_out if item.label == label]
            if found:
                means.append(sum(found) / len(found))
        return sum(means) / len(means) if means else None


def bytes_in_memory(item: Round) -> int:
    """What the map and the strokes of a round take; 0 once they are :func:`spilled`."""
    arrays = (item.heatmap.values, item.scribbles)
    return sum(
        array.nbytes for array in arrays if array is not None and not _is_mapped(array)
    )


def spilled(item: Round, folder: Path) -> Round:
    """The same round with its map and its strokes read from a file when needed.

    Args:
        item: a round.
        folder: for a new .npy; the round is good as long as that file is there.

    Returns:
        A round with equal, read-only arrays.

    Raises:
        OSError: the file cannot be written.
    """
    values, strokes = item.heatmap.values, item.scribbles
    parts = (
        {"values": values}
        if strokes is None
        else {"values": values, "scribbles": strokes}
    )
    # Both in one file: every file that is mapped takes one of the few handles.
    kind = [(name, array.dtype, array.shape) for name, array in parts.items()]
    record = np.zeros((), np.dtype(kind))
    for name, array in parts.items():
        record[name] = array
    # A new name each time: a mapped file that is written again takes the process down.
    handle, name = tempfile.mkstemp(".npy", f"round-{item.index}-", folder)
    with os.fdopen(handle, "wb") as file:
        np.save(file, record)
    mapped = np.load(name, mmap_mode="r")
    return replace(
        item,
        heatmap=replace(item.heatmap, values=np.asarray(mapped["values"])),
        scribbles=None if strokes is None else np.asarray(mapped["scribbles"]),
    )


def _is_mapped(array: npt.NDArray[np.generic]) -> bool:
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


SAME = 1e-3
"""Values closer than this are the same to the eye."""


def odd_map_words(item: Round) -> str:
    """What is odd about the map of a refit, with its likely cause; empty if nothing is.

    Round 0 is the model's own; it has notes of its own.
    """
    values = item.heatmap.values
    if item.index == 0 or not values.size:
        return ""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        return (
            "The map of this round has values that are not numbers. The image probably "
            "has some too: go back to an earlier round, and open an image without them."
        )
    if high - low < SAME:
        return (
            f"The map says {high:.2f} everywhere. The strokes probably lie on what "
            "looks alike to the model: draw them where it differs."
        )
    if high < MARKED:
        return (
            "Nothing is above 0.5 any more. The background strokes probably outweigh "
            "the rest: add foreground on what should be found."
        )
    if low >= MARKED:
        return (
            "Everything is above 0.5. The foreground strokes probably outweigh the "
            "rest: add background on what should not be found."
        )
    return ""


JUMP = 1 / 3
"""Of the marked area: a stroke that moves it by more is told."""

LEAST_JUMP = 0.01
"""Of the image: less than this is a speck, and no jump."""


def jump_words(before: Round, after: Round) -> str:
    """That new strokes moved the marked area by more than a third; empty if not.

    Args:
        before: the round before.
        after: what strokes have made of it; where none is new, nothing is told.
    """
    if not set(after.learnt_from) > set(before.learnt_from):
        return ""
    was, now = (
        float(np.mean(item.heatmap.values >= MARKED)) for item in (before, after)
    )
    if abs(now - was) <= max(JUMP * was, LEAST_JUMP):
        return ""
    moved = "grown" if now > was else "shrunk"
    shares = [f"{share:.0%}".replace("%", "\u00a0%") for share in (was, now)]
    return f"The marked area has {moved} from {shares[0]} to {shares[1]} of the image."
