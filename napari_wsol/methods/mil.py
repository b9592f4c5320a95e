"""Multiple instance learning: a bag of tiles is classified by adding up what each says.

All heads here share one form. With h_k what a head makes of the vector of tile k, s_k
its scores, and w their pooling over the bag::

    z = Σ_k p(w_k, h_k) + b

so that p is, tile by tile, the evidence for each logit, and the sum is exact. The two
read-outs are those that xMIL compares with attention (Hense et al. 2024, arXiv
2406.04280): the contribution of a tile, and what the head says of a bag of it alone.

Where a head has another form, integrated gradients (Sundararajan et al. 2017, arXiv
1703.01365) over the tiles, from vectors of zeros, take the place of p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from typing_extensions import override

from napari_wsol.encoders import BagEncoder, Features
from napari_wsol.errors import MethodUnavailableError, NoResultError
from napari_wsol.methods.base import Method, register
from napari_wsol.methods.heads import Head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from torch import Tensor

    from napari_wsol.methods.model import Model

STEPS = 64
"""Points of the Gauss–Legendre rule along the path of integrated gradients."""
MOST_BYTES = 2**31
"""Of a bag's vectors, for heads that need all of them at once."""


class MilHead(Head):
    """Classifies a bag by a sum over its tiles.

    Subclasses give ``scores``, ``parts`` and ``bias``; ``outputs`` is how many logits.

    Attributes:
        pooling_of: "softmax" of the scores (attention), "max": the highest tile of each
            column counts, "mean": all tiles count alike.
    """

    pooling_of: ClassVar[str] = "softmax"
    outputs: int

    def embed(self, vectors: Tensor) -> Tensor:
        """(..., D) vectors of tiles → (..., E) what the head weighs."""
        return vectors

    def scores(self, embedded: Tensor) -> Tensor:
        """(..., E) → (..., S) float32 scores, before they are pooled over the bag."""
        raise NotImplementedError

    def parts(self, embedded: Tensor, weights: Tensor) -> Tensor:
        """What tiles add to the logits.

        Args:
            embedded: (..., n, E).
            weights: (..., n, S), from :meth:`weigh`.

        Returns:
            (..., n, outputs).
        """
        raise NotImplementedError

    def bias(self) -> Tensor:
        """(outputs,) what the logits are without any tile."""
        raise NotImplementedError

    def weigh(self, scores: Tensor) -> Tensor:
        """(..., n, S) scores of all tiles of a bag → their weights."""
        if self.pooling_of == "softmax":
            return scores.softmax(-2)
        if self.pooling_of == "mean":
            return torch.full_like(scores, 1 / scores.shape[-2])
        highest = scores.argmax(-2, keepdim=True)
        return torch.zeros_like(scores).scatter_(-2, highest, 1.0)

    def forward(self, features: Features) -> Tensor:
        """(N, outputs) logits of bags; each is one of the maps."""
        embedded = self.embed(cells_of(features))
        weights = self.weigh(self.scores(embedded))
        return self.parts(embedded, weights).float().sum(-2) + self.bias()

    def class_maps(self, features: Features) -> Tensor:
        """(N, outputs, h, w) logits of bags of each tile alone."""
        found = self.alone(self.embed(cells_of(features)))
        return found.mT.reshape(len(found), -1, *features.last.shape[-2:]).float()

    def alone(self, embedded: Tensor) -> Tensor:
        """(..., n, E) → (..., n, outputs) logits of bags of one tile."""
        ones = embedded.new_ones(*embedded.shape[:-1], 1)
        return self.parts(embedded, ones) + self.bias()


def cells_of(features: Features) -> Tensor:
    """(N, n, D): the vectors of tiles, row by row."""
    return features.last.flatten(2).transpose(1, 2)


def contrast(model: Model, target: int) -> Tensor:
    """(outputs,) what makes, of logits, the one that speaks for a class.

    Its own logit where every class is a question of its own; where an image shows
    exactly one, its own minus the mean of the others: of two classes the log odds of
    the verdict, whose sign turns with the class.
    """
    count = len(model.classes)
    head = model.classifier
    if isinstance(head, MilHead) and head.outputs == 1 and count == 2:
        return torch.tensor([1.0 if target else -1.0])
    values = torch.zeros(count)
    if count > 1 and not model.spec.multi_label:
        values -= 1 / (count - 1)
    values[target] = 1.0
    return values


def cut_shift(model: Model, target: int) -> float:
    """What the model's own cut adds to the log odds of one of its two classes."""
    if model.spec.cut is None:
        return 0.0
    odds = math.log(model.spec.cut / (1 - model.spec.cut))
    return -odds if target else odds


@dataclass(frozen=True, slots=True)
class BagReading:
    """What a head makes of a bag, tile by tile.

    Attributes:
        scores: (n, S) float32, before pooling; (n, 0) of a head of another form.
        parts: (n, outputs) float32: what each tile adds to the logits.
        alone: (n, outputs) float32: the logits of each tile as a bag of its own.
        bias: (outputs,) float64: what the logits are without any tile.
        logits: (outputs,) float64.
    """

    scores: Tensor
    parts: Tensor
    alone: Tensor
    bias: Tensor
    logits: Tensor

    def values(self, method: str, model: Model, target: int) -> Tensor:
        """(n,) float32: what a read-out says of each tile.

        Args:
            method: "mil_evidence", "mil_tile" or "attention_mil".
            model: that was read.
            target: index of the class.
        """
        if method == "attention_mil":
            first = self.scores[:, 0]  # as the largest is 1, no sum divides
            return (first - first.max()).exp()
        turn = contrast(model, target)
        if method == "mil_evidence":
            return self.parts @ turn
        return self.alone @ turn + cut_shift(model, target)

    def bias_of(self, model: Model, target: int) -> float:
        """What evidence does not come from tiles, of the logit of a class."""
        turn = contrast(model, target).double()
        return float(self.bias @ turn) + cut_shift(model, target)


def read_bag(
    model: Model,
    pieces: Callable[[], Iterable[Tensor]],
    *,
    check: Callable[[], None] = lambda: None,
) -> BagReading:
    """Reads a bag piece by piece, twice: for the scores, then for what they weigh.

    Args:
        model: whose classifier pools tiles.
        pieces: gives (n, D) float vectors, the same ones each time; n in all ≥ 1.
        check: called once a piece; raises to stop.

    Raises:
        NoResultError: a value is not finite, or a head that needs the whole bag at once
            cannot have it.
        MethodUnavailableError: the model has no classifier.
    """
    head = model.classifier
    if head is None:
        raise MethodUnavailableError("This model has no classifier of tiles.")
    if not isinstance(head, MilHead):
        return _integrated(model, head, pieces, check)
    device = model.device
    scores: list[Tensor] = []
    for piece in pieces():
        check()
        scores.append(head.scores(head.embed(piece.to(device).float())).float().cpu())
    every = _finite(torch.cat(scores))
    # In float64 and over all tiles, so that pieces of any size give the same.
    weights = head.weigh(every.double()).float()
    parts: list[Tensor] = []
    alone: list[Tensor] = []
    start = 0
    for piece in pieces():
        check()
        embedded = head.embed(piece.to(device).float())
        own = weights[start : start + len(piece)].to(device)
        parts.append(head.parts(embedded, own).float().cpu())
        alone.append(head.alone(embedded).float().cpu())
        start += len(piece)
    added, bias = _finite(torch.cat(parts)), head.bias().double().cpu()
    logits = added.double().sum(0) + bias
    return BagReading(every, added, torch.cat(alone), bias, logits)


def _finite(values: Tensor) -> Tensor:
    if bool(torch.isfinite(values).all()):
        return values
    raise NoResultError(
        "The tiles' scores have values that are not numbers. The weights or the bag "
        "are damaged or do not fit; run “napari-wsol models verify”."
    )


def _integrated(
    model: Model,
    head: Head,
    pieces: Callable[[], Iterable[Tensor]],
    check: Callable[[], None],
) -> BagReading:
    """Integrated gradients over the tiles; the rest of the sum goes to the bias."""
    found: list[Tensor] = []
    size = 0
    for piece in pieces():
        check()
        size += 4 * piece.numel()
        if size > MOST_BYTES:
            raise NoResultError(
                "This model's head needs all tiles of the slide at once, and they are "
                "too many. Localize a part of it, or choose a larger tile."
            )
        found.append(piece.float())
    vectors = torch.cat(found).to(model.device)
    points, shares = np.polynomial.legendre.leggauss(STEPS)
    with torch.inference_mode(mode=False), torch.enable_grad():
        whole = vectors.clone()
        logits = head(as_bag(whole))[0].detach()
        total = torch.zeros(len(logits), *whole.shape, device=whole.device)
        for point, share in zip((points + 1) / 2, shares / 2, strict=True):
            check()
            at = (whole * float(point)).requires_grad_()
            values = head(as_bag(at))[0]
            for place, value in enumerate(values):
                last = place == len(values) - 1
                (slope,) = torch.autograd.grad(value, at, retain_graph=not last)
                total[place] += slope * float(share)
        parts = [(item * whole).sum(1) for item in total]
        alone = head(Features((whole[:, :, None, None],), (1.0,), (0.0,))).detach()
    added = _finite(torch.stack(parts, 1).float().cpu())
    logits = logits.double().cpu()
    bias = logits - added.double().sum(0)
    empty = added.new_zeros(len(added), 0)
    return BagReading(empty, added, alone.float().cpu(), bias, logits)


def as_bag(vectors: Tensor) -> Features:
    """(n, D) as the features of one bag."""
    return Features((vectors.T[None, :, :, None],), (1.0,), (0.0,))


class BagMethod(Method):
    """A read-out of a head that pools tiles, on images as on slides."""

    pools_tiles: ClassVar[bool] = True
    signed: ClassVar[bool] = True

    @override
    def map(self, model: Model, features: Features, target: int) -> Tensor:
        shape = features.last.shape[-2:]
        with torch.no_grad():
            found = [
                read_bag(model, lambda own=own: [own]).values(self.name, model, target)
                for own in cells_of(features)
            ]
        return features.straight(torch.stack(found).reshape(-1, *shape))

    @override
    def unavailable(self, model: Model) -> str | None:
        if isinstance(model.encoder, BagEncoder) and model.classifier is not None:
            return None
        return (
            f"{self.title} is for models that classify bags of tiles (attention MIL). "
            "Choose one of those."
        )


@register
class MilTile(BagMethod):
    """The logit of a bag of each tile alone."""

    name: ClassVar[str] = "mil_tile"
    title: ClassVar[str] = "Single tile"
    note: ClassVar[str] = (
        "Each tile is judged alone: above the middle it speaks for the class, below "
        "against it, however much the network looks at it."
    )


@register
class MilEvidence(BagMethod):
    """What each tile adds to the logit of the class; all tiles and the bias are it."""

    name: ClassVar[str] = "mil_evidence"
    title: ClassVar[str] = "Evidence"
    note: ClassVar[str] = (
        "Each tile's part in the verdict: above the middle it speaks for the class, "
        "below against it. All parts and the bias add up to the verdict's log odds."
    )

    @override
    def bias(self, model: Model, features: Features, target: int) -> float:
        (own,) = cells_of(features)
        return read_bag(model, lambda: [own]).bias_of(model, target)
