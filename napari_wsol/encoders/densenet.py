"""DenseNet-121, -169 and -201 (Huang et al. 2017, arXiv 1608.06993).

State-dict names are torchvision's; the network ends with ``norm5`` and a ReLU, as
PCAM reads it.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from typing_extensions import override

from napari_wsol.encoders.atrous import DensePool
from napari_wsol.encoders.base import Encoder
from napari_wsol.encoders.registry import register_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

STEM_CHANNELS, GROWTH, BOTTLENECK = 64, 32, 4
"""Of the first convolution; new channels a layer (k); width of its 1×1 in k."""


class DenseLayer(nn.Module):
    """Norm, ReLU, 1×1, norm, ReLU, 3×3: the new channels ("DenseNet-B", section 3)."""

    def __init__(self, inputs: int, dilation: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, BOTTLENECK * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * GROWTH)
        self.conv2 = nn.Conv2d(
            BOTTLENECK * GROWTH, GROWTH, 3, 1, dilation, dilation, bias=False
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, ``GROWTH``, h, w)."""
        y = self.conv1(self.relu(self.norm1(x)))
        return self.conv2(self.relu(self.norm2(y)))


class DenseBlock(nn.Module):
    """Layers that each read all that came before (equation 2).

    Args:
        depth: layers.
        inputs: channels.
        dilation: of every 3×3 convolution.
    """

    def __init__(self, depth: int, inputs: int, dilation: int) -> None:
        super().__init__()
        self.steps = [((3, 1, dilation), dilation)] * depth
        for index in range(depth):
            layer = DenseLayer(inputs + index * GROWTH, dilation)
            self.add_module(f"denselayer{index + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C + depth · ``GROWTH``, h, w)."""
        for layer in self.children():
            x = torch.cat([x, layer(x)], dim=1)
        return x


def _transition(inputs: int, pool: nn.Module) -> nn.Sequential:
    """Halves channels and cells (section 3, "pooling layers")."""
    return nn.Sequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(inputs, inputs // 2, 1, bias=False),
            pool=pool,
        )
    )


class DenseNet(Encoder):
    """A DenseNet up to its last feature map (no pooling, no classifier).

    Args:
        depths: layers in each of the four blocks.
        output_stride: 8, 16 or 32. Below 32 the last transitions lose their stride:
            they average the same cells, only everywhere, and the blocks behind them
            are dilated, with the same weights. Such a map keeps its size.
        taps: any of "denseblock1" … "denseblock4"; the last, after ``norm5`` and ReLU,
            by default.
        in_channels: of the image.
    """

    def __init__(
        self,
        depths: tuple[int, int, int, int],
        *,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        output_stride = self.checked_stride(output_stride)
        stem = OrderedDict[str, nn.Module](
            conv0=nn.Conv2d(in_channels, STEM_CHANNELS, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(STEM_CHANNELS),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        self.features = nn.Sequential(stem)
        inputs, reached, dilation = STEM_CHANNELS, 4, 1
        all_taps: dict[str, int] = {}
        for number, depth in enumerate(depths, 1):
            block = DenseBlock(depth, inputs, dilation)
            self.features.add_module(f"denseblock{number}", block)
            inputs += depth * GROWTH
            all_taps[f"denseblock{number}"] = inputs
            if number == len(depths):
                break
            if reached < output_stride:
                pool: nn.Module = nn.AvgPool2d(2, 2)
                reached *= 2
            else:
                pool = DensePool(dilation, average=True)
                dilation *= 2
            self.features.add_module(f"transition{number}", _transition(inputs, pool))
            inputs //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(inputs))
        self.relu = nn.ReLU(inplace=True)
        self.choose(taps, all_taps)

    def cells(self, length: int) -> tuple[int, ...]:
        """The stem pads, the transitions leave out the odd row or column."""
        stem = -(-length // 4)
        return tuple(stem // (stride // 4) for stride in self.strides)

    @override
    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        for name, module in self.features.named_children():
            if name == "denseblock4":
                yield "denseblock4.concatenated", module
            else:
                yield name, module
        yield "denseblock4", self.relu


_DEPTHS = {
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
}


for _name, _depths in _DEPTHS.items():
    register_encoder(_name)(partial(DenseNet, _depths))
