"""From a recipe and images to a model folder, with checkpoints on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_wsol.checkpoints import read_state
from napari_wsol.checkpoints.torchvision import modern_names
from napari_wsol.errors import ConfigError, ExportError
from napari_wsol.evaluation import accuracy
from napari_wsol.evaluation.pixels import PxapMeter, iou
from napari_wsol.evaluation.references import load_references
from napari_wsol.inference import localize
from napari_wsol.learning.datasets import load_images
from napari_wsol.learning.pretrain import Trainer, load_training_images
from napari_wsol.methods.card import Card
from napari_wsol.zoo import save_model

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from napari_wsol.learning.pretrain import TrainStep
    from napari_wsol.learning.recipe import Recipe
    from napari_wsol.methods import Model

CHECKPOINT, LOG = "checkpoint.pt", "metrics.jsonl"
MEASURED_SIDE = 224
"""Masks are squashed to this side before pixels are pooled, as the field does."""

Say = Callable[[int, int, str], None]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Initial weights from safetensors or a torch file, without running its code.

    Raises:
        ModelError: it is neither, or holds no weights.
    """
    return modern_names(read_state(path))


def train(
    recipe: Recipe,
    data: Path,
    out: Path,
    *,
    init: Path | None = None,
    resume: bool = False,
    say: Say,
    step: Callable[[TrainStep], None],
) -> Card:
    """Trains a model and writes its folder into ``out``.

    Stopped half-way (KeyboardInterrupt or any error in a callback), a checkpoint is
    left from which ``resume`` goes on to the same weights.

    Args:
        recipe: what and how.
        data: folder that the recipe's paths start from.
        out: made if it is not there.
        init: initial weights of the encoder.
        resume: whether to go on from the checkpoint in ``out``.
        say: called with (done, total, what is being done).
        step: called after every step.

    Raises:
        ConfigError: ``out`` holds another training and ``resume`` was not asked for.
        DatasetError, ImageError, ModelError: what cannot be read.
        ExportError: what cannot be written.
    """
    checkpoint = out / CHECKPOINT
    _prepare(out, recipe, resume=resume)
    images = load_images(data / recipe.data.train, classes=recipe.data.classes)
    loaded = load_training_images(images, recipe, say)
    say(0, 0, "choosing seeds")
    trainer = Trainer(recipe, loaded, read_weights(init) if init is not None else None)
    if resume:
        trainer.load(checkpoint)
    try:
        with (out / LOG).open("a", encoding="utf-8") as log:
            for progress in trainer.run():
                log.write(json.dumps(asdict(progress)) + "\n")
                if progress.step % recipe.train.checkpoint_every == 0:
                    trainer.save(checkpoint)
                step(progress)
    except BaseException:
        trainer.save(checkpoint)
        raise
    trainer.save(checkpoint)
    model = trainer.finished_model()
    metrics = measure(model, recipe, data, say)
    metrics["eigencam_explained_variance"] = round(
        trainer.eigencam.explained if trainer.eigencam is not None else 0.0, 4
    )
    return save_model(model, card_of(recipe, metrics), out, recipe=recipe.text)


def _prepare(out: Path, recipe: Recipe, *, resume: bool) -> None:
    if (out / recipe.name).exists():
        raise ConfigError(
            f"{out / recipe.name} holds a finished model. Choose another --out."
        )
    if resume and not (out / CHECKPOINT).is_file():
        raise ConfigError(f"There is no {CHECKPOINT} in {out} to resume from.")
    if not resume and (out / CHECKPOINT).exists():
        raise ConfigError(
            f"{out} holds an unfinished training. Add --resume to go on with it, "
            "or choose another --out."
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{out} cannot be made: {error}.") from error


def card_of(recipe: Recipe, metrics: dict[str, object]) -> Card:
    """The card: what a person wrote in the recipe, and what was measured."""
    words = {
        key: tuple(cast("list[object]", value)) if isinstance(value, list) else value
        for key, value in recipe.card.items()
    }
    words.setdefault("title", recipe.name)
    words.setdefault("summary", "")
    try:
        return Card(
            name=recipe.name,
            spec=recipe.model,
            methods=recipe.model.heads,
            primary=recipe.model.heads[-1],
            metrics=metrics,
            **words,  # type: ignore[arg-type]
        )
    except TypeError as error:
        raise ConfigError(f"The recipe's [card] has a wrong entry: {error}.") from error


def measure(model: Model, recipe: Recipe, data: Path, say: Say) -> dict[str, object]:
    """Accuracy, and PxAP and IoU of every method on the validation masks.

    Maps are of the image's true class, as in the published evaluations.
    """
    meters = {name: PxapMeter() for name in model.heads}
    overlaps: dict[str, list[float]] = {name: [] for name in model.heads}
    scores: list[list[float]] = []
    labels: list[int] = []
    for folder in recipe.data.validation:
        images = load_images(data / folder, classes=recipe.data.classes)
        masks = {item.id: item for item in load_references(data / folder)}
        for done, sample in enumerate(images.samples):
            say(done, len(images.samples), f"measuring on {folder}")
            truth = sample.labels.index(1)
            found = localize(
                model, sample.path, target=model.classes[truth], mpp=recipe.data.mpp
            )
            scores.append(list(found.scores.values()))
            labels.append(truth)
            if sample.id not in masks:
                continue
            mask = _squash(masks[sample.id].mask())
            for name, heatmap in found.heatmaps.items():
                values = heatmap.resized((MEASURED_SIDE, MEASURED_SIDE))
                meters[name].update(values, mask)
                overlaps[name].append(iou(values >= 0.5, mask))
    if not labels:
        return {}
    return {
        "measured_on": f"{len(labels)} images of {', '.join(recipe.data.validation)}",
        "accuracy_percent": round(accuracy(np.array(scores), np.array(labels)), 1),
        "pxap_percent": {
            name: round(meter.value(), 1)
            for name, meter in meters.items()
            if overlaps[name]
        },
        "mean_iou_at_0.5": {
            name: round(float(np.mean(values)), 3)
            for name, values in overlaps.items()
            if values
        },
    }


def _squash(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool → (224, 224) bool, nearest neighbour."""
    rows = ((np.arange(MEASURED_SIDE) + 0.5) * mask.shape[0] / MEASURED_SIDE).astype(
        int
    )
    columns = ((np.arange(MEASURED_SIDE) + 0.5) * mask.shape[1] / MEASURED_SIDE).astype(
        int
    )
    return mask[np.ix_(rows, columns)]
