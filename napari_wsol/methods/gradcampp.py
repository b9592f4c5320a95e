"""Grad-CAM++.

Chattopadhay, Sarkar, Howlader, Balasubramanian: Grad-CAM++: Improved Visual
Explanations for Deep Convolutional Networks, WACV 2018, arXiv 1710.11063.

The score is exp(y_c), so that behind rectified layers its higher derivatives are powers
of the gradient g = ∂y_c/∂A (equations 16 to 18). Each cell then weighs (equation 19)::

    a_k,ij = g² / (2 g² + Σ_ab A_k,ab · g³)        w_k = Σ_ij a_k,ij · ReLU(g_k,ij)
    M_c = ReLU(Σ_k w_k · A_k)

Only cells with g > 0 count (equation 7), and there a = 1 / (2 + Σ A · g): written like
this nothing is 0/0, and g³ cannot vanish in float32. The factor exp(y_c), one number
for the whole map, is left out. PixelCAM's code forgets the division and has
w_k = Σ g² · ReLU(g); ours follows the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import GradientMethod, per_cell, weighted

if TYPE_CHECKING:
    from torch import Tensor


@register
class GradCamPlusPlus(GradientMethod):
    """Channels weighed by their positive gradients, less where many cells share it."""

    name: ClassVar[str] = "gradcam++"
    title: ClassVar[str] = "Grad-CAM++"
    rectified: ClassVar[bool] = True

    @override
    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        total = activation.sum((-2, -1), keepdim=True)
        weights = per_cell(gradient.relu(), 2 + total * gradient)
        return weighted(weights.sum((-2, -1)), activation).relu()
