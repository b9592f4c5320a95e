"""The blocks of Inception-v3 (Szegedy et al. 2016, arXiv 1512.00567).

Names of layers are torchvision's. Each block says which layers lie on its longest path
and how many cells it gives, so that the receptive field of the network follows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from napari_wsol.encoders.atrous import average3

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders.base import Step


class Part(nn.Module):
    """A part of the network.

    Attributes:
        channels: that it gives.
        steps: (step, padding on each side) of every layer on its longest path.
    """

    channels: int
    steps: tuple[tuple[Step, int], ...]

    def cells(self, length: int) -> int:
        """Cells along an axis, given those of its input."""
        for (kernel, stride, dilation), padding in self.steps:
            extent = dilation * (kernel - 1)
            length = (length + 2 * padding - extent - 1) // stride + 1
        return length


class ConvNorm(Part):
    """Convolution, batch norm, ReLU.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: one size, or (rows, columns).
        stride: of the convolution.
        padding: the same on each side.
        dilation: of the convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, padding, dilation, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
        self.channels = outputs
        widest = max(self.conv.kernel_size)
        self.steps = (((widest, stride, dilation), max(_pair(padding))),)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.relu(self.bn(self.conv(x)), inplace=True)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _row(inputs: int, outputs: int, size: int, dilation: int) -> ConvNorm:
    """1 × ``size``, keeping the map's size."""
    padding = (0, dilation * (size // 2))
    return ConvNorm(inputs, outputs, (1, size), padding=padding, dilation=dilation)


def _column(inputs: int, outputs: int, size: int, dilation: int) -> ConvNorm:
    """``size`` × 1, keeping the map's size."""
    padding = (dilation * (size // 2), 0)
    return ConvNorm(inputs, outputs, (size, 1), padding=padding, dilation=dilation)


class StemPool(Part):
    """The 3×3 max-pool of stride 2.

    Args:
        padding: 0; or 1, and then a last window that is not full counts too.
    """

    def __init__(self, padding: int) -> None:
        super().__init__()
        self.padding = padding
        self.steps = (((3, 2, 1), padding),)

    def cells(self, length: int) -> int:
        """With padding one more than half, wherever the last window begins."""
        return length // 2 + 1 if self.padding else super().cells(length)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return functional.max_pool2d(
            x, 3, 2, self.padding, ceil_mode=bool(self.padding)
        )


class BlockA(Part):
    """Figure 5: 1×1, 5×5, two 3×3, pool (``Mixed_5b`` … ``Mixed_5d``)."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 64, 1)
        self.branch5x5_1 = ConvNorm(inputs, 48, 1)
        self.branch5x5_2 = ConvNorm(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, padding=1)
        self.branch_pool = ConvNorm(inputs, pooled, 1)
        self.channels = 64 + 64 + 96 + pooled
        self.steps = (((5, 1, 1), 2),)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch5x5_2(self.branch5x5_1(x)),
            self.branch3x3dbl_3(double),
            self.branch_pool(average3(x, 1)),
        ]
        return torch.cat(branches, dim=1)


class ReductionA(Part):
    """Figure 10: 3×3, two 3×3, pool, all of stride 2 (``Mixed_6a``).

    Args:
        inputs: channels.
        stride: 1 or 2.
        padding: of what has that stride: 0, or 1 in PixelCAM's form.
    """

    def __init__(self, inputs: int, stride: int, padding: int) -> None:
        super().__init__()
        at = {"stride": stride, "padding": padding}
        self.branch3x3 = ConvNorm(inputs, 384, 3, **at)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, **at)
        self.stride, self.padding = stride, padding
        self.channels = 384 + 96 + inputs
        self.steps = (((3, 1, 1), 1), ((3, stride, 1), padding))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch3x3(x),
            self.branch3x3dbl_3(double),
            functional.max_pool2d(x, 3, self.stride, self.padding),
        ]
        return torch.cat(branches, dim=1)


class BlockB(Part):
    """Figure 6 with n = 7: 7×7 as rows and columns (``Mixed_6b`` … ``Mixed_6e``).

    Args:
        width: inner channels.
        dilation: of every convolution but 1×1, and of the pool.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(768, 192, 1)
        self.branch7x7_1 = ConvNorm(768, width, 1)
        self.branch7x7_2 = _row(width, width, 7, dilation)
        self.branch7x7_3 = _column(width, 192, 7, dilation)
        self.branch7x7dbl_1 = ConvNorm(768, width, 1)
        self.branch7x7dbl_2 = _column(width, width, 7, dilation)
        self.branch7x7dbl_3 = _row(width, width, 7, dilation)
        self.branch7x7dbl_4 = _column(width, width, 7, dilation)
        self.branch7x7dbl_5 = _row(width, 192, 7, dilation)
        self.branch_pool = ConvNorm(768, 192, 1)
        self.dilation = dilation
        self.channels = 768
        self.steps = (((7, 1, dilation), 3 * dilation),) * 2

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        seven = self.branch7x7_2(self.branch7x7_1(x))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        branches = [
            self.branch1x1(x),
            self.branch7x7_3(seven),
            self.branch7x7dbl_5(self.branch7x7dbl_4(double)),
            self.branch_pool(average3(x, self.dilation)),
        ]
        return torch.cat(branches, dim=1)


class ReductionB(Part):
    """3×3, 7×7 and 3×3, pool, all of stride 2 (``Mixed_7a``).

    Args:
        stride: 1 or 2.
        dilation: of every convolution but 1×1, and of the pool.
    """

    def __init__(self, stride: int, dilation: int) -> None:
        super().__init__()
        at = {"stride": stride, "dilation": dilation}
        self.branch3x3_1 = ConvNorm(768, 192, 1)
        self.branch3x3_2 = ConvNorm(192, 320, 3, **at)
        self.branch7x7x3_1 = ConvNorm(768, 192, 1)
        self.branch7x7x3_2 = _row(192, 192, 7, dilation)
        self.branch7x7x3_3 = _column(192, 192, 7, dilation)
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, **at)
        self.stride, self.dilation = stride, dilation
        self.channels = 320 + 192 + 768
        self.steps = (((7, 1, dilation), 3 * dilation), ((3, stride, dilation), 0))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        seven = self.branch7x7x3_2(self.branch7x7x3_1(x))
        branches = [
            self.branch3x3_2(self.branch3x3_1(x)),
            self.branch7x7x3_4(self.branch7x7x3_3(seven)),
            functional.max_pool2d(x, 3, self.stride, 0, self.dilation),
        ]
        return torch.cat(branches, dim=1)


class BlockC(Part):
    """Figure 7: wide, the last 3×3 as row beside column (``Mixed_7b``, ``Mixed_7c``).

    Args:
        inputs: channels.
        dilation: of every convolution but 1×1, and of the pool.
    """

    def __init__(self, inputs: int, dilation: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 320, 1)
        self.branch3x3_1 = ConvNorm(inputs, 384, 1)
        self.branch3x3_2a = _row(384, 384, 3, dilation)
        self.branch3x3_2b = _column(384, 384, 3, dilation)
        self.branch3x3dbl_1 = ConvNorm(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, padding=dilation, dilation=dilation)
        self.branch3x3dbl_3a = _row(384, 384, 3, dilation)
        self.branch3x3dbl_3b = _column(384, 384, 3, dilation)
        self.branch_pool = ConvNorm(inputs, 192, 1)
        self.dilation = dilation
        self.channels = 320 + 2 * 384 + 2 * 384 + 192
        self.steps = (((3, 1, dilation), dilation),) * 2

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(average3(x, self.dilation)),
        ]
        return torch.cat(branches, dim=1)
