"""LayerCAM.

Jiang, Zhang, Hou, Cheng, Wei: LayerCAM: Exploring Hierarchical Class Activation Maps
for Localization, IEEE Transactions on Image Processing 30, 2021,
doi 10.1109/TIP.2021.3089943.

Every cell weighs by its own gradient, if that is positive (equations 6 and 7), which
keeps shallow layers, where gradients differ from place to place, readable::

    M_c = ReLU(Σ_k ReLU(∂y_c/∂A_k) ⊙ A_k)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import GradientMethod

if TYPE_CHECKING:
    from torch import Tensor


@register
class LayerCam(GradientMethod):
    """Cells weighed by their own positive gradient."""

    name: ClassVar[str] = "layercam"
    title: ClassVar[str] = "LayerCAM"
    rectified: ClassVar[bool] = True

    @override
    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        return (gradient.relu() * activation).sum(1).relu()
