"""L-BFGS as a loop that tells of its loss, for whoever learns by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

STEPS_A_CALL = 5


def minimized(
    parameters: Sequence[Tensor],
    loss_of: Callable[[], Tensor],
    *,
    steps: int,
    flat: float,
    least: float = 0.0,
) -> Iterator[float]:
    """L-BFGS with line search, a few steps at a time.

    Args:
        parameters: changed in place.
        loss_of: the loss () as they are now.
        steps: at most, rounded up to whole calls.
        flat: relative change of the loss below which it is finished.
        least: a smaller loss counts as this in it.

    Yields:
        The loss at the start of each :data:`STEPS_A_CALL` steps.
    """
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=STEPS_A_CALL,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    previous = float("inf")
    for _ in range(0, steps, STEPS_A_CALL):
        loss = float(cast("Tensor", optimizer.step(closure)).detach())
        yield loss
        if abs(previous - loss) <= flat * max(abs(loss), least):
            break
        previous = loss
