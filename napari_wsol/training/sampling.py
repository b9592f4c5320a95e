"""Which images each batch shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_wsol.training.crops import draw_order

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.training.recipe import Recipe

EPOCHS = 2**40
"""Random numbers of an epoch's order are no step's."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """The images of every step.

    Attributes:
        places: (M,) all images, those that are shown more often several times.
        size: images a batch, of all processes together.
        sampling: "batch" or "epoch", see ``TrainConfig``.
        seed: of the orders.
    """

    places: Tensor
    size: int
    sampling: str
    seed: int

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
            return self.places[draw_order(len(self.places), self.size, generator)]
        epoch, place = divmod(step, self.epoch)
        own = torch.Generator().manual_seed(self.seed * 1_000_003 + EPOCHS + epoch)
        mixed = self.places[torch.randperm(len(self.places), generator=own)]
        wanted = torch.arange(place * self.size, (place + 1) * self.size)
        return mixed[wanted % len(mixed)]


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
    return Sampler(
        torch.arange(len(labels)).repeat_interleave(counts),
        recipe.train.batch * world,
        recipe.train.sampling,
        recipe.train.seed,
    )
