"""Finer-CAM.

Zhang, Gu, Chowdhury, Mai, Carlyn, Berger-Wolf, Su, Chao: Finer-CAM: Spotting the
Difference Reveals Finer Details for Visual Explanation, CVPR 2025, arXiv 2501.11309.

Grad-CAM of what sets a class apart from the T classes d that the image is most like,
those whose logits lie nearest to its own, in place of all that speaks for it::

    s_c = y_c - γ · mean_d y_d        w_k = mean_ij ∂s_c/∂A_k,ij
    M_c = ReLU(Σ_k w_k · A_k)

with γ = 0.6 and T = 3 (all others, where there are fewer). The authors' code weighs the
mean by the probabilities of d; the plain one also fits several labels an image, where
a finding that is there besides is told apart like one that is only similar. One logit
for two classes is the difference already: then this is Grad-CAM, times 1 + γ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradcam import GradCam
from napari_wsol.methods.gradients import class_logits

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.model import Model

STRENGTH = 0.6
"""γ: how much of the other classes' evidence is taken away."""
REFERENCES = 3


@register
class FinerCam(GradCam):
    """Grad-CAM of the difference to the classes that are most alike."""

    name: ClassVar[str] = "finercam"
    title: ClassVar[str] = "Finer-CAM"
    note: ClassVar[str] = (
        "Shows what sets the class apart from those with the nearest scores, not all "
        "that speaks for it."
    )

    @override
    def score(self, model: Model, features: Features, target: int) -> Tensor:
        logits = class_logits(model, features)
        own = logits[:, target]
        away = (logits - own[:, None]).detach().abs()
        away[:, target] = float("inf")
        count = min(REFERENCES, logits.shape[1] - 1)
        nearest = away.topk(count, largest=False).indices
        return own - STRENGTH * logits.gather(1, nearest).mean(1)

    @override
    def unavailable(self, model: Model) -> str | None:
        if model.classifier is not None and len(model.classes) == 1:
            return (
                f"{self.title} compares a class with others, and this model knows one "
                "class only. Choose Grad-CAM."
            )
        return super().unavailable(model)
