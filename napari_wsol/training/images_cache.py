"""The training images: decoded when they are needed, kept within a budget of bytes.

Decoding runs on threads of this process (the decoders release Python's lock), so there
are no worker processes that could be left behind or die unnoticed.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image
from typing_extensions import override

from napari_wsol.encoders import VectorEncoder
from napari_wsol.encoders.tiles import NEEDS_BAG
from napari_wsol.errors import ConfigError, ImageError, one_of_many
from napari_wsol.images.bags import is_bag, open_bag
from napari_wsol.images.cache import TileCache
from napari_wsol.images.preprocessing import prepare, read_whole, to_grey
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region, region_shape
from napari_wsol.images.tissue import coarse_tissue
from napari_wsol.inference.bags import check_bag
from napari_wsol.inference.encode import geometry
from napari_wsol.methods import Model
from napari_wsol.slides.large import is_large
from napari_wsol.slides.plan import cells_on
from napari_wsol.training.crops import ImageSequence, TrainImage

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.data.datasets import LabelledImages
    from napari_wsol.errors import Failed
    from napari_wsol.images.bags import Bag
    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.preprocessing import Preprocessing
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import Progress
    from napari_wsol.training.recipe import Recipe

MEGABYTE = 1_000_000
THREADS = min(8, os.cpu_count() or 1)
LARGER = 256 / 224
"""PixelCAM's images are this much larger than the crops of them."""


class TrainingImages(ImageSequence):
    """The images of a split at the size that they are cropped from.

    Args:
        data: the split.
        recipe: says what the network sees, and how much may be kept.

    Raises:
        ConfigError: crops do not have the size of the model's input.
    """

    def __init__(self, data: LabelledImages, recipe: Recipe) -> None:
        self.samples = data.samples
        self.labels = torch.tensor(
            [item.labels for item in data.samples], dtype=torch.float32
        )
        self._recipe = recipe
        with torch.device("meta"):
            self._model = Model(recipe.model)
        self._how = self._model.preprocessing
        size, crop = self._how.size, recipe.train.crop
        if size is not None and recipe.model.tile is None and crop != size:
            raise ConfigError(
                f"The model's input has {size} pixels: set crop to {size}, not {crop}."
            )
        self._cache = TileCache(recipe.data.cache_mb * MEGABYTE)

    def __len__(self) -> int:
        return len(self.samples)

    @override
    def at(self, index: int) -> TrainImage:
        path, label = self.samples[index].path, self.labels[index]
        if is_bag(path):
            draw = partial(self._vectors, index, open_bag(path))
        elif self._is_sampled(index):
            draw = partial(self._tiles, index)
        else:
            return TrainImage(torch.tensor(self.pixels(index)), label)
        return TrainImage(torch.empty(0), label, draw=draw)

    def _vectors(self, index: int, bag: Bag, generator: torch.Generator) -> Tensor:
        """(n, D) of a bag; what fits into the budget is read once, and whole."""
        most, places = self._recipe.train.tiles, None
        if 0 < most < len(bag):
            order = torch.randperm(len(bag), generator=generator)[:most]
            places = order.sort().values.numpy()
        if 4 * len(bag) * bag.width > self._recipe.data.cache_mb * MEGABYTE:
            found = bag.vectors(places)
        else:
            found = self._cache.get(index, cast("Any", bag.vectors))
            found = found if places is None else found[places]
        return torch.from_numpy(found.astype(np.float32))

    def _is_sampled(self, index: int) -> bool:
        """Whether an image is a slide, of which a step sees some tiles."""
        if self._recipe.model.tile is None or index in self._cache:
            return False
        item = self.samples[index]
        with closing(open_slide(item.path)) as slide:
            large = is_large(slide, self._model, self._recipe.data.mpp)
        if large and not self._recipe.train.tiles:
            raise ConfigError(
                f"“{item.id}” is too large to be learnt from whole: set tiles in "
                "[train], or freeze_encoder and features in [data]."
            )
        return large

    def _tiles(self, index: int, generator: torch.Generator) -> Tensor:
        """(C, n·S, S) in [0, 1]: tiles on a slide's tissue, one below another."""
        side = self._recipe.model.tile or 1
        with closing(open_slide(self.samples[index].path)) as slide:
            seen = geometry(slide, self._model, self._recipe.data.mpp)
            mask = self._cache.get(
                (index, "tissue"), lambda: coarse_tissue(slide).view(np.uint8)
            ).view(np.bool_)
            mask = mask if mask.any() else None  # glass alone: all of it
            found = np.argwhere(cells_on(mask, seen, side, slide.shape))
            order = torch.randperm(len(found), generator=generator)
            places = found[order[: self._recipe.train.tiles].numpy()] * side
            tiles = [
                read_region(slide, y, x, side, side, seen.downsample[0])
                for y, x in (places + seen.origin).tolist()
            ]
        pixels = _coloured(np.concatenate(tiles), self._how)
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255.0

    def check(self, model: Model) -> None:
        """Refuses, by an ImageError, bags of other networks, and images for bags.

        A model that reads vectors is from then on one of the network of these.
        """
        reads_vectors = isinstance(model.encoder, VectorEncoder)
        for item in self.samples:
            if is_bag(item.path):
                check_bag(model, bag := open_bag(item.path))
                if reads_vectors and not model.spec.extractor:
                    model.spec = replace(model.spec, extractor=bag.encoder or None)
            elif reads_vectors:
                raise ImageError(f"“{item.id}”: {NEEDS_BAG}")

    def pixels(self, index: int) -> Rgb:
        """(H, W, C) uint8 of one image, decoded if it is not kept.

        Raises:
            ImageError: it cannot be read; names it.
        """
        return self._cache.get(index, lambda: self._decode(index))

    def _decode(self, index: int) -> Rgb:
        slide = open_slide(self.samples[index].path)
        try:
            return _base(slide, self._recipe, self._how)
        finally:
            slide.close()

    def warm(self, report: Progress) -> dict[int, str]:
        """Decodes every image once, several at a time: a damaged one shows now.

        Returns:
            Why an image cannot be used, by its place.
        """
        bad: dict[int, str] = {}

        def touch(index: int) -> None:
            with one_of_many(partial(bad.__setitem__, index)):
                self.at(index)

        pool = ThreadPoolExecutor(THREADS, "decode")
        try:
            for done, _ in enumerate(pool.map(touch, range(len(self)))):
                report(done, len(self), "reading images")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return bad


def load_training_images(
    data: LabelledImages,
    recipe: Recipe,
    report: Progress,
    failed: Failed | None = None,
) -> TrainingImages:
    """The images at the size that the network sees, as many in memory as may be.

    Args:
        data: the split.
        recipe: says what the network sees.
        report: called with (done, total, what is being done).
        failed: called with each image that cannot be used, which is left out; without
            it, none may be.

    Raises:
        ImageError: an image cannot be read and may not be left out, or none can be.
        ConfigError: the crops do not fit the model.
    """
    images = TrainingImages(data, recipe)
    bad = images.warm(report)
    if bad and (failed is None or len(bad) == len(images)):
        images.at(min(bad))  # its error is that of all
        raise ImageError(bad[min(bad)])
    if not bad or failed is None:
        return images
    for place, reason in sorted(bad.items()):
        failed(data.samples[place].id, reason)
    kept = (item for at, item in enumerate(data.samples) if at not in bad)
    return TrainingImages(replace(data, samples=tuple(kept)), recipe)


def downsample_of(slide: Slide, recipe: Recipe) -> float:
    """Level-0 pixels a pixel of the network's input, for models of any size."""
    if recipe.model.mpp is None:
        return 1.0
    native = slide.mpp or recipe.data.mpp or recipe.model.native_mpp
    return recipe.model.mpp / (native or recipe.model.mpp)


def _base(slide: Slide, recipe: Recipe, how: Preprocessing) -> Rgb:
    """What an image is cropped from, (H, W, C) uint8."""
    if how.size is None:
        downsample = downsample_of(slide, recipe)
        height, width = region_shape(slide.shape, downsample)
        return _coloured(
            np.array(read_region(slide, 0, 0, height, width, downsample)), how
        )
    pixels = read_whole(slide, how)
    if recipe.augment.style == "pcam":
        return np.array(pixels)  # turned first, then equalised and resized
    if recipe.augment.style == "pixelcam":
        side = round(how.size * LARGER)
        resized = Image.fromarray(np.ascontiguousarray(pixels)).resize(
            (side, side), Image.Resampling.BILINEAR
        )
        return _coloured(np.array(resized), how)
    return prepared(pixels, how)


def prepared(pixels: Rgb, how: Preprocessing) -> Rgb:
    """(size, size, C) uint8: all of the preprocessing but its last step."""
    planes = prepare(pixels, how).transpose(1, 2, 0)
    levels = (planes * np.array(how.std) + np.array(how.mean)) * 255.0
    return np.rint(levels).clip(0, 255).astype(np.uint8)


def _coloured(pixels: Rgb, how: Preprocessing) -> Rgb:
    if not how.is_grey:
        return pixels
    return np.repeat(to_grey(pixels)[..., None], how.channels, axis=-1)
