"""XGrad-CAM.

Fu, Hu, Dong, Guo, Gao, Li: Axiom-based Grad-CAM: Towards Accurate Visualization and
Explanation of CNNs, BMVC 2020, arXiv 2008.02312.

Gradients are averaged where the channel is active, so that the map sums up to the logit
as nearly as a weighted sum of channels can (equation 8)::

    w_k = Σ_ij (A_k,ij / Σ_ab A_k,ab) · ∂y_c/∂A_k,ij        M_c = ReLU(Σ_k w_k · A_k)

A channel that is 0 everywhere weighs nothing. Behind a global average this is Grad-CAM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import GradientMethod, per_cell, weighted

if TYPE_CHECKING:
    from torch import Tensor


@register
class XGradCam(GradientMethod):
    """Channels weighed by their gradient where they are active."""

    name: ClassVar[str] = "xgradcam"
    title: ClassVar[str] = "XGrad-CAM"
    rectified: ClassVar[bool] = True

    @override
    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        shared = (gradient * activation).sum((-2, -1))
        weights = per_cell(shared, activation.sum((-2, -1)))
        return weighted(weights, activation).relu()
