"""PixelCAM: a pixel classifier beside the image classifier, on the same features.

Guichemerre, Belharbi, Shateri, McCaffrey, Granger: PixelCAM: Pixel Class Activation
Mapping for Histology Image Classification and ROI Localization, MIDL 2025,
arXiv 2503.24135.

A 1×1 convolution reads the features that the image classifier pools and gives each
cell two logits, background and foreground. It learns from seeds that a class activation
map suggests, drawn afresh at every step (partial cross-entropy, equation 3). At
inference the map is the softmax probability of foreground at feature resolution
(section 3), whatever the class: it says where the class of the image is seen.

The authors' code also knows a batch norm before that convolution, and one or three
hidden layers (1×1 convolution, batch norm, ReLU): the ``form`` of the head.

Ours may read several depths of the encoder: their features are brought to the finest
grid. Since bilinear interpolation commutes with a 1×1 convolution, the plain form
applies its kernel to each depth first, and only two channels are resampled. Hidden
layers are not linear: there the features are resampled first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import nn

from napari_wsol.encoders import Features, nominal_offset, on_grid, sample_points
from napari_wsol.errors import ConfigError
from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, conv_norm_relu, register_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Encoder
    from napari_wsol.methods.model import Model

BACKGROUND, FOREGROUND = 0, 1
"""Channels of the pixel logits."""

PLAIN, BATCH_NORM = "plain", "batch_norm"

HIDDEN: dict[str, tuple[tuple[str, int], ...]] = {
    PLAIN: (),
    BATCH_NORM: (),
    "one_layer": (("conv3", 4),),
    "three_layers": (("conv1", 2), ("conv2", 4), ("conv3", 8)),
}
"""Hidden layers of each form, by published name, and what they divide C by."""


@register_head("pixelcam")
class PixelHead(Head):
    """The pixel classifier: a 1×1 convolution (``conv4``) to two logits is its last.

    Args:
        channels: of each feature map that it reads, finest first.
        form: "plain"; "batch_norm" (``bn`` first); "one_layer" or "three_layers"
            (hidden layers first).
        standardize: whether features are shifted and scaled to the statistics of the
            training set first (buffers ``shift`` and ``scale``), so that depths of
            different magnitude learn at one pace.

    Raises:
        ConfigError: there is no such form.
    """

    classifies: ClassVar[bool] = False
    gives_pixels: ClassVar[bool] = True
    reads_cells = True

    @classmethod
    def build(  # type: ignore[override]  # options by name, checked by build_head
        cls,
        encoder: Encoder,
        classes: int,
        *,
        maps: int | None = None,
        **options: Any,  # noqa: ANN401 - of the class, checked there
    ) -> PixelHead:
        """Reads the ``maps`` deepest maps of an encoder; all of them by default."""
        del classes
        channels = encoder.channels[-(maps or len(encoder.map_taps)) :]
        return cls(channels, **options)

    def __init__(
        self,
        channels: Sequence[int],
        *,
        form: str = PLAIN,
        standardize: bool = False,
    ) -> None:
        super().__init__()
        if form not in HIDDEN:
            raise ConfigError(f"A pixel head is {' or '.join(HIDDEN)}, not {form}.")
        self.channels = tuple(channels)
        self.form = form
        width = sum(channels)
        if form == BATCH_NORM:
            self.bn = nn.BatchNorm2d(width)
        for name, part in HIDDEN[form]:
            narrower = max(1, sum(channels) // part)
            self.add_module(name, conv_norm_relu(width, narrower, 1))
            width = narrower
        self.conv4 = nn.Conv2d(width, 2, 1)
        self.shift: Tensor | None
        self.scale: Tensor | None
        for name, fill in (("shift", torch.zeros), ("scale", torch.ones)):
            self.register_buffer(name, fill(sum(channels)) if standardize else None)

    def standardize_to(self, mean: Tensor, std: Tensor) -> None:
        """Sets the statistics, each (C,), that features are standardised with."""
        if self.shift is None or self.scale is None:
            raise TypeError("This head reads features as they are.")
        self.shift.copy_(mean)
        self.scale.copy_(std)

    @property
    def statistics(self) -> tuple[Tensor, Tensor] | None:
        """(C,) shift and scale of ``conv4``'s input; None where it has none."""
        if self.form != PLAIN or self.shift is None or self.scale is None:
            return None
        return self.shift, self.scale

    def affine(self) -> tuple[Tensor, Tensor]:
        """The last layer: (2, C) weight and (2,) bias on what ``hidden`` gives."""
        weight = self.conv4.weight.flatten(1)
        bias = cast("Tensor", self.conv4.bias)
        if self.statistics is None:
            return weight, bias
        shift, scale = self.statistics
        weight = weight / scale
        return weight, bias - weight @ shift

    def difference(self, x: Tensor) -> Tensor:
        """(n,) logit of foreground over background where (n, C) ``x`` was read."""
        weight, bias = (item.to(x.device) for item in self.affine())
        logits = x @ weight.T + bias
        return logits[:, FOREGROUND] - logits[:, BACKGROUND]

    def hidden(self, features: Features) -> Features:
        """What the last layer reads, cell by cell.

        The plain form: the encoder's maps as they are. The others: one map on the grid
        of the finest (moved there only if there are several), through all layers but
        the last.
        """
        read = self.read(features)
        if self.form == PLAIN:
            return read
        x, offset = read.maps[0], read.offsets[0]
        if len(read.maps) > 1:
            x, offset = _side_by_side(read), nominal_offset(read.strides[0])
        x = x.to(self.conv4.weight.dtype)
        if self.shift is not None and self.scale is not None:
            x = (x - self.shift.view(1, -1, 1, 1)) / self.scale.view(1, -1, 1, 1)
        if self.form == BATCH_NORM:
            x = self.bn(x)
        for name, _ in HIDDEN[self.form]:
            x = self.get_submodule(name)(x)
        return Features((x,), read.strides[:1], (offset,), read.names[:1])

    def forward(self, features: Features) -> Tensor:
        """(N, 2, h, w) pixel logits on the nominal grid of the finest map's stride."""
        weight, bias = self.affine()
        read = self.hidden(features)
        shape = (int(read.maps[0].shape[-2]), int(read.maps[0].shape[-1]))
        kernels = torch.split(weight, [item.shape[1] for item in read.maps], dim=1)
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

        Cells are classified first, hidden layers and all, and interpolated then, as
        the map is when it is shown. Through hidden layers this is not the same as
        classifying interpolated features.

        Args:
            features: maps (1, C, h, w).
            points: (n, 2) positions (y, x) in network input pixels.
        """
        weight, bias = self.affine()
        return sample_points(self.hidden(features), points) @ weight.T + bias

    def read(self, features: Features) -> Features:
        """The maps that this head reads, of all that the encoder gives."""
        return features.deepest(len(self.channels))

    def map_index(self, features: Features) -> int:
        """The finest map that it reads."""
        return len(features.maps) - len(self.channels)


def _side_by_side(features: Features) -> Tensor:
    """(N, sum of C, h, w): all maps on the nominal grid of the finest."""
    first, stride = features.maps[0], features.strides[0]
    shape = (int(first.shape[-2]), int(first.shape[-1]))
    every = zip(features.maps, features.strides, features.offsets, strict=True)
    maps = [on_grid(item, own, shape, stride, offset=at) for item, own, at in every]
    return torch.cat(maps, dim=1)


@register
class PixelCam(HeadMethod):
    """The foreground probability of the pixel classifier, whatever the class."""

    name: ClassVar[str] = "pixelcam"
    title: ClassVar[str] = "PixelCAM"
    head: ClassVar[str] = "pixelcam"
    is_probability: ClassVar[bool] = True
    for_all_classes: ClassVar[bool] = True
    follows_verdict: ClassVar[bool] = False

    def map(
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        """(N, h, w) in [0, 1]; the same for every class."""
        del target
        logits = model.head(PixelHead, self.name)(features)
        return logits.softmax(1)[:, FOREGROUND]
