"""Peak stimulation: only where a class map is highest in its surroundings.

Zhou, Zhu, Ye, Qiu, Jiao: Weakly Supervised Instance Segmentation Using Class Peak
Response, CVPR 2018, arXiv 1804.00880 (section 3.1).

With s_c = w_c·X + b_c the logit of class c at each cell (a 1×1 convolution)::

    logit_c = mean over positions of ( max of s_c in the window there )

The map is s_c. The paper averages over the local maxima themselves (equation 2); the
published code of the WSOL benchmarks, whose checkpoints this head loads, averages the
windows' maxima, so that a wide peak counts more than a narrow one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch.nn import functional
from typing_extensions import override

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import ConvHead, register_head

if TYPE_CHECKING:
    from torch import Tensor


@register_head("prm")
class PrmHead(ConvHead):
    """The mean of the windows' maxima of each class map.

    Args:
        channels: of the last feature map.
        classes: how many.
        background: adds a row 0 for background that is no class.
        kernel: side of the window, in cells; a smaller map is one window.
        stride: cells from window to window.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        background: bool = False,
        kernel: int = 3,
        stride: int = 1,
    ) -> None:
        super().__init__(channels, classes, background=background)
        self.kernel = kernel
        self.stride = stride

    @override
    def pool(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[-2:]
        window = (min(self.kernel, height), min(self.kernel, width))
        return functional.max_pool2d(maps, window, self.stride).mean((-2, -1))


@register
class Prm(HeadMethod):
    """The logit of one class at each cell: unbounded evidence."""

    name: ClassVar[str] = "prm"
    title: ClassVar[str] = "PRM"
