"""Attention-based multiple instance learning over the tiles of an image.

Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning, ICML 2018,
arXiv 1802.04712. A-MIL (Patil, Tamboli, Meena, Anand, Sethi 2020, arXiv 2003.00823) is
its plain form on tiles of tissue.

With h_k (D,) the vector of tile k of a bag of n tiles, V and U (L, D), w (L,)::

    s_k = wᵀ tanh(V h_k)                    plain (equation 8)
    s_k = wᵀ (tanh(V h_k) ⊙ σ(U h_k))       gated (equation 9)
    a = softmax(s)      z = Σ_k a_k h_k     logits = W z + b (equation 7)

As in the authors' code, V, U and w have biases.

The map is a / max(a), the picture that A-MIL publishes: it says which tiles the network
looked at to classify the image, not which class a tile speaks for. It is the same for
every class, and a tile that speaks clearly *against* a class is looked at as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.errors import ConfigError
from napari_wsol.methods.base import register
from napari_wsol.methods.heads import register_head
from napari_wsol.methods.mil import BagMethod, MilHead

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.model import Model


@register_head("attention_mil")
class AttentionMilHead(MilHead):
    """Scores every tile, averages their vectors by the scores, and classifies that.

    State-dict names are those of A-MIL (``attention.{0,2}``, ``classifier.0``) and, for
    the gated form, of Ilse's code (``attention_V.0``, ``attention_U.0``,
    ``attention_weights``).

    Args:
        channels: D, of the last feature map.
        classes: K, how many.
        gated: equation 9 instead of 8.
        hidden: L.
        binary: one logit, of the second of two classes (A-MIL), instead of K.

    Raises:
        ConfigError: one logit for another number of classes than two.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        gated: bool = False,
        hidden: int = 128,
        binary: bool = False,
    ) -> None:
        super().__init__()
        if binary and classes != 2:
            raise ConfigError(
                f"One logit tells two classes apart, not {classes}: leave “binary” out."
            )
        self.gated = gated
        self.outputs = 1 if binary else classes
        if gated:
            self.attention_V = nn.Sequential(nn.Linear(channels, hidden), nn.Tanh())
            self.attention_U = nn.Sequential(nn.Linear(channels, hidden), nn.Sigmoid())
            self.attention_weights = nn.Linear(hidden, 1)
        else:
            self.attention = nn.Sequential(
                nn.Linear(channels, hidden), nn.Tanh(), nn.Linear(hidden, 1)
            )
        self.classifier = nn.Sequential(nn.Linear(channels, self.outputs))

    @override
    def scores(self, embedded: Tensor) -> Tensor:
        if self.gated:
            hidden = self.attention_V(embedded) * self.attention_U(embedded)
            return self.attention_weights(hidden).float()
        return self.attention(embedded).float()

    @override
    def parts(self, embedded: Tensor, weights: Tensor) -> Tensor:
        return weights * functional.linear(embedded, self._last.weight)

    @override
    def bias(self) -> Tensor:
        return self._last.bias

    @property
    def _last(self) -> nn.Linear:
        return cast("nn.Linear", self.classifier[0])

    @override
    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits; (N, 1) where the head is binary."""
        # Pooled before it is classified, as published: the same to the last bit.
        weights = self.scores(features.last.movedim(1, -1)).flatten(1).softmax(1)
        cells = features.last.flatten(2).float()  # (N, D, n)
        pooled = torch.einsum("ndk,nk->nd", cells, weights)
        return self.classifier(pooled)

    @override
    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) attention scores; there is one attention for all classes."""
        scores = self.scores(features.last.movedim(1, -1))
        return scores.movedim(-1, 1).expand(-1, self.outputs, -1, -1)


@register
class AttentionMil(BagMethod):
    """The attention of each tile as a share of the largest, whatever the class."""

    name: ClassVar[str] = "attention_mil"
    title: ClassVar[str] = "Attention MIL"
    from_zero: ClassVar[bool] = True
    for_all_classes: ClassVar[bool] = True
    signed: ClassVar[bool] = False
    note: ClassVar[str] = (
        "Attention says which tiles the network looked at to classify the image, not "
        "which class a tile speaks for; it is the same for every class."
    )

    @override
    def unavailable(self, model: Model) -> str | None:
        head = model.classifier
        if isinstance(head, MilHead) and head.pooling_of == "softmax":
            return None
        return super().unavailable(model) or "This model's head has no attention."
