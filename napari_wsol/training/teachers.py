"""Maps of a finished model of the training images: what another one learns from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage

from napari_wsol.errors import ConfigError
from napari_wsol.images.preprocessing import read_whole
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import unavailable
from napari_wsol.training.seeds import rank_map

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.data.datasets import Sample
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model
    from napari_wsol.training.config import SeedConfig
    from napari_wsol.training.images_cache import TrainingImages
    from napari_wsol.training.recipe import Recipe

FLIPS: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (0, 1))
"""Axes that an image is mirrored along before the teacher sees it."""


def teacher_maps(
    teacher: Model,
    images: TrainingImages,
    recipe: Recipe,
    report: Progress,
) -> list[Heatmap | Tensor]:
    """What seeds are drawn from, one an image, in memory.

    Args:
        teacher: a finished model.
        images: the training images.
        recipe: its seeder is "cam" or "self".
        report: called with (done, total, what is being done).

    Returns:
        Of "cam": heatmaps of each image's true class, at feature resolution, min–max
        normalised. Of "self": (H, W) float16 ranks of the teacher's probability.

    Raises:
        ConfigError: the recipe reads no teacher, or this one lacks the map or class.
        ImageError: an image cannot be read.
    """
    seeds = recipe.seeds
    if seeds is None or seeds.seeder == "eigencam":
        raise ConfigError("This recipe's seeds do not come from a finished model.")
    method = seeds.method if seeds.seeder == "cam" else "pixelcam"
    reason = unavailable(teacher, method)
    if reason is not None:
        raise ConfigError(f"“{seeds.model}” cannot give seeds by {method}: {reason}")
    missing = [name for name in recipe.data.classes if name not in teacher.classes]
    if missing and seeds.seeder == "cam":
        raise ConfigError(
            f"“{seeds.model}” knows no class “{missing[0]}”, so it has no map of it; "
            f"its classes are {', '.join(teacher.classes)}."
        )
    found: list[Heatmap | Tensor] = []
    for done, sample in enumerate(images.samples):
        report(done, len(images), f"maps of {seeds.model}")
        if seeds.seeder == "cam":
            found.append(_cam(teacher, sample, recipe, method))
        else:
            shape = images.pixels(done).shape
            found.append(_ranks(teacher, sample, recipe, seeds, shape[:2]))
    return found


def _cam(teacher: Model, sample: Sample, recipe: Recipe, method: str) -> Heatmap:
    name = recipe.data.classes[sample.labels.index(1)]
    result = localize(teacher, sample.path, [method], target=name, mpp=recipe.data.mpp)
    return min_max(result.heatmaps[method])


def min_max(heatmap: Heatmap) -> Heatmap:
    """A map from 0 to 1; one that is the same everywhere stays and gives no seeds."""
    low, high = float(heatmap.values.min()), float(heatmap.values.max())
    if high <= low:
        return heatmap
    return replace(heatmap, values=(heatmap.values - low) / np.float32(high - low))


def _ranks(
    teacher: Model,
    sample: Sample,
    recipe: Recipe,
    seeds: SeedConfig,
    shape: tuple[int, int],
) -> Tensor:
    """(H, W) float16: the ranks of a mean over flips, smoothed."""
    slide = open_slide(sample.path)
    pixels = read_whole(slide, teacher.preprocessing)
    # Of a level below the first, each pixel stands for several.
    mpp = slide.mpp or recipe.data.mpp
    if mpp is not None:
        mpp *= slide.shape[0] / pixels.shape[0]
    slide.close()
    target = teacher.classes[0]  # the map is the same for every class
    total = np.zeros(shape, np.float32)
    for axes in FLIPS:
        view = np.ascontiguousarray(np.flip(pixels, axes))
        result = localize(teacher, view, ["pixelcam"], target=target, mpp=mpp)
        total += np.flip(result.heatmaps["pixelcam"].resized(shape), axes)
    sigma = seeds.smooth
    if recipe.augment.style == "pcam":  # whose images are only then brought to size
        sigma *= max(shape) / recipe.train.crop
    return rank_map(torch.from_numpy(smooth(total, sigma))).half()


def smooth(values: npt.NDArray[np.float32], sigma: float) -> npt.NDArray[np.float32]:
    """A Gaussian of that standard deviation in pixels; 0 leaves values as they are."""
    if not sigma:
        return values
    return np.asarray(
        ndimage.gaussian_filter(values, sigma, mode="nearest"), np.float32
    )
