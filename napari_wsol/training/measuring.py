"""How good a model is on the splits that a recipe names: for its card, and to select.

Masks are opened here, and only those of these splits; training never sees them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.data.datasets import load_images
from napari_wsol.data.published import named_split
from napari_wsol.errors import DatasetError, ignore_failure, one_of_many
from napari_wsol.evaluation.bootstrap import Bootstrap
from napari_wsol.evaluation.classification import ClassificationMeter
from napari_wsol.evaluation.pixels import PxapMeter, iou
from napari_wsol.evaluation.scores import squash
from napari_wsol.evaluation.truth import load_truth
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import own_methods
from napari_wsol.training.bags import as_bags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_wsol.data.datasets import LabelledImages, Sample
    from napari_wsol.errors import Failed
    from napari_wsol.evaluation.references import Reference
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model
    from napari_wsol.training.recipe import Recipe

GRID = (224, 224)
"""Masks are squashed to it before pixels are pooled, as the field does."""

LEAST = 1e-7
"""Probabilities below it cost as much as it: float32 cannot tell 1 - p from 1 there."""


def split_images(recipe: Recipe, data: Path, folder: str) -> LabelledImages:
    """One of the splits that a recipe names, with its image-level labels."""
    return load_images(
        *named_split(data, folder),
        classes=recipe.data.classes,
        multi_label=recipe.model.multi_label,
        features=recipe.data.bags_in(data),
    )


def methods_of(model: Model, recipe: Recipe) -> tuple[str, ...]:
    """The methods that a model was made for, in the order of its heads."""
    own, heads = own_methods(model), [*recipe.model.heads]
    return tuple(sorted(own, key=[*heads, *own].index))


def evaluate(
    model: Model,
    recipe: Recipe,
    data: Path,
    say: Progress,
    failed: Failed = ignore_failure,
) -> dict[str, float]:
    """What weights are selected by, in percent.

    Returns:
        "localization": PxAP of the last head on the masks of that split.
        "classification": accuracy on that split, or, of several labels an image, the
        mean area under the ROC curves of the classes. "loss": on that split too, the
        mean cross-entropy, no percentage. Those that the recipe has splits for.

    Raises:
        DatasetError: a split has not what is measured on it.
    """
    values: dict[str, float] = {}
    multi = recipe.model.multi_label
    if recipe.data.localization:
        last = methods_of(model, recipe)[-1:]
        seen = _Measured(last, multi_label=multi, failed=failed)
        seen.add_split(model, recipe, data, recipe.data.localization, say)
        values["localization"] = seen.needed_pxap(recipe.data.localization)
    if recipe.data.classification:
        seen = _Measured((), multi_label=multi, failed=failed)
        seen.add_split(model, recipe, data, recipe.data.classification, say)
        values["classification"] = _classification(seen)
        values["loss"] = mean_loss(seen.scores, seen.labels, multi_label=multi)
    return values


def score_of(values: Mapping[str, float], select: str) -> float | None:
    """What weights are selected by, higher for better; None where the last are."""
    value = values.get(select)
    return -value if select == "loss" and value is not None else value


def mean_loss(
    scores: Sequence[Sequence[float]],
    labels: Sequence[Sequence[int]],
    *,
    multi_label: bool,
) -> float:
    """The mean cross-entropy of image-level probabilities.

    Args:
        scores: (N, K) in [0, 1].
        labels: (N, K) of 0 and 1.
        multi_label: binary cross-entropy, the mean over images and classes; otherwise
            that of the only class of each image.
    """
    p, truth = np.array(scores, np.float64), np.array(labels, bool)
    of_truth = np.where(truth, p, 1 - p) if multi_label else p[truth]
    return float(-np.log(of_truth.clip(LEAST)).mean())


def measure(
    model: Model,
    recipe: Recipe,
    data: Path,
    say: Progress,
    failed: Failed = ignore_failure,
) -> dict[str, object]:
    """Accuracy, and PxAP and IoU of every method on the validation masks.

    Maps are of the image's true class, as in the published evaluations. For a model of
    two classes that has no cut between them yet "cut" is that of :func:`best_cut` on
    these images, with which the accuracy is then told.
    """
    methods, multi = methods_of(model, recipe), recipe.model.multi_label
    seen = _Measured(methods, multi_label=multi, failed=failed)
    for folder in recipe.data.validation:
        seen.add_split(model, recipe, data, folder, say)
    if not seen.labels:
        return {}
    found: dict[str, object] = {
        "measured_on": f"{len(seen.labels)} images of "
        f"{', '.join(recipe.data.validation)}"
    }
    if seen.scores:
        found |= {key: round(value, 1) for key, value in seen.figures().items()}
        found |= _of_cut(model, seen)
    found["pxap_percent"] = {
        name: round(meter.value(), 1)
        for name, meter in seen.meters.items()
        if seen.overlaps[name]
    }
    found["mean_iou_at_0.5"] = {
        name: round(float(np.mean(values)), 3)
        for name, values in seen.overlaps.items()
        if values
    }
    return found


def best_cut(scores: Sequence[float], labels: Sequence[int]) -> float | None:
    """Where to cut the probability of a class so that images are told best.

    The middle, in log odds, of the widest gap between two images among those where the
    mean of sensitivity and specificity is best: no image's own value decides.

    Args:
        scores: (N,) in [0, 1], the probability of the second of two classes.
        labels: (N,) of 0 and 1.

    Returns:
        The cut in (0, 1); None where there are no images of both, or no gap.
    """
    p = np.asarray(scores, np.float64).clip(LEAST, 1 - LEAST)
    truth = np.asarray(labels) > 0
    values = np.unique(np.log(p / (1 - p)))
    if truth.all() or not truth.any() or len(values) < 2:
        return None
    odds, middles = np.log(p / (1 - p)), (values[1:] + values[:-1]) / 2
    above = odds[:, None] > middles[None, :]
    balanced = above[truth].mean(0) + (~above[~truth]).mean(0)
    best = np.flatnonzero(balanced >= balanced.max() - 1e-9)
    middle = middles[best[np.argmax(np.diff(values)[best])]]
    return round(float(1 / (1 + np.exp(-middle))), 9)


def _of_cut(model: Model, seen: _Measured) -> dict[str, object]:
    """The cut for a model that has none, and the accuracy with and without it."""
    spec = model.spec
    if spec.multi_label or len(spec.classes) != 2 or spec.cut is not None:
        return {}
    second = [scores[1] for scores in seen.scores]
    labels = [truth.index(1) for truth in seen.labels]
    cut = best_cut(second, labels)
    if cut is None:
        return {}
    right = np.equal(np.array(second) >= cut, labels)
    return {
        "cut": cut,
        "accuracy_percent": round(100 * float(right.mean()), 1),
        "accuracy_percent_at_one_half": round(_classification(seen), 1),
    }


class _Measured:
    """What was seen of a model so far; grows by a few numbers an image.

    Masks are opened only where maps of methods are compared with them.
    """

    def __init__(
        self, methods: Sequence[str], *, multi_label: bool, failed: Failed
    ) -> None:
        self.multi_label, self._failed = multi_label, failed
        self.meters = {name: PxapMeter() for name in methods}
        self.overlaps: dict[str, list[float]] = {name: [] for name in methods}
        self.scores: list[list[float]] = []
        self.labels: list[tuple[int, ...]] = []
        self._groups: list[str] = []

    def add_split(
        self, model: Model, recipe: Recipe, data: Path, folder: str, say: Progress
    ) -> None:
        """Runs the model on the images of a split."""
        images = split_images(recipe, data, folder)
        masks: dict[str, Reference] = {}
        if self.meters:
            ids = [sample.id for sample in images.samples]
            masks = load_truth(*named_split(data, folder), ids).masks
        with as_bags(images.samples, model, recipe, data, say, self._failed) as samples:
            for done, sample in enumerate(samples):
                say(done, len(samples), f"measuring on {folder}")
                with one_of_many(partial(self._failed, sample.id)):
                    self._add(model, recipe, sample, masks.get(sample.id))

    def _add(
        self, model: Model, recipe: Recipe, sample: Sample, reference: Reference | None
    ) -> None:
        is_single = sum(sample.labels) == 1
        truth = model.classes[sample.labels.index(1)] if is_single else None
        found = localize(
            model,
            sample.path,
            list(self.meters) or list(methods_of(model, recipe))[:1],
            target=truth,
            mpp=recipe.data.mpp,
        )
        if truth is not None and reference is not None:
            self._add_maps(found, reference)
        # At the end: an image whose mask is damaged counts nowhere.
        self.labels.append(sample.labels)
        if found.scores:
            self.scores.append(list(found.scores.values()))
            self._groups.append(sample.group)

    def figures(self) -> dict[str, float]:
        """Accuracy and areas under ROC curves, in percent; those that there are."""
        names = [str(place) for place in range(len(self.labels[0]))]
        meter = ClassificationMeter(names, multi_label=self.multi_label)
        for row in zip(self.scores, self.labels, self._groups, strict=True):
            meter.update(*row)
        found = meter.value(Bootstrap(samples=0))
        areas = (found.macro_auc, found.group_macro_auc)
        every = (found.accuracy, *(one and one.times(100) for one in areas))
        names = ("accuracy_percent", "auc_percent", "auc_percent_by_patient")
        return {name: x.value for name, x in zip(names, every, strict=True) if x}

    def _add_maps(self, found: Localization, reference: Reference) -> None:
        mask, ignored = squash(reference.mask(), GRID), reference.ignore()
        ignore = None if ignored is None else squash(ignored, GRID)
        maps = {name: found.heatmaps[name].resized(GRID) for name in self.meters}
        for name, values in maps.items():
            self.meters[name].update(values, mask, ignore)
            cut = found.heatmaps[name].cut(0.5)
            self.overlaps[name].append(iou(values >= cut, mask))

    def needed_pxap(self, folder: str) -> float:
        """PxAP of the only method."""
        ((name, meter),) = self.meters.items()
        if not self.overlaps[name]:
            raise DatasetError(
                f"No image of “{folder}” has one class and a mask, so weights cannot "
                "be selected by localization on it."
            )
        return meter.value()


def _classification(seen: _Measured) -> float:
    """Accuracy, or mean AUC where images may have several labels, in percent."""
    if not seen.scores:
        raise DatasetError("A model without a classifier cannot be selected by it.")
    found = seen.figures().get(
        "auc_percent" if seen.multi_label else "accuracy_percent"
    )
    if found is None:
        raise DatasetError("No class has images both with and without it.")
    return found
