"""Several processes that train one model together, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import distributed

from napari_wsol.training.crops import Share

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Team(Share):
    """The processes of one training; without ``torchrun`` this one alone.

    Attributes:
        local: place of this process on its machine: which GPU it takes.
    """

    local: int = 0

    @property
    def writes(self) -> bool:
        """Whether this process writes files and reports; one of them does."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, on each of them."""
        if self.world == 1:
            return values
        values = values.detach().clone()
        distributed.all_reduce(values)
        return values

    def agree(self, claim: bool) -> bool:
        """What the first process says, on each of them; they wait for it."""
        if self.world == 1:
            return claim
        said = torch.tensor([int(claim and self.writes)])
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        return bool(self.total(said.to(device)).item())


@contextmanager
def team() -> Generator[Team]:
    """Joins the processes that ``torchrun`` started, if it did."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Team()
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(local)
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Team(distributed.get_rank(), world, local)
    finally:
        distributed.destroy_process_group()
