"""Finer-CAM.

Zhang, Gu, Chowdhury, Mai, Carlyn, Berger-Wolf, Su, Chao: Finer-CAM: Spotting the
Difference Reveals Finer Details for Visual Explanation, CVPR 2025, arXiv 2501.11309.

Grad-CAM of what sets a class apart from the T classes d with the nearest logits::

    s_c = y_c - γ · mean_d y_d        w_k = mean_ij ∂s_c/∂A_k,ij
    M_c = ReLU(Σ_k w_k · A_k)

with γ = 0.6 and T = 3, or all others. The authors' code weighs the mean by probability;
ours fits several labels an image, too. One logit leaves nothing to compare: Grad-CAM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradcam import GradCam
from napari_wsol.methods.gradients import class_logit

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.model import Model

STRENGTH, REFERENCES = 0.6, 3


@register
class FinerCam(GradCam):
    """Grad-CAM of the difference to the classes that are most alike."""

    name: ClassVar[str] = "finercam"
    title: ClassVar[str] = "Finer-CAM"
    note: ClassVar[str] = "Shows what sets a class apart; of one logit, it is Grad-CAM."

    @override
    def score(self, model: Model, features: Features, target: int) -> Tensor:
        logits = model.image_logits(features)
        if logits.shape[1] == 1:
            return class_logit(model, features, target)
        away = (logits - logits[:, target, None]).detach().abs()
        away[:, target] = torch.inf
        nearest = away.topk(min(REFERENCES, logits.shape[1] - 1), largest=False).indices
        return logits[:, target] - STRENGTH * logits.gather(1, nearest).mean(1)
