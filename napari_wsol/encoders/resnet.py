"""ResNet-18 to -152 (He et al. 2016, arXiv 1512.03385).

State-dict names are torchvision's, so that its ImageNet weights load as they are;
the bottleneck has its stride on the 3×3 convolution ("v1.5").
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from torch import nn
from typing_extensions import override

from napari_wsol.encoders.base import Encoder, steps_of
from napari_wsol.encoders.registry import register_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from napari_wsol.encoders.base import Step


def _conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    padding = dilation * (kernel // 2)
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut (Figure 5, left)."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 3, stride, dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, 1, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width, stride)

    @override
    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    @property
    def steps(self) -> Iterator[tuple[Step, int]]:
        """Of the convolutions on the long way round."""
        return steps_of(nn.Sequential(self.conv1, self.conv2))


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 around a shortcut (Figure 5, right)."""

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = _conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride, dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, width * 4, 1)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, width * 4, stride)

    @override
    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    @property
    def steps(self) -> Iterator[tuple[Step, int]]:
        """Of the convolutions on the long way round."""
        return steps_of(nn.Sequential(self.conv1, self.conv2, self.conv3))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(Encoder):
    """A ResNet up to its last feature map (no pooling, no classifier).

    Args:
        block: ``BasicBlock`` or ``Bottleneck``.
        depths: blocks in each of the four stages.
        output_stride: 8, 16 or 32, the default (8 without dilation); below 32 the last
            stages are dilated instead of strided, with the same weights.
        taps: any of "stem" (at stride 2, before the pooling), "layer1" … "layer4";
            the last by default.
        in_channels: of the image.
        dilate: whether a stage that loses its stride dilates its convolutions, so
            that the weights of the strided network still fit; PixelCAM's code does
            not.
    """

    residual: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4")
    """Names of the stages behind the first pooling."""

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        depths: tuple[int, int, int, int],
        *,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
        dilate: bool = True,
    ) -> None:
        super().__init__()
        output_stride = self.checked_stride(output_stride, 32 if dilate else 8)
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs, reached, dilation = 64, 4, 1
        all_taps = {"stem": 64}
        for index, (name, depth) in enumerate(zip(self.residual, depths, strict=True)):
            stride = 1 if index == 0 else 2
            first_dilation = dilation
            if stride == 2 and reached == output_stride:
                stride, dilation = 1, dilation * 2 if dilate else 1
            reached *= stride
            width = 64 * 2**index
            blocks: list[nn.Module] = []
            for position in range(depth):
                at = (stride, first_dilation) if position == 0 else (1, dilation)
                blocks.append(block(inputs, width, *at))
                inputs = width * block.expansion
            self.add_module(name, nn.Sequential(*blocks))
            all_taps[name] = inputs
        self.choose(taps, all_taps)

    @override
    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        yield "stem", nn.Sequential(self.conv1, self.bn1, self.relu)
        yield "maxpool", self.maxpool
        for name in self.residual:
            yield name, self.get_submodule(name)


_DEPTHS: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}


for _name, (_block, _depths) in _DEPTHS.items():
    register_encoder(_name)(partial(ResNet, _block, _depths))
    # PixelCAM's form: the last stages lose their stride and are not dilated.
    register_encoder(f"wsol_{_name}")(partial(ResNet, _block, _depths, dilate=False))
