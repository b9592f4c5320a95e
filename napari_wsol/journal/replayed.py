"""What the entries of a journal come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsol.journal.entries import (
    Dismissed,
    Redone,
    RoundMade,
    RoundShown,
    SettingsChanged,
    StartedAfresh,
    StatusChanged,
    StrokeMade,
    Undone,
)
from napari_wsol.strokes.stroke import StrokeList, drawn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsol.journal.entries import Entry, Status
    from napari_wsol.strokes.stroke import Stroke


@dataclass(frozen=True, slots=True)
class EarlierWork:
    """What the entries of a journal come to, on a canvas: a person's work on one image.

    Attributes:
        strokes: those that count now; what was taken back last can be brought again.
        rounds: in the order in which they were made, of all models.
        shown: index of the round that was shown last; 0 is the model as it was loaded.
        settings: the last value of each.
        status: how far the work is.
        dismissed: proposals that were not wanted.
    """

    strokes: StrokeList
    rounds: tuple[RoundMade, ...]
    shown: int
    settings: dict[str, object]
    status: Status
    dismissed: tuple[Dismissed, ...]


class Replayed:
    """What entries come to without a canvas: quick, for lists of many journals.

    Undo is a stack: whoever takes a stroke back has taken back all later ones before,
    and whoever brings one again has brought all earlier ones again before. So where an
    entry is missing because its line was damaged, the next one puts things right.
    Taking back or bringing again a stroke that is missing does nothing.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.strokes: list[Stroke] = []
        self.undone: list[Stroke] = []
        self.last_number = 0
        self.rounds: list[RoundMade] = []
        self.shown = 0
        self.settings: dict[str, object] = {}
        self.status: Status = "untouched"
        self.dismissed: list[Dismissed] = []
        for entry in entries:
            self._take(entry)

    @property
    def counts(self) -> bool:
        """Whether anything was done that a person would want back."""
        is_touched = self.status != "untouched"
        return bool(self.strokes or self.rounds or self.dismissed or is_touched)

    def _take(self, entry: Entry) -> None:
        match entry:
            case StrokeMade(stroke=stroke):
                self._add(stroke)
            case Undone(number=number):
                _move(number, self.strokes, self.undone)
            case Redone(number=number):
                _move(number, self.undone, self.strokes)
            case RoundMade():
                self._add_round(entry)
            case RoundShown(index=index):
                self.shown = index
            case SettingsChanged(values=values):
                self.settings.update(values)
            case StatusChanged(status=status):
                self.status = status
            case Dismissed():
                self.dismissed.append(entry)
            case StartedAfresh():
                self._start()

    def _add(self, stroke: Stroke) -> None:
        self.strokes.append(stroke)
        self.undone.clear()
        self.last_number = max(self.last_number, stroke.number)

    def _add_round(self, made: RoundMade) -> None:
        # Another model counts its rounds from 1 again, and both may be wanted back.
        key = _key(made)
        found = next((item for item in self.rounds if _key(item) == key), None)
        if found is None:
            self.rounds.append(made)
            self.shown = made.index
        elif found.map_sha256 == made.map_sha256:  # more is known of it by now
            self.rounds[self.rounds.index(found)] = made
        else:
            self.rounds.remove(found)
            self.rounds.append(made)
            self.shown = made.index

    def _start(self) -> None:
        # Settings and numbers go on: a number stands for one stroke of the record.
        self.strokes, self.undone = [], []
        self.rounds, self.shown = [], 0
        self.status, self.dismissed = "untouched", []


def _key(made: RoundMade) -> tuple[str, str, int]:
    return made.model_sha256, made.target, made.index


def _move(number: int, source: list[Stroke], target: list[Stroke]) -> None:
    """Moves strokes from the end of one list to another, up to the one named."""
    numbers = [stroke.number for stroke in source]
    if number in numbers:
        at = numbers.index(number)
        target.extend(reversed(source[at:]))
        del source[at:]


def replayed(shape: tuple[int, int], entries: Iterable[Entry]) -> EarlierWork:
    """What the entries of a journal come to, on a canvas.

    Args:
        shape: of the canvas; strokes with cells outside of it are left out.
        entries: in the order in which they were written.
    """
    replay = Replayed(entries)
    strokes = [stroke for stroke in replay.strokes if stroke.fits(shape)]
    undone = tuple(stroke for stroke in replay.undone if stroke.fits(shape))
    return EarlierWork(
        StrokeList(
            drawn(strokes, shape), tuple(strokes), replay.last_number, (), undone
        ),
        tuple(replay.rounds),
        replay.shown,
        replay.settings,
        replay.status,
        tuple(replay.dismissed),
    )
