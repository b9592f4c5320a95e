"""Rows beside the methods that need no network: location prior, centre, darkness."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import DatasetError, one_of_many
from napari_wsol.evaluation.benchmark.dataset import load_evaluation_set
from napari_wsol.evaluation.benchmark.targets import referenced, targets_of
from napari_wsol.evaluation.prior import (
    LocationPrior,
    centre_values,
    darkness_values,
)
from napari_wsol.evaluation.scores import spread_over
from napari_wsol.evaluation.settings import FIELD_SIZE
from napari_wsol.files import path_from
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region, region_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_wsol.data.datasets import Sample
    from napari_wsol.data.folds import Grouping
    from napari_wsol.errors import Failed
    from napari_wsol.evaluation.benchmark.dataset import EvaluationSet
    from napari_wsol.evaluation.settings import EvaluationConfig
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import Progress

PRIOR, CENTRE, DARKNESS = "location_prior", "centre", "darkness"
TITLES: Mapping[str, str] = {
    PRIOR: "Location prior",
    CENTRE: "Centre",
    DARKNESS: "Darkness",
}
"""Names of the rows, and what they are called in a table."""


class Baselines:
    """The maps of the rows, for the images of one model's measurement.

    Args:
        source: images whose masks or boxes make the location prior.
        measured: images that it is compared on. They may be in ``source``: the
            references of an image's own group are left out.
        grouping: what belongs together; every image is a group of its own without.
        classes: of the model.
        config: how the model is measured.

    Raises:
        DatasetError: there are no references, or an image has no group.
    """

    def __init__(
        self,
        source: EvaluationSet,
        measured: EvaluationSet,
        grouping: Grouping | None,
        classes: Sequence[str],
        config: EvaluationConfig,
    ) -> None:
        self._source, self._measured = source, measured
        self._classes = tuple(classes)
        self._side = config.size or FIELD_SIZE
        # The prior is about where a class is, not about what a model takes it for.
        self._config = replace(config, target="true", size=self._side)
        self._predicted = config.target == "predicted"
        self._grouping = grouping
        self._groups = groups_of(measured.samples, grouping)
        self._prior, self._is_ready = LocationPrior(self._side), False
        self._used = [item for item in source.samples if self._names(source, item)]
        if not self._used:
            raise DatasetError(
                f"“{source.data}” has no mask or box of the model's classes, so there "
                "is no location prior. Give other data, or leave the prior out."
            )

    def _names(self, images: EvaluationSet, sample: Sample) -> list[str]:
        return referenced(sample, images.truth, self._classes)

    def note(self) -> str:
        """What the rows are."""
        left_out, how = "of itself", self._grouping
        if how is None and any(item.group for item in self._used):
            left_out = "of each image's own group (as published)"
        if how is not None:
            said = f"pattern “{how.pattern}”" if how.pattern else f"“{how.column}”"
            left_out = f"of each image's own group ({said})"
        return (
            "Location prior and centre never look at an image; darkness takes its dark "
            "pixels for evidence. The prior is the mean "
            f"of the filled masks or boxes of {len(self._used)} images of "
            f"{', '.join((self._source.data, *self._source.splits))}, those {left_out} "
            "left out."
        )

    def prepare(
        self,
        report: Progress,
        check: Callable[[], None],
        failed: Failed,
    ) -> None:
        """Reads the references, once; those that cannot be used are left out.

        Args:
            report: called with (images done, images, what is being done).
            check: called often; raises to stop.
            failed: called with an image's name and why it cannot be used.

        Raises:
            DatasetError: an image has a class that no other group has.
        """
        if self._is_ready:
            return
        self._prior = LocationPrior(self._side)
        groups = groups_of(self._used, self._grouping)
        for number, sample in enumerate(tuple(self._used)):
            check()
            report(number, len(groups), f"location prior: {sample.id}")
            with one_of_many(partial(self._leave_out, sample, failed)):
                self._add(sample, groups[sample.id])
        for sample in self._measured.samples:
            names = self._names(self._measured, sample)
            if names and self._predicted:
                names = list(self._classes)
            for name in names:
                self._prior.require(name, self._groups[sample.id])
        self._is_ready = True

    def _leave_out(self, sample: Sample, failed: Failed, reason: str) -> None:
        self._used.remove(sample)
        failed(sample.id, reason)

    def _add(self, sample: Sample, group: str) -> None:
        with closing(open_slide(sample.path)) as slide:
            shape = slide.shape
        truth = self._source.truth
        names = self._names(self._source, sample)
        found = targets_of(sample, shape, truth, self._classes, self._config)
        for name, against in zip(names, found, strict=True):
            area = against.area()
            if area is not None and area.any():
                self._prior.add(name, group, area)

    def prior(self, sample: Sample, target: str, grid: tuple[int, int]) -> Heatmap:
        """Where a class lies in the images of other groups; after ``prepare``.

        Args:
            sample: the image.
            target: the class.
            grid: rows and columns that it is compared on.

        Raises:
            DatasetError: no other group has a reference of the class.
        """
        values = self._prior.values(target, self._groups[sample.id])
        return spread_over(
            grid, values, method=PRIOR, target=target, is_probability=True
        )


def plain_maps(
    slide: Slide, target: str, grid: tuple[int, int], side: int = FIELD_SIZE
) -> dict[str, Heatmap]:
    """Centre and darkness of an image, which any method should beat, by their names.

    Args:
        slide: the image.
        target: the class that they are taken for.
        grid: rows and columns that they are compared on.
        side: cells along the longer side of what they are made of.
    """
    down = max(1.0, max(slide.shape) / side)
    pixels = read_region(slide, 0, 0, *region_shape(slide.shape, down), down)
    values = {CENTRE: centre_values(side), DARKNESS: darkness_values(pixels)}
    return {
        name: spread_over(grid, found, method=name, target=target)
        for name, found in values.items()
    }


def load_source(
    prior: str | Path,
    data: Path | None,
    classes: Sequence[str],
    config: EvaluationConfig,
) -> EvaluationSet:
    """Reads which images have references that make a location prior.

    Args:
        prior: a data set's folder or table, or the name of a split of ``data``.
        data: the data set that is measured; None leaves no names of splits.
        classes: of the model.
        config: how it is measured.

    Raises:
        DatasetError: names the first line that cannot be used.
    """
    place, split = Path(prior), None
    if data is not None and not path_from(place).exists():
        place, split = data, str(prior)
    return load_evaluation_set(
        place, [(place, split)], classes=classes, frame=config.box_frame
    )


def groups_of(samples: Sequence[Sample], grouping: Grouping | None) -> dict[str, str]:
    """The group of each image by its id; its list's, or itself where that says none.

    Raises:
        DatasetError: an image has no group.
    """
    if grouping is None:
        return {item.id: item.group or str(item.path.resolve()) for item in samples}
    names = grouping.of(samples)
    return {item.id: name for item, name in zip(samples, names, strict=True)}
