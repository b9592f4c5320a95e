"""How images are changed at every step, by style: as published where it has a name.

- "histology": :func:`napari_wsol.training.crops.draw_batch`.
- "pixelcam" (Guichemerre et al. 2025, arXiv 2503.24135): the image at 256 / 224 of the
  input's size, a random crop, both flips, and colours: brightness, contrast and
  saturation in 1 ± 0.5 and hue ± 0.05, in any order.
- "pylon" (Preechakul et al. 2022, arXiv 2010.11475): turned by up to 90° (every other
  image, black outside), a random part of 0.7 to 1 of its area, mirrored, and brightness
  and contrast ± 0.5 (every other image).
- "pcam" (Ye et al. 2020, arXiv 2005.14480): turned by up to 15°, moved by up to 5 % and
  scaled by 0.95 to 1.05, grey 128 outside, *before* the histogram is equalised.
- "none": as they are.

All that moves pixels moves the map of seeds too. Each image has random numbers of
its own, so that a part of a batch comes out as it does in the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_wsol.images.preprocessing import fitted_shape
from napari_wsol.training.crops import (
    ALONE,
    Batch,
    below,
    draw_batch,
    draw_order,
    parted,
    planes_of,
)
from napari_wsol.training.images_cache import prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from napari_wsol.images.preprocessing import Preprocessing
    from napari_wsol.training.crops import Share, TrainImage

View = tuple["Tensor", "Tensor | None"]
"""Pixels (C, S, S) in [0, 1], and the map (S, S) that lies on them."""

COLOUR, HUE = 0.5, 0.05
LUMA = (0.299, 0.587, 0.114)
AREA, RATIO = (0.7, 1.0), (3 / 4, 4 / 3)
TRIES = 10
"""How often a part of an image is drawn that may not fit into it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How the images of one training are changed.

    Attributes:
        style: one of the recipe's styles.
        crop: side of what the network sees.
        jitter: strength of the colour changes of "histology".
        how: the model's preprocessing.
    """

    style: str
    crop: int
    jitter: float
    how: Preprocessing

    def batch(
        self,
        images: Sequence[TrainImage],
        size: int,
        generator: torch.Generator,
        share: Share = ALONE,
        order: Tensor | None = None,
    ) -> Batch:
        """A batch of changed images; arguments as for ``draw_batch``."""
        if self.style == "histology":
            return draw_batch(
                images,
                size=size,
                crop=self.crop,
                jitter=self.jitter,
                generator=generator,
                share=share,
                order=order,
            )
        if order is None:
            order = draw_order(len(images), size, generator)
        first = below(2**31, generator)
        found = [
            (images[index], torch.Generator().manual_seed(first + place))
            for place, index in enumerate(map(int, order))
            if share.of(size).start <= place < share.of(size).stop
        ]
        views = [VIEWS[self.style](image, self, own) for image, own in found]
        maps = [item[1] for item in views if item[1] is not None]
        return Batch(
            torch.stack([item[0] for item in views]),
            torch.stack([image.label for image, _ in found]),
            torch.stack(maps) if maps else None,
            order,
        )


def _pixelcam(
    image: TrainImage, config: Augmentation, generator: torch.Generator
) -> View:
    planes, channels = planes_of(image)
    top = below(planes.shape[1] - config.crop + 1, generator)
    left = below(planes.shape[2] - config.crop + 1, generator)
    planes = planes[:, top : top + config.crop, left : left + config.crop]
    for axis in (2, 1):
        planes = planes.flip(axis) if below(2, generator) else planes
    pixels, on = parted(planes, channels)
    return jitter(pixels, generator), on


def _pylon(image: TrainImage, config: Augmentation, generator: torch.Generator) -> View:
    planes, channels = planes_of(image)
    often = [bool(below(2, generator)) for _ in range(3)]
    angle = between(-90, 90, generator) if often[0] else 0.0
    height, width, top, left = part(generator)
    mirror = -1.0 if often[1] else 1.0
    turn = rotation(angle)
    # From where a pixel of the result comes: mirrored, in the part, then turned back.
    scale = torch.tensor([[width * mirror, 0.0], [0.0, height]])
    middle = torch.tensor([2 * left + width - 1, 2 * top + height - 1])
    matrix = torch.cat([turn @ scale, (turn @ middle)[:, None]], dim=1)
    planes = warp(planes, matrix, config.crop)
    pixels, on = parted(planes, channels)
    if often[2]:
        contrast = 1 + between(-COLOUR, COLOUR, generator)
        pixels = pixels * contrast + between(-COLOUR, COLOUR, generator)
    return pixels.clamp(0, 1), on


def _pcam(image: TrainImage, config: Augmentation, generator: torch.Generator) -> View:
    planes, channels = planes_of(image)
    height, width = planes.shape[1:]
    turn = rotation(between(-15, 15, generator), width / height)
    move = torch.tensor([2 * between(-0.05, 0.05, generator) for _ in range(2)])
    inverse = turn / between(0.95, 1.05, generator)
    matrix = torch.cat([inverse, -(inverse @ move)[:, None]], dim=1)
    pixels, on = parted(planes, channels)
    grey = 128 / 255
    turned = warp(pixels - grey, matrix, (height, width)) + grey
    levels = (turned * 255).round().clamp(0, 255).to(torch.uint8)
    seen = prepared(levels.permute(1, 2, 0).numpy(), config.how)
    result = torch.from_numpy(seen).permute(2, 0, 1).float() / 255.0
    if on is None:
        return result, None
    fitted = fitted_shape((height, width), config.how)
    moved = warp(on[None], matrix, (height, width))[None]
    small = functional.interpolate(moved, fitted, mode="bilinear")[0, 0]
    below_and_right = (0, config.crop - fitted[1], 0, config.crop - fitted[0])
    return result, functional.pad(small, below_and_right)


def _none(image: TrainImage, config: Augmentation, generator: torch.Generator) -> View:
    del config, generator
    return parted(*planes_of(image))


VIEWS: dict[str, Callable[[TrainImage, Augmentation, torch.Generator], View]] = {
    "pixelcam": _pixelcam,
    "pylon": _pylon,
    "pcam": _pcam,
    "none": _none,
}


def between(low: float, high: float, generator: torch.Generator) -> float:
    """A random number, evenly from ``low`` to ``high``."""
    return low + (high - low) * float(torch.rand(1, generator=generator))


def rotation(degrees: float, aspect: float = 1.0) -> Tensor:
    """(2, 2) rotation of (x, y) from -1 to 1 over an image of that width by height."""
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin / aspect], [sin * aspect, cos]])


def part(generator: torch.Generator) -> tuple[float, float, float, float]:
    """Height, width, top and left of a random part, as shares of a square image."""
    for _ in range(TRIES):
        area = between(*AREA, generator)
        low, high = math.log(RATIO[0]), math.log(RATIO[1])
        ratio = math.exp(between(low, high, generator))
        width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if width <= 1 and height <= 1:
            top = between(0, 1 - height, generator)
            return height, width, top, between(0, 1 - width, generator)
    return 1.0, 1.0, 0.0, 0.0


def warp(planes: Tensor, matrix: Tensor, shape: int | tuple[int, int]) -> Tensor:
    """(C, H, W) → (C, rows, columns), bilinear, 0 outside.

    Args:
        planes: what to move.
        matrix: (2, 3): from (x, y, 1) of the result, -1 to 1 over its borders, to
            (x, y) of ``planes``.
        shape: of the result; a number for a square.
    """
    rows, columns = (shape, shape) if isinstance(shape, int) else shape
    grid = functional.affine_grid(
        matrix[None], [1, len(planes), rows, columns], align_corners=False
    )
    return functional.grid_sample(planes[None], grid, align_corners=False)[0]


def jitter(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and hue of (3, H, W) in [0, 1], in any order."""
    factors = [between(1 - COLOUR, 1 + COLOUR, generator) for _ in range(3)]
    turn = between(-HUE, HUE, generator)
    changes: list[Callable[[Tensor], Tensor]] = [
        lambda x: x * factors[0],
        lambda x: _blend(x, _luma(x).mean(), factors[1]),
        lambda x: _blend(x, _luma(x), factors[2]),
        lambda x: shift_hue(x, turn),
    ]
    for place in torch.randperm(len(changes), generator=generator):
        pixels = changes[int(place)](pixels).clamp(0, 1)
    return pixels


def _luma(pixels: Tensor) -> Tensor:
    if len(pixels) == 1:
        return pixels
    return (pixels * torch.tensor(LUMA).view(3, 1, 1)).sum(0, keepdim=True)


def _blend(pixels: Tensor, base: Tensor, factor: float) -> Tensor:
    return (pixels - base) * factor + base


def shift_hue(pixels: Tensor, turn: float) -> Tensor:
    """Turns the hue of (3, H, W) in [0, 1]; value and saturation stay.

    Args:
        pixels: RGB; grey of one channel has no hue and comes back as it is.
        turn: share of the circle, -0.5 to 0.5.
    """
    if len(pixels) == 1:
        return pixels
    high, low = pixels.amax(0), pixels.amin(0)
    chroma = (high - low).clamp_min(1e-12)
    red, green, blue = pixels
    hue = torch.where(
        high == red,
        ((green - blue) / chroma) % 6,
        torch.where(
            high == green, (blue - red) / chroma + 2, (red - green) / chroma + 4
        ),
    )
    hue = (hue / 6 + turn) % 1.0
    parts = [(offset + 6 * hue) % 6 for offset in (5, 3, 1)]
    shares = [torch.minimum(item, 4 - item).clamp(0, 1) for item in parts]
    return torch.stack([high - (high - low) * share for share in shares])
