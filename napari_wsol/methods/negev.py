"""NEGEV: a decoder learns full-size maps from a classifier that stays as it is.

Belharbi, Pedersoli, Ben Ayed, McCaffrey, Granger: Negative Evidence Matters in
Interpretable Histology Image Classification, MIDL 2022, arXiv 2201.02445. The same
network with other losses is F-CAM (Belharbi, Sarraf, Pedersoli, Ben Ayed, McCaffrey,
Granger, WACV 2022, arXiv 2109.07069).

A U-Net decoder (Ronneberger et al. 2015, arXiv 1505.04597) reads all depths of the
classifier's frozen encoder: five times enlarge to the next finer map, put that beside,
and convolve twice. A 3×3 convolution gives each pixel two logits s, background and
foreground, and the map is p = softmax(s)₁, whatever the class.

The decoder learns from seeds of the classifier's map and, on negative images, that all
is background (NEGEV, section 3); that is not done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.encoders import on_grid
from napari_wsol.errors import ConfigError
from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, conv_norm_relu, register_head
from napari_wsol.methods.pixelcam import FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Encoder, Features
    from napari_wsol.methods.model import Model

TAPS = ("stem", "layer1", "layer2", "layer3", "layer4")
"""Of a ResNet, finest first."""

WIDTHS = (256, 128, 64, 32, 16)
"""Channels after each block of the decoder, deepest first."""

FINER = 2
"""The last block enlarges beyond the finest map by this much."""


class Block(nn.Module):
    """Two 3×3 convolutions with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = conv_norm_relu(inputs, outputs, 3, bias=False)
        self.conv2 = conv_norm_relu(outputs, outputs, 3, bias=False)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x))


class Decoder(nn.Module):
    """The U-Net's way up (``blocks``).

    Args:
        channels: of the features, finest first.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        beside = [*channels[-2::-1], 0]
        below = [channels[-1], *WIDTHS[:-1]]
        self.blocks = nn.ModuleList(
            Block(deep + side, width)
            for deep, side, width in zip(below, beside, WIDTHS, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Features, finest first, to (N, 16, 2 h, 2 w), h and w of the finest."""
        x = maps[-1]
        for block, finer in zip(self.blocks, maps[-2::-1], strict=False):
            size = (finer.shape[-2], finer.shape[-1])
            x = block(torch.cat([functional.interpolate(x, size), finer], dim=1))
        x = functional.interpolate(x, scale_factor=float(FINER))
        return self.blocks[-1](x)


@register_head("negev")
class NegevHead(Head):
    """Decoder and a 3×3 convolution to two logits a pixel (``segmentation_head``).

    Args:
        channels: of the five maps that it reads, finest first.
    """

    classifies: ClassVar[bool] = False
    gives_pixels: ClassVar[bool] = True

    @classmethod
    def build(  # type: ignore[override]  # options by name, checked by build_head
        cls, encoder: Encoder, classes: int
    ) -> NegevHead:
        """Reads all depths of a ResNet.

        Raises:
            ConfigError: the encoder does not give them; says which taps to list.
        """
        del classes
        if any(name not in encoder.taps for name in TAPS):
            raise ConfigError(
                f"NEGEV's decoder reads {', '.join(TAPS)} of a ResNet, but the encoder "
                f"gives {', '.join(encoder.taps)}: list them as taps."
            )
        channels = dict(zip(encoder.taps, encoder.channels, strict=True))
        return cls([channels[name] for name in TAPS])

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.decoder = Decoder(channels)
        self.segmentation_head = nn.Sequential(nn.Conv2d(WIDTHS[-1], 2, 3, padding=1))

    def forward(self, features: Features) -> Tensor:
        """(N, 2, 2 h, 2 w) pixel logits, twice as fine as the finest map."""
        return self.segmentation_head(self.decoder(features.select(TAPS).maps))

    def class_maps(self, features: Features) -> Tensor:
        """The pixel logits: background and foreground, whatever the class."""
        return self(features)

    def map_index(self, features: Features) -> int:
        """The finest map that it reads."""
        return features.names.index(TAPS[0])


@register
class Negev(HeadMethod):
    """The foreground probability of each pixel, whatever the class."""

    name: ClassVar[str] = "negev"
    title: ClassVar[str] = "NEGEV"
    is_probability: ClassVar[bool] = True
    follows_verdict: ClassVar[bool] = False

    def map(
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        """(N, h, w) in [0, 1]; the same for every class."""
        del target
        head = model.head(NegevHead, self.name)
        values = head(features).softmax(1)[:, FOREGROUND]
        stride = self.stride(model, features)
        # A cell became FINER × FINER, spread about its centre.
        offset = features.offsets[head.map_index(features)]
        offset -= stride * (FINER - 1) / 2
        shape = (int(values.shape[-2]), int(values.shape[-1]))
        return on_grid(values, stride, shape, stride, offset=offset)

    def stride(self, model: Model, features: Features) -> float:
        """Half that of the finest map."""
        return super().stride(model, features) / FINER
