"""What the class token of a transformer looks at, block by block and through all.

Abnar, Zuidema: Quantifying Attention Flow in Transformers, ACL 2020, arXiv 2005.00928
("attention rollout"). A block passes on what its tokens take from each other, A (mean
of the heads), and the tokens themselves, by its shortcut. Both weigh the same::

    Ã = (A + I) / 2, rows normalised        R_l = Ã_l · R_(l - 1),  R_0 = I

Row 0 of the last R says how much of each patch is in the class token at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def mix(attention: Tensor, before: Tensor | None = None) -> Tensor:
    """One step of attention rollout.

    Args:
        attention: (N, T, T), mean of the heads; rows are the tokens that look.
        before: (N, T, T) rollout of the blocks before; None for the first.

    Returns:
        (N, T, T); rows sum to 1.
    """
    tokens = attention.shape[-1]
    own = torch.eye(tokens, dtype=attention.dtype, device=attention.device)
    mixed = (attention + own) / 2
    mixed = mixed / mixed.sum(-1, keepdim=True)
    return mixed if before is None else mixed @ before


class AttentionTrace:
    """What a forward pass leaves behind, a block at a time.

    Args:
        rolls: whether the rollout is wanted, too; it costs a product a block.
    """

    def __init__(self, *, rolls: bool) -> None:
        self._rolls = rolls
        self._looks: list[Tensor] = []
        self._gates: list[Tensor] = []
        self._rollout: Tensor | None = None

    def add(self, attention: Tensor, gate: Tensor | None) -> None:
        """Takes the attention of the next block.

        Args:
            attention: (N, H, T, T); the class token is the first.
            gate: (N, T) of a spatial-aware token, where it is applied.
        """
        mean = attention.mean(1)
        self._looks.append(mean[:, 0])
        if self._rolls:
            self._rollout = mix(mean, self._rollout)
        if gate is not None:
            self._gates.append(gate)

    def maps(self) -> dict[str, Tensor]:
        """What was found, each (N, C, T).

        Returns:
            "attention" of the class token, a channel a block; "rollout", one channel,
            if it is wanted; and "mask", a channel a gated block, if there is any.
        """
        found = {"attention": torch.stack(self._looks, 1)}
        if self._rollout is not None:
            found["rollout"] = self._rollout[:, :1]
        if self._gates:
            found["mask"] = torch.stack(self._gates, 1)
        return found
