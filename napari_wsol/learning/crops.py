"""Random crops of images and of the maps that lie on them, flipped and recoloured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class TrainImage:
    """One training image at the size that the network sees.

    Attributes:
        pixels: (H, W, 3) uint8.
        label: (K,) float, one-hot or multi-hot.
        ranks: (H, W) float16 in [0, 1] that seeds are drawn from, or None.
    """

    pixels: Tensor
    label: Tensor
    ranks: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of crops.

    Attributes:
        pixels: (N, 3, S, S) float32 in [0, 1].
        labels: (N, K) float.
        ranks: (N, S, S) float32, or None.
    """

    pixels: Tensor
    labels: Tensor
    ranks: Tensor | None


def draw_batch(
    images: Sequence[TrainImage],
    *,
    size: int,
    crop: int,
    jitter: float,
    generator: torch.Generator,
) -> Batch:
    """A batch of random crops.

    Args:
        images: to draw from, without replacement while there are enough.
        size: crops in the batch.
        crop: side of a crop; smaller images are mirrored up to it.
        jitter: strength of the colour changes.
        generator: of every random choice.
    """
    order = torch.cat(
        [
            torch.randperm(len(images), generator=generator)
            for _ in range(-(-size // len(images)))
        ]
    )[:size]
    cut = [_crop(images[int(index)], crop, generator) for index in order]
    pixels = torch.stack([item[0] for item in cut])
    ranks = [item[1] for item in cut if item[1] is not None]
    return Batch(
        recolour(pixels, jitter, generator),
        torch.stack([images[int(index)].label for index in order]),
        torch.stack(ranks) if ranks else None,
    )


def _crop(
    image: TrainImage, crop: int, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    planes = image.pixels.permute(2, 0, 1).float() / 255.0
    if image.ranks is not None:
        planes = torch.cat([planes, image.ranks.float()[None]])
    planes = _at_least(planes, crop)
    top = _below(planes.shape[1] - crop + 1, generator)
    left = _below(planes.shape[2] - crop + 1, generator)
    planes = planes[:, top : top + crop, left : left + crop]
    # The eight symmetries of the square: tissue has no up.
    planes = torch.rot90(planes, _below(4, generator), (1, 2))
    if _below(2, generator):
        planes = planes.flip(2)
    return planes[:3], (planes[3] if image.ranks is not None else None)


def _at_least(planes: Tensor, side: int) -> Tensor:
    """Mirrors small images until a crop fits."""
    while min(planes.shape[1:]) < side:
        down = min(max(side - planes.shape[1], 0), planes.shape[1] - 1)
        right = min(max(side - planes.shape[2], 0), planes.shape[2] - 1)
        planes = functional.pad(planes[None], (0, right, 0, down), mode="reflect")[0]
    return planes


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (1,), generator=generator))


def recolour(pixels: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Changes brightness, contrast, saturation and the balance of the channels.

    Args:
        pixels: (N, 3, H, W) float in [0, 1].
        strength: 0 changes nothing; factors are drawn from 1 ± strength.
        generator: of the factors.
    """
    if strength == 0:
        return pixels

    def factors(*shape: int) -> Tensor:
        return 1 + strength * (2 * torch.rand(*shape, generator=generator) - 1)

    count = len(pixels)
    pixels = pixels * factors(count, 3, 1, 1).sqrt() * factors(count, 1, 1, 1)
    mean = pixels.mean((1, 2, 3), keepdim=True)
    pixels = (pixels - mean) * factors(count, 1, 1, 1) + mean
    grey = pixels.mean(1, keepdim=True)
    return ((pixels - grey) * factors(count, 1, 1, 1) + grey).clamp(0, 1)
