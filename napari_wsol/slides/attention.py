"""Attention MIL over all tiles of a slide, with a few tiles in memory.

The bag of a slide may hold a million tiles. Their vectors are read from the log twice:
once for the attention scores s and their maximum, once for the sums::

    w_k = exp(s_k - max s)      z = Σ w_k h_k / Σ w_k      logits = W z + b

which is the softmax of the head over the whole bag (Ilse et al. 2018, arXiv 1802.04712,
equation 7), in float64. Tiles come in the order of their numbers and in pieces of the
same size, so that a run that was killed and went on gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_wsol.encoders import Features
from napari_wsol.errors import NoResultError
from napari_wsol.methods import evaluating
from napari_wsol.methods.attention_mil import AttentionMil, AttentionMilHead
from napari_wsol.slides.readouts import VECTORS
from napari_wsol.slides.scores import SlideScores, scored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from napari_wsol.methods import Model
    from napari_wsol.slides.kept_cells import KeptTiles

PIECE = 4096
"""Tiles of the bag whose vectors are in memory together."""

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class SlideAttention:
    """Where attention MIL looked on a slide, and what it saw.

    Attributes:
        scores: of the slide.
        instances: (rows, columns) float32 attention scores s of the tiles of the bag;
            NaN for those that are not in it: not finished, damaged, or without tissue.
    """

    scores: SlideScores
    instances: Floats

    @property
    def attention(self) -> Floats:
        """(rows, columns) float32, a / max(a) in [0, 1]; 0 outside the bag."""
        if not np.isfinite(self.instances).any():
            return np.zeros_like(self.instances)
        values = np.exp(self.instances - np.nanmax(self.instances))
        return np.nan_to_num(values, nan=0.0)


def slide_attention(
    model: Model, kept: KeptTiles, *, check: Callable[[], None] = lambda: None
) -> SlideAttention:
    """Pools the tiles of a slide by attention.

    Args:
        model: one with an attention MIL head on a tile encoder.
        kept: the vectors of the finished tiles.
        check: called once a piece; raises to stop.

    Raises:
        MethodUnavailableError: the model has no such head.
        NoResultError: a score is not finite.
    """
    head = model.head(AttentionMilHead, AttentionMil.name)
    bag = _Bag(kept)
    instances = np.full(bag.shape, np.nan, np.float32)
    with evaluating(model), torch.inference_mode():
        for places, vectors in bag.pieces():
            check()
            cells = vectors.to(model.device)[None, :, :, None]  # (1, D, n, 1)
            features = Features((cells,), (1.0,), (0.0,))
            found = head.scores(features).reshape(-1).cpu().numpy()
            if not np.isfinite(found).all():
                raise NoResultError(
                    "The attention has values that are not numbers. The weights are "
                    "damaged or do not fit; run “napari-wsol models verify”."
                )
            instances.reshape(-1)[places] = found
        in_bag = np.isfinite(instances)
        if not in_bag.any():
            note = "There is no score of the whole slide: no tile shows tissue."
            return SlideAttention(SlideScores({}, note=note), instances)
        pooled = _pooled(bag, instances, check)
        logits = head.classifier(pooled.to(model.device).float()[None])[0].cpu()
    scores = scored(model, logits.double(), int(in_bag.sum()))
    return SlideAttention(scores, instances)


def _pooled(bag: _Bag, instances: Floats, check: Callable[[], None]) -> Tensor:
    """(D,) float64: the vectors' mean by attention."""
    highest = float(np.nanmax(instances))
    total, share = torch.zeros(bag.channels, dtype=torch.float64), 0.0
    for places, vectors in bag.pieces():
        check()
        scores = instances.reshape(-1)[places].astype(np.float64)
        weights = torch.from_numpy(np.exp(scores - highest))
        total += vectors.double() @ weights
        share += float(weights.sum())
    return total / share


class _Bag:
    """The vectors of a slide's tiles, a piece at a time."""

    def __init__(self, kept: KeptTiles) -> None:
        plane = kept.named[VECTORS]
        self._kept, self._stride, self.channels = kept, plane.stride, plane.channels
        rows, columns = (-(-side // plane.stride) for side in kept.plan.seen.shape)
        self.shape = (rows, columns)

    def pieces(self) -> Iterator[tuple[Places, Tensor]]:
        """(n,) places on the grid of the bag, and (D, n) float32 vectors."""
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
    return places, torch.from_numpy(np.ascontiguousarray(values))
