"""Strokes: what a person drew, as vectors and as the cells that it changed.

A stroke is the most expensive thing in the system, so it is kept twice: as its path,
for people, other programs and the training set; and as the cells of the canvas that it
changed, so that the same strokes give the same canvas on every machine, whatever tool
drew them. Erasing and clearing are strokes too. Nothing here is changed in place.
"""

from __future__ import annotations

import base64
import datetime
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from napari_wsol.errors import ConfigError, MalformedError
from napari_wsol.files.parsing import Count, Finite, typed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_wsol.strokes.canvas import Scribbles

Tool = Literal["brush", "erase", "polygon", "grow", "import", "edit", "clear"]
"""How strokes are made; "edit" is any other change of the canvas."""

UNDO_STEPS = 100
"""Steps that can be taken back at once, without drawing everything anew."""

UNLABELLED, BACKGROUND, FOREGROUND = 0, 1, 2
"""Values on a canvas."""

Runs = npt.NDArray[np.int32]
"""(n, 4) rows of (row, first column, column after the last, new value)."""

RUNS_BYTES = 256_000_000
"""Of the runs of one stroke: one for each cell of the largest canvas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """One action on the canvas.

    Attributes:
        number: counts up in the record of an image.
        label: 0 erases, 1 background, 2 foreground.
        tool: what it was made with.
        runs: the cells that changed.
        path: its points (y, x) in level-0 pixels, where it has a path; of a polygon
            the corners.
        width: of the brush, in level-0 pixels; 0 where it has none.
        time: when it was finished, UTC, ISO 8601.
        seconds: how long it took.
    """

    number: Count
    label: int
    tool: Tool
    runs: Runs
    path: tuple[tuple[Finite, Finite], ...] = ()
    width: Finite = 0.0
    time: str = ""
    seconds: Finite = 0.0

    def __post_init__(self) -> None:
        if self.label not in (UNLABELLED, BACKGROUND, FOREGROUND):
            raise ConfigError(f"A stroke's label is 0, 1 or 2, not {self.label}.")
        if self.tool not in get_args(Tool):
            raise ConfigError(f"There is no tool “{self.tool}”.")

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Top, left, bottom, right of the changed cells; the latter two exclusive."""
        if not len(self.runs):
            return 0, 0, 0, 0
        rows, first, after = self.runs[:, 0], self.runs[:, 1], self.runs[:, 2]
        return int(rows.min()), int(first.min()), int(rows.max()) + 1, int(after.max())

    @property
    def cells(self) -> int:
        """How many cells it changed."""
        return int((self.runs[:, 2] - self.runs[:, 1]).sum())

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether all its cells lie on a canvas of this shape, with values 0 to 2."""
        if not len(self.runs):
            return True
        top, left, bottom, right = self.box
        lengths = self.runs[:, 2] - self.runs[:, 1]
        values = self.runs[:, 3]
        return bool(
            top >= 0
            and left >= 0
            and bottom <= shape[0]
            and right <= shape[1]
            and lengths.min() > 0
            and values.min() >= UNLABELLED
            and values.max() <= FOREGROUND
        )

    def places(self, columns: int) -> npt.NDArray[np.intp]:
        """(n,) the cells that it changed, as places in a flat canvas.

        Args:
            columns: of the canvas.
        """
        runs = self.runs.astype(np.intp)
        lengths = runs[:, 2] - runs[:, 1]
        begins = runs[:, 0] * columns + runs[:, 1]
        before = np.cumsum(lengths) - lengths
        offsets = np.arange(int(lengths.sum()), dtype=np.intp)
        return (np.repeat(begins - before, lengths) + offsets).astype(np.intp)

    def draw(self, canvas: Scribbles) -> None:
        """Puts its values on a canvas, in place."""
        for row, first, after, value in self.runs:
            canvas[row, first:after] = value

    def to_dict(self) -> dict[str, object]:
        """As plain values; the cells as compressed text."""
        return {
            "number": self.number,
            "label": self.label,
            "tool": self.tool,
            "runs": packed(self.runs),
            "path": [[round(y, 2), round(x, 2)] for y, x in self.path],
            "width": round(self.width, 3),
            "time": self.time,
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Stroke:
        """The inverse of :meth:`to_dict`.

        Raises:
            MalformedError: these are not a stroke's values.
        """
        runs = values.get("runs")
        if not isinstance(runs, str):
            raise MalformedError("the cells of a stroke are missing")
        return typed({**values, "runs": unpacked(runs)}, cls)


def packed(runs: Runs) -> str:
    """Runs as text: little-endian int32, zlib, base64."""
    raw = np.ascontiguousarray(runs, "<i4").tobytes()
    return base64.b64encode(zlib.compress(raw, 6)).decode("ascii")


def unpacked(text: str) -> Runs:
    """The inverse of :func:`packed`.

    Raises:
        MalformedError: this is no such text, or it holds more cells than any canvas.
    """
    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(base64.b64decode(text, validate=True), RUNS_BYTES)
    except (zlib.error, ValueError) as error:
        raise MalformedError(f"the cells of a stroke are damaged: {error}") from error
    if not reader.eof or len(raw) % 16:
        raise MalformedError("the cells of a stroke are damaged")
    return np.frombuffer(raw, "<i4").reshape(-1, 4).astype(np.int32, copy=False)


def now() -> str:
    """This moment, UTC, ISO 8601 with milliseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def changed_runs(
    before: Scribbles, after: Scribbles, origin: tuple[int, int] = (0, 0)
) -> Runs:
    """The cells in which two canvases, or the same part of them, differ.

    Args:
        before: (h, w) uint8.
        after: the same shape.
        origin: row and column of the part on its canvas.
    """
    rows = np.flatnonzero((before != after).any(axis=1))
    if not len(rows):
        return np.zeros((0, 4), np.int32)
    old, new = before[rows], after[rows]
    # Values of cells that stay are replaced by one that does not occur, so that a run
    # ends wherever the new value changes or nothing was changed.
    kept = np.where(old == new, np.uint8(255), new)
    edge = np.full((len(rows), 1), 255, np.uint8)
    padded = np.concatenate([edge, kept, edge], axis=1)
    turns = padded[:, 1:] != padded[:, :-1]
    at_row, at_column = np.nonzero(turns)
    # Every turn begins a piece that lasts until the next turn of the same row.
    value = padded[at_row, at_column + 1]
    follows = np.append(at_column[1:], 0)
    begins = value != 255
    return np.stack(
        [
            rows[at_row[begins]] + origin[0],
            at_column[begins] + origin[1],
            follows[begins] + origin[1],
            value[begins],
        ],
        axis=1,
    ).astype(np.int32)


@dataclass(frozen=True)
class StrokeList:
    """All strokes of one image that count now, and what can be taken back.

    Every verb gives a new list. The canvas is copied at each, and its parts under a
    stroke are kept for undo.

    Attributes:
        canvas: (h, w) uint8: 0 unlabelled, 1 background, 2 foreground. Do not write.
        strokes: in the order in which they were made, without those taken back.
        last_number: of any stroke ever made, also of those taken back.
    """

    canvas: Scribbles
    strokes: tuple[Stroke, ...] = ()
    last_number: int = 0
    # Strokes that can be taken back, with what stood there before.
    _steps: tuple[tuple[Stroke, Scribbles], ...] = field(default=(), repr=False)
    _undone: tuple[Stroke, ...] = field(default=(), repr=False)

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> StrokeList:
        """No strokes on a canvas of this shape."""
        return cls(np.zeros(shape, np.uint8))

    @property
    def can_undo(self) -> bool:
        """Whether there is a stroke to take back."""
        return bool(self.strokes)

    @property
    def can_redo(self) -> bool:
        """Whether a stroke was taken back last."""
        return bool(self._undone)

    @property
    def counts(self) -> tuple[int, int]:
        """Strokes of foreground and background that teach."""
        return kinds_of(self.teaching)

    @cached_property
    def teaching(self) -> Mapping[int, int]:
        """Number → label, 1 or 2, of the strokes that own a cell of the canvas.

        The others were erased, cleared or painted over: nothing is learnt from them.
        """
        free = (self.canvas != UNLABELLED).reshape(-1)
        found: dict[int, int] = {}
        left = int(np.count_nonzero(free))
        for stroke in reversed(self.strokes):  # a cell is of the last that painted it
            if not left:
                break
            cells = stroke.places(self.canvas.shape[1])
            own = cells[free[cells]]
            free[own] = False
            left -= len(own)
            if len(own):
                labels = np.bincount(self.canvas.reshape(-1)[own], minlength=3)
                found[stroke.number] = int(labels[1:].argmax()) + 1
        return MappingProxyType(dict(reversed(found.items())))

    @property
    def steps(self) -> int:
        """How often something can be taken back: strokes made together go together."""
        pairs = zip(self.strokes, self.strokes[1:], strict=False)
        return bool(self.strokes) + sum(not _together(a, b) for a, b in pairs)

    @property
    def last_step(self) -> tuple[Stroke, ...]:
        """What is taken back next, the newest first."""
        return _step_at_the_end(self.strokes)

    @property
    def next_step(self) -> tuple[Stroke, ...]:
        """What can be brought again next, in the order of its making."""
        return _step_at_the_end(self._undone)

    def add(self, *strokes: Stroke) -> StrokeList:
        """Some more; what was taken back before cannot come again."""
        canvas = self.canvas.copy()
        steps: list[tuple[Stroke, Scribbles]] = []
        for stroke in strokes:
            top, left, bottom, right = stroke.box
            steps.append((stroke, canvas[top:bottom, left:right].copy()))
            stroke.draw(canvas)
        return StrokeList(
            canvas,
            (*self.strokes, *strokes),
            max(self.last_number, *(stroke.number for stroke in strokes)),
            (*self._steps, *steps)[-UNDO_STEPS:],
        )

    def undo(self) -> StrokeList:
        """Without the last step; the list itself where there is none."""
        gone = self.last_step
        if not gone:
            return self
        kept = self.strokes[: -len(gone)]
        if len(self._steps) >= len(gone):
            canvas = self.canvas.copy()
            for stroke, before in reversed(self._steps[-len(gone) :]):
                top, left, bottom, right = stroke.box
                canvas[top:bottom, left:right] = before
        else:
            canvas = drawn(kept, self.canvas.shape)
        return StrokeList(
            canvas,
            kept,
            self.last_number,
            self._steps[: -len(gone)],
            (*self._undone, *gone),
        )

    def redo(self) -> StrokeList:
        """With the step that was taken back last."""
        back = self.next_step
        if not back:
            return self
        return replace(
            self.add(*back),
            last_number=self.last_number,
            _undone=self._undone[: -len(back)],
        )

    def made(
        self,
        labels: Scribbles,
        *,
        label: int,
        tool: Tool,
        path: Sequence[tuple[float, float]] = (),
        width: float = 0.0,
        seconds: float = 0.0,
        origin: tuple[int, int] = (0, 0),
    ) -> Stroke | None:
        """The stroke that turns the canvas into ``labels``; None where nothing differs.

        Args:
            labels: (h, w) uint8, the whole canvas or a part of it.
            label: what was painted.
            tool: what with.
            path: points (y, x) in level-0 pixels.
            width: of the brush in level-0 pixels.
            seconds: how long it took.
            origin: row and column of the part.
        """
        rows, columns = labels.shape
        part = self.canvas[
            origin[0] : origin[0] + rows, origin[1] : origin[1] + columns
        ]
        runs = changed_runs(part, labels, origin)
        if not len(runs):
            return None
        return Stroke(
            number=self.last_number + 1,
            label=label,
            tool=tool,
            runs=runs,
            path=tuple((float(y), float(x)) for y, x in path),
            width=width,
            time=now(),
            seconds=seconds,
        )


def kinds_of(teaching: Mapping[int, int]) -> tuple[int, int]:
    """How many of the strokes are foreground, and how many background.

    Args:
        teaching: number → label.
    """
    labels = list(teaching.values())
    return labels.count(FOREGROUND), labels.count(BACKGROUND)


def _together(first: Stroke, second: Stroke) -> bool:
    """Whether two strokes were made in one go: a file, or another canvas."""
    pairs = (first.tool, first.time), (second.tool, second.time)
    return pairs[0] == pairs[1] and first.tool in {"import", "edit"}


def _step_at_the_end(strokes: Sequence[Stroke]) -> tuple[Stroke, ...]:
    """The last stroke and those made together with it, backwards."""
    found = list(strokes[-1:])
    for stroke in reversed(strokes[:-1]):
        if not _together(stroke, found[-1]):
            break
        found.append(stroke)
    return tuple(found)


def drawn(strokes: Sequence[Stroke], shape: tuple[int, ...]) -> Scribbles:
    """The canvas that strokes give, drawn from nothing."""
    canvas = np.zeros(shape, np.uint8)
    for stroke in strokes:
        stroke.draw(canvas)
    return canvas


def owners(strokes: Sequence[Stroke], canvas: Scribbles) -> npt.NDArray[np.int32]:
    """Which stroke gave each labelled cell its label.

    Args:
        strokes: those that count, in order.
        canvas: what they give.

    Returns:
        (h, w) int32: the place in ``strokes``, from 0; -1 where nothing is labelled.
    """
    owner = np.full(canvas.shape, -1, np.int32)
    for place, stroke in enumerate(strokes):
        for row, first, after, value in stroke.runs:
            owner[row, first:after] = place if value != UNLABELLED else -1
    return owner
