"""One forward pass of a training: from a batch to the losses of all heads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.nn import functional

from napari_wsol.encoders import Features, TileEncoder, nominal_offset, on_grid
from napari_wsol.methods.partial_loss import partial_cross_entropy
from napari_wsol.methods.pixelcam import PixelHead
from napari_wsol.training.bags import encode_bag
from napari_wsol.training.objectives import GATE, LOSSES, Lesson, loss_of
from napari_wsol.training.seeding import planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.methods import Head, Model
    from napari_wsol.training.recipe import Recipe

CHANNEL_AXIS = 1


class Learner(nn.Module):
    """A model and the losses of its heads; what is run by several processes at once.

    Args:
        model: what is trained.
        recipe: says by which losses.
    """

    def __init__(self, model: Model, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.losses = {
            name: loss_of(name, recipe.model, recipe.losses.get(name))
            for name in recipe.model.heads
        }
        self._dropout = recipe.train.dropout
        self._gated = "sat" in self.losses and GATE in model.encoder.layers

    def forward(
        self,
        pixels: Tensor | Sequence[Tensor],
        labels: Tensor,
        all_labels: Tensor,
        seeds: Tensor | None,
        seed_weight: float,
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """The loss of each head, and the image logits.

        Args:
            pixels: (N, C, S, S) in [0, 1], or N bags (C, H, W).
            labels: (N, K) of 0 and 1.
            all_labels: those of the whole batch, all processes' together.
            seeds: (N, S, S) labels of pixels, or None.
            seed_weight: of their loss: how many more seeds this part of the batch has
                than the mean over all processes.

        Returns:
            Scalars by head; and (N, K) logits of the first head that classifies.
        """
        features, gate = self._encode(pixels)
        seen = tuple(map(self._dropped, features))
        losses: dict[str, Tensor] = {}
        first: Tensor | None = None
        for name, module in self.model.heads.items():
            head, config = cast("Head", module), self.losses[name]
            if isinstance(head, PixelHead):
                loss = self._seed_loss(head, features[0], cast("Tensor", seeds))
                losses[name] = config.weight * seed_weight * loss
                continue
            logits = torch.cat([head(item) for item in seen])
            first = logits.detach() if first is None else first
            lesson = Lesson(self.model, head, seen, gate, labels, all_labels, config)
            losses[name] = config.weight * LOSSES[config.loss](lesson, logits)
        return losses, first

    def _encode(
        self, pixels: Tensor | Sequence[Tensor]
    ) -> tuple[tuple[Features, ...], Tensor | None]:
        encoder, how = self.model.encoder, self.model.preprocessing
        device = self.model.device
        mean, std = planes(how.mean).to(device), planes(how.std).to(device)
        if isinstance(encoder, TileEncoder):
            bags = [((item - mean) / std)[0] for item in pixels]
            return tuple(encode_bag(encoder, item) for item in bags), None
        x = (cast("Tensor", pixels) - mean) / std
        with encoder.also((GATE,) if self._gated else ()):
            found: Features = encoder(x)
        gate = None
        if self._gated:
            gate = found.maps[found.names.index(GATE)]
            found = found.select(encoder.taps)
        if how.size is not None:
            found = stretched(found, how.size)
        return (found,), gate

    def _dropped(self, features: Features) -> Features:
        """What image heads see: whole channels are dropped (Dropout2d)."""
        if not self._dropout:
            return features
        maps = tuple(
            functional.dropout2d(item, self._dropout, self.training)
            for item in features.maps
        )
        return replace(features, maps=maps)

    @staticmethod
    def _seed_loss(head: PixelHead, features: Features, seeds: Tensor) -> Tensor:
        shape = (int(seeds.shape[-2]), int(seeds.shape[-1]))
        stride = head.read(features).strides[0]
        logits = on_grid(head(features), stride, shape, 1)
        return partial_cross_entropy(logits.movedim(CHANNEL_AXIS, -1), seeds)


def stretched(features: Features, size: int) -> Features:
    """Each map stretched over the whole of a fixed input, as at inference."""
    strides = tuple(size / item.shape[-1] for item in features.maps)
    offsets = tuple(nominal_offset(item) for item in strides)
    return Features(features.maps, strides, offsets, features.names)


def share_right(logits: Tensor, labels: Tensor, *, multi_label: bool) -> float:
    """Share of the images, or of their labels, that image logits get right.

    Args:
        logits: (N, K), or (N, 1) of the second of two classes.
        labels: (N, K) of 0 and 1.
        multi_label: whether every class is a question of its own.
    """
    if multi_label:
        return float(((logits > 0) == (labels > 0)).float().mean())
    if logits.shape[1] == 1:
        logits = functional.pad(logits, (1, 0))
    return float((logits.argmax(1) == labels.argmax(1)).float().mean())
