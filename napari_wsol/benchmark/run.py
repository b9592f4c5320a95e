"""A model measured on a split: its classes, its maps, and the figures of both."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.benchmark.sight import Sight
from napari_wsol.encoding import ignore_progress
from napari_wsol.errors import ConfigError, DatasetError
from napari_wsol.evaluation.bootstrap import Bootstrap
from napari_wsol.evaluation.classification import ClassificationMeter
from napari_wsol.evaluation.figure import PANEL_SIDE, Panel, draw_panels
from napari_wsol.evaluation.meters import MapMeters
from napari_wsol.evaluation.report import Case, Report, chosen_cases
from napari_wsol.evaluation.scores import squash
from napari_wsol.evaluation.settings import EvaluationConfig, Wanted
from napari_wsol.evaluation.truth import Truth, load_truth
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import read_region, region_shape
from napari_wsol.inference import check_methods, localize
from napari_wsol.learning.datasets import load_images
from napari_wsol.methods import method_title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from PIL import Image

    from napari_wsol.encoding import Progress
    from napari_wsol.evaluation.bootstrap import Estimate
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference import Localization
    from napari_wsol.learning.datasets import Sample
    from napari_wsol.methods import Model


def evaluate_model(
    model: Model,
    data: str | Path,
    split: str | Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    *,
    config: EvaluationConfig | None = None,
    report: Progress = ignore_progress,
    check: Callable[[], None] = lambda: None,
) -> Report:
    """Figures of a model on a split; arguments and errors as ``Benchmark``."""
    return Benchmark(model, data, split, methods, config=config).run(report, check)


class Benchmark:
    """A model and the images that it is measured on.

    Reads a split folder of the field, a table with masks or boxes, or a folder for each
    class; see ``load_images`` and ``load_truth``. Single-label images are compared by
    the map of their class; multi-label ones by that of each class that has a box.

    Args:
        model: from :func:`napari_wsol.load_model`.
        data: the data set's folder, or that of the split, or a table.
        split: name of the split; several are measured together.
        methods: names; those that the model was made for by default.
        config: how.

    Raises:
        DatasetError: names the first line that cannot be used.
        MethodUnavailableError, UnknownNameError: a method cannot be run.
        ConfigError: ``config`` does not fit the data.
    """

    def __init__(
        self,
        model: Model,
        data: str | Path,
        split: str | Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        *,
        config: EvaluationConfig | None = None,
    ) -> None:
        self.model = model
        self.config = config or EvaluationConfig()
        self.methods = check_methods(model, methods)
        self._data = Path(data)
        self.splits = (split,) if isinstance(split, str) else tuple(split or ())
        self._samples: list[Sample] = []
        self._truth = Truth()
        is_multi = False
        for name in self.splits or (None,):
            images = load_images(
                data,
                name,
                classes=model.classes,
                multi_label=True if model.spec.multi_label else None,
            )
            is_multi |= images.multi_label
            ids = [sample.id for sample in images.samples]
            self._samples += images.samples
            truth = load_truth(data, name, ids, frame=self.config.box_frame)
            self._truth = self._truth.with_other(truth)
        self._check(is_multi=is_multi)
        self._multi_label = is_multi
        self._notes: dict[str, int] = {}

    def _check(self, *, is_multi: bool) -> None:
        """Whether model, images and settings fit together."""
        model, predicted = self.model, self.config.target == "predicted"
        counts = Counter(sample.id for sample in self._samples)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise DatasetError(
                f"“{twice[0]}” is in several of the splits. Measure them one by one."
            )
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
    ) -> Report:
        """Measures; memory does not grow with the size of the images.

        A few numbers of each image are kept, so that its cases can be listed.

        Args:
            report: called with (images done, images, what is being done).
            check: called often; raises to stop.

        Raises:
            WsolError: an image or mask cannot be read; names it.
        """
        samples = self._samples
        meters = {name: MapMeters(self.config) for name in self.methods}
        labels = ClassificationMeter(self.model.classes, multi_label=self._multi_label)
        cases: list[Case] = []
        self._notes = {}
        for number, sample in enumerate(samples):
            check()
            report(number, len(samples), sample.id)
            cases += self._measure(number, sample, meters, labels, check)
        report(len(samples), len(samples), "drawing intervals")
        return self._report(meters, labels, cases)

    def _measure(
        self,
        number: int,
        sample: Sample,
        meters: dict[str, MapMeters],
        labels: ClassificationMeter,
        check: Callable[[], None],
    ) -> list[Case]:
        """The cases of one image, its figures added to the meters."""
        cases: list[Case] = []
        with closing(open_slide(sample.path)) as slide:
            sight = Sight(self.model, slide, self.methods, self.config.mpp, check)
            scores = sight.scores()
            if scores:
                labels.update(list(scores.values()), sample.labels)
            predicted = max(scores, key=scores.__getitem__, default="")
            for wanted in self._wanted(sample, slide):
                target = wanted.target or predicted
                case = Case(
                    id=sample.id,
                    target=target,
                    predicted=predicted,
                    probability=scores.get(target, 1.0),
                    overlap={},
                )
                steps = self.config.faithfulness_steps
                if wanted.is_reference or steps:
                    found = sight.localize(target)
                    self._note(found, slide)
                    overlap: dict[str, float] = {}
                    for name, heatmap in found.heatmaps.items():
                        value = meters[name].update(
                            heatmap, wanted, name=target, image=number
                        )
                        if value is not None:
                            overlap[name] = value
                        if steps:
                            meters[name].faithful(sight.faithful(heatmap, steps))
                    case = replace(case, overlap=overlap)
                cases.append(case)
        return cases

    def _note(self, found: Localization, slide: Slide) -> None:
        """Counts the images that something has to be said of."""
        # How the file was read matters to who opens it, not to the figures.
        notes = [note for note in found.notes if note not in slide.notes]
        for heatmap in found.heatmaps.values():
            notes += heatmap.notes
        for note in {item.replace(slide.name, "an image"): None for item in notes}:
            self._notes[note] = self._notes.get(note, 0) + 1

    def _wanted(self, sample: Sample, slide: Slide) -> Iterator[Wanted]:
        """What the maps of an image are compared with; at least one."""
        own = self._own_class(sample)
        target = None if self.config.target == "predicted" else own
        size = self.config.size
        grid = slide.shape if size is None else (size, size)
        boxes: dict[str, list[tuple[float, float, float, float]]] = {}
        for box in self._truth.boxes.get(sample.id, ()):
            name = box.name or own
            if name is None:
                raise DatasetError(
                    f"{box.where} says no class, and “{sample.id}” has none or "
                    "several. Add a column “class”."
                )
            if name in self.model.classes:
                boxes.setdefault(name, []).append(box.on(slide.shape, grid))
        reference = self._truth.masks.get(sample.id)
        if boxes:
            for name, found in boxes.items():
                place = name if target is not None or own is None else None
                yield Wanted(target=place, grid=grid, boxes=np.array(found))
        elif reference is not None and own is not None:
            mask, ignore = reference.mask(), reference.ignore()
            grid = mask.shape if size is None else grid
            yield Wanted(
                target=target,
                grid=grid,
                mask=squash(mask, grid),
                ignore=None if ignore is None else squash(ignore, grid),
            )
        else:
            yield Wanted(target=target, grid=grid)

    def _own_class(self, sample: Sample) -> str | None:
        """The class of an image that has exactly one."""
        if sum(sample.labels) != 1:
            return None
        return self.model.classes[sample.labels.index(1)]

    def _report(
        self,
        meters: dict[str, MapMeters],
        labels: ClassificationMeter,
        cases: list[Case],
    ) -> Report:
        card = self.model.card
        draw = Bootstrap(samples=self.config.bootstrap, seed=self.config.seed)
        classification: dict[str, Estimate] = {}
        auc: Mapping[str, Estimate] = {}
        if labels.images:
            found = labels.value(draw)
            auc = found.auc
            if found.accuracy is not None:
                classification["accuracy"] = found.accuracy
            if found.macro_auc is not None:
                classification["macro_auc"] = found.macro_auc
        return Report(
            model=card.name if card is not None else "model",
            sha256=card.sha256 if card is not None else "",
            data=self._data.resolve().name,
            splits=self.splits,
            images=len(self._samples),
            references=sum(bool(case.overlap) for case in cases),
            kind=self.kind,
            settings=asdict(self.config),
            classification=classification,
            auc=auc,
            methods=tuple(
                item.report(name, method_title(name), draw)
                for name, item in meters.items()
            ),
            cases=tuple(cases),
            notes=tuple(self._all_notes()),
        )

    def _all_notes(self) -> Iterator[str]:
        """What a reader must know, a sentence each."""
        classes = self.model.classes
        boxes = [box for found in self._truth.boxes.values() for box in found]
        other = [box.name for box in boxes if box.name and box.name not in classes]
        if other:
            yield (
                f"{len(other)} of {len(boxes)} boxes are of classes that the model "
                f"does not know and were left out: {', '.join(sorted(set(other)))}."
            )
        if self.config.target == "predicted":
            yield "Maps are of the predicted class, right or wrong."
        for note, count in self._notes.items():
            yield f"{note} ({count} of {len(self._samples)} images)"

    def picture(self, report: Report) -> Image.Image:
        """The worst, the median and the best case of the model's own method.

        Args:
            report: what ``run`` gave.

        Raises:
            WsolError: an image cannot be read any more.
        """
        samples = {sample.id: sample for sample in self._samples}
        panels = [
            self._panel(title, case, samples[case.id])
            for title, case in chosen_cases(report.cases, self.primary)
        ]
        title = (
            f"{report.model}: {method_title(self.primary)}, cut at "
            f"{self.config.threshold:g}"
        )
        return draw_panels(panels, title)

    def _panel(self, title: str, case: Case, sample: Sample) -> Panel:
        with closing(open_slide(sample.path)) as slide:
            references = list(self._wanted(sample, slide))
            wanted = next(
                (item for item in references if item.target == case.target),
                references[0],
            )
            found = localize(
                self.model, slide, [self.primary], case.target, mpp=self.config.mpp
            )
            downsample = max(slide.shape) / PANEL_SIDE
            shape = region_shape(slide.shape, downsample)
            area = wanted.area()
            overlap = case.overlap.get(self.primary)
            measured = (
                f"p = {case.probability:.2f}"
                if overlap is None
                else f"IoU {overlap:.2f}, p = {case.probability:.2f}"
            )
            return Panel(
                image=read_region(slide, 0, 0, *shape, downsample),
                scores=found.heatmaps[self.primary].resized(shape),
                area=None if area is None else squash(area, shape),
                threshold=self.config.threshold,
                lines=(title, measured, case.target, Path(case.id).name),
            )
