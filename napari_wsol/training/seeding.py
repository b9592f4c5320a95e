"""Before the first step: what the pixel head's seeds are drawn from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from scipy import ndimage
from torch.nn import functional
from typing_extensions import override

from napari_wsol.encoders import on_grid
from napari_wsol.errors import ConfigError, ModelError
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.methods import evaluating
from napari_wsol.methods.pixelcam import PixelHead
from napari_wsol.training.crops import ALONE, ImageSequence, below
from napari_wsol.training.images_cache import prepared
from napari_wsol.training.pseudo_labels import draw_pseudo_labels
from napari_wsol.training.seeds import (
    darkness_on,
    draw_seeds,
    fit_eigencam,
    normalised_cut,
    rank_map,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods import Model
    from napari_wsol.training.config import SeedConfig
    from napari_wsol.training.crops import Batch, Share, TrainImage
    from napari_wsol.training.recipe import Recipe
    from napari_wsol.training.seeds import EigenCam


class SeededImages(ImageSequence):
    """Images, and what their seeds are drawn from.

    Args:
        images: the images.
        maps: one an image: a heatmap, or (H, W) ranks.
    """

    def __init__(
        self, images: Sequence[TrainImage], maps: Sequence[Heatmap | Tensor]
    ) -> None:
        self._images = images
        self._maps = maps

    def __len__(self) -> int:
        return len(self._images)

    @override
    def at(self, index: int) -> TrainImage:
        found = self._maps[index]
        if isinstance(found, Heatmap):
            return replace(self._images[index], cam=found)
        return replace(self._images[index], ranks=found)


def seed(
    model: Model,
    images: Sequence[TrainImage],
    recipe: Recipe,
    maps: Sequence[Heatmap | Tensor] | None,
) -> tuple[Sequence[TrainImage], EigenCam | None]:
    """Finds what seeds are drawn from, and fixes the pixel head's statistics.

    Args:
        model: with its initial weights, on the CPU.
        images: the training images.
        recipe: says which seeder.
        maps: of a finished model, for the seeders that read one.

    Returns:
        The images with what seeds are drawn from; and the direction, where Eigen-CAM
        was the seeder.

    Raises:
        ConfigError: there are no maps for a seeder that reads them.
        ModelError: the model lacks the feature map that the seeder reads.
    """
    if recipe.seeds is None:
        return images, None
    if recipe.seeds.seeder == "eigencam":
        return _eigencam(model, images, recipe)
    if maps is None or len(maps) != len(images):
        raise ConfigError(
            f"The seeder “{recipe.seeds.seeder}” needs one map an image of "
            f"“{recipe.seeds.model}”."
        )
    if model.head(PixelHead, "pixelcam").shift is not None:
        with evaluating(model), torch.no_grad():
            _standardize(model, [_moments(encode(model, x, recipe)) for x in images])
    return SeededImages(images, maps), None


def _eigencam(
    model: Model, images: Sequence[TrainImage], recipe: Recipe
) -> tuple[SeededImages, EigenCam]:
    """Fits the seeder with the initial encoder and ranks every image's pixels."""
    seeds = recipe.seeds
    if seeds is None or seeds.tap not in model.encoder.taps:
        raise ModelError(
            f"The seeder reads the tap {seeds.tap if seeds else '?'}, which the "
            f"model does not give; its taps are {model.encoder.taps}."
        )
    at = model.encoder.taps.index(seeds.tap)
    maps: list[Tensor] = []
    dark: list[Tensor] = []
    totals: list[tuple[Tensor, Tensor]] = []
    shapes: list[tuple[int, int]] = []
    with evaluating(model), torch.no_grad():
        for image in images:
            features = encode(model, image, recipe)
            totals.append(_moments(features))
            maps.append(features.maps[at][0])
            height, width = maps[-1].shape[-2:]
            dark.append(darkness_on(image.pixels, (height, width)))
            shapes.append((image.pixels.shape[0], image.pixels.shape[1]))
        eigencam = fit_eigencam(maps, dark, seeds.foreground, seeds.components)
        ranks = [
            rank_map(_on_image(model, eigencam, values, at, shape, seeds))
            .half()
            .clone()
            for values, shape in zip(maps, shapes, strict=True)
        ]
        if model.head(PixelHead, "pixelcam").shift is not None:
            _standardize(model, totals)
    return SeededImages(images, ranks), eigencam


def _on_image(  # noqa: PLR0917 - what is read, and how
    model: Model,
    eigencam: EigenCam,
    values: Tensor,
    at: int,
    shape: tuple[int, int],
    seeds: SeedConfig,
) -> Tensor:
    """(H, W) what seeds are ranked by, from (C, h, w) features."""
    projected = eigencam.project(values)
    if seeds.partition:
        standard = (values - eigencam.mean.view(-1, 1, 1)) / eigencam.std.view(-1, 1, 1)
        side = normalised_cut(standard, projected)
        projected = projected / eigencam.spread + seeds.partition * side
    found = _resampled(model, projected, at, shape)
    if seeds.smooth:
        found = torch.from_numpy(ndimage.gaussian_filter(found.numpy(), seeds.smooth))
    return found


def _resampled(
    model: Model, projected: Tensor, at: int, shape: tuple[int, int]
) -> Tensor:
    """(H, W) of an (h, w) map of a tap."""
    if model.preprocessing.size is not None:  # the image was stretched to the input
        return functional.interpolate(projected[None, None], shape, mode="bilinear")[
            0, 0
        ]
    stride, offset = model.encoder.strides[at], model.encoder.offsets[at]
    return on_grid(projected, stride, shape, 1, offset=offset)


def encode(model: Model, image: TrainImage, recipe: Recipe) -> Features:
    """The features of one whole image, as at inference."""
    return model.encoder(whole(model, image.pixels, recipe.augment.style))


def whole(model: Model, pixels: Tensor, style: str) -> Tensor:
    """(1, C, H, W): one image, mirrored up to whole cells or at the model's size."""
    encoder, how = model.encoder, model.preprocessing
    if style == "pcam":
        pixels = torch.from_numpy(prepared(pixels.numpy(), how))
    x = pixels.permute(2, 0, 1).float()[None] / 255.0
    if how.size is not None:
        if x.shape[-2:] != (how.size, how.size):
            side = (how.size, how.size)
            x = functional.interpolate(x, side, mode="bilinear", antialias=True)
    else:
        down, right = -x.shape[2] % encoder.stride, -x.shape[3] % encoder.stride
        x = functional.pad(x, (0, right, 0, down), mode="reflect")
    return (x - planes(how.mean)) / planes(how.std)


def planes(values: tuple[float, ...]) -> Tensor:
    """(1, C, 1, 1): one value a channel."""
    return torch.tensor(values).view(1, -1, 1, 1)


def _moments(features: Features) -> tuple[Tensor, Tensor]:
    """(C,) mean and mean square over the cells of each map."""
    means = [item.double().mean((0, 2, 3)) for item in features.maps]
    squares = [item.double().square().mean((0, 2, 3)) for item in features.maps]
    return torch.cat(means), torch.cat(squares)


def _standardize(model: Model, totals: list[tuple[Tensor, Tensor]]) -> None:
    """Fixes a pixel head's shift and scale to the statistics of the training set."""
    head = model.head(PixelHead, "pixelcam")
    count = sum(head.channels)
    mean = torch.stack([item[0] for item in totals]).mean(0)[-count:]
    square = torch.stack([item[1] for item in totals]).mean(0)[-count:]
    std = (square - mean.square()).clamp_min(1e-8).sqrt()
    head.standardize_to(mean.float(), std.float())


def draw_labels(
    batch: Batch,
    recipe: Recipe,
    generator: torch.Generator,
    share: Share = ALONE,
) -> Tensor | None:
    """Labels of a few pixels of a batch, drawn afresh; None without a pixel head.

    Args:
        batch: with the maps of its crops.
        recipe: says how.
        generator: of the random choice.
        share: which part of the whole batch it is.

    Returns:
        (N, S, S) int64: 0 background, 1 foreground, ``IGNORE`` elsewhere.
    """
    seeds = recipe.seeds
    if seeds is None or batch.ranks is None:
        return None
    mine = share.of(len(batch.order))
    if seeds.seeder != "cam":
        return draw_seeds(
            batch.ranks, seeds, generator, first=mine.start, total=len(batch.order)
        )
    first = below(2**31, generator)
    is_normal = torch.zeros(len(batch.labels), dtype=torch.bool)
    if seeds.normal_class:
        at = recipe.data.classes.index(seeds.normal_class)
        is_normal = batch.labels[:, at] > 0
    # One generator an image: a part of a batch comes out as it does in the whole.
    return torch.cat(
        [
            draw_pseudo_labels(
                batch.ranks[place : place + 1],
                seeds.draw,
                torch.Generator().manual_seed(first + mine.start + place),
                is_normal[place : place + 1],
            )
            for place in range(len(batch.labels))
        ]
    )
