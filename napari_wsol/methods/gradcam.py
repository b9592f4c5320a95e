"""Grad-CAM.

Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra: Grad-CAM: Visual Explanations from
Deep Networks via Gradient-based Localization, ICCV 2017, arXiv 1610.02391.

With A (C, h, w) the map of a layer and y_c the logit of class c, each channel weighs as
much as its gradient on average over the cells (equation 1), and evidence against the
class is cut off (equation 2)::

    w_k = mean_ij ∂y_c/∂A_k,ij        M_c = ReLU(Σ_k w_k · A_k)

Behind a global average and a linear layer this is ReLU(CAM), divided by the number of
cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import GradientMethod, weighted

if TYPE_CHECKING:
    from torch import Tensor


@register
class GradCam(GradientMethod):
    """Channels weighed by their mean gradient."""

    name: ClassVar[str] = "gradcam"
    title: ClassVar[str] = "Grad-CAM"
    rectified: ClassVar[bool] = True

    @override
    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return weighted(gradient.mean((-2, -1)), activation).relu()
