"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381), batch normalisation folded.

State-dict names follow torchvision's ``mobilenet_v2``; every convolution carries the
bias that its batch normalisation was folded into, as in Google's released networks.
Convolutions of stride 2 pad the TensorFlow way: nothing before, the rest after. On odd
sizes TensorFlow would shift the grid by one pixel; here the grid stays where it is, so
that a tile and the whole image agree at any size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.encoders.base import Encoder, steps_of
from napari_wsol.encoders.registry import register_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

# Expansion, output channels, repeats, stride of each group (Table 2 of the paper).
GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM_CHANNELS, LAST_CHANNELS = 32, 1280


class SameConv2d(nn.Conv2d):
    """A convolution that pads as TensorFlow's "SAME" does on even sizes."""

    @override
    def forward(self, input: Tensor) -> Tensor:
        x = input
        if self.stride == (1, 1):
            return super().forward(x)
        padding: list[int] = []
        for size in (x.shape[-1], x.shape[-2]):
            cells = -(-size // self.stride[0])
            needed = (cells - 1) * self.stride[0] + self.kernel_size[0]
            padding += [0, max(0, needed - size)]
        return functional.conv2d(
            functional.pad(x, padding), self.weight, self.bias, self.stride, 0, 1,
            self.groups,
        )  # fmt: skip


def _conv(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> SameConv2d:
    padding = dilation * (kernel // 2) if stride == 1 else 0
    return SameConv2d(
        inputs, outputs, kernel, stride, padding, dilation, groups, bias=True
    )


class InvertedResidual(nn.Module):
    """1×1 expansion, 3×3 depthwise, linear 1×1 projection (section 3.3)."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, expansion: int, dilation: int
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(nn.Sequential(_conv(inputs, hidden, 1), nn.ReLU6()))
        depthwise = _conv(
            hidden, hidden, 3, stride=stride, dilation=dilation, groups=hidden
        )
        layers.append(nn.Sequential(depthwise, nn.ReLU6()))
        layers.append(nn.Sequential(_conv(hidden, outputs, 1)))
        self.conv = nn.Sequential(*layers)
        self.steps = list(steps_of(self.conv))
        self.is_residual = stride == 1 and inputs == outputs

    @override
    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.is_residual else self.conv(x)


@register_encoder("mobilenet_v2")
class MobileNetV2(Encoder):
    """MobileNetV2 1.0 for RGB input scaled as ``(x - 128) / 128`` of 0…255.

    Args:
        output_stride: 8, 16 or 32; below 32 the tail is dilated, with the same weights.
        taps: names of blocks ("features.3", …, "features.18"); the last by default.
        in_channels: of the image.
    """

    mean = (128 / 255, 128 / 255, 128 / 255)
    std = (128 / 255, 128 / 255, 128 / 255)

    def __init__(
        self,
        *,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        output_stride = self.checked_stride(output_stride)
        stem = nn.Sequential(_conv(in_channels, STEM_CHANNELS, 3, stride=2), nn.ReLU6())
        layers: list[nn.Module] = [stem]
        all_taps = {"features.0": STEM_CHANNELS}
        inputs, reached, dilation = STEM_CHANNELS, 2, 1
        for expansion, outputs, repeats, first_stride in GROUPS:
            for repeat in range(repeats):
                stride = first_stride if repeat == 0 else 1
                block_dilation = dilation
                if stride == 2 and reached == output_stride:
                    # The convolution that loses its stride keeps its dilation; those
                    # behind it see as far as before only with twice as much.
                    stride, dilation = 1, dilation * 2
                reached *= stride
                layers.append(
                    InvertedResidual(inputs, outputs, stride, expansion, block_dilation)
                )
                all_taps[f"features.{len(layers) - 1}"] = outputs
                inputs = outputs
        layers.append(nn.Sequential(_conv(inputs, LAST_CHANNELS, 1), nn.ReLU6()))
        all_taps[f"features.{len(layers) - 1}"] = LAST_CHANNELS
        self.features = nn.Sequential(*layers)
        self.choose(taps, all_taps)
        # Layers behind the last tap are never run and would only fill the file.
        del self.features[int(self.taps[-1].split(".")[1]) + 1 :]

    @override
    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        for index, module in enumerate(self.features):
            yield f"features.{index}", module
