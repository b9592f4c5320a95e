"""Attention modules of PCAM's code, put between the encoder and the classifiers.

Names below ``attention_map.`` as in the authors' checkpoints. Their third module, a
dual attention ("SAM"), cannot run in their code and is not here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from napari_wsol.errors import choices

if TYPE_CHECKING:
    from torch import Tensor

MULTIPLE = 4
"""The pyramid halves and doubles its map without remainder at multiples of this."""


class ChannelAttention(nn.Module):
    """Weights each channel by what all of them are on average ("CAM").

    Squeeze and excitation (Hu, Shen, Sun 2018, arXiv 1709.01507, equations 2 to 4),
    with a reduction of 2::

        X · σ(W₂ · ReLU(W₁ · mean X))
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, channels // 2)
        self.fc2 = nn.Linear(channels // 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → the same shape."""
        squeezed = functional.relu(self.fc1(x.mean((-2, -1))))
        return x * torch.sigmoid(self.fc2(squeezed))[..., None, None]


class ConvNormRelu(nn.Module):
    """Convolution with bias, batch normalisation and ReLU, as one ``conv``."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, outputs, side, stride, side // 2),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, ⌈h / stride⌉, ⌈w / stride⌉)."""
        return self.conv(x)


class PyramidAttention(nn.Module):
    """Weights each cell by one map that sees three scales ("FPA").

    Feature pyramid attention (Li, Xiong, An, Wang 2018, arXiv 1805.10180, section 3.1):
    a 1×1 convolution of X, times the map of a pyramid of 7×7, 5×5 and 3×3
    convolutions, plus a branch of global average pooling.

    The authors' code fails unless both sides of X are multiples of 4. Ours repeats the
    last row and column for the pyramid up to that, and cuts its map: where nothing is
    to be repeated, both agree.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gap_branch = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvNormRelu(channels, channels, 1)
        )
        self.mid_branch = ConvNormRelu(channels, channels, 1)
        self.downsample1 = ConvNormRelu(channels, 1, 7, stride=2)
        self.downsample2 = ConvNormRelu(1, 1, 5, stride=2)
        self.downsample3 = ConvNormRelu(1, 1, 3, stride=2)
        self.scale1 = ConvNormRelu(1, 1, 7)
        self.scale2 = ConvNormRelu(1, 1, 5)
        self.scale3 = ConvNormRelu(1, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → the same shape."""
        height, width = x.shape[-2:]
        margins = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
        padded = functional.pad(x, margins, mode="replicate")
        pyramid = self.pyramid(padded)[..., :height, :width]
        return pyramid * self.mid_branch(x) + self.gap_branch(x)

    def pyramid(self, x: Tensor) -> Tensor:
        """(N, 1, h, w) the weight of each cell."""
        halves = self.downsample1(x)
        quarters = self.downsample2(halves)
        eighths = self.scale3(self.downsample3(quarters))
        quarters = self.scale2(quarters) + _enlarge(eighths, quarters)
        halves = self.scale1(halves) + _enlarge(quarters, halves)
        return _enlarge(halves, x)


def _enlarge(small: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the rows and columns of another map."""
    return functional.interpolate(
        small, size=like.shape[-2:], mode="bilinear", align_corners=False
    )


_MODULES: dict[str, tuple[str, type[nn.Module]]] = {
    "CAM": ("channel_attention", ChannelAttention),
    "FPA": ("pyramid_attention", PyramidAttention),
}
ATTENTIONS = ("none", *_MODULES)


def build_attention(kind: str, channels: int) -> nn.Sequential:
    """An attention by name; "none" changes nothing.

    Raises:
        UnknownNameError: no such attention; names the choices.
    """
    if kind == "none":
        return nn.Sequential()
    if kind not in _MODULES:
        raise choices("attention", kind, list(ATTENTIONS))
    name, module = _MODULES[kind]
    return nn.Sequential(OrderedDict([(name, module(channels))]))
