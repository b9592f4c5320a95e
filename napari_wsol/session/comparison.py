"""What the maps of the open image are compared with, and how well each agrees."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from napari_wsol.errors import DatasetError, ImageError, WsolError, ignore_failure
from napari_wsol.files import path_from
from napari_wsol.jobs import JobKind
from napari_wsol.strokes.stroke import FOREGROUND, UNLABELLED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from napari_wsol.evaluation.benchmark.dataset import EvaluationSet
    from napari_wsol.evaluation.benchmark.targets import MapTarget
    from napari_wsol.evaluation.report import ModelReport
    from napari_wsol.evaluation.single import MapFigures
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import Report
    from napari_wsol.methods import Model
    from napari_wsol.session.jobs import SessionJobs
    from napari_wsol.session.other_images import OtherImages
    from napari_wsol.session.state import State

    Measured = dict[str, tuple[Heatmap, MapFigures]]

Bools = npt.NDArray[np.bool_]

DRAWN_SIDE = 1024
"""Cells along the longer side of what is drawn of a reference, at most."""

NO_REFERENCES = (
    "No image of the list has a reference of the model's classes. Open a table with "
    "the columns path, label and mask, or a data set as it was published."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """What the maps of an image are compared with.

    Attributes:
        against: it, on the grid that ``evaluate`` compares on.
        area: (H', W') its foreground over the whole image, to be drawn.
        target: the class that it shows, where that was said; maps of others are not
            compared with it.
        source: its file, where it is one; ``classes`` as they were given for it.
        priors: maps without a network, by name: what any method should beat.
        measured: figures by key, with the map that they are of.
    """

    name: str
    fingerprint: str
    against: MapTarget
    area: Bools
    image_shape: tuple[int, int]
    target: str | None
    source: Path | None
    classes: Mapping[str, int] | None
    priors: Mapping[str, Heatmap]
    measured: Measured = field(default_factory=dict[str, "tuple[Heatmap, MapFigures]"])


class Comparison:
    """The reference of the open image, and the figures of its maps beside it.

    Signals:
        reference_changed: another reference, or none.
        figures_changed: maps were measured that were not before.
    """

    reference_changed = Signal()
    figures_changed = Signal()

    def __init__(self, state: State, others: OtherImages, jobs: SessionJobs) -> None:
        self._state, self._others, self._jobs = state, others, jobs
        self._reference: Reference | None = None

    @property
    def reference(self) -> Reference | None:
        """What the maps of the open image are compared with."""
        reference, document = self._reference, self._state.current.document
        its = "" if document is None else document.fingerprint
        return reference if reference and reference.fingerprint == its else None

    def set_reference(
        self,
        source: str | Path | npt.ArrayLike | None = None,
        *,
        boxes: npt.ArrayLike | None = None,
        name: str | None = None,
        target: str | None = None,
        classes: Mapping[str, int] | None = None,
    ) -> Future[Reference]:
        """Compares the open image's maps with a mask, annotations or boxes.

        Args:
            source: PNG, TIFF, GeoJSON, XML, or (H, W) numbers; over the whole image,
                on any grid; see :func:`~napari_wsol.evaluation.references.labelled`.
            boxes: instead; (n, 4) of x, y, width, height in level-0 pixels.
            name: for people.
            target: the class that it shows; that of whatever map if None.
            classes: of annotations → 0 left out, 1 background, 2 foreground, where it
                fails with UnclearClassesError.
        """
        file = Path(source) if isinstance(source, str | Path) else None

        def work(report: Report) -> Reference:
            document, result = self._state.document, self._state.current.maps.result
            slide, of = document.slide, target or (result.target if result else None)
            model = self._state.current.model
            try:
                if target and model is not None:
                    model.class_index(target)
                against, area = _read(source, boxes, classes, slide.shape, of)
            except WsolError:  # what was there before is not what is meant now
                self.clear_reference()
                raise
            reference = Reference(
                name=name or (file.name if file else "reference"),
                fingerprint=document.fingerprint,
                against=against,
                area=area,
                image_shape=slide.shape,
                target=target,
                source=file,
                classes=classes,
                priors=self._priors(slide, against, report),
            )
            report.check()
            self._put(reference)
            return reference

        return self._jobs.submit(JobKind.REFERENCE, work)

    def clear_reference(self) -> None:
        """Compares with nothing any more."""
        self._put(None)

    def _put(self, reference: Reference | None) -> None:
        self._reference = reference
        self.reference_changed.emit()

    def figures(self, *, wait: bool = True) -> Mapping[str, MapFigures]:
        """Figures of each map by its key, then of what any method should beat.

        That are ``location_prior``, where the list has references of other images,
        ``centre`` and ``darkness``. Any thread may ask; empty without a reference.

        Args:
            wait: whether maps that were not measured yet are: milliseconds each, up to
                half a second beside boxes. Without, they are left out.
        """
        reference = self.reference
        if reference is None:
            return {}
        maps, of = self._state.current.maps.heatmaps, reference.target
        maps = {key: one for key, one in maps.items() if of in (None, one.target)}
        maps |= reference.priors
        found = {key: reference.measured.get(key) for key in maps}
        known = {key: x[1] for key, x in found.items() if x and x[0] is maps[key]}
        if not wait or len(known) == len(maps):
            return known
        from napari_wsol.evaluation.settings import EvaluationConfig
        from napari_wsol.evaluation.single import measure

        for key in maps.keys() - known.keys():
            known[key] = measure(maps[key], reference.against, EvaluationConfig())
            reference.measured[key] = maps[key], known[key]
        self.figures_changed.emit()
        return {key: known[key] for key in maps}

    def score(self, methods: Sequence[str] | None = None) -> Future[ModelReport]:
        """Runs ``evaluate`` over the images of the list that have a reference.

        Args:
            methods: names; those that the model was made for if None.
        """

        def work(model: Model, report: Report) -> ModelReport:
            from napari_wsol.evaluation.benchmark import Benchmark
            from napari_wsol.evaluation.benchmark.targets import referenced

            listed, classes = self._listed(model), model.classes
            with_one = partial(referenced, truth=listed.truth, classes=classes)
            found = listed.only([*filter(with_one, listed.samples)])
            if not found.samples:
                raise DatasetError(NO_REFERENCES)
            benchmark = Benchmark(model, found, methods=methods)
            return benchmark.run(report, report.check)

        return self._jobs.with_model(JobKind.SCORE, work)

    def _listed(self, model: Model) -> EvaluationSet:
        """The images of the list, with the references that its folder or table gives.

        Raises:
            DatasetError: there is no list, or it says nothing of its images' classes.
        """
        from napari_wsol.evaluation.benchmark.dataset import load_evaluation_set

        worklist = self._others.worklist
        if worklist is None:
            raise DatasetError(NO_REFERENCES)
        found = load_evaluation_set(
            place := worklist.source or worklist.root,
            [(place, None)],
            classes=model.classes,
            multi_label=True if model.spec.multi_label else None,
        )
        rows = worklist.row_of
        return found.only([x for x in found.samples if rows(x.path) is not None])

    def _priors(
        self, slide: Slide, against: MapTarget, report: Report
    ) -> Mapping[str, Heatmap]:
        """Maps without a network; those of the reference before where they are its."""
        from napari_wsol.evaluation.benchmark.baselines import (
            PRIOR,
            Baselines,
            plain_maps,
        )
        from napari_wsol.evaluation.settings import EvaluationConfig

        before, model = self.reference, self._state.current.model
        target = against.target or ""
        if before is not None and before.against.target == against.target:
            return before.priors
        plain = plain_maps(slide, target, against.grid)
        with suppress(DatasetError):  # the list does not say where the class lies
            if model is not None and slide.path is not None:
                listed, path = self._listed(model), slide.path.absolute()
                own = [x for x in listed.samples if x.path.absolute() == path]
                measured, classes = listed.only(own), model.classes
                found = Baselines(listed, measured, None, classes, EvaluationConfig())
                found.prepare(report, report.check, ignore_failure)
                for one in own:
                    return {PRIOR: found.prior(one, target, against.grid), **plain}
        return plain


def _read(
    source: str | Path | npt.ArrayLike | None,
    boxes: npt.ArrayLike | None,
    classes: Mapping[str, int] | None,
    shape: tuple[int, int],
    target: str | None,
) -> tuple[MapTarget, Bools]:
    """A reference on the grid that ``evaluate`` compares on, and as it is drawn."""
    from napari_wsol.evaluation.benchmark.targets import MapTarget
    from napari_wsol.evaluation.points import paint
    from napari_wsol.evaluation.references import labelled, read_pixels
    from napari_wsol.evaluation.scores import as_boxes, as_mask, squash
    from napari_wsol.evaluation.settings import FIELD_SIZE
    from napari_wsol.strokes.annotation_files import is_annotations
    from napari_wsol.strokes.annotations import areas_on

    grid = FIELD_SIZE, FIELD_SIZE
    most = max(1.0, max(shape) / DRAWN_SIDE)
    drawn = max(1, round(shape[0] / most)), max(1, round(shape[1] / most))
    if (boxes is None) == (source is None):
        raise ImageError("Give a mask or a file, or boxes: one of them.")
    if boxes is not None:
        sides, (height, width) = as_boxes(boxes, "image"), shape
        inside = (sides[:, :2] < (width, height)) & (sides[:, :2] + sides[:, 2:] > 0)
        if not (inside & (sides[:, 2:] > 0) & (sides[:, 2:] < 10 * max(shape))).all():
            raise ImageError(
                "A box is x, y, width and height in pixels of the image, and lies on "
                "it; one of these does not. Leave it out."
            )
        on, onto = (
            sides * [x[1] / width, x[0] / height, x[1] / width, x[0] / height]
            for x in (grid, drawn)
        )
        against = MapTarget(target=target, grid=grid, boxes=on)
        area, seen = paint(onto, drawn), paint(on, grid)
    else:
        if not isinstance(source, str | Path):
            as_mask(pixels := np.asarray(source))  # whether it is one
            labels = labelled(pixels)
        elif is_annotations(path := path_from(source)):
            labels = areas_on(path, shape, classes)
        else:
            labels = labelled(read_pixels(path))
            of, onto = (f"{x[1]} × {x[0]}" for x in (labels.shape, shape))
            tall, wide = (a / b for a, b in zip(labels.shape, shape, strict=True))
            if not 0.95 < tall / wide < 1.05:
                raise ImageError(
                    f"“{path.name}” has {of} pixels and the image {onto}: it is a mask "
                    "of another image. Choose its own."
                )
        mask = labels == FOREGROUND
        area, seen = squash(mask, drawn), squash(mask, grid)
        ignore = squash(labels == UNLABELLED, grid)
        against = MapTarget(target=target, grid=grid, mask=seen, ignore=ignore)
    if not seen.any() or seen.all():
        raise ImageError(
            f"The reference has {'only' if seen.all() else 'no'} foreground on the "
            f"{FIELD_SIZE} × {FIELD_SIZE} cells that maps are compared on. Choose a "
            "mask of this image."
        )
    return against, area
