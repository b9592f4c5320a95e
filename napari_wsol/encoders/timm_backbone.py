"""Any backbone of timm (Wightman 2019, doi 10.5281/zenodo.4414861), as "timm:NAME".

timm is imported when such an encoder is first built, never before. Layers are timm's
``features_only`` ones, under "backbone." in the state dict; weights are random until a
model's own are loaded.

Where a foreign network looks cannot be read from its layers, so it is measured: in a
copy with small positive weights, in which nothing cancels or saturates, the gradient of
one cell is not zero exactly at the pixels that it sees. A network that sees further
than the probe (squeeze-and-excitation and group norms see all) keeps nominal positions
and a halo of ``WIDEST_HALO``: its tiles are close to the whole image, not equal. Give
such a model a fixed input size (``preprocessing``) where that matters.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from typing_extensions import override

from napari_wsol.encoders.base import Encoder, nominal_places
from napari_wsol.encoders.features import nominal_offset
from napari_wsol.errors import ConfigError, install

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import ModuleType

    from torch import Tensor

    from napari_wsol.encoders.features import Features

PROBE = (1024, 96)
"""Rows and columns of the image on which a network is measured."""
WIDEST_HALO = PROBE[0] // 2
RAISED = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError)
"""By timm for what it cannot build, one architecture so and another so."""
FAINT = 1e-9
"""Brightness of that image: activations such as ReLU6 stay where they have a slope."""


class TimmBackbone(Encoder):
    """A backbone of timm with random weights.

    Args:
        name: as timm lists it.
        output_stride: for the architectures that timm dilates; timm's own by default.
        taps: timm's names of the feature maps; the last by default.
        in_channels: of the image.

    Raises:
        ConfigError: timm is not there, does not import, or cannot build this.
    """

    def __init__(
        self,
        name: str,
        *,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        dilated = {} if output_stride is None else {"output_stride": output_stride}
        self.backbone = create(name, in_channels, features_only=True, **dilated)
        info: Any = self.backbone.feature_info
        names: list[str] = list(info.module_name())
        self._reductions: dict[str, int] = dict(
            zip(names, info.reduction(), strict=True)
        )
        if output_stride not in {None, self._reductions[names[-1]]}:
            raise ConfigError(f"timm's {name} has no output stride {output_stride}.")
        settings: dict[str, Any] = dict(vars(self.backbone)["pretrained_cfg"])
        self.mean = tuple(settings["mean"])  # type: ignore[misc]
        self.std = tuple(settings["std"])  # type: ignore[misc]
        if settings.get("fixed_input_size"):
            self.fixed_size = int(settings["input_size"][-1])  # type: ignore[misc]
        layout = getattr(self.backbone, "output_fmt", None)
        self._channels_last = getattr(layout, "value", "NCHW") == "NHWC"
        self._in_channels = in_channels
        self.choose(taps, dict(zip(names, info.channels(), strict=True)))
        # In a list, so that it is no part of the network: shapes without numbers.
        self._shapes = [copy.deepcopy(self.backbone).to("meta").eval()]

    @property
    def readable_layers(self) -> tuple[str, ...]:
        """All, where timm's network is layers in a row; else the deepest tap only."""
        if self._is_sequence():
            return super().readable_layers
        return (self.taps[-1],)

    def _is_sequence(self) -> bool:
        kinds = [kind.__name__ for kind in type(self.backbone).__mro__]
        return "FeatureListNet" in kinds and not self._channels_last

    @override
    def places(self) -> dict[str, tuple[int, float, int]]:
        if self.fixed_size is not None or next(self.backbone.parameters()).is_meta:
            return nominal_places(self._reductions)  # or: no numbers to measure with
        seen = _fields(self.backbone, self._in_channels, self._reductions.values())
        return dict(zip(self._reductions, seen, strict=True))

    def cells(self, length: int) -> tuple[int, ...]:
        """From a pass that computes shapes only."""
        side = self.fixed_size or length
        with torch.no_grad():
            maps = self._shapes[0](
                torch.empty(1, self._in_channels, side, side, device="meta")
            )
        found = dict(zip(self._reductions, self._ordered(maps), strict=True))
        return tuple(int(found[name].shape[-1]) for name in self.taps)

    def _ordered(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Each (N, C, h, w)."""
        if self._channels_last:
            return [item.permute(0, 3, 1, 2) for item in maps]
        return list(maps)

    @override
    def forward(self, x: Tensor) -> Features:
        self.check_size(int(x.shape[-2]), int(x.shape[-1]))
        given = self._ordered(self.backbone(x))
        maps = dict(zip(self._reductions, given, strict=True))
        return self.gather({name: maps[name] for name in self.taps})

    @override
    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        if not self._is_sequence():
            yield self.taps[-1], self.backbone
            return
        # timm joins the names of a layer and its container by "_" where it lists them
        # with a dot.
        known = {name.replace(".", "_"): name for name in self._reductions}
        for name, module in self.backbone.named_children():
            yield known.get(name, name), module


def _timm() -> ModuleType:
    if importlib.util.find_spec("timm") is None:
        raise ConfigError(
            f"Encoders of timm need timm, which is not installed: {install('timm')}."
        )
    try:
        return importlib.import_module("timm")
    except (ImportError, OSError, RuntimeError) as error:
        # Mostly torchvision, built for another torch: its operators are then missing.
        raise ConfigError(
            f"timm is installed but does not import ({error}). Install it together "
            f"with the torchvision of your torch: {install('timm')}."
        ) from error


def create(name: str, in_channels: int, **options: object) -> nn.Module:
    """A network of timm with random weights; errors are as of its classes."""
    timm = _timm()
    if not timm.is_model(name):  # or it is looked up in a hub or on the disk
        raise ConfigError(f"timm cannot build {name}, which is no name of its own.")
    kinds = {"SwiGLUPacked": timm.layers.SwiGLUPacked, "SiLU": nn.SiLU}
    options = {key: kinds.get(str(item), item) for key, item in options.items()}
    try:
        return timm.create_model(
            name, pretrained=False, in_chans=in_channels, **options
        )
    except (*RAISED, ValueError) as error:
        raise ConfigError(
            f"timm cannot build {name} with {options or 'its defaults'}: "
            f"{error or type(error).__name__}."
        ) from error


def file_of(name: str) -> str:
    """The module of timm that builds a network; "" where it knows none."""
    timm = _timm()
    if not timm.is_model(name):
        return ""
    return timm.model_entrypoint(name).__module__.rpartition(".")[2]


def _fields(
    backbone: nn.Module, in_channels: int, strides: Iterable[int]
) -> list[tuple[int, float, int]]:
    """As :meth:`Encoder.places` for each map, measured by its middle cell."""
    dense = copy.deepcopy(backbone).eval()
    _average_maxima(dense)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in dense.named_parameters():
            noise = torch.rand(weight.shape, generator=generator)
            fan_in = max(1, math.prod(weight.shape[1:]))
            weight.copy_((noise + 0.5) / fan_in)
            if name.endswith("bias"):
                weight.zero_()
    image = torch.rand(1, in_channels, *PROBE, generator=generator) * FAINT
    image.requires_grad_()
    maps = zip(dense(image), strides, strict=True)
    return [_field(item, image, stride) for item, stride in maps]


def _average_maxima(module: nn.Module) -> None:
    """Replaces max-pools, through which a gradient takes one of several ways."""
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d) and child.dilation in {1, (1, 1)}:
            pool = nn.AvgPool2d(
                child.kernel_size, child.stride, child.padding, child.ceil_mode
            )
            setattr(module, name, pool)
        else:
            _average_maxima(child)


def _field(values: Tensor, image: Tensor, stride: int) -> tuple[int, float, int]:
    """As :func:`_fields`, for one map (1, C, h, w)."""
    middle = values.shape[-2] // 2
    total = values[0, :, middle].sum()
    (slope,) = torch.autograd.grad(total, image, retain_graph=True)
    seen = slope[0].abs().amax((0, 2)).nonzero().flatten()
    first, last = int(seen[0]), int(seen[-1])
    if first == 0 or last == image.shape[-2] - 1:
        return stride, nominal_offset(stride), WIDEST_HALO
    before, after = middle * stride - first, last - middle * stride
    return stride, (after - before) / 2, max(before, after - stride + 1)
