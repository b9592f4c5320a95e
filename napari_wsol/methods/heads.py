"""What a head is: the part of a model that reads an encoder's features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import nn

from napari_wsol.errors import ConfigError
from napari_wsol.methods.map_pooling import pool_pieces
from napari_wsol.registry import Registry, plugins

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_wsol.encoders import Encoder, Features
    from napari_wsol.methods.map_pooling import MapPooling


class Head(nn.Module):
    """Reads features: gives image logits, and a map of logits or scores a class.

    Attributes:
        classifies: whether ``forward`` gives (N, K) image logits.
        gives_pixels: whether ``forward`` gives (N, 2, h, w) logits of background and
            foreground instead.
        has_maps: whether ``class_maps`` gives anything; not where cells have no logit.
        reads_cells: whether a value of ``class_maps`` depends on the features around
            its cell alone, so that a slide can be read tile by tile.
    """

    classifies: ClassVar[bool] = True
    gives_pixels: ClassVar[bool] = False
    has_maps: bool = True
    reads_cells: bool = False

    @classmethod
    def build(cls, encoder: Encoder, classes: int, **options: object) -> Self:
        """The head for an encoder; by default it reads the deepest map.

        Args:
            encoder: whose features it will read.
            classes: how many.
            options: the head's own, as a card or a recipe gives them.
        """
        return cls(encoder.channels[-1], classes, **options)

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits, before any activation."""
        raise NotImplementedError

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) what the head's own map is made from, one a class."""
        raise NotImplementedError

    def pooling(self) -> MapPooling | None:
        """Image logits from the class maps of the cells of a slide, piece by piece.

        Returns:
            A new pooling; None where the maps of single cells do not say enough.
        """
        return None

    def pool_maps(self, maps: Tensor) -> Tensor | None:
        """Image logits from the class maps of all cells, where they say enough.

        Args:
            maps: (K, n) float32, those of n ≥ 1 cells of a slide, in any order.

        Returns:
            (K,) float64 logits; None where cells alone do not give them.
        """
        pooling = self.pooling()
        return None if pooling is None else pool_pieces(pooling, lambda: [maps])

    def map_index(self, features: Features) -> int:
        """Which of the features' maps the class maps lie on; the deepest by default."""
        return len(features.maps) - 1


class PoolingHead(Head):
    """Class maps first, then one number a map.

    Subclasses give ``class_maps`` and ``pool``.
    """

    def pool(self, maps: Tensor) -> Tensor:
        """(N, K, h, w) class maps to (N, K) image logits."""
        raise NotImplementedError

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits: the class maps, pooled."""
        return self.pool(self.class_maps(features))


class ConvHead(PoolingHead):
    """A 1×1 convolution (``conv``) to class maps, which are then pooled.

    Args:
        channels: of the last feature map.
        classes: how many.
        background: adds a row 0 for background that is no class (PixelCAM's code).
    """

    reads_cells = True

    def __init__(
        self, channels: int, classes: int, *, background: bool = False
    ) -> None:
        super().__init__()
        self.first_row = int(background)
        self.conv = nn.Conv2d(channels, classes + self.first_row, 1)

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) logits of each cell."""
        rows: Tensor = self.conv(features.last)
        return rows[:, self.first_row :]


def conv_norm_relu(
    inputs: int, outputs: int, side: int, stride: int = 1, *, bias: bool = True
) -> nn.Sequential:
    """A convolution padded by half its side, batch norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=bias),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def scaled(maps: Tensor) -> Tensor:
    """(..., h, w) maps, each brought to [0, 1]; 0 where one is the same everywhere."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)


_HEADS: Registry[type[Head]] = Registry("head")
register_head = _HEADS.adds


def list_heads() -> list[str]:
    """Names of all heads."""
    plugins()
    return list(_HEADS)


def build_head(
    name: str, encoder: Encoder, classes: int, options: Mapping[str, object]
) -> Head:
    """A head with random weights.

    Raises:
        UnknownNameError: no such head; names the choices.
        ConfigError: an option that it has not, or a value that cannot be.
    """
    head = _HEADS[name]
    try:
        return head.build(encoder, classes, **options)
    except TypeError as error:
        raise ConfigError(
            f"The {name} head cannot be built with {dict(options)}: {error}."
        ) from error
