"""Probabilistic class activation maps.

Ye, Yao, Xue, Li: Weakly Supervised Lesion Localization With Probabilistic-CAM Pooling,
2020, arXiv 2005.14480.

With X (C, h, w) the last feature map, s = w·X + b the logit at each cell (a 1×1
convolution) and σ the sigmoid (equations 3 to 5)::

    p = σ(s)      a = p / Σ p      x = Σ a · X      logit = w·x + b = Σ a · s

The map is p itself, a probability, at the resolution of the features. The paper's other
poolings give other x; their map is p as well.

The authors' code can put an attention module before the classifiers. It applies it anew
for each class, to what it gave for the class before: the features of class i, counted
from 0, have passed it i + 1 times. That looks like a slip, but trained weights depend
on it, so it is kept. Names below ``attention_map.`` are as in the authors' checkpoints;
their third module, a dual attention ("SAM"), cannot run in their code and is not here.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import nn
from torch.nn import functional

from napari_wsol.errors import ConfigError, MethodUnavailableError, choices
from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, conv_norm_relu, register_head
from napari_wsol.methods.pcam_pools import pool_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.map_pooling import MapPooling
    from napari_wsol.methods.model import Model
    from napari_wsol.methods.pcam_pools import Pool


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
        self.conv = conv_norm_relu(inputs, outputs, side, stride)

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


@register_head("pcam")
class PcamHead(Head):
    """One 1×1 convolution a class (``fc_0``, ``fc_1``, …), pooled by its own map.

    Args:
        channels: of the last feature map.
        classes: how many.
        pool: from cells to the image, by name (:mod:`napari_wsol.methods.pcam_pools`).
        attention: "none", "CAM" or "FPA".
        fc_bn: whether pooled features are batch-normalised (``bn_0``, ``bn_1``, …).
        lse_gamma: sharpness of the poolings with log-sum-exp.
        fc_drop: share of the pooled features that are dropped in training.

    Attributes:
        has_maps: whether it has a logit at each cell: not if the pooled vector is
            longer than a cell's.

    Raises:
        UnknownNameError: no such pooling or attention.
        ConfigError: options that cannot be, or not together.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        pool: str = "PCAM",
        attention: str = "none",
        fc_bn: bool = False,
        lse_gamma: float = 0.5,
        fc_drop: float = 0.0,
    ) -> None:
        super().__init__()
        kind = pool_kind(pool, lse_gamma)
        if not 0 <= fc_drop < 1:
            raise ConfigError(f"fc_drop is a share from 0 to below 1, not {fc_drop}.")
        if kind.pools_logits and (fc_bn or fc_drop):
            raise ConfigError(
                f"{pool} pools logits: there are no pooled features to normalise or "
                "drop. Leave fc_bn and fc_drop out."
            )
        self.classes = classes
        self.pool = pool
        self.fc_drop = fc_drop
        self.has_maps = kind.widening == 1
        self.reads_cells = self.has_maps and attention == "none"
        self.pools = nn.ModuleList([kind(channels, lse_gamma) for _ in range(classes)])
        self.attention_map = build_attention(attention, channels)
        width = channels * kind.widening
        for index in range(classes):
            conv = nn.Conv2d(width, 1, 1)
            # The authors start at N(0, 0.01) so that the first maps are flat. Where
            # nothing is allocated torch would load sympy to do nothing: 1.5 s.
            if not conv.weight.is_meta:
                nn.init.normal_(conv.weight, std=0.01)
            nn.init.constant_(cast("Tensor", conv.bias), 0.0)
            self.add_module(f"fc_{index}", conv)
            if fc_bn:
                self.add_module(f"bn_{index}", nn.BatchNorm2d(width))
        self.fc_bn = fc_bn

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) logits of the features after attention.

        Raises:
            MethodUnavailableError: its pooling has none.
        """
        if not self.has_maps:
            raise MethodUnavailableError(self.no_maps())
        maps = [conv(x)[:, 0] for conv, x in self._classifiers(features)]
        return torch.stack(maps, dim=1)

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits."""
        logits = [
            self._image_logit(index, conv, x)
            for index, (conv, x) in enumerate(self._classifiers(features))
        ]
        return torch.cat(logits, dim=1)

    def pooling(self) -> MapPooling | None:
        """None where the pooling needs the features, or there is attention."""
        if self.fc_bn or not self.reads_cells:
            return None
        pool = cast("Pool", self.pools[0])
        return pool.of_logits([cast("Pool", item) for item in self.pools])

    def no_maps(self) -> str:
        """Why there are no maps, in words."""
        return (
            f"This model pools by {self.pool}, which joins several vectors: its "
            "classifier cannot read a single cell, so there is no map of "
            "probabilities. Choose Grad-CAM or another method of that family."
        )

    def _classifiers(self, features: Features) -> Iterator[tuple[nn.Module, Tensor]]:
        """The classifier of each class, and the (N, C, h, w) features that it reads."""
        x = features.last
        for index in range(self.classes):
            x = self.attention_map(x)  # again and again: see the head of this file
            yield self.get_submodule(f"fc_{index}"), x

    def _image_logit(self, index: int, conv: nn.Module, x: Tensor) -> Tensor:
        """(N, 1) from the (N, C, h, w) features of a class."""
        pool = cast("Pool", self.pools[index])
        # Sums of exponentials over an image need more digits than 16 bits have.
        wide = torch.promote_types(x.dtype, torch.float32)
        logits = conv(x) if self.has_maps else x[:, :1]
        pooled = pool(x.to(wide), logits.to(wide))
        if pool.pools_logits:
            return pooled.to(x.dtype)
        pooled = pooled.to(x.dtype)[..., None, None]
        if self.fc_bn:
            pooled = self.get_submodule(f"bn_{index}")(pooled)
        pooled = functional.dropout(pooled, self.fc_drop, self.training)
        return conv(pooled).flatten(1)


@register
class Pcam(HeadMethod):
    """The probability map of one class, in [0, 1]."""

    name: ClassVar[str] = "pcam"
    title: ClassVar[str] = "PCAM"
    is_probability: ClassVar[bool] = True

    def unavailable(self, model: Model) -> str | None:
        """Also where the pooling leaves no map."""
        reason = super().unavailable(model)
        if reason is not None:
            return reason
        head = model.head(PcamHead, self.name)
        return None if head.has_maps else head.no_maps()
