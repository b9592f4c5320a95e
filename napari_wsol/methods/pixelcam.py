"""PixelCAM: a pixel classifier beside the image classifier, on the same features.

Guichemerre, Belharbi, Shateri, McCaffrey, Granger: PixelCAM: Pixel Class Activation
Mapping for Histology Image Classification and ROI Localization, MIDL 2025,
arXiv 2503.24135.

A 1×1 convolution reads the features that the image classifier pools and gives each
cell two logits, background and foreground. It learns from seeds that a class activation
map suggests, drawn afresh at every step (partial cross-entropy, equation 3). At
inference the map is the softmax probability of foreground at feature resolution
(section 3), whatever the class: it says where the class of the image is seen.

Ours may read several depths of the encoder: their features are brought to the finest
grid. Since bilinear interpolation commutes with a 1×1 convolution, the kernel is
applied to each depth first, and only two channels are resampled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import nn

from napari_wsol.encoders import on_grid, sample_points
from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, register_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Encoder, Features
    from napari_wsol.methods.base import NetworkInput
    from napari_wsol.methods.model import Model

BACKGROUND, FOREGROUND = 0, 1
"""Channels of the pixel logits."""


@register_head("pixelcam")
class PixelHead(Head):
    """The default pixel classifier: one 1×1 convolution (``conv4``) to two logits.

    Args:
        channels: of each feature map that it reads, finest first.
        standardize: whether features are shifted and scaled to the statistics of the
            training set first (buffers ``shift`` and ``scale``), so that depths of
            different magnitude learn at one pace.
    """

    classifies: ClassVar[bool] = False

    @classmethod
    def build(
        cls, encoder: Encoder, classes: int, *, maps: int | None = None, **options: bool
    ) -> PixelHead:
        """Reads the ``maps`` deepest maps of an encoder; all of them by default."""
        del classes
        return cls(encoder.channels[-(maps or 0) :], **options)

    def __init__(self, channels: Sequence[int], *, standardize: bool = False) -> None:
        super().__init__()
        self.channels = tuple(channels)
        self.conv4 = nn.Conv2d(sum(channels), 2, 1)
        self.shift: Tensor | None
        self.scale: Tensor | None
        self.register_buffer(
            "shift", torch.zeros(sum(channels)) if standardize else None
        )
        self.register_buffer(
            "scale", torch.ones(sum(channels)) if standardize else None
        )

    def standardize_to(self, mean: Tensor, std: Tensor) -> None:
        """Sets the statistics, each (C,), that features are standardised with."""
        if self.shift is None or self.scale is None:
            raise TypeError("This head reads features as they are.")
        self.shift.copy_(mean)
        self.scale.copy_(std)

    def affine(self) -> tuple[Tensor, Tensor]:
        """(2, C) weight and (2,) bias on the features as the encoder gives them."""
        weight = self.conv4.weight.flatten(1)
        bias = cast("Tensor", self.conv4.bias)
        if self.shift is None or self.scale is None:
            return weight, bias
        weight = weight / self.scale
        return weight, bias - weight @ self.shift

    def forward(self, features: Features) -> Tensor:
        """(N, 2, h, w) pixel logits on the nominal grid of the finest map's stride."""
        weight, bias = self.affine()
        read = self.read(features)
        shape = (int(read.maps[0].shape[-2]), int(read.maps[0].shape[-1]))
        kernels = torch.split(weight, list(self.channels), dim=1)
        total = bias.view(1, 2, 1, 1)
        for values, stride, offset, kernel in zip(
            read.maps, read.strides, read.offsets, kernels, strict=True
        ):
            logits = torch.einsum("oc,nchw->nohw", kernel, values.to(kernel.dtype))
            total = total + on_grid(
                logits, stride, shape, read.strides[0], offset=offset
            )
        return total

    def at_points(self, features: Features, points: Tensor) -> Tensor:
        """(n, 2) logits at single positions of one image.

        Args:
            features: maps (1, C, h, w).
            points: (n, 2) positions (y, x) in network input pixels.
        """
        weight, bias = self.affine()
        return sample_points(self.read(features), points) @ weight.T + bias

    def read(self, features: Features) -> Features:
        """The maps that this head reads, of all that the encoder gives."""
        return features.deepest(len(self.channels))

    def map_index(self, features: Features) -> int:
        """The finest map that it reads."""
        return len(features.maps) - len(self.channels)


@register
class PixelCam(HeadMethod):
    """The foreground probability of the pixel classifier, whatever the class."""

    name: ClassVar[str] = "pixelcam"
    title: ClassVar[str] = "PixelCAM"
    head: ClassVar[str] = "pixelcam"
    is_probability: ClassVar[bool] = True

    def map(
        self,
        model: Model,
        features: Features,
        target: int,
        image: NetworkInput | None = None,
    ) -> Tensor:
        """(N, h, w) in [0, 1]; the same for every class."""
        del target, image
        logits = model.head(PixelHead, self.head)(features)
        return logits.softmax(1)[:, FOREGROUND]
