"""Inception-v3 (Szegedy et al. 2016, arXiv 1512.00567) in two published forms.

``inception_v3`` is torchvision's network to ``Mixed_7c``, as PCAM reads it; its first
convolutions, its stem's pools and its two grid reductions do not pad, so that a map has
fewer cells than strides begun and the smallest input is 75 × 75.
``inception_v3_transform`` first shifts and scales the input from ImageNet's statistics
to mean and deviation 0.5, which PCAM's code does whenever ``cfg.pretrained`` is true.
``wsol_inceptionv3`` is PixelCAM's: every 3×3 convolution pads by one, so do the stem's
pools; ``Mixed_6a`` has stride 1; after ``Mixed_6e`` come two 3×3 convolutions of 1024
channels (``SPG_A3_1b``, ``SPG_A3_2b``), with dropout while training.

State-dict names are torchvision's. PCAM's files call every batch norm ``norm``:
:func:`from_pcam_names`. PixelCAM's hold every layer again under ``features``, which is
no part of this network. Each block says which layers lie on its longest path and how
many cells it gives, so that the receptive field of the network follows.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.encoders.atrous import average3
from napari_wsol.encoders.base import Encoder
from napari_wsol.encoders.registry import register_encoder
from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor

    from napari_wsol.encoders.base import Step
    from napari_wsol.encoders.features import Features

WIDTHS = (128, 160, 160, 192)
"""Inner channels of ``Mixed_6b`` … ``Mixed_6e``."""


class Inception(Encoder):
    """What both forms share: parts in a row, each of which is a tap.

    The first layers, before "Conv2d_2b_3x3", are none.
    """

    def _stem(self, in_channels: int, padding: int) -> None:
        """To stride 8, with ``padding`` of what torchvision does not pad."""
        self.Conv2d_1a_3x3 = ConvNorm(in_channels, 32, 3, stride=2, padding=padding)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3, padding=padding)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, padding=1)
        self.maxpool1 = StemPool(padding)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3, padding=padding)
        self.maxpool2 = StemPool(padding)

    def _blocks(self, *, stride: int, padding: int, dilation: int) -> None:
        """``Mixed_5b`` … ``Mixed_6e``.

        Args:
            stride: of the first grid reduction.
            padding: of its strided convolutions and pool.
            dilation: of the blocks behind it.
        """
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = ReductionA(288, stride, padding)
        for letter, width in zip("bcde", WIDTHS, strict=True):
            self.add_module(f"Mixed_6{letter}", BlockB(width, dilation))

    def _choose(self, taps: Iterable[str] | None) -> None:
        names = list(dict(self.stages()))
        first = names.index("Conv2d_2b_3x3")
        all_taps = {
            name: cast("Part", self.get_submodule(name)).channels
            for name in names[first:]
            if not name.startswith(("maxpool", "Conv2d_3b"))
        }
        self.choose(taps, all_taps)

    def cells(self, length: int) -> tuple[int, ...]:
        """Counts the windows layer by layer, 0 where there is none."""
        found: dict[str, int] = {}
        for name, module in self.stages():
            found[name] = length = cast("Part", module).cells(length)
        return tuple(max(0, found[tap]) for tap in self.taps)

    @override
    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        yield from self.named_children()


class InceptionV3(Inception):
    """torchvision's network to ``Mixed_7c``: 2048 channels.

    Args:
        output_stride: 8, 16 or 32. Below 32 the last grid reductions lose their stride
            and what lies behind is dilated: the map then holds the coarser one's values
            at every second (fourth) cell.
        taps: "Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5b" … "Mixed_7c"; the last by
            default.
        in_channels: of the image.
        transform_input: brings input that was normalised with ImageNet's mean m and
            deviation s to 0.5 each: x · s / 0.5 + (m - 0.5) / 0.5 per channel.

    Raises:
        ConfigError: another output stride, or a grey image to be transformed.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
        transform_input: bool = False,
    ) -> None:
        super().__init__()
        output_stride = self.checked_stride(output_stride)
        if transform_input and in_channels != len(self.mean):
            raise ConfigError(
                "ImageNet's statistics are those of colour images: "
                f"take inception_v3 for {in_channels} channel(s)."
            )
        first, second = (1 if output_stride <= at else 2 for at in (8, 16))
        middle = 2 // first
        self._stem(in_channels, padding=0)
        self._blocks(stride=first, padding=0, dilation=middle)
        self.Mixed_7a = ReductionB(second, middle)
        self.Mixed_7b = BlockC(1280, middle * 2 // second)
        self.Mixed_7c = BlockC(2048, middle * 2 // second)
        self.transform_input = transform_input
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        for name, values in (("scale", std / 0.5), ("shift", (mean - 0.5) / 0.5)):
            self.register_buffer(name, values.view(1, -1, 1, 1), persistent=False)
        self._choose(taps)

    @override
    def forward(self, x: Tensor) -> Features:
        if self.transform_input:
            x = x * self.scale + self.shift
        return super().forward(x)


@register_encoder("wsol_inceptionv3")
class WsolInceptionV3(Inception):
    """PixelCAM's network: stride 8, 1024 channels.

    Args:
        output_stride: 8.
        taps: "Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5b" … "Mixed_6e", "SPG_A3_1b",
            "SPG_A3_2b"; the last by default.
        in_channels: of the image.
    """

    output_strides: ClassVar[tuple[int, ...]] = (8,)

    def __init__(
        self,
        *,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.checked_stride(output_stride)
        self._stem(in_channels, padding=1)
        self._blocks(stride=1, padding=1, dilation=1)
        self.SPG_A3_1b = LateConv(768)
        self.SPG_A3_2b = LateConv(1024)
        self._choose(taps)


register_encoder("inception_v3")(InceptionV3)
register_encoder("inception_v3_transform")(partial(InceptionV3, transform_input=True))


def from_pcam_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with torchvision's names, given one of PCAM's Inception-v3.

    "Mixed_5b.branch1x1.norm.weight" becomes "Mixed_5b.branch1x1.bn.weight"; what
    stands before, such as "backbone.", stays, and so do all other entries.
    """
    return {_PCAM_NORM.sub(r"\1.bn.", key): value for key, value in state.items()}


_PCAM_NORM = re.compile(
    r"^((?:.*\.)?(?:Conv2d_\w+|Mixed_\w+\.branch\w+|AuxLogits\.conv\d))\.norm\."
)


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

    @override
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


class LateConv(Part, nn.Sequential):
    """PixelCAM's last 3×3 convolutions, with dropout before and ReLU behind."""

    channels = 1024
    steps = (((3, 1, 1), 1),)

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.extend([nn.Dropout(0.5), nn.Conv2d(inputs, 1024, 3, 1, 1)])
        self.append(nn.ReLU(inplace=True))


def _line(
    inputs: int, outputs: int, kernel: tuple[int, int], dilation: int
) -> ConvNorm:
    """A row (1, k) or a column (k, 1) that keeps the map's size."""
    rows, columns = (dilation * (size // 2) for size in kernel)
    return ConvNorm(inputs, outputs, kernel, padding=(rows, columns), dilation=dilation)


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

    @override
    def forward(self, x: Tensor) -> Tensor:
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

    @override
    def forward(self, x: Tensor) -> Tensor:
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

    @override
    def forward(self, x: Tensor) -> Tensor:
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
        self.branch7x7_2 = _line(width, width, (1, 7), dilation)
        self.branch7x7_3 = _line(width, 192, (7, 1), dilation)
        self.branch7x7dbl_1 = ConvNorm(768, width, 1)
        self.branch7x7dbl_2 = _line(width, width, (7, 1), dilation)
        self.branch7x7dbl_3 = _line(width, width, (1, 7), dilation)
        self.branch7x7dbl_4 = _line(width, width, (7, 1), dilation)
        self.branch7x7dbl_5 = _line(width, 192, (1, 7), dilation)
        self.branch_pool = ConvNorm(768, 192, 1)
        self.dilation = dilation
        self.channels = 768
        self.steps = (((7, 1, dilation), 3 * dilation),) * 2

    @override
    def forward(self, x: Tensor) -> Tensor:
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
        self.branch7x7x3_2 = _line(192, 192, (1, 7), dilation)
        self.branch7x7x3_3 = _line(192, 192, (7, 1), dilation)
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, **at)
        self.stride, self.dilation = stride, dilation
        self.channels = 320 + 192 + 768
        self.steps = (((7, 1, dilation), 3 * dilation), ((3, stride, dilation), 0))

    @override
    def forward(self, x: Tensor) -> Tensor:
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
        self.branch3x3_2a = _line(384, 384, (1, 3), dilation)
        self.branch3x3_2b = _line(384, 384, (3, 1), dilation)
        self.branch3x3dbl_1 = ConvNorm(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3, padding=dilation, dilation=dilation)
        self.branch3x3dbl_3a = _line(384, 384, (1, 3), dilation)
        self.branch3x3dbl_3b = _line(384, 384, (3, 1), dilation)
        self.branch_pool = ConvNorm(inputs, 192, 1)
        self.dilation = dilation
        self.channels = 320 + 2 * 384 + 2 * 384 + 192
        self.steps = (((3, 1, dilation), dilation),) * 2

    @override
    def forward(self, x: Tensor) -> Tensor:
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
