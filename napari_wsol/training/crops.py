"""A batch of training images, each changed afresh, and the maps that lie on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_wsol.images.heatmap import Heatmap

CHOICES = 4
"""Random numbers that a crop takes: row, column, quarter turns, mirrored or not."""


@dataclass(frozen=True, slots=True)
class TrainImage:
    """One training image at the size that the network sees.

    Attributes:
        pixels: (H, W, C) uint8.
        label: (K,) float, one-hot or multi-hot.
        ranks: (H, W) float16 in [0, 1] that seeds are drawn from, or None.
        cam: the map that seeds are drawn from at its own resolution, or None.
        draw: of a bag or slide, which has no pixels here: makes what a step sees of it,
            (n, D) vectors or (C, n·S, S) tiles in [0, 1].
    """

    pixels: Tensor
    label: Tensor
    ranks: Tensor | None = None
    cam: Heatmap | None = None
    draw: Callable[[torch.Generator], Tensor] | None = None

    def map(self, shape: tuple[int, int]) -> Tensor | None:
        """(H, W) float32: ranks or map on a grid over the whole image."""
        if self.cam is not None:
            return torch.from_numpy(self.cam.resized(shape))
        return None if self.ranks is None else self.ranks.float()


class ImageSequence(Sequence[TrainImage]):
    """Training images that are made when they are asked for."""

    @abstractmethod
    def at(self, index: int) -> TrainImage:
        """One of them."""

    @overload
    def __getitem__(self, index: int) -> TrainImage: ...

    @overload
    def __getitem__(self, index: slice) -> list[TrainImage]: ...

    def __getitem__(self, index: int | slice) -> TrainImage | list[TrainImage]:
        if isinstance(index, slice):
            return [self.at(place) for place in range(*index.indices(len(self)))]
        return self.at(index)


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of a batch a process draws.

    Attributes:
        rank: of the process.
        world: processes that train together.
    """

    rank: int = 0
    world: int = 1

    def of(self, total: int) -> slice:
        """Its items among ``total``."""
        each = total // self.world
        return slice(self.rank * each, (self.rank + 1) * each)


ALONE = Share()


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of crops.

    Attributes:
        pixels: (N, C, S, S) float32 in [0, 1].
        labels: (N, K) float.
        ranks: (N, S, S) float32, the maps or ranks of the crops, or None.
        order: which images the whole batch shows, all processes' together.
    """

    pixels: Tensor
    labels: Tensor
    ranks: Tensor | None
    order: Tensor


def draw_order(count: int, size: int, generator: torch.Generator) -> Tensor:
    """(size,) which images a batch shows: none twice while there are enough."""
    return torch.cat(
        [torch.randperm(count, generator=generator) for _ in range(-(-size // count))]
    )[:size]


def draw_batch(
    images: Sequence[TrainImage],
    *,
    size: int,
    crop: int,
    jitter: float,
    generator: torch.Generator,
    share: Share = ALONE,
    order: Tensor | None = None,
) -> Batch:
    """A batch of random crops, turned and recoloured.

    Args:
        images: to draw from, without replacement while there are enough.
        size: crops in the batch.
        crop: side of a crop; smaller images are mirrored up to it.
        jitter: strength of the colour changes.
        generator: of every random choice.
        share: which part of the batch to make. Whatever it is, all choices of the
            whole batch are drawn, so that the shares add up to it.
        order: (size,) which images; drawn by default.
    """
    if order is None:
        order = draw_order(len(images), size, generator)
    mine = share.of(size)
    found: list[TrainImage] = []
    cut: list[tuple[Tensor, Tensor | None]] = []
    for place, index in enumerate(map(int, order)):
        if mine.start <= place < mine.stop:
            found.append(images[index])
            cut.append(_crop(found[-1], crop, generator))
        else:
            for _ in range(CHOICES):
                below(2, generator)
    pixels = torch.stack([item[0] for item in cut])
    ranks = [item[1] for item in cut if item[1] is not None]
    return Batch(
        recolour(pixels, jitter, generator, first=mine.start, total=size),
        torch.stack([item.label for item in found]),
        torch.stack(ranks) if ranks else None,
        order,
    )


def planes_of(image: TrainImage) -> tuple[Tensor, int]:
    """(C, H, W) float in [0, 1] and, as one more plane, its map; and C."""
    planes = image.pixels.permute(2, 0, 1).float() / 255.0
    channels = len(planes)
    on = image.map((planes.shape[1], planes.shape[2]))
    return (planes if on is None else torch.cat([planes, on[None]])), channels


def parted(planes: Tensor, channels: int) -> tuple[Tensor, Tensor | None]:
    """The inverse of :func:`planes_of`: pixels, and the map if there is one."""
    return planes[:channels], (planes[channels] if len(planes) > channels else None)


def _crop(
    image: TrainImage, crop: int, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    planes, channels = planes_of(image)
    planes = at_least(planes, crop)
    top = below(planes.shape[1] - crop + 1, generator)
    left = below(planes.shape[2] - crop + 1, generator)
    planes = planes[:, top : top + crop, left : left + crop]
    return parted(turned(planes, generator), channels)


def turned(planes: Tensor, generator: torch.Generator) -> Tensor:
    """(C, H, W) in one of the eight symmetries of the square: tissue has no up."""
    planes = torch.rot90(planes, below(4, generator), (1, 2))
    return planes.flip(2) if below(2, generator) else planes


def at_least(planes: Tensor, side: int) -> Tensor:
    """Mirrors small images until a crop fits."""
    while min(planes.shape[1:]) < side:
        down = min(max(side - planes.shape[1], 0), planes.shape[1] - 1)
        right = min(max(side - planes.shape[2], 0), planes.shape[2] - 1)
        planes = functional.pad(planes[None], (0, right, 0, down), mode="reflect")[0]
    return planes


def below(limit: int, generator: torch.Generator) -> int:
    """A random number from 0 to ``limit`` - 1."""
    return int(torch.randint(limit, (1,), generator=generator))


def recolour(
    pixels: Tensor,
    strength: float,
    generator: torch.Generator,
    *,
    first: int = 0,
    total: int | None = None,
) -> Tensor:
    """Changes brightness, contrast, saturation and the balance of the channels.

    Args:
        pixels: (N, C, H, W) float in [0, 1].
        strength: 0 changes nothing; factors are drawn from 1 ± strength.
        generator: of the factors.
        first: place of the first image in the whole batch.
        total: images in the whole batch, whose factors are all drawn; N by default.
    """
    if strength == 0:
        return pixels
    count, channels = pixels.shape[:2]
    whole = count if total is None else total

    def factors(*shape: int) -> Tensor:
        drawn = torch.rand(whole, *shape, generator=generator)
        return 1 + strength * (2 * drawn[first : first + count] - 1)

    pixels = pixels * factors(channels, 1, 1).sqrt() * factors(1, 1, 1)
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = (pixels - mean) * factors(1, 1, 1) + mean
    grey = pixels.mean(1, keepdim=True)
    return ((pixels - grey) * factors(1, 1, 1) + grey).clamp(0, 1)
