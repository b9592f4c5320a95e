"""A vision transformer's classifier, and its relevance through the attention.

Chefer, Gur, Wolf: Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers, ICCV 2021, arXiv 2103.15679.

With A (H, T, T) the attention of a block and ∇A the gradient of the class's logit at
it, R grows block by block (equations 5 and 6, for self-attention)::

    R_0 = I        R ← R + E_h[(∇A ⊙ A)^+] · R

The map is the row of the class token in the last R, at the patches. What is read in
windows has a class token each, and the map is put together of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import nn
from typing_extensions import override

from napari_wsol.encoders.base import CLS
from napari_wsol.encoders.tokens import PATCHES, TokenEncoder
from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import RerunMethod, class_logit, full_precision
from napari_wsol.methods.heads import Head, register_head

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

    from napari_wsol.encoders import Encoder, Features
    from napari_wsol.methods.base import NetworkInput
    from napari_wsol.methods.model import Model


@register_head("linear")
class LinearHead(Head):
    """One linear layer on the class token, or on the mean of the deepest map.

    Args:
        channels: of both.
        classes: how many.
        pool: "cls" or "mean", which is timm's ``global_pool="avg"``.
        norm: whether a LayerNorm comes between, timm's ``fc_norm``. Without it, the
            mean is the head "cam", whose cells have a logit.
    """

    has_maps = False

    def __init__(
        self, channels: int, classes: int, *, pool: str = "cls", norm: bool = False
    ) -> None:
        super().__init__()
        self.pool = pool
        self.norm = nn.LayerNorm(channels, eps=1e-6) if norm else nn.Identity()
        self.fc = nn.Linear(channels, classes)

    @classmethod
    def build(cls, encoder: Encoder, classes: int, **options: object) -> Self:
        """As its base does; the encoder then gives what is read.

        Raises:
            ConfigError: it has no such map, as a class token.
        """
        head = super().build(encoder, classes, **options)
        if head.pool not in ("mean", *encoder.taps):
            encoder.choose((head.pool, *encoder.taps), encoder.layers)
        return head

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits; of several windows, those of their mean."""
        at = -1 if self.pool == "mean" else features.names.index(self.pool)
        return self.fc(self.norm(features.maps[at].mean((-2, -1))))


@register
class Chefer(RerunMethod):
    """Attention, weighed by the gradient of the class, followed through all blocks."""

    name: ClassVar[str] = "chefer"
    title: ClassVar[str] = "Generic Attention Explainability"
    slow: ClassVar[bool] = False
    reads_layers: ClassVar[bool] = False
    from_zero: ClassVar[bool] = True
    rectified: ClassVar[bool] = True

    @override
    def unavailable(self, model: Model) -> str | None:
        if isinstance(model.encoder, TokenEncoder) and CLS in model.encoder.taps:
            return super().unavailable(model)
        return (
            f"{self.title} follows a transformer's class token from its classifier, "
            "and this model's classifier reads none. Choose Grad-CAM, or a transformer "
            "whose head reads its class token."
        )

    @override
    def map_again(
        self, model: Model, features: Features, target: int, image: NetworkInput
    ) -> Tensor:
        encoder, pixels = cast("TokenEncoder", model.encoder), image.pixels()
        with (
            torch.inference_mode(mode=False),
            torch.enable_grad(),
            full_precision(pixels),
        ):
            x = pixels.clone().requires_grad_()
            attention, seen = encoder.attended(x)
            score = class_logit(model.image_logits(seen), target).sum()
            slopes = torch.autograd.grad(score, attention)
        relevance = torch.eye(attention[0].shape[-1], device=x.device)
        for weights, slope in zip(attention, slopes, strict=True):
            step = (slope * weights.detach()).clamp(min=0).mean(1).float()
            relevance = relevance + step @ relevance
        row = relevance[:, 0, :, None]  # (n, T, 1)
        return features.straight(encoder.placed(row, x, PATCHES)[:, 0])
