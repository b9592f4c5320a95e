"""The batch of each step: its images, changed afresh, and the seeds on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.encoders import BagEncoder
from napari_wsol.training.augment import Augmentation
from napari_wsol.training.bags import draw_bags
from napari_wsol.training.crops import draw_order
from napari_wsol.training.seeding import draw_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.methods import Model
    from napari_wsol.training.crops import Share, TrainImage
    from napari_wsol.training.recipe import Recipe

EPOCHS = 2**40
"""Random numbers of an epoch's order are no step's."""


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """One process's part of a batch, ready to be learnt from.

    Attributes:
        pixels: (N, C, S, S) in [0, 1], or N bags (C, H, W) or (n, D).
        order: which images the whole batch shows.
        labels: (N, K).
        seeds: (N, S, S) labels of pixels, or None.
    """

    pixels: Tensor | list[Tensor]
    order: Tensor
    labels: Tensor
    seeds: Tensor | None


def number_of(recipe: Recipe, step: int) -> int:
    """What the random numbers of a step, counted from 0, start from."""
    return recipe.train.seed * 1_000_003 + step


class Batches:
    """Makes the batch of any step; two of the same step are the same.

    Args:
        recipe: says how.
        model: what learns from them.
        images: with what seeds are drawn from.
        labels: (N, K) of all images.
        sampler: says which images.
        share: which part of the batches to make.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Model,
        images: Sequence[TrainImage],
        labels: Tensor,
        *,
        sampler: Sampler,
        share: Share,
    ) -> None:
        self._recipe, self._images, self._labels = recipe, images, labels
        self._sampler, self._share = sampler, share
        encoder = model.encoder
        self._side = encoder.side if isinstance(encoder, BagEncoder) else 0
        self._augment = Augmentation(
            style=recipe.augment.style,
            crop=recipe.train.crop,
            jitter=recipe.train.jitter,
            how=model.preprocessing,
        )

    def of_step(self, step: int) -> TrainBatch:
        """The batch of a step, counted from 0: this process's part of it."""
        number = number_of(self._recipe, step)
        generator = torch.Generator().manual_seed(number)
        order = self._sampler.order(step, generator)
        if self._side:
            return self._bags(order, generator)
        batch = self._augment.batch(
            self._images, len(order), generator, self._share, order
        )
        seeds = draw_labels(batch, self._recipe, generator, self._share)
        return TrainBatch(batch.pixels, order, batch.labels, seeds)

    def _bags(self, order: Tensor, generator: torch.Generator) -> TrainBatch:
        bags, _ = draw_bags(
            self._images,
            size=len(order),
            side=self._side,
            jitter=self._recipe.train.jitter,
            generator=generator,
            share=self._share,
            order=order,
            turns=self._recipe.augment.style != "none",
            shift=self._recipe.augment.shift,
        )
        labels = self._labels[order[self._share.of(len(order))]]
        return TrainBatch(bags, order, labels, None)


@dataclass(frozen=True, slots=True, eq=False)
class Sampler:
    """The images of every step.

    Attributes:
        places: (M,) all images, those that are shown more often several times.
        size: images a batch, of all processes together.
        sampling: "batch" or "epoch", see ``TrainConfig``.
        seed: of the orders.
        weights: (M,) how often each is drawn, with replacement; None for once.
    """

    places: Tensor
    size: int
    sampling: str
    seed: int
    weights: Tensor | None = None

    @property
    def epoch(self) -> int:
        """Steps an epoch: as many as show every image once, at least one."""
        return max(1, -(-len(self.places) // self.size))

    def order(self, step: int, generator: torch.Generator) -> Tensor:
        """(size,) which images the batch of a step shows.

        Args:
            step: counted from 0.
            generator: the step's own; read where batches are drawn one by one.
        """
        if self.sampling == "batch":
            return self.drawn(self.size, generator)
        epoch, place = divmod(step, self.epoch)
        mixed = _mixed(self, epoch)
        wanted = torch.arange(place * self.size, (place + 1) * self.size)
        return mixed[wanted % len(mixed)]

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """(count,) images, each as often as its weight says."""
        if self.weights is None:
            return self.places[draw_order(len(self.places), count, generator)]
        own = torch.multinomial(self.weights, count, True, generator=generator)
        return self.places[own]


@lru_cache(maxsize=1)  # of 100,000 images, drawing takes longer than a step
def _mixed(sampler: Sampler, epoch: int) -> Tensor:
    """The images of an epoch, in their order."""
    number = sampler.seed * 1_000_003 + EPOCHS + epoch
    own = torch.Generator().manual_seed(number)
    return sampler.drawn(len(sampler.places), own)


def sampler_of(recipe: Recipe, labels: Tensor, world: int = 1) -> Sampler:
    """The sampler that a recipe asks for.

    Args:
        recipe: says the batch, the sampling, and which classes are shown more often.
        labels: (N, K) of 0 and 1.
        world: processes that train together.
    """
    columns = [recipe.data.classes.index(name) for name in recipe.data.enhance]
    often = labels[:, columns].amax(1) > 0 if columns else labels.new_zeros(len(labels))
    counts = 1 + often.long() * recipe.data.enhance_times
    places = torch.arange(len(labels)).repeat_interleave(counts)
    rows = labels[places].numpy()
    _, kind, sizes = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    return Sampler(
        places,
        recipe.train.batch * world,
        recipe.train.sampling,
        recipe.train.seed,
        torch.from_numpy(1 / sizes)[kind] if recipe.train.balanced else None,
    )
