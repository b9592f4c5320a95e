"""PixelCAM's pseudo-labels: a few pixels drawn from a class activation map.

Guichemerre, Belharbi, Shateri, McCaffrey, Granger: PixelCAM, MIDL 2025,
arXiv 2503.24135, section 3: foreground is drawn where the map of the image's class is
high, background where it is low, afresh at every training step. The three seeders are
those of the authors' code; NEGEV (Belharbi et al. 2022, arXiv 2201.02445) has them too.

What we changed:

- a map that is the same everywhere, or not a number anywhere, gives no seeds from the
  map at all; their probability seeders then draw from noise;
- ``area`` is obeyed by both seeders that have it; their published choice silently
  ignores the option of that name (``sl_min_p``, 0.4 in their README) for another one
  (0.2);
- weights of the background draw belong to their pixels (theirs are matched to other
  pixels; being nearly equal, that changes nothing that can be measured);
- unlabelled pixels are ``IGNORE`` (255), theirs -255.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_wsol.errors import ConfigError
from napari_wsol.methods.partial_loss import IGNORE
from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from torch import Tensor

SEEDERS = ("probability_negative_salloarea", "probability", "threshold")
NORMAL_IMAGES = ("as any", "none", "background")
LEVELS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PseudoLabelConfig:
    """How pixels are chosen; defaults as published.

    Attributes:
        seeder: "probability_negative_salloarea" (the published choice): foreground
            from all pixels in proportion to the map, background from those where it is
            lowest. "probability": background from all pixels, in proportion to one
            minus the normalised map. "threshold": foreground evenly from what is above
            Otsu's threshold, eroded; background where the map is lowest.
        foreground: pixels an image (``sl_max``); 5 in the authors' README.
        background: pixels an image (``sl_min``); 5 in the authors' README.
        area: share of an image, the lowest part of its map, that background comes from.
        dilate: side of the square that each pixel grows to (``sl_ksz``); 1 for none.
        erode: side of the square that eroded what is above the threshold.
        erosions: how often.
        normal_images: images that show no disease. "as any": seeds like any other
            (GlaS); "none": no seeds (CAMELYON); "background": background only, from
            anywhere (``neg_samples_partial``).
        equalize: then normal images get ``foreground - background`` pixels, so that
            with as many of them as of others both kinds are equally frequent
            (``sl_pc_equalize``).
    """

    seeder: str = "probability_negative_salloarea"
    foreground: int = 10
    background: int = 10
    area: float = 0.2
    dilate: int = 1
    erode: int = 11
    erosions: int = 1
    normal_images: str = "as any"
    equalize: bool = False

    def __post_init__(self) -> None:
        if self.seeder not in SEEDERS or self.normal_images not in NORMAL_IMAGES:
            raise ConfigError(
                f"Seeders are {', '.join(SEEDERS)}, and normal images are used "
                f"{', '.join(NORMAL_IMAGES)}; not {self.seeder}, {self.normal_images}."
            )
        if min(self.foreground, self.background, self.erosions) < 0:
            raise ConfigError("Numbers of pixels and of erosions are 0 or more.")
        if min(self.dilate, self.erode) < 1 or not (self.dilate % 2 and self.erode % 2):
            raise ConfigError(
                f"Squares have an odd side: not {self.dilate} and {self.erode}."
            )
        if not 0 < self.area <= 1:
            raise ConfigError(f"The area is a share in (0, 1], not {self.area}.")
        if self.equalize and self.foreground < self.background:
            raise ConfigError(
                "To equalize, ask for at least as many foreground as background pixels."
            )


def draw_pseudo_labels(
    cams: Tensor,
    config: PseudoLabelConfig,
    generator: torch.Generator,
    normal: Tensor | None = None,
) -> Tensor:
    """Labels for a few pixels of each image.

    Pixels that are drawn (or grown) as both kinds become unlabelled, so there may be
    fewer than asked for; also where fewer can be chosen from.

    Args:
        cams: (N, H, W) float, the map of each image's class, in [0, 1].
        config: which seeder, how many.
        generator: of the random choice, on the maps' device.
        normal: (N,) bool, images that show no disease; none by default.

    Returns:
        (N, H, W) int64: 0 background, 1 foreground, ``IGNORE`` elsewhere.
    """
    cams = torch.nan_to_num(cams.float(), nan=0.0, posinf=1.0, neginf=0.0).clamp_min(0)
    if normal is None:
        normal = torch.zeros(len(cams), dtype=torch.bool, device=cams.device)
    informative = cams.flatten(1).amax(1) > cams.flatten(1).amin(1)
    above, below = _weights(cams, config)
    many = informative * config.foreground
    few = informative * config.background
    if config.normal_images != "as any":
        many = many.masked_fill(normal, 0)
        few = few.masked_fill(normal, 0)
    if config.normal_images == "background":
        below = torch.where(normal[:, None, None], torch.ones_like(below), below)
        count = config.background
        if config.equalize:
            count = config.foreground - config.background
        few = few.masked_fill(normal, count)
    is_foreground = dilate(_draw(above, many, generator), config.dilate)
    is_background = dilate(_draw(below, few, generator), config.dilate)
    labels = torch.full_like(cams, IGNORE, dtype=torch.long)
    labels[is_foreground & ~is_background] = FOREGROUND
    labels[is_background & ~is_foreground] = BACKGROUND
    return labels


def _weights(cams: Tensor, config: PseudoLabelConfig) -> tuple[Tensor, Tensor]:
    """(N, H, W) weights of the foreground and of the background draw; 0 is never."""
    p = cams + 1e-6
    p = p / p.sum((-2, -1), keepdim=True)
    if config.seeder == "probability":
        return p, 1 - p
    low = lowest(cams, config.area)
    if config.seeder == "probability_negative_salloarea":
        return p, (1 - p) * low
    roi = cams_above_otsu(cams)
    for _ in range(config.erosions):
        roi = erode(roi, config.erode)
    return roi.float(), low.float()


def lowest(cams: Tensor, share: float) -> Tensor:
    """(N, H, W) bool: the ⌊share · H · W⌋ pixels with the lowest values.

    Of equal ones those come first that are read first.
    """
    flat = cams.flatten(1)
    order = flat.argsort(dim=1, stable=True)
    chosen = order[:, : int(share * flat.shape[1])]
    found = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, value=True)
    return found.view_as(cams)


def cams_above_otsu(cams: Tensor) -> Tensor:
    """(N, H, W) bool: where ⌊255 · map⌋ is above its Otsu threshold."""
    levels = (cams.clamp(0, 1) * (LEVELS - 1)).floor()
    return levels > otsu(cams)[:, None, None]


def otsu(cams: Tensor) -> Tensor:
    """Thresholds that tell two kinds of pixels apart best (Otsu 1979).

    The between-class variance of ⌊255 · map⌋ is largest; the first of several. Never
    0 or 255, so that neither kind can be all that is possible.

    Args:
        cams: (N, H, W) in [0, 1].

    Returns:
        (N,) float, whole numbers from 1 to 254; of no meaning for a constant map.
    """
    levels = (cams.clamp(0, 1) * (LEVELS - 1)).long().flatten(1)
    counts = torch.zeros(len(cams), LEVELS, dtype=torch.float64, device=cams.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels, dtype=torch.float64))
    values = torch.arange(LEVELS, dtype=torch.float64, device=cams.device)
    below, moment = counts.cumsum(1), (counts * values).cumsum(1)
    above, rest = below[:, -1:] - below, moment[:, -1:] - moment
    # Where one side is empty its mean is of no account: the product below is 0.
    apart = moment / below.clamp_min(1) - rest / above.clamp_min(1)
    variance = below * above * apart.square()
    return variance.argmax(1).clamp(1, LEVELS - 2).float()


def dilate(mask: Tensor, side: int) -> Tensor:
    """(N, H, W) bool: each pixel grown to a square, cut off at the border."""
    if side == 1:
        return mask
    grown = functional.max_pool2d(mask.float()[:, None], side, 1, side // 2)
    return grown[:, 0] > 0


def erode(mask: Tensor, side: int) -> Tensor:
    """(N, H, W) bool: where a whole square is set; beyond the border all counts so."""
    return ~dilate(~mask, side)


def _draw(weights: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels without replacement, in proportion to their weights.

    Dividing weights by independent exponential variates and taking the largest is one
    draw after another without replacement (Efraimidis and Spirakis 2006). Weights are
    (N, H, W), those of 0 never drawn; counts (N,), so many of each image.
    """
    flat = weights.flatten(1)
    most = min(int(counts.max()), flat.shape[1])
    if not most:
        return torch.zeros_like(weights, dtype=torch.bool)
    noise = torch.empty_like(flat).exponential_(generator=generator)
    # The least normal float32: a noise of 0 would make 0 / 0 of a weight of 0.
    keys = flat / noise.clamp_min(1.2e-38)
    best = keys.topk(most, dim=1)
    taken = torch.arange(most, device=flat.device)[None] < counts[:, None]
    drawn = torch.zeros_like(flat, dtype=torch.bool)
    drawn.scatter_(1, best.indices, taken & (best.values > 0))
    return drawn.view_as(weights)
