"""Multiple instance learning over all tiles of a slide, with a few tiles in memory.

The bag of a slide may hold a million tiles. Their vectors are read from the log twice,
in the order of their numbers and in pieces of the same size, so that a run that was
killed and went on gives the same bits: see :func:`napari_wsol.methods.mil.read_bag`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_wsol.methods import evaluating
from napari_wsol.methods.mil import read_bag
from napari_wsol.slides.readouts import VECTORS
from napari_wsol.slides.scores import SlideScores, scored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from napari_wsol.methods import Model
    from napari_wsol.methods.mil import BagReading
    from napari_wsol.slides.kept_cells import KeptTiles

PIECE = 4096
"""Tiles of the bag whose vectors are in memory together."""

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SlideBag:
    """What a head makes of a slide's tiles.

    Attributes:
        scores: of the slide.
        shape: rows and columns of the grid of tiles.
        places: (n,) which cells of it are in the bag; the others are not finished,
            damaged, or without tissue.
        reading: of these tiles; None where there are none.
    """

    scores: SlideScores
    shape: tuple[int, int]
    places: Places
    reading: BagReading | None

    def on_grid(self, values: Floats) -> Floats:
        """(rows, columns) of (n,) values; 0 outside the bag."""
        result = np.zeros(self.shape, np.float32)
        result.reshape(-1)[self.places] = values
        return result


def read_slide(
    model: Model,
    kept: KeptTiles,
    *,
    without: Sequence[int] = (),
    check: Callable[[], None] = lambda: None,
) -> SlideBag:
    """Reads the bag of a slide.

    Args:
        model: one that pools tiles.
        kept: the vectors of the finished tiles.
        without: cells of the grid of tiles, row by row, that are left out.
        check: called once a piece; raises to stop.

    Raises:
        MethodUnavailableError: the model has no classifier.
        NoResultError: a score is not finite.
    """
    bag, places = KeptBag(kept), list[Places]()

    def pieces() -> Iterator[Tensor]:
        places.clear()
        for found, vectors in bag.pieces():
            own = ~np.isin(found, without)
            if own.any():
                places.append(found[own])
                yield vectors[torch.from_numpy(own)]

    if next(iter(pieces()), None) is None:
        note = "There is no score of the whole slide: no tile shows tissue."
        none = np.zeros(0, np.intp)
        return SlideBag(SlideScores({}, note=note), bag.shape, none, None)
    with evaluating(model), torch.inference_mode():
        reading = read_bag(model, pieces, check=check)
    scores = scored(model, reading.logits, len(reading.parts))
    return SlideBag(scores, bag.shape, np.concatenate(places), reading)


class KeptBag:
    """The vectors of a slide's tiles, a piece at a time."""

    def __init__(self, kept: KeptTiles) -> None:
        plane = kept.named[VECTORS]
        self._kept, self._stride = kept, plane.stride
        rows, columns = (-(-side // plane.stride) for side in kept.plan.seen.shape)
        self.shape = (rows, columns)

    def pieces(self) -> Iterator[tuple[Places, Tensor]]:
        """(n,) places on the grid of the bag, and (n, D) float32 vectors."""
        places: list[Places] = []
        vectors: list[Floats] = []
        waiting = 0
        for found, values in self._tiles():
            places.append(found)
            vectors.append(values)
            waiting += len(found)
            while waiting >= PIECE:
                all_places, all_values = np.concatenate(places), np.hstack(vectors)
                yield _piece(all_places[:PIECE], all_values[:, :PIECE])
                places, vectors = [all_places[PIECE:]], [all_values[:, PIECE:]]
                waiting -= PIECE
        if waiting:
            yield _piece(np.concatenate(places), np.hstack(vectors))

    def _tiles(self) -> Iterator[tuple[Places, Floats]]:
        for item in self._kept.cells(VECTORS):
            rows, columns = np.nonzero(item.counts)
            top, left = item.tile.y // self._stride, item.tile.x // self._stride
            place = (rows + top) * self.shape[1] + columns + left
            yield place, np.asarray(item.counted, np.float32)


def _piece(places: Places, values: Floats) -> tuple[Places, Tensor]:
    return places, torch.from_numpy(np.ascontiguousarray(values.T))
