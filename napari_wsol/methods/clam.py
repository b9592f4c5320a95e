"""CLAM with a single attention branch.

Lu, Williamson, Chen, Chen, Barbieri, Mahmood: Data-efficient and weakly supervised
computational pathology on whole-slide images, Nature Biomedical Engineering 2021,
arXiv 2004.09666.

With h_k (D,) the vector of tile k::

    g_k = relu(W₁ h_k + b₁)      a = softmax(wᵀ (tanh(V g_k) ⊙ σ(U g_k)))
    logits = W Σ_k a_k g_k + b

In training, each class has a classifier of tiles (0 or 1) that learns from the B tiles
with the highest attention and the B with the lowest (equations 3 to 5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.methods.heads import register_head
from napari_wsol.methods.mil import MilHead

if TYPE_CHECKING:
    from torch import Tensor


class GatedAttention(nn.Module):
    """Scores of tiles, named as in CLAM's code.

    Args:
        channels: of what is scored.
        hidden: inside.
        dropout: share of the hidden values that are dropped in training.
    """

    def __init__(self, channels: int, hidden: int, dropout: float) -> None:
        super().__init__()
        # Dropout has no weights: names are the same with and without it.
        self.attention_a = nn.Sequential(
            nn.Linear(channels, hidden), nn.Tanh(), nn.Dropout(dropout)
        )
        self.attention_b = nn.Sequential(
            nn.Linear(channels, hidden), nn.Sigmoid(), nn.Dropout(dropout)
        )
        self.attention_c = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) → (..., 1)."""
        return self.attention_c(self.attention_a(x) * self.attention_b(x))


@register_head("clam_sb")
class ClamHead(MilHead):
    """CLAM-SB: state-dict names are those of its code, ``model_clam.py``.

    Args:
        channels: D, of a tile's vector.
        classes: K, how many.
        embedding: of a tile, 512 as published.
        hidden: of the attention, 256 as published ("small").
        dropout: in training, .25 as published.
        instances: B, tiles with the highest and lowest attention that teach.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        embedding: int = 512,
        hidden: int = 256,
        dropout: float = 0.25,
        instances: int = 8,
    ) -> None:
        super().__init__()
        self.outputs, self.instances = classes, instances
        self.attention_net = nn.Sequential(
            nn.Linear(channels, embedding),
            nn.ReLU(),
            nn.Dropout(dropout),
            GatedAttention(embedding, hidden, dropout),
        )
        self.classifiers = nn.Linear(embedding, classes)
        self.instance_classifiers = nn.ModuleList(
            nn.Linear(embedding, 2) for _ in range(classes)
        )

    @override
    def embed(self, vectors: Tensor) -> Tensor:
        return self.attention_net[:3](vectors)

    @override
    def scores(self, embedded: Tensor) -> Tensor:
        return self.attention_net[3](embedded).float()

    @override
    def parts(self, embedded: Tensor, weights: Tensor) -> Tensor:
        return weights * functional.linear(embedded, self.classifiers.weight)

    @override
    def bias(self) -> Tensor:
        return self.classifiers.bias

    def instance_loss(self, vectors: Tensor, label: int) -> Tensor:
        """The mean loss () of the classifiers of tiles on one bag.

        The tiles that the network looks at most are evidence for the bag's class, those
        it looks at least are not; for the other classes the former are not either
        (``subtyping`` of the authors' code, as classes exclude each other).

        Args:
            vectors: (n, D).
            label: the bag's class.
        """
        embedded = self.embed(vectors)
        scores = self.scores(embedded)[:, 0]
        count = min(self.instances, len(scores))
        high = embedded[scores.topk(count).indices]
        low = embedded[(-scores).topk(count).indices]
        losses: list[Tensor] = []
        for place, classifier in enumerate(self.instance_classifiers):
            own = place == label
            tiles = torch.cat([high, low]) if own else high
            truth = torch.zeros(len(tiles), dtype=torch.long, device=tiles.device)
            if own:
                truth[:count] = 1
            losses.append(functional.cross_entropy(classifier(tiles), truth))
        return torch.stack(losses).mean()
