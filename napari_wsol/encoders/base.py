"""What every encoder is: a network from an image to feature maps."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import nn

from napari_wsol.encoders.features import Features, nominal_offset
from napari_wsol.errors import ConfigError, ImageError
from napari_wsol.images.preprocessing import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

    from torch import Tensor

CLS = "cls"
Step = tuple[int, int, int]
"""One layer on the longest path: kernel, stride, dilation."""


class Encoder(nn.Module):
    """A network that gives feature maps at several depths ("taps").

    Subclasses build the layers, yield a (tap name, module) pair for each part from
    ``stages``, in order, and ``choose`` among the taps.

    Attributes:
        taps: names of the maps it gives, finest first.
        channels: channels of each.
        strides: input pixels a cell of each.
        offsets: input pixel under the centre of cell 0 of each, by the padding.
        halo: input pixels of context that make a tile's inner part exact.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    output_strides: ClassVar[tuple[int, ...]] = (8, 16, 32)

    taps: tuple[str, ...]
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    offsets: tuple[float, ...]
    halo: int
    layers: dict[str, int]
    """Channels of every map up to the deepest tap, by name, finest first."""

    fixed_size: int | None = None
    """Side of the input that it was trained at, where positions are learnt."""
    resizes: bool = False
    """Whether it takes other sides, nevertheless."""
    window: int | None = None
    """Side of the windows that it reads large images in, each for itself."""

    in_one_piece: ClassVar[bool] = False
    """Whether it sees all of an image at once: it is never cut into tiles."""

    one_cell: ClassVar[tuple[str, ...]] = ()
    """Layers whose map is one cell for all of the image; they come first."""

    gradient_layer: str | None = None
    """Where methods that read gradients look; at the deepest tap if None."""

    lacks: ClassVar[Mapping[str, str]] = {}
    """Why it has not what others have, a sentence each, by a method's name; "folder":
    why it cannot be saved."""

    _pooled: tuple[str, ...] = ()

    @property
    def is_traced(self) -> bool:
        """Whether methods that read gradients :meth:`trace` it on the image."""
        return bool(self.in_one_piece or self.one_cell)

    @property
    def map_taps(self) -> tuple[str, ...]:
        """The taps but those of one cell."""
        return tuple(name for name in self.taps if name not in self.one_cell)

    @property
    def readable_layers(self) -> tuple[str, ...]:
        """Those of ``layers`` that a read-out may choose: ``resume`` goes on from them.

        All, unless some maps are no activations or carry the image on only in part.
        """
        return tuple(name for name in self.layers if name not in self.one_cell)

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """(tap name, module) in the order of the forward pass."""
        raise NotImplementedError

    def path(self) -> Iterator[tuple[str, Step, int]]:
        """(tap name, step, left padding) of each layer on the longest path."""
        for name, module in self.stages():
            for step, left in steps_of(module):
                yield name, step, left

    def places(self) -> dict[str, tuple[int, float, int]]:
        """Stride, centre of cell 0 and reach of the receptive field of each layer."""
        return _geometry(self.path())

    def pool_by(self, pooling: str) -> None:
        """Chooses what ``pooled`` gives: "mean" of the deepest map, "cls", "cls_mean".

        Raises:
            ConfigError: there is no such map.
        """
        parts = pooling.split("_")
        names = [self.taps[-1] if part == "mean" else part for part in parts]
        with self.also(names):
            self._pooled = tuple(names)

    @property
    def pooled_channels(self) -> int:
        """Channels of ``pooled``."""
        return sum(self.layers[name] for name in self._pooled or self.taps[-1:])

    def pooled(self, x: Tensor) -> Tensor:
        """(N, D): one vector an image or tile."""
        names = self._pooled or self.taps[-1:]
        with self.also(names):
            found: Features = self(x)
        maps = [found.maps[found.names.index(name)] for name in names]
        return torch.cat([item.mean((-2, -1)) for item in maps], 1)

    def checked_stride(self, output_stride: int | None, default: int = 32) -> int:
        """An output stride that the encoder has; the default where none is wanted.

        Raises:
            ConfigError: it has not this one.
        """
        if output_stride not in (None, *self.output_strides):
            *some, last = map(str, self.output_strides)
            allowed = f"{', '.join(some)} or {last}" if some else last
            raise ConfigError(f"Output stride is {allowed}, not {output_stride}.")
        return output_stride or default

    def choose(self, taps: Iterable[str] | None, all_taps: dict[str, int]) -> None:
        """Fixes the taps and derives strides, offsets and halo from the layers.

        Raises:
            ConfigError: a tap does not exist.
        """
        wanted = list(taps) if taps is not None else [list(all_taps)[-1]]
        missing = [name for name in wanted if name not in all_taps]
        if missing or not wanted:
            raise ConfigError(
                f"This encoder has no tap {', '.join(missing) or '(none given)'}; "
                f"choose from {', '.join(all_taps)}."
            )
        self.taps = tuple(name for name in all_taps if name in wanted)
        names = list(all_taps)
        reached = names[: names.index(self.taps[-1]) + 1]
        self.layers = {name: all_taps[name] for name in reached}
        self._geometry = self.places()
        self.channels = tuple(all_taps[name] for name in self.taps)
        self.strides = tuple(self._geometry[name][0] for name in self.taps)
        self.offsets = tuple(self._geometry[name][1] for name in self.taps)
        reach = max(self._geometry[name][2] for name in self.taps)
        stride = max(self.strides)
        self.halo = -(-reach // stride) * stride

    @contextmanager
    def also(self, names: Iterable[str]) -> Generator[None]:
        """Gives more maps for a while, at most as deep as the deepest tap.

        Raises:
            ConfigError: there is no such layer; names those that there are.
        """
        missing = [name for name in names if name not in self.layers]
        if missing:
            raise ConfigError(
                f"This encoder has no layer {', '.join(missing)}; "
                f"choose from {', '.join(self.layers)}."
            )
        before = (self.taps, self.channels, self.strides, self.offsets)
        known = dict(zip(self.taps, self.offsets, strict=True))
        wanted = {*self.taps, *names}
        self.taps = tuple(name for name in self.layers if name in wanted)
        self.channels = tuple(self.layers[name] for name in self.taps)
        self.strides = tuple(self._geometry[name][0] for name in self.taps)
        self.offsets = tuple(
            known.get(name, self._geometry[name][1]) for name in self.taps
        )
        try:
            yield
        finally:
            self.taps, self.channels, self.strides, self.offsets = before

    def cells(self, length: int) -> tuple[int, ...]:
        """Cells of each tap's map along an axis of ``length`` input pixels.

        Networks that pad every layer give one for each stride begun; others override.
        """
        return tuple(-(-length // stride) for stride in self.strides)

    def resume(self, layer: str, x: Tensor) -> Features:
        """The taps' maps, given the map of a layer: what lies between runs again.

        Taps before ``layer`` are not part of the result.

        Args:
            layer: one of ``readable_layers``.
            x: (N, C, h, w) its map.

        Raises:
            ConfigError: what lies behind the layer cannot be run on its own.
        """
        if layer not in self.readable_layers:
            raise ConfigError(
                f"This network cannot go on from {layer}: choose {self.taps[-1]}."
            )
        stages = iter(self.stages())
        for name, _ in stages:
            if name == layer:
                break
        found = {layer: x} if layer in self.taps else {}
        for name, module in stages:
            if self.taps[-1] in found:
                break
            x = module(x)
            if name in self.taps:
                found[name] = x
        return self.gather(found)

    def trace(self, x: Tensor, layer: str) -> tuple[Tensor, Features]:
        """What a layer gives, and the taps' maps that come of it, with their graph.

        Args:
            x: (N, C, H, W) normalised input that requires gradients.
            layer: one of ``readable_layers``.
        """
        with self.also((layer,)):
            found: Features = self(x)
        return found.select((layer,)).last, found.select(self.taps)

    def placed(self, values: Tensor, x: Tensor, layer: str) -> Tensor:
        """What ``trace`` caught of a layer, or its gradient, as a map (N, C, h, w)."""
        del x, layer
        return values

    def gather(self, found: Mapping[str, Tensor]) -> Features:
        """Maps by name as :class:`Features`, in the order of the taps."""
        at = [index for index, name in enumerate(self.taps) if name in found]
        return Features(
            tuple(found[self.taps[index]] for index in at),
            tuple(self.strides[index] for index in at),
            tuple(self.offsets[index] for index in at),
            tuple(self.taps[index] for index in at),
        )

    @property
    def stride(self) -> int:
        """Input pixels a cell of the deepest map."""
        return self.strides[-1]

    def forward(self, x: Tensor) -> Features:
        """Runs the network.

        Args:
            x: (N, C, H, W) float, normalised with ``mean`` and ``std``.

        Raises:
            ImageError: less than one cell of the deepest map.
            ConfigError: another size than the only one that the network takes.
        """
        self.check_size(int(x.shape[-2]), int(x.shape[-1]))
        found: dict[str, Tensor] = {}
        for name, module in self.stages():
            x = module(x)
            if name in self.taps:
                found[name] = x
            if len(found) == len(self.taps):
                break  # deeper layers are never read
        return self.gather(found)

    def check_size(self, height: int, width: int) -> None:
        """Refuses an input of a size that the network does not take, as ``forward``."""
        side = self.fixed_size
        if side and not self.resizes and (height, width) != (side, side):
            raise ConfigError(
                f"This network takes {side}×{side} pixels only, not {height}×{width}: "
                f"set size = {side} in the model's preprocessing, or tile = {side}."
            )
        least = min(height, width)
        if min(self.cells(least)) >= 1:
            return
        while min(self.cells(least)) < 1:
            least += 1
        raise ImageError(
            f"This network needs at least {least}×{least} pixels and got "
            f"{height}×{width}: enlarge the image."
        )


def steps_of(module: nn.Module) -> Iterator[tuple[Step, int]]:
    """Step and left padding of each layer on a module's longest path.

    A module that is more than layers in a row says its own as ``steps``.
    """
    if isinstance(module, nn.Sequential):
        for part in module:
            yield from steps_of(part)
    elif isinstance(module, nn.Conv2d):
        size, stride = module.kernel_size[0], module.stride[0]
        yield (size, stride, module.dilation[0]), int(module.padding[0])
    elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        size, stride = cast("int", module.kernel_size), cast("int", module.stride)
        yield (size, stride, 1), cast("int", module.padding)
    else:
        yield from getattr(module, "steps", [((1, 1, 1), 0)])


def _geometry(
    path: Iterable[tuple[str, Step, int]],
) -> dict[str, tuple[int, float, int]]:
    """Stride, centre of cell 0, and reach of the receptive field, after each tap."""
    stride, centre, field = 1, 0.0, 1
    result: dict[str, tuple[int, float, int]] = {}
    for name, (kernel, step, dilation), left in path:
        extent = dilation * (kernel - 1)
        centre += (extent / 2 - left) * stride
        field += extent * stride
        stride *= step
        # The outermost cells of a tile see (field - 1) / 2 pixels about their centre.
        half = (field - 1) / 2
        reach = math.ceil(max(half - centre, half + centre - stride + 1, 0))
        result[name] = (stride, centre, reach)
    return result


def nominal_places(strides: Mapping[str, int]) -> dict[str, tuple[int, float, int]]:
    """As :meth:`Encoder.places` where cells are the squares that they replace."""
    return {name: (step, nominal_offset(step), 0) for name, step in strides.items()}


def preprocess(
    pixels: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Tensor:
    """uint8 RGB to network input.

    Args:
        pixels: (N, H, W, C) uint8.
        mean: per channel, on the scale [0, 1].
        std: per channel, on the scale [0, 1].

    Returns:
        (N, C, H, W) float32.
    """
    x = pixels.permute(0, 3, 1, 2).float().div_(255.0)
    shift = torch.tensor(mean, device=x.device).view(1, -1, 1, 1)
    scale = torch.tensor(std, device=x.device).view(1, -1, 1, 1)
    return (x - shift) / scale
