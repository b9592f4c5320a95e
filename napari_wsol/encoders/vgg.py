"""VGG (Simonyan and Zisserman 2015, arXiv 1409.1556), configurations D and E.

``vgg16``, ``vgg19`` and their ``_bn`` are torchvision's ``features`` with the last
max-pool, as PCAM reads them. ``wsol_vgg16`` is PixelCAM's form of configuration D: only
the first three max-pools, then ``conv6`` (3×3, 512 → 1024) with a ReLU, stride 8.
State-dict names are theirs; PixelCAM's files hold every layer a second time under
``full_features``, which is no part of this network.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from torch import nn
from typing_extensions import override

from napari_wsol.encoders.atrous import DensePool
from napari_wsol.encoders.base import Encoder
from napari_wsol.encoders.registry import register_encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of the convolutions of each block (Table 1 of the paper)."""


class Vgg(Encoder):
    """A VGG up to its last feature map (no classifier).

    Taps are "block1" … "block5", the last ReLU of each block before its max-pool, and
    the end of the network. A max-pool leaves out the odd row and column that fills no
    window.

    Args:
        depths: convolutions in each of the five blocks.
        batch_norm: whether each convolution has one.
        output_stride: 8, 16 or 32. Below 32 the last max-pools lose their stride: they
            read the same cells, only everywhere, and the convolutions behind them are
            dilated. Such a map keeps its size, so its last window reads the border
            cell twice.
        taps: the last map by default.
        in_channels: of the image.
    """

    last: ClassVar[str] = "pool5"

    def __init__(
        self,
        depths: tuple[int, ...],
        *,
        batch_norm: bool = False,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        output_stride = self.checked_stride(output_stride, max(self.output_strides))
        layers: list[nn.Module] = []
        self._ends: dict[int, str] = {}
        all_taps: dict[str, int] = {}
        inputs, reached, dilation = in_channels, 1, 1
        for block, (depth, width) in enumerate(zip(depths, WIDTHS, strict=True), 1):
            for _ in range(depth):
                layers.append(nn.Conv2d(inputs, width, 3, 1, dilation, dilation))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                inputs = width
            self._ends[len(layers) - 1] = f"block{block}"
            all_taps[f"block{block}"] = width
            if not self.has_pool(block):
                continue
            if reached < output_stride:
                layers.append(nn.MaxPool2d(2, 2))
                reached *= 2
            else:
                layers.append(DensePool(dilation, average=False))
                dilation *= 2
        self.features = nn.Sequential(*layers)
        all_taps[self.last] = self._finish()
        self.choose(taps, all_taps)

    def has_pool(self, block: int) -> bool:
        """Whether a max-pool follows a block, counted from 1."""
        del block
        return True

    def _finish(self) -> int:
        """Builds what follows the blocks; gives its channels."""
        self._ends[len(self.features) - 1] = self.last
        return WIDTHS[-1]

    def cells(self, length: int) -> tuple[int, ...]:
        """Whole windows of the max-pools."""
        return tuple(length // stride for stride in self.strides)

    @override
    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        for index, module in enumerate(self.features):
            yield self._ends.get(index, f"features.{index}"), module


class WsolVgg16(Vgg):
    """PixelCAM's VGG-16: stride 8, 1024 channels after ``conv6``.

    Its taps are "block1" … "block5" and "conv6".
    """

    output_strides: ClassVar[tuple[int, ...]] = (8,)
    last: ClassVar[str] = "conv6"

    def has_pool(self, block: int) -> bool:
        """Only the first three blocks end in one."""
        return block <= 3

    def _finish(self) -> int:
        self.conv6 = nn.Conv2d(WIDTHS[-1], 1024, 3, 1, 1)
        self.relu = nn.ReLU()
        return 1024

    @override
    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        yield from super().stages()
        yield "conv6.linear", self.conv6
        yield "conv6", self.relu


register_encoder("wsol_vgg16")(partial(WsolVgg16, (2, 2, 3, 3, 3)))
for _name, _depths in {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}.items():
    register_encoder(_name)(partial(Vgg, _depths))
    register_encoder(f"{_name}_bn")(partial(Vgg, _depths, batch_norm=True))
