"""What the maps of the open image are compared with, and how well each agrees."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_wsol.errors import DatasetError, ignore_failure
from napari_wsol.evaluation.settings import FIELD_SIZE
from napari_wsol.files import path_from
from napari_wsol.images.heatmap import covering
from napari_wsol.strokes.stroke import FOREGROUND, UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_wsol.data.split_files import Sample
    from napari_wsol.evaluation.benchmark.baselines import Baselines
    from napari_wsol.evaluation.benchmark.dataset import EvaluationSet
    from napari_wsol.evaluation.benchmark.targets import MapTarget
    from napari_wsol.evaluation.report import ModelReport
    from napari_wsol.evaluation.single import MapFigures
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import Report
    from napari_wsol.methods import Model
    from napari_wsol.session.state import State
    from napari_wsol.worklist.items import WorkList

    Measured = tuple[Heatmap, MapTarget, MapFigures]

BoolArray = npt.NDArray[np.bool_]

Placed = tuple[npt.NDArray[np.bool_], tuple[float, float], tuple[float, float]]
"""(H', W') bool, with scale and translate as of a :class:`Heatmap`."""

OUTLINE_SIDE = 2048
"""Cells along the longer side of what is drawn of a reference, at most."""


class Told(TypedDict, total=False):
    """What is said of a reference.

    (n, 4) ``boxes`` of x, y, width, height in level-0 pixels; its ``name``; the class
    that it shows (``target``); what the ``classes`` of annotations mean.
    """

    boxes: npt.ArrayLike
    name: str
    target: str | None
    classes: Mapping[str, int] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What the maps of the open image are compared with.

    Attributes:
        name: for people.
        fingerprint: of the image.
        against: on the grid that ``evaluate`` compares on.
        area: (H', W') its foreground over the whole image, for drawing.
        image_shape: (H, W) of level 0.
        priors: maps without a network, by name: what any method should beat.
    """

    name: str
    fingerprint: str
    against: MapTarget
    area: npt.NDArray[np.bool_]
    image_shape: tuple[int, int]
    priors: Mapping[str, Heatmap] = field(default_factory=dict[str, "Heatmap"])

    def outline(self) -> Placed:
        """The foreground, whose border is the outline, and where it lies."""
        shape = (self.area.shape[0], self.area.shape[1])
        return self.area, *covering(self.image_shape, shape)


class Comparison:
    """The reference of the open image, and the figures of its maps beside it.

    Args:
        state: what is worked on.
        worklist: gives the list, if any.

    Signals:
        reference_changed: another reference, or none.
        figures_changed: maps were measured that were not before.
    """

    reference_changed = Signal()
    figures_changed = Signal()

    def __init__(self, state: State, worklist: Callable[[], WorkList | None]) -> None:
        self._state, self._worklist = state, worklist
        self._reference: Reference | None = None
        self._known: Mapping[str, Measured] = {}
        self._measuring = threading.Lock()
        self._listed: tuple[object, Baselines, list[Sample]] | None = None

    @property
    def reference(self) -> Reference | None:
        """What the maps of the open image are compared with."""
        reference, document = self._reference, self._state.current.document
        is_its = (
            document and reference and reference.fingerprint == document.fingerprint
        )
        return reference if is_its else None

    def clear_reference(self) -> None:
        """Compares with nothing any more."""
        self._put(None)

    def figures(self, *, wait: bool = True) -> Mapping[str, MapFigures]:
        """Figures of each map by its key, then of what any method should beat.

        That are ``centre`` and ``darkness``, and ``location_prior`` where the list has
        references of other images. Any thread may ask; empty without a reference.

        Args:
            wait: whether to measure maps that were not yet, some milliseconds each, a
                second against boxes. Without, they are left out.
        """
        reference = self.reference
        if reference is None:
            return {}
        maps = {**self._state.current.maps.heatmaps, **reference.priors}
        if wait:
            self._measure(maps, reference.against)
        known = self._known
        return {
            key: known[key][2]
            for key, one in maps.items()
            if key in known and _is_of(known[key], one, reference.against)
        }

    def _measure(self, maps: Mapping[str, Heatmap], against: MapTarget) -> None:
        from napari_wsol.evaluation.settings import EvaluationConfig
        from napari_wsol.evaluation.single import measure

        with self._measuring:
            before, known = self._known, dict[str, "Measured"]()
            for key, one in maps.items():
                held = before.get(key)
                if held is None or not _is_of(held, one, against):
                    held = one, against, measure(one, against, EvaluationConfig())
                known[key] = held
            self._known = known
        if any(before.get(key) is not held for key, held in known.items()):
            self.figures_changed.emit()

    def _put(self, reference: Reference | None) -> None:
        self._reference = reference
        self.reference_changed.emit()

    # ------------------------------------------------------------------ on the worker

    def read(
        self, source: str | Path | npt.ArrayLike | None, told: Told, report: Report
    ) -> Reference:
        """Compares with a mask, a file or boxes; as ``SessionJobs.set_reference``."""
        from napari_wsol.evaluation.benchmark.baselines import plain_maps
        from napari_wsol.evaluation.single import area_of

        document, result = self._state.document, self._state.current.maps.result
        slide, target = document.slide, told.get("target")
        target = target or (None if result is None else result.target)
        if "boxes" in told:
            against, area = _of_boxes(told["boxes"], slide.shape, target)
        else:
            against, area = _of_mask(source, slide.shape, target, told.get("classes"))
        area_of(against)  # whether it has any
        report.check()
        named = Path(source).name if isinstance(source, str | Path) else "reference"
        reference = Reference(
            name=told.get("name", named),
            fingerprint=document.fingerprint,
            against=against,
            area=area,
            image_shape=slide.shape,
            priors=plain_maps(slide, target or "", against.grid),
        )
        self._put(reference)
        with suppress(DatasetError):  # the list says of no other image where it is
            priors = self._priors(slide, against, report)
            if priors:
                reference = replace(reference, priors=priors)
                self._put(reference)
        return reference

    def _priors(
        self, slide: Slide, against: MapTarget, report: Report
    ) -> Mapping[str, Heatmap]:
        """With where the class lies in other images of the list; {} without one.

        Raises:
            DatasetError: no other image has a reference of the class.
        """
        from napari_wsol.evaluation.benchmark.baselines import Baselines
        from napari_wsol.evaluation.settings import EvaluationConfig

        worklist, model = self._worklist(), self._state.current.model
        if worklist is None or model is None or against.target is None:
            return {}
        key = (worklist, model, slide.path)
        if self._listed is None or self._listed[0] != key:
            listed = listed_set(worklist, model)
            own = [x for x in listed.samples if x.path.absolute() == slide.path]
            config, measured = EvaluationConfig(), listed.only(own)
            found = Baselines(listed, measured, None, model.classes, config)
            found.prepare(report, report.check, ignore_failure)
            self._listed = key, found, own
        _, found, own = self._listed
        if not own:  # what is its own group is not known
            return {}
        return found.maps(own[0], slide, against.target, against.grid)


def score_list(
    model: Model,
    worklist: WorkList | None,
    methods: Sequence[str] | None,
    *,
    priors: bool,
    report: Report,
) -> ModelReport:
    """What ``evaluate`` says of the images of a list that have a reference.

    Raises:
        DatasetError: there is none, or (with ``priors``) one of a class only.
    """
    from napari_wsol.evaluation.benchmark import Benchmark
    from napari_wsol.evaluation.benchmark.targets import referenced

    if worklist is None:
        raise DatasetError("Open a folder or table of images with references first.")
    listed = listed_set(worklist, model)
    truth, classes = listed.truth, model.classes
    found = listed.only([x for x in listed.samples if referenced(x, truth, classes)])
    if not found.samples:
        raise DatasetError(
            f"No image of “{worklist.name}” has a reference of the model's classes. "
            "Give them in a table with the columns path, label and mask."
        )
    prior = found if priors else None
    return Benchmark(model, found, methods=methods, prior=prior).run(
        report, report.check
    )


def listed_set(worklist: WorkList, model: Model) -> EvaluationSet:
    """The images of a list that its folder or table gives classes and references.

    Raises:
        DatasetError: it is no data set; names the first line that cannot be used.
    """
    from napari_wsol.evaluation.benchmark.dataset import load_evaluation_set

    place = worklist.source or worklist.root
    found = load_evaluation_set(
        place,
        [(place, None)],
        classes=model.classes,
        multi_label=True if model.spec.multi_label else None,
    )
    return found.only([x for x in found.samples if worklist.row_of(x.path) is not None])


def _of_boxes(
    boxes: npt.ArrayLike, shape: tuple[int, int], target: str | None
) -> tuple[MapTarget, BoolArray]:
    from napari_wsol.data.split_files import Box, sides_of
    from napari_wsol.evaluation.benchmark.targets import boxed
    from napari_wsol.evaluation.scores import as_boxes

    where = "The reference"
    found = [
        Box(xywh=sides_of([*map(str, one)], where), name=None, frame=None, where=where)
        for one in as_boxes(boxes, "image").tolist()
    ]
    area = boxed(found, shape, _drawn_on(shape), target).area()
    against = boxed(found, shape, (FIELD_SIZE, FIELD_SIZE), target)
    return against, np.zeros(shape, np.bool_) if area is None else area


def _of_mask(
    source: str | Path | npt.ArrayLike | None,
    shape: tuple[int, int],
    target: str | None,
    classes: Mapping[str, int] | None,
) -> tuple[MapTarget, BoolArray]:
    from napari_wsol.evaluation.benchmark.targets import masked
    from napari_wsol.evaluation.references import labelled, labels_in
    from napari_wsol.evaluation.scores import as_mask, squash

    if isinstance(source, str | Path):
        labels = labels_in(path_from(source), lambda: shape, classes)
    else:
        pixels = np.asarray(source)
        as_mask(pixels)  # whether it is one
        labels = labelled(pixels)
    mask = labels == FOREGROUND
    against = masked(mask, labels == UNLABELLED, FIELD_SIZE, target)
    return against, squash(mask, _drawn_on((mask.shape[0], mask.shape[1])))


def _drawn_on(shape: tuple[int, int]) -> tuple[int, int]:
    """The grid that a reference is drawn on."""
    times = min(1.0, OUTLINE_SIDE / max(shape))
    return max(1, round(shape[0] * times)), max(1, round(shape[1] * times))


def _is_of(held: Measured, heatmap: Heatmap, against: MapTarget) -> bool:
    return held[0] is heatmap and held[1] is against
