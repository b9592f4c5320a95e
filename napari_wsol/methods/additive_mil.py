"""Additive MIL: evidence by construction.

Javed, Juyal, Padigela, Taylor-Weiner, Yu, Prakash: Additive MIL: Intrinsically
Interpretable Multiple Instance Learning for Pathology, NeurIPS 2022, arXiv 2206.01794.

With h_k (D,) the vector of tile k and ψ a small network::

    a = softmax(wᵀ tanh(V h_k))      logits = Σ_k ψ(a_k h_k)      (equation 4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from typing_extensions import override

from napari_wsol.methods.heads import register_head
from napari_wsol.methods.mil import MilHead

if TYPE_CHECKING:
    from torch import Tensor


@register_head("additive_mil")
class AdditiveMilHead(MilHead):
    """Classifies each tile by its vector times its attention, and adds up.

    Args:
        channels: D, of a tile's vector.
        classes: K, how many.
        hidden: of the attention and of ψ.
    """

    def __init__(self, channels: int, classes: int, *, hidden: int = 128) -> None:
        super().__init__()
        self.outputs = classes
        self.attention = nn.Sequential(
            nn.Linear(channels, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )
        self.classifier = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    @override
    def scores(self, embedded: Tensor) -> Tensor:
        return self.attention(embedded).float()

    @override
    def parts(self, embedded: Tensor, weights: Tensor) -> Tensor:
        return self.classifier(weights * embedded)

    @override
    def bias(self) -> Tensor:
        return next(self.parameters()).new_zeros(self.outputs)
