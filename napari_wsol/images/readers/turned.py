"""Images that are stored lying on a side or mirrored, read upright."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.tiled import TiledLevel


@dataclass(frozen=True, slots=True)
class Turn:
    """From what is stored to what stands upright: first the axes, then the mirrors.

    Attributes:
        swaps: whether rows are stored as columns.
        down: whether the rows that result run from the bottom to the top.
        across: whether the columns that result run from right to left.
    """

    swaps: bool = False
    down: bool = False
    across: bool = False

    def shape(self, stored: tuple[int, int]) -> tuple[int, int]:
        """(height, width) upright."""
        return (stored[1], stored[0]) if self.swaps else stored

    def upright(self, pixels: Rgb) -> Rgb:
        """(h, w, 3) as stored, turned; a view."""
        if self.swaps:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: -1 if self.down else 1, :: -1 if self.across else 1]


AS_STORED = Turn()
_TURNS: dict[object, Turn] = {
    1: AS_STORED,
    2: Turn(across=True),
    3: Turn(down=True, across=True),
    4: Turn(down=True),
    5: Turn(swaps=True),
    6: Turn(swaps=True, across=True),
    7: Turn(swaps=True, down=True, across=True),
    8: Turn(swaps=True, down=True),
}


def turn_of(orientation: object) -> Turn:
    """What the tag Orientation of TIFF says; others than 1 to 8 say nothing."""
    return _TURNS.get(orientation, AS_STORED)


class TurnedLevel:
    """One resolution of an image, turned upright rectangle by rectangle.

    Attributes:
        shape: (height, width), upright.
    """

    def __init__(self, level: TiledLevel, turn: Turn) -> None:
        self._level = level
        self._turn = turn
        self.shape = turn.shape(level.shape)

    def read(self, y: int, x: int, height: int, width: int) -> Rgb:
        """As :meth:`TiledLevel.read`."""
        turn = self._turn
        if turn.down:
            y = self.shape[0] - y - height
        if turn.across:
            x = self.shape[1] - x - width
        place = (x, y, width, height) if turn.swaps else (y, x, height, width)
        return np.ascontiguousarray(turn.upright(self._level.read(*place)))


def upright(level: TiledLevel, turn: Turn) -> TiledLevel | TurnedLevel:
    """The level as it is to be seen."""
    return level if turn == AS_STORED else TurnedLevel(level, turn)
