"""A model measured on a split: its classes, its maps, and the figures of both."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from napari_wsol.config import FigureConfig
from napari_wsol.errors import (
    ConfigError,
    DatasetError,
    ImageError,
    ignore_failure,
    one_of_many,
)
from napari_wsol.evaluation.benchmark.baselines import (
    PRIOR,
    TITLES,
    Baselines,
    load_source,
    plain_maps,
)
from napari_wsol.evaluation.benchmark.dataset import EvaluationSet, load_evaluation_set
from napari_wsol.evaluation.benchmark.meter_set import MeterSet
from napari_wsol.evaluation.benchmark.targets import targets_of
from napari_wsol.evaluation.bootstrap import Bootstrap
from napari_wsol.evaluation.flipping import patch_flipping
from napari_wsol.evaluation.report import Case, ModelReport, chosen_cases
from napari_wsol.evaluation.sanity import check_maps
from napari_wsol.evaluation.settings import FIELD_SIZE, EvaluationConfig
from napari_wsol.export.figure import Panel, Sheet, panels_of
from napari_wsol.images.bags import Bag, is_bag, open_bag
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.augmentation import check_views
from napari_wsol.inference.cache import FeatureCache
from napari_wsol.inference.view import ModelView
from napari_wsol.inference.whole_image import (
    check_methods,
    class_scores,
    localize,
    localize_bag,
    map_notes,
)
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods import method_title
from napari_wsol.methods.mil import cells_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from napari_wsol.data.datasets import Sample
    from napari_wsol.data.folds import Grouping
    from napari_wsol.errors import Failed
    from napari_wsol.evaluation.benchmark.targets import MapTarget
    from napari_wsol.evaluation.bootstrap import Estimate
    from napari_wsol.evaluation.sanity import Trust
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model


FEATURE_BYTES = 500_000_000
"""For the features of one image, whose classes are compared one after another."""


class _Compared(NamedTuple):
    """The maps of one class of an image, and what they are compared with."""

    case: Case
    against: MapTarget
    maps: Mapping[str, Heatmap]
    trust: Mapping[str, Trust]
    notes: Sequence[str]


class Benchmark:
    """A model and the images that it is measured on.

    Reads a split folder of the field, a table with masks or boxes, or a folder for each
    class; see ``load_images`` and ``load_truth``. Single-label images are compared by
    the map of their class; multi-label ones by that of each class that has a box.

    Args:
        model: from :func:`napari_wsol.load_model`.
        data: the data set's folder, or that of the split, or a table; or what
            ``load_evaluation_set`` read of them.
        split: name of the split; several are measured together.
        methods: names; those that the model was made for by default.
        config: how.
        prior: adds the rows of :mod:`~napari_wsol.evaluation.benchmark.baselines`: a
            data set, the name of a split of ``data``, or an ``EvaluationSet``,
            whose masks or boxes make a location prior. It may hold the measured images.
        grouping: what belongs together, for example a patient's images; the prior
            leaves out the references of an image's own group. Without, its own.

    Raises:
        DatasetError: names the first line that cannot be used.
        MethodUnavailableError, UnknownNameError: a method cannot be run.
        ConfigError: ``config`` does not fit the data.
    """

    def __init__(
        self,
        model: Model,
        data: str | Path | EvaluationSet,
        split: str | Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        *,
        config: EvaluationConfig | None = None,
        prior: str | Path | EvaluationSet | None = None,
        grouping: Grouping | None = None,
    ) -> None:
        self.model = model
        self.config = config or EvaluationConfig()
        self.methods = check_methods(model, methods)
        place = None if isinstance(data, EvaluationSet) else Path(data)
        if not isinstance(data, EvaluationSet):
            names = (split,) if isinstance(split, str) else tuple(split or (None,))
            data = load_evaluation_set(
                Path(data),
                [(Path(data), name) for name in names],
                classes=model.classes,
                multi_label=True if model.spec.multi_label else None,
                frame=self.config.box_frame,
            )
        self.measured = data
        self._samples, self._truth = data.samples, data.truth
        self._check()
        self.baselines: Baselines | None = None
        if prior is not None:
            classes = model.classes
            if not isinstance(prior, EvaluationSet):
                prior = load_source(prior, place, classes, self.config)
            self.baselines = Baselines(prior, data, grouping, classes, self.config)

    def _check(self) -> None:
        """Whether model, images and settings fit together."""
        model, predicted = self.model, self.config.target == "predicted"
        check_views(model, self.config.views)
        is_multi = self.measured.multi_label
        if is_multi and not model.spec.multi_label:
            raise DatasetError(
                "Some images have none or several classes, but this model gives every "
                "image exactly one. Choose a multi-label model or other labels."
            )
        if is_multi and predicted:
            raise ConfigError(
                "The predicted class can be compared where an image has one class; "
                "these have several. Leave out the target."
            )
        if model.classifier is None and predicted:
            raise ConfigError("This model predicts no class. Leave out the target.")

    @property
    def kind(self) -> str:
        """What maps are compared with: "masks", "boxes" or "labels" (nothing)."""
        if self._truth.boxes:
            return "boxes"
        return "masks" if self._truth.masks else "labels"

    @property
    def primary(self) -> str:
        """The method that the figure shows."""
        card = self.model.card
        if card is not None and card.primary in self.methods:
            return card.primary
        return self.methods[-1]

    def run(
        self,
        report: Progress = ignore_progress,
        check: Callable[[], None] = lambda: None,
        *,
        pool: MeterSet | None = None,
        failed: Failed = ignore_failure,
    ) -> ModelReport:
        """Measures; memory does not grow with the size of the images.

        A few numbers of each image are kept, so that its cases can be listed. An image
        that cannot be used is left out, and the report says so.

        Args:
            report: called with (images done, images, what is being done).
            check: called often; raises to stop.
            pool: gets every image too, so that models of several folds are pooled.
            failed: called with an image's name and why it cannot be used, at once.

        Raises:
            WsolError: none of the images can be used; of the first one.
            DatasetError: there is no location prior of a class.
        """
        samples, own = self._samples, self._meters()
        meter_sets = [own] if pool is None else [own, pool]

        def leave_out(name: str, reason: str) -> None:
            for meters in meter_sets:
                meters.failed.setdefault(name, reason)
            failed(name, reason)

        if self.baselines is not None:
            self.baselines.prepare(report, check, leave_out)
        for number, sample in enumerate(samples):
            check()
            report(number, len(samples), sample.id)
            with one_of_many(partial(leave_out, sample.id)):
                self._measure(sample, meter_sets, check)
        if not own.images and own.failed:
            self._measure(samples[0], [], check)  # its error is that of all
            raise ImageError(
                f"None of the {len(samples)} images could be used. The first: "
                f"{next(iter(own.failed.values()))}"
            )
        report(len(samples), len(samples), "drawing intervals")
        return self.report(own)

    def _meters(self) -> MeterSet:
        multi = self.measured.multi_label
        return MeterSet(self.model.classes, self.config, multi_label=multi)

    def _measure(
        self, sample: Sample, meter_sets: list[MeterSet], check: Callable[[], None]
    ) -> None:
        """The figures and cases of one image, added to all meters, or to none."""
        how: dict[str, Any] = {"views": self.config.views, "mpp": self.config.mpp}
        how |= {"cache": FeatureCache(FEATURE_BYTES), "check": check}
        path = sample.path
        opened = (
            nullcontext(open_bag(path)) if is_bag(path) else closing(open_slide(path))
        )
        with opened as slide:
            if isinstance(slide, Bag):
                found = localize_bag(self.model, slide, self.methods, check=check)
                scores = found.scores
            else:
                scores = class_scores(self.model, slide, methods=self.methods, **how)
            seen = [
                self._compared(sample, slide, against, scores, how)
                for against in self._targets(sample, slide)
            ]
        tiles = partial(self._tiles, sample, how["cache"])
        flips = patch_flipping(self.model, self.methods, tiles, sample.id)
        # Meters of its own come first: an image that fails there counts nowhere.
        for meters in (self._meters(), *meter_sets):
            meters.classify(scores, sample.labels, sample.group)
            for name, one in flips.items():
                meters.meter(name).trust(one)
            for item in seen:
                meters.note(item.notes)
                overlap = meters.compare(
                    item.maps, item.against, item.case.target, item.trust
                )
                meters.cases.append(replace(item.case, overlap=overlap))

    def _tiles(self, sample: Sample, cache: FeatureCache) -> Tensor:
        """(n, D) vectors of the tiles of an image, or of a slide's bag."""
        if is_bag(sample.path):
            return torch.from_numpy(open_bag(sample.path).vectors()).float()
        with closing(open_slide(sample.path)) as slide:
            view = ModelView(slide, self.model, self.config.mpp, cache=cache)
            return cells_of(view.features())[0]

    def _compared(
        self,
        sample: Sample,
        slide: Slide | Bag,
        against: MapTarget,
        scores: Mapping[str, float],
        how: Mapping[str, Any],
    ) -> _Compared:
        """The maps of a class of an image; none where there is nothing to do."""
        predicted = max(scores, key=scores.__getitem__, default="")
        target, config = against.target or predicted, self.config
        case = Case(
            id=sample.id,
            target=target,
            predicted=predicted,
            probability=scores.get(target, 1.0),
            overlap={},
        )
        is_checked = config.sanity or config.road or config.faithfulness_steps > 0
        if not (against.is_reference or is_checked):
            return _Compared(case, against, {}, {}, ())
        if isinstance(slide, Bag):  # no pixels: neither checks nor baselines
            maps = localize_bag(self.model, slide, self.methods, target).heatmaps
            return _Compared(case, against, maps, {}, map_notes(maps.values()))
        found = localize(self.model, slide, self.methods, target, **how)
        view = ModelView(slide, self.model, config.mpp, cache=how["cache"])
        trust = check_maps(view, found, config, check=how["check"])
        maps, notes = found.heatmaps, self._notes_of(found, slide)
        notes += [note for one in trust.values() for note in one.caveats]
        if self.baselines is not None and against.is_reference:
            grid, side = against.grid, config.size or FIELD_SIZE
            prior = self.baselines.prior(sample, target, grid)
            maps = {**maps, PRIOR: prior, **plain_maps(slide, target, grid, side)}
        return _Compared(case, against, maps, trust, notes)

    def _notes_of(self, found: Localization, slide: Slide) -> list[str]:
        """What has to be said of an image."""
        # How the file was read matters to who opens it, not to the figures.
        notes = [note for note in found.notes if note not in slide.notes]
        notes += map_notes(found.heatmaps.values())
        return [note.replace(slide.name, "an image") for note in notes]

    def _targets(self, sample: Sample, slide: Slide | Bag) -> Iterator[MapTarget]:
        """What the maps of an image are compared with; at least one."""
        shape = slide.image_shape if isinstance(slide, Bag) else slide.shape
        classes = self.model.classes
        return targets_of(sample, shape, self._truth, classes, self.config)

    def report(self, meters: MeterSet) -> ModelReport:
        """What the meters come to, with intervals.

        Raises:
            ImageError: there are masks, but none has foreground.
        """
        card = self.model.card
        draw = Bootstrap(samples=self.config.bootstrap, seed=self.config.seed)
        classification: dict[str, Estimate] = {}
        auc: Mapping[str, Estimate] = {}
        if meters.labels.images:
            found = meters.labels.value(draw)
            auc = found.auc
            for name in ("accuracy", "macro_auc", "group_macro_auc"):
                if getattr(found, name) is not None:
                    classification[name] = getattr(found, name)
        return ModelReport(
            model=card.name if card is not None else "model",
            sha256=card.sha256 if card is not None else "",
            data=self.measured.data,
            splits=self.measured.splits,
            images=meters.images,
            references=sum(bool(case.overlap) for case in meters.cases),
            kind=self.kind,
            settings=asdict(self.config),
            classification=classification,
            auc=auc,
            methods=tuple(
                meters.meter(name).report(name, title, draw)
                for name, title in self._rows().items()
            ),
            cases=tuple(meters.cases),
            failed=dict(meters.failed),
            notes=tuple(self._all_notes(meters)),
        )

    def _rows(self) -> dict[str, str]:
        """What is reported on, and what it is called."""
        rows = {name: method_title(name) for name in self.methods}
        return rows if self.baselines is None else {**rows, **TITLES}

    def _all_notes(self, meters: MeterSet) -> Iterator[str]:
        """What a reader must know, a sentence each."""
        yield from self._truth.notes
        classes = self.model.classes
        boxes = [box for found in self._truth.boxes.values() for box in found]
        other = [box.name for box in boxes if box.name and box.name not in classes]
        if other:
            yield (
                f"{len(other)} of {len(boxes)} boxes are of classes that the model "
                f"does not know and were left out: {', '.join(sorted(set(other)))}."
            )
        if meters.failed:
            listed = "; ".join(f"{name}: {why}" for name, why in meters.failed.items())
            yield f"{len(meters.failed)} images could not be used: {listed}"
        if self.config.target == "predicted":
            yield "Maps are of the predicted class, right or wrong."
        if self.baselines is not None:
            yield self.baselines.note()
        for note, count in meters.notes.items():
            yield f"{note} ({count} of {meters.images} images)"

    def picture(self, report: ModelReport) -> bytes:
        """Worst, median and best case of the model's own method, as a PNG's bytes."""
        samples = {sample.id: sample for sample in self._samples}
        chosen, pairs = chosen_cases(report.cases, self.primary), list[list[Panel]]()
        sheet = Sheet(2 * len(chosen), FigureConfig(columns=max(1, len(chosen))))
        for title, case in chosen:
            # The figures are there: a picture less is no reason to lose them.
            with one_of_many(lambda _reason: None):
                pairs.append(self._panels(title, case, samples[case.id], sheet.panel))
        white = Panel(image=np.full((9, 9, 3), 255, np.uint8), title="No pixels: bags")
        panels = [pair[row] for row in (0, 1) for pair in pairs] or [white]
        config = FigureConfig(columns=len(pairs) or 1)
        return Sheet(len(panels), config).drawn(panels, ".png")

    def _panels(self, title: str, case: Case, sample: Sample, side: int) -> list[Panel]:
        """The image of a case, and the map over it."""
        with closing(open_slide(sample.path)) as slide:
            references = list(self._targets(sample, slide))
            against = next(
                (item for item in references if item.target == case.target),
                references[0],
            )
            found = localize(
                self.model,
                slide,
                [self.primary],
                case.target,
                views=self.config.views,
                mpp=self.config.mpp,
            )
            overlap = case.overlap.get(self.primary)
            maps = [found.heatmaps[self.primary]]
            image, over = panels_of(slide, maps, side, against.area())
            probable = f"p = {case.probability:.2f}"
            title = f"{title}: {Path(case.id).name}"
            first = replace(image, title=title, caption=(f"{case.target}, {probable}",))
            measured = "" if overlap is None else f"IoU {overlap:.2f} · "
            second = replace(
                over,
                cut=self.config.threshold,
                title=method_title(self.primary),
                caption=(f"{measured}threshold {self.config.threshold:g}",),
            )
            return [first, second]
