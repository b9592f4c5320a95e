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
