"""PYLON: a light decoder brings class maps to a quarter of the input's resolution.

Preechakul, Sriswasdi, Kijsirikul, Chuangsuwanich: Improved image classification
explainability with high-accuracy heatmaps, iScience 25 (2022) 103933, arXiv 2010.11475.

The deepest features pass pyramidal attention (PA): reduced to few channels, and
multiplied by one attention map that three poolings deep has seen the whole image. Up
modules (UP) then enlarge them and add the next finer features, reduced in the same way.
A 1×1 convolution gives class logits s_c, and (section "PYLON")::

    logit_c = max over cells of s_c

The map is the probability σ(s_c) at the resolution of the finest features read.

Ours, off by default: ``smooth`` averages s_c over neighbouring cells first, so that a
single cell cannot speak for an image; and encoders other than ResNets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.errors import ConfigError
from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import PoolingHead, register_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Encoder, Features

TAPS = ("layer1", "layer2", "layer3", "layer4")
"""Of a ResNet, finest first; the last is the bottleneck."""

POOLINGS = 3
"""Times that pyramidal attention halves the bottleneck."""


class ConvBnRelu(nn.Module):
    """A convolution with bias that keeps the size, batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(outputs)
        self.activation = nn.ReLU(inplace=True)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.bn(self.conv(x)))


class PyramidalAttention(nn.Module):
    """The bottleneck, reduced and multiplied by attention of a wide view.

    Args:
        inputs: channels of the bottleneck.
        outputs: channels after it.
        attend: whether there is attention, or only the reduction.
    """

    def __init__(self, inputs: int, outputs: int, *, attend: bool) -> None:
        super().__init__()
        self.mid = nn.Sequential(ConvBnRelu(inputs, outputs, 1))
        self.attend = attend
        if not attend:
            return
        for step, (channels, kernel) in enumerate(((inputs, 7), (1, 5), (1, 3)), 1):
            down = nn.Sequential(nn.MaxPool2d(2), ConvBnRelu(channels, 1, kernel))
            self.add_module(f"down{step}", down)
            self.add_module(f"conv{step}", ConvBnRelu(1, 1, kernel))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, outputs, h, w)."""
        reduced: Tensor = self.mid(x)
        return reduced * self._attention(x) if self.attend else reduced

    def _attention(self, x: Tensor) -> Tensor:
        """(N, 1, h, w) from 0 up.

        Three halvings need sides that divide by 8 (an input that divides by 256), as
        the authors' images do; others are continued by their last row and column.
        """
        height, width = x.shape[-2:]
        unit = 2**POOLINGS
        down, right = -height % unit, -width % unit
        if down or right:
            x = functional.pad(x, (0, right, 0, down), mode="replicate")
        views: list[Tensor] = []
        for step in range(1, POOLINGS + 1):
            x = self.get_submodule(f"down{step}")(x)
            views.append(x)
        total: Tensor | None = None
        for step in range(POOLINGS, 0, -1):
            seen = self.get_submodule(f"conv{step}")(views[step - 1])
            total = _enlarge(seen if total is None else seen + total)
        return cast("Tensor", total)[..., :height, :width]


def _enlarge(x: Tensor) -> Tensor:
    """Twice the size, corners on corners."""
    size = (2 * x.shape[-2], 2 * x.shape[-1])
    return functional.interpolate(x, size, mode="bilinear", align_corners=True)


class Up(nn.Module):
    """Enlarges what comes from below to a finer map, and adds that map, reduced.

    Args:
        inputs: channels of the finer map.
        outputs: channels of the result.
        kernel: of its convolutions.
        layers: 1 or 2 convolutions on the finer map.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, layers: int) -> None:
        super().__init__()
        reduce = ConvBnRelu(inputs, outputs, kernel)
        self.conv1 = (
            reduce
            if layers == 1
            else nn.Sequential(ConvBnRelu(inputs, inputs, kernel), reduce)
        )

    def forward(self, finer: Tensor, below: Tensor) -> Tensor:
        """(N, C, H, W) and (N, outputs, h, w) to (N, outputs, H, W)."""
        size = (finer.shape[-2], finer.shape[-1])
        below = functional.interpolate(below, size, mode="bilinear", align_corners=True)
        return below + self.conv1(finer)


class Decoder(nn.Module):
    """Pyramidal attention (``pa``), then up modules (``up3``, ``up2``, ``up1``).

    Args:
        channels: of the features, finest first, one more than there are up modules.
        width: channels within.
        kernel: of the up modules.
        layers: of the up modules, 1 or 2.
        attend: whether to use pyramidal attention.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        kernel: int,
        layers: int,
        *,
        attend: bool,
    ) -> None:
        super().__init__()
        self.pa = PyramidalAttention(channels[-1], width, attend=attend)
        self.ups = [f"up{POOLINGS - step}" for step in range(len(channels) - 1)]
        for name, inputs in zip(self.ups, channels[-2::-1], strict=True):
            self.add_module(name, Up(inputs, width, kernel, layers))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Features, finest first, to (N, width, H, W) on the grid of the finest."""
        x: Tensor = self.pa(maps[-1])
        for name, finer in zip(self.ups, maps[-2::-1], strict=True):
            x = self.get_submodule(name)(finer, x)
        return x


def _needed(encoder: Encoder, n_up: int) -> tuple[str, ...]:
    """The features that ``n_up`` up modules read, finest first."""
    given = ", ".join(encoder.taps)
    if set(TAPS).intersection(encoder.taps):
        needed = TAPS[POOLINGS - n_up :]
        if any(name not in encoder.taps for name in needed):
            raise ConfigError(
                f"PYLON with {n_up} up modules reads {', '.join(needed)} of a ResNet, "
                f"but the encoder gives {given}: list them as taps."
            )
        return needed
    if len(encoder.taps) <= n_up:
        raise ConfigError(
            f"PYLON with {n_up} up modules reads {n_up + 1} features, but the encoder "
            f"gives {given}: list more taps, finest first, or set n_up."
        )
    return encoder.taps[-n_up - 1 :]


_UP_LAYERS = {"1layer": 1, "2layer": 2}


@register_head("pylon")
class PylonHead(PoolingHead):
    """Decoder and class maps; the image's logit is the maximum of its map.

    Args:
        channels: of the features that it reads, finest first; one more than ``n_up``.
        classes: how many.
        taps: names of these features.
        n_dec_ch: channels of the decoder.
        use_pa: whether the bottleneck passes pyramidal attention.
        up_type: "2layer" or "1layer".
        up_kernel: side of the up modules' kernels, odd.
        seg_kernel: side of the last kernel, odd.
        smooth: side of the square of cells that class maps are averaged over, odd; 1
            leaves them as published.

    Raises:
        ConfigError: an option has a value that it cannot have.
    """

    @classmethod
    def build(  # type: ignore[override]  # options by name, checked by build_head
        cls,
        encoder: Encoder,
        classes: int,
        *,
        n_up: int = 3,
        **options: Any,  # noqa: ANN401 - of the class, checked there
    ) -> PylonHead:
        """Reads the ``n_up`` + 1 deepest of layer1 to layer4, or of the taps.

        A ResNet has these layers; of other encoders the taps are read as they are.

        Raises:
            ConfigError: the encoder does not give them; says which taps to list.
        """
        if n_up not in range(POOLINGS + 1):
            raise ConfigError(f"PYLON has 0 to {POOLINGS} up modules, not {n_up}.")
        needed = _needed(encoder, n_up)
        channels = dict(zip(encoder.taps, encoder.channels, strict=True))
        read = [channels[name] for name in needed]
        return cls(read, classes, taps=needed, **options)

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        *,
        taps: Sequence[str],
        n_dec_ch: int = 128,
        use_pa: bool = True,
        up_type: str = "2layer",
        up_kernel: int = 1,
        seg_kernel: int = 1,
        smooth: int = 1,
    ) -> None:
        super().__init__()
        if up_type not in _UP_LAYERS:
            raise ConfigError(
                f"The up modules are of type {' or '.join(_UP_LAYERS)}, not {up_type}."
            )
        sides = (up_kernel, seg_kernel, smooth)
        if any(side < 1 or side % 2 == 0 for side in sides):
            raise ConfigError(
                f"Kernels have odd sides, not {', '.join(map(str, sides))}."
            )
        self.taps, self.smooth = tuple(taps), smooth
        self.decoder = Decoder(
            channels, n_dec_ch, up_kernel, _UP_LAYERS[up_type], attend=use_pa
        )
        self.segmentation_head = nn.Sequential(
            nn.Conv2d(n_dec_ch, classes, seg_kernel, padding=seg_kernel // 2)
        )

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) logits on the grid of the finest map that it reads."""
        maps = self.segmentation_head(self.decoder(features.select(self.taps).maps))
        if self.smooth == 1:
            return maps
        # At the border the mean is over the cells that there are.
        return functional.avg_pool2d(
            maps, self.smooth, 1, self.smooth // 2, count_include_pad=False
        )

    @override
    def pool(self, maps: Tensor) -> Tensor:
        return maps.amax((-2, -1))

    def map_index(self, features: Features) -> int:
        """The finest map that it reads."""
        return features.names.index(self.taps[0])


@register
class Pylon(HeadMethod):
    """The probability of one class, in [0, 1]."""

    name: ClassVar[str] = "pylon"
    title: ClassVar[str] = "PYLON"
    is_probability: ClassVar[bool] = True
