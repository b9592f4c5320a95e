"""HiResCAM.

Draelos, Carin: Use HiResCAM instead of Grad-CAM for faithful explanations of
convolutional neural networks, 2020, arXiv 2011.08891.

Every cell weighs by its own gradient, which Grad-CAM averages away::

    M_c = Σ_k ∂y_c/∂A_k ⊙ A_k

There is no ReLU, as in the paper; grad-cam cuts off what speaks against the class.
Behind a global average and a linear layer this is CAM, divided by the number of cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import GradientMethod

if TYPE_CHECKING:
    from torch import Tensor


@register
class HiResCam(GradientMethod):
    """Cells weighed by their own gradient, for and against the class."""

    name: ClassVar[str] = "hirescam"
    title: ClassVar[str] = "HiResCAM"

    @override
    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return (gradient * activation).sum(1)
