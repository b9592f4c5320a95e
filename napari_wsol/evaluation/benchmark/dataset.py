"""Images that are measured, their classes, and what maps are compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_wsol.data.datasets import load_images
from napari_wsol.errors import DatasetError
from napari_wsol.evaluation.truth import Truth, load_truth

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsol.data.datasets import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """Images with their references, from one split or several.

    Attributes:
        data: name of the data set's folder.
        splits: names, where some were chosen.
        samples: the images, in the order listed.
        truth: masks or boxes; opened only when they are compared with.
        multi_label: whether an image may have none or several of the classes.
    """

    data: str
    splits: tuple[str, ...]
    samples: tuple[Sample, ...]
    truth: Truth
    multi_label: bool

    def only(self, samples: Sequence[Sample]) -> EvaluationSet:
        """Some of the images, with their references."""
        ids = {sample.id for sample in samples}
        masks, boxes = self.truth.masks, self.truth.boxes
        truth = replace(
            self.truth,
            masks={name: item for name, item in masks.items() if name in ids},
            boxes={name: items for name, items in boxes.items() if name in ids},
        )
        return replace(self, samples=tuple(samples), truth=truth)


def load_evaluation_set(
    data: Path,
    places: Sequence[tuple[Path, str | None]],
    *,
    classes: Sequence[str],
    multi_label: bool | None = None,
    frame: tuple[int, int] | None = None,
    may_overlap: bool = False,
    features: Path | None = None,
) -> EvaluationSet:
    """Reads lists of images, labels and references; opens none of the files listed.

    Args:
        data: the data set's folder; its name is reported.
        places: folder or table, and name of the split where one is chosen there.
        classes: names, in the order wanted.
        multi_label: None tells it from the labels.
        frame: (H, W) that boxes were drawn in, where it is not that of the files.
        may_overlap: whether an image may be in several places; it counts once.
        features: folder of slides' bags.

    Raises:
        DatasetError: names the first line that cannot be used, or the image that is in
            two places with different classes.
    """
    found: dict[str, Sample] = {}
    truth, is_multi = Truth(), False
    for place, split in places:
        images = load_images(
            place, split, classes=classes, multi_label=multi_label, features=features
        )
        is_multi |= images.multi_label
        for sample in images.samples:
            known = found.setdefault(sample.id, sample)
            if known is not sample:
                _check_repeated(known, sample, may_overlap=may_overlap)
        ids = [sample.id for sample in images.samples]
        own = load_truth(place, split, ids, frame=frame)
        truth = Truth(
            masks=truth.masks | own.masks,
            boxes=truth.boxes | own.boxes,
            notes=tuple(dict.fromkeys(truth.notes + own.notes)),
        )
    return EvaluationSet(
        data=data.resolve().name,
        splits=tuple(split for _, split in places if split is not None),
        samples=tuple(found.values()),
        truth=truth,
        multi_label=is_multi,
    )


def _check_repeated(known: Sample, sample: Sample, *, may_overlap: bool) -> None:
    if not may_overlap:
        raise DatasetError(
            f"“{sample.id}” is in several of the splits. Measure them one by one."
        )
    if known.labels != sample.labels:
        raise DatasetError(
            f"“{sample.id}” has other classes in one split than in another. Correct "
            "its labels."
        )
    if not known.path.samefile(sample.path):
        raise DatasetError(
            f"Two images are called “{sample.id}”: “{known.path}” and "
            f"“{sample.path}”. Rename one of the two."
        )
