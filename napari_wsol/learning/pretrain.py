"""Training from image-level labels: a generator that a job or a command consumes.

Every head learns jointly on one encoder: the linear classifier by cross-entropy (for
several labels an image, binary cross-entropy), PCAM's by binary cross-entropy of its
pooled logits, the pixel head by a partial cross-entropy on seeds drawn afresh at every
step. The random numbers of step n depend on the seed and n alone, so that a training
that is resumed goes on exactly as it would have.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from napari_wsol.encoders import on_grid
from napari_wsol.errors import ModelError
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region, region_shape
from napari_wsol.learning.crops import TrainImage, draw_batch
from napari_wsol.learning.geometry import measure_offsets
from napari_wsol.learning.losses import partial_cross_entropy
from napari_wsol.learning.seeds import (
    darkness_on,
    draw_seeds,
    fit_eigencam,
    rank_map,
)
from napari_wsol.methods import Model, evaluating
from napari_wsol.methods.pixelcam import PixelHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.learning.crops import Batch
    from napari_wsol.learning.datasets import LabelledImages
    from napari_wsol.learning.recipe import Recipe
    from napari_wsol.learning.seeds import (
        EigenCam,
    )

PROBED = 8
"""Training images on which the geometry of the features is measured."""

FORMAT = 1
"""Version of the checkpoint file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainStep:
    """Progress of a training.

    Attributes:
        step: batches done.
        steps: batches in all.
        losses: each part of the loss on this batch, by head.
        accuracy: share of this batch that the image classifier gets right.
    """

    step: int
    steps: int
    losses: dict[str, float]
    accuracy: float


def load_training_images(
    data: LabelledImages, recipe: Recipe, report: Callable[[int, int, str], None]
) -> list[TrainImage]:
    """All images at the size that the network sees, in memory.

    Raises:
        ImageError: an image cannot be read; names it.
    """
    images: list[TrainImage] = []
    for done, sample in enumerate(data.samples):
        report(done, len(data.samples), "reading images")
        slide = open_slide(sample.path)
        downsample = 1.0
        if recipe.model.mpp is not None:
            native = slide.mpp or recipe.data.mpp or recipe.model.native_mpp
            downsample = recipe.model.mpp / (native or recipe.model.mpp)
        height, width = region_shape(slide.shape, downsample)
        pixels = read_region(slide, 0, 0, height, width, downsample)
        slide.close()
        label = torch.tensor(sample.labels, dtype=torch.float32)
        images.append(TrainImage(torch.from_numpy(np.array(pixels)), label))
    return images


class Trainer:
    """A training that can be stepped, saved and resumed.

    Args:
        recipe: what to train and how.
        images: from :func:`load_training_images`.
        init: state dict whose encoder entries are the initial weights; random ones
            from the recipe's seed without it.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: list[TrainImage],
        init: dict[str, Tensor] | None = None,
    ) -> None:
        self.recipe = recipe
        self.config = recipe.train
        torch.manual_seed(self.config.seed)
        self.model = Model(recipe.model)
        if init is not None:
            load_encoder(self.model, init)
        if recipe.model.offsets is None:
            self._measure_offsets(images)
        self.step = 0
        self.eigencam: EigenCam | None = None
        self.images = images
        if recipe.seeds is not None:
            self.images, self.eigencam = self._seed(images)
        self.average = {
            key: value.detach().clone()
            for key, value in self.model.state_dict().items()
        }
        encoder = list(self.model.encoder.parameters())
        heads = list(self.model.heads.parameters())
        self.optimizer = torch.optim.AdamW(
            [
                {"params": encoder, "peak": self.config.learning_rate},
                {"params": heads, "peak": self.config.head_learning_rate},
            ],
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )

    def _measure_offsets(self, images: list[TrainImage]) -> None:
        """Finds where the cells look under these weights, and writes it into the spec.

        Trained kernels may lean to one side of their receptive field, so the padding
        alone does not tell.
        """
        some = [_whole(self.model, item.pixels) for item in images[:PROBED]]
        offsets = measure_offsets(self.model.encoder, some, seed=self.config.seed)
        self.model.encoder.offsets = offsets
        self.model.spec = replace(self.model.spec, offsets=offsets)

    def _seed(self, images: list[TrainImage]) -> tuple[list[TrainImage], EigenCam]:
        """Fits the seeder with the initial encoder and ranks every image's pixels."""
        seeds = self.recipe.seeds
        if seeds is None or seeds.tap not in self.model.encoder.taps:
            raise ModelError(
                f"The seeder reads the tap {seeds.tap if seeds else '?'}, which the "
                f"model does not give; its taps are {self.model.encoder.taps}."
            )
        at = self.model.encoder.taps.index(seeds.tap)
        stride = self.model.encoder.strides[at]
        offset = self.model.encoder.offsets[at]
        maps: list[Tensor] = []
        dark: list[Tensor] = []
        totals: list[tuple[Tensor, Tensor]] = []
        with evaluating(self.model), torch.no_grad():
            for image in images:
                features = self.model.encoder(_whole(self.model, image.pixels))
                totals.append(_moments(features))
                maps.append(features.maps[at][0])
                height, width = maps[-1].shape[-2:]
                dark.append(darkness_on(image.pixels, (height, width)))
            eigencam = fit_eigencam(maps, dark, seeds.foreground)
            ranked: list[TrainImage] = []
            for image, values in zip(images, maps, strict=True):
                shape = (image.pixels.shape[0], image.pixels.shape[1])
                projected = on_grid(
                    eigencam.project(values), stride, shape, 1, offset=offset
                )
                ranked.append(replace(image, ranks=rank_map(projected).half().clone()))
            head = self.model.head(PixelHead, "pixelcam")
            if head.shift is not None:
                _standardize(head, totals)
        return ranked, eigencam

    def run(self) -> Iterator[TrainStep]:
        """The remaining steps."""
        self.model.train()
        while self.step < self.config.steps:
            yield self._one_step()

    def _one_step(self) -> TrainStep:
        generator = torch.Generator().manual_seed(
            self.config.seed * 1_000_003 + self.step
        )
        batch = draw_batch(
            self.images,
            size=self.config.batch,
            crop=self.config.crop,
            jitter=self.config.jitter,
            generator=generator,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self._schedule()
        losses, accuracy = self._losses(batch, generator)
        self.optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        values = {key: float(value.detach()) for key, value in losses.items()}
        return TrainStep(
            step=self.step, steps=self.config.steps, losses=values, accuracy=accuracy
        )

    def _schedule(self) -> float:
        """Linear warm-up, then a cosine down to a tenth."""
        if self.step < self.config.warmup:
            return (self.step + 1) / self.config.warmup
        span = max(1, self.config.steps - self.config.warmup)
        turn = np.cos(np.pi * (self.step - self.config.warmup) / span)
        return float(0.55 + 0.45 * turn)

    def _losses(
        self, batch: Batch, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], float]:
        encoder = self.model.encoder
        features: Features = encoder(
            (batch.pixels - _planes(encoder.mean)) / _planes(encoder.std)
        )
        losses: dict[str, Tensor] = {}
        for name in ("cam", "pcam"):
            if name in self.model.heads:
                logits = self.model.heads[name](features)
                losses[name] = self._image_loss(name, logits, batch.labels)
        seeds = self.recipe.seeds
        if "pixelcam" in self.model.heads and seeds is not None:
            head = self.model.head(PixelHead, "pixelcam")
            ranks = cast("Tensor", batch.ranks)
            shape = (ranks.shape[-2], ranks.shape[-1])
            pixel_logits = on_grid(
                head(features), head.read(features).strides[0], shape, 1
            )
            labels = draw_seeds(ranks, seeds, generator)
            losses["pixelcam"] = partial_cross_entropy(
                pixel_logits.movedim(1, -1), labels
            )
        with torch.no_grad():
            guess = self.model.probabilities(features).argmax(1)
            accuracy = float((guess == batch.labels.argmax(1)).float().mean())
        return losses, accuracy

    def _image_loss(self, name: str, logits: Tensor, labels: Tensor) -> Tensor:
        if name == "cam" and not self.recipe.model.multi_label:
            return functional.cross_entropy(logits, labels.argmax(1))
        return functional.binary_cross_entropy_with_logits(logits, labels)

    def _update_average(self) -> None:
        # Early on the average follows quickly, or it would remember random heads.
        decay = min(self.config.average, self.step / (self.step + 10))
        with torch.no_grad():
            for key, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.average[key].lerp_(value, 1 - decay)
                else:
                    self.average[key].copy_(value)

    def finished_model(self) -> Model:
        """A model with the averaged weights."""
        result = Model(self.model.spec)
        result.load_state_dict(self.average)
        return result.eval()

    def save(self, path: Path) -> None:
        """Writes a checkpoint, all or nothing."""
        state = {
            "format": FORMAT,
            "recipe": self.recipe.text,
            "step": self.step,
            "offsets": self.model.encoder.offsets,
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        draft = path.with_name(f".{path.name}.part")
        with draft.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def load(self, path: Path) -> None:
        """Goes on from a checkpoint.

        Raises:
            ModelError: it is damaged, or of another recipe.
        """
        try:
            state = torch.load(path, weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise ModelError(
                f"The checkpoint {path} cannot be read ({error}). "
                "Start again without --resume."
            ) from error
        if state.get("format") != FORMAT or state.get("recipe") != self.recipe.text:
            raise ModelError(
                f"The checkpoint {path} belongs to another recipe or version. "
                "Start again without --resume, in another folder."
            )
        self.step = state["step"]
        self.model.encoder.offsets = state["offsets"]
        self.model.spec = replace(self.model.spec, offsets=state["offsets"])
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])


def load_encoder(model: Model, state: dict[str, Tensor]) -> None:
    """Puts initial weights into the encoder; other entries of the file are ignored.

    Raises:
        ModelError: an entry that the encoder needs is missing or of another shape.
    """
    wanted = model.encoder.state_dict()
    # A file may hold a bare encoder or a whole model of ours.
    found = {
        key: state[key] if key in state else state[f"encoder.{key}"]
        for key in wanted
        if key in state or f"encoder.{key}" in state
    }
    missing = sorted(set(wanted) - set(found))
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    wrong = [key for key in found if found[key].shape != wanted[key].shape]
    if missing or wrong:
        raise ModelError(
            f"These weights are not those of {model.spec.encoder}: "
            f"{(missing + wrong)[0]} is missing or has another shape."
        )
    model.encoder.load_state_dict(found, strict=False)


def _planes(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def _whole(model: Model, pixels: Tensor) -> Tensor:
    """One image, mirrored up to whole cells as at inference."""
    encoder = model.encoder
    x = pixels.permute(2, 0, 1).float()[None] / 255.0
    down, right = -x.shape[2] % encoder.stride, -x.shape[3] % encoder.stride
    x = functional.pad(x, (0, right, 0, down), mode="reflect")
    return (x - _planes(encoder.mean)) / _planes(encoder.std)


def _moments(features: Features) -> tuple[Tensor, Tensor]:
    """(C,) mean and mean square over the cells of each map."""
    means = [item.double().mean((0, 2, 3)) for item in features.maps]
    squares = [item.double().square().mean((0, 2, 3)) for item in features.maps]
    return torch.cat(means), torch.cat(squares)


def _standardize(head: PixelHead, totals: list[tuple[Tensor, Tensor]]) -> None:
    """Fixes a pixel head's shift and scale to the statistics of the training set."""
    mean = torch.stack([item[0] for item in totals]).mean(0)
    square = torch.stack([item[1] for item in totals]).mean(0)
    std = (square - mean.square()).clamp_min(1e-8).sqrt()
    head.standardize_to(mean.float(), std.float())
