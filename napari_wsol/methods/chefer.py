"""The relevance of each patch to a transformer's class, through its attention.

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
from typing_extensions import override

from napari_wsol.encoders.base import CLS
from napari_wsol.encoders.tokens import PATCHES, TokenEncoder
from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import RerunMethod, class_logit, full_precision

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.base import NetworkInput
    from napari_wsol.methods.model import Model


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
            score = class_logit(model, seen, target).sum()
            slopes = torch.autograd.grad(score, attention)
        relevance = torch.eye(attention[0].shape[-1], device=x.device)
        for weights, slope in zip(attention, slopes, strict=True):
            step = (slope * weights.detach()).clamp(min=0).mean(1).float()
            relevance = relevance + step @ relevance
        row = relevance[:, 0, :, None]  # (n, T, 1)
        return features.straight(encoder.placed(row, x, PATCHES)[:, 0])
