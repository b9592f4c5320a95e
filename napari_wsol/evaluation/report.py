"""What an evaluation found, as JSON and as a Markdown table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping  # noqa: TC003 - reports are read by their types
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from napari_wsol.evaluation.bootstrap import Estimate  # noqa: TC001
from napari_wsol.export.table import markdown_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = "napari-wsol evaluation 1"

UNITS: Mapping[str, tuple[str, str]] = {
    "accuracy": ("Accuracy", "%"),
    "macro_auc": ("ROC AUC, mean of classes", ""),
    "group_macro_auc": ("ROC AUC by group or patient, mean of classes", ""),
    "pxap": ("PxAP", "%"),
    "best_mean_iou": ("Mean IoU, pooled, best cut", ""),
    "best_dice": ("Dice, pooled, best cut", ""),
    "best_iou": ("IoU, pooled, best cut", ""),
    "best_image_iou": ("IoU, mean of images, best cut", ""),
    "best_image_dice": ("Dice, mean of images, best cut", ""),
    "pooled_mean_iou": ("Mean IoU, pooled, given cut", ""),
    "pooled_dice": ("Dice, pooled, given cut", ""),
    "pooled_iou": ("IoU, pooled, given cut", ""),
    "image_iou": ("IoU, mean of images, given cut", ""),
    "image_dice": ("Dice, mean of images, given cut", ""),
    "pointing_game": ("Pointing game", ""),
    "point_localization": ("Point localization (PYLON)", ""),
    "iobb_0.1": ("IoBB or IoU > 0.1 (PYLON)", ""),
    "iobb_0.25": ("IoBB or IoU > 0.25 (PYLON)", ""),
    "iobb_0.5": ("IoBB or IoU > 0.5 (PYLON)", ""),
    "region_iobb_0.5": ("Localization, IoBB > 0.5 (PCAM)", ""),
    "region_false_positives": ("False positives an image (PCAM)", ""),
    "max_box_acc": ("MaxBoxAcc, IoU 0.5", "%"),
    "max_box_acc_v2": ("MaxBoxAccV2", "%"),
    "insertion": ("Insertion AUC", ""),
    "deletion": ("Deletion AUC (low is good)", ""),
    "road": ("ROAD", ""),
    "flipping": ("Patch flipping (SRG)", ""),
    "flipping_random": ("… of tiles in a random order", ""),
    "sanity_heads": ("Rank correlation, other heads", ""),
    "sanity_last_stage": ("… and other last stage", ""),
    "sanity_encoder": ("… and other encoder", ""),
}
"""What each figure is called in a table, and its unit; others are shares, 0 to 1."""
LOW_IS_GOOD = {"region_false_positives", "deletion"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodReport:
    """Figures of one method.

    Attributes:
        name: of the method.
        title: for people.
        figures: by name; see ``UNITS``.
        best_threshold: where the pooled mean IoU is best; None without masks.
        sanity: its figures of that name without their intervals, by what was drawn.
        per_class: figures of single classes, by figure and class.
    """

    name: str
    title: str
    figures: Mapping[str, Estimate]
    best_threshold: float | None = None
    sanity: Mapping[str, float] = field(default_factory=dict[str, float])
    per_class: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, "Mapping[str, float]"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One image, or one class of an image.

    Attributes:
        id: as the data set lists it.
        target: the class whose maps were compared.
        predicted: the most probable class.
        probability: of ``target``.
        overlap: for each method the IoU with the mask or with the boxes' area, at the
            given threshold; empty where there is neither.
    """

    id: str
    target: str
    predicted: str
    probability: float
    overlap: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReport:
    """What an evaluation found.

    Attributes:
        model: its name.
        sha256: of its weights; empty where it has no card.
        data: name of the data set's folder.
        splits: names of the splits, where some were chosen.
        images: how many.
        references: how many masks, or pairs of an image and a class with boxes.
        kind: "masks", "boxes" or "labels".
        settings: as they were asked for.
        classification: figures of the image's classes; empty where the model does not
            classify.
        auc: ROC AUC of each class.
        methods: figures of each method.
        cases: figures of each image.
        failed: why an image could not be used, by its id.
        notes: what a reader must know, a sentence each.
    """

    model: str
    sha256: str
    data: str
    splits: tuple[str, ...]
    images: int
    references: int
    kind: str
    settings: Mapping[str, object]
    classification: Mapping[str, Estimate]
    auc: Mapping[str, Estimate]
    methods: tuple[MethodReport, ...]
    cases: tuple[Case, ...]
    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Everything, as a text that starts with its format."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"

    def to_markdown(self) -> str:
        """Tables for people."""
        where = ", ".join((self.data, *self.splits))
        lines = [f"# {self.model} on {where}", "", self.headline(), ""]
        lines += markdown_lines(self.tables())
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines).rstrip() + "\n"

    def headline(self) -> str:
        """What was compared, in a sentence or two."""
        compared = {
            "masks": f"{self.references} masks",
            "boxes": f"{self.references} pairs of an image and a class with boxes",
            "labels": "labels of whole images only",
        }[self.kind]
        text = f"{self.images} images, {compared}."
        if self.kind == "masks":
            text += (
                f" Given cut: {self.settings['threshold']:g}; best cut: where the "
                "pooled mean IoU of foreground and background is best."
            )
        if self.settings.get("bootstrap"):
            text += (
                " In brackets: 95 % bootstrap intervals over the images "
                f"({self.settings['bootstrap']} draws)."
            )
        return text

    def tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Title, columns and rows of each table; a row starts with its name."""
        rows = [
            [title_of(name), shown(name, item)]
            for name, item in self.classification.items()
        ]
        rows += [
            [f"ROC AUC {name}", shown("macro_auc", item)]
            for name, item in self.auc.items()
        ]
        if rows:
            yield "Classification", ["value"], rows
        found = {name for item in self.methods for name in item.figures}
        if not found:
            return
        rows = [
            [
                title_of(name),
                *(shown(name, item.figures.get(name)) for item in self.methods),
            ]
            for name in UNITS
            if name in found
        ]
        if any(item.best_threshold is not None for item in self.methods):
            best = [f"{item.best_threshold:.3f}" for item in self.methods]
            rows.append(["Best cut", *best])
        yield "Localization", [item.title for item in self.methods], rows
        yield from self._class_tables()

    def _class_tables(
        self,
    ) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """How single classes fare; their names with the number of references."""
        counts = Counter(case.target for case in self.cases if case.overlap)
        kinds = {key for item in self.methods for key in item.per_class}
        for kind in (name for name in UNITS if name in kinds):
            classes = sorted({n for item in self.methods for n in item.per_class[kind]})
            if len(classes) < 2:
                continue
            rows = [
                [
                    f"{name} ({counts[name]})",
                    *(f"{item.per_class[kind][name]:.3f}" for item in self.methods),
                ]
                for name in classes
            ]
            yield title_of(kind), [item.title for item in self.methods], rows


def title_of(name: str) -> str:
    """What a figure is called, with its unit."""
    title, unit = UNITS[name]
    return f"{title} ({unit})" if unit else title


def shown(name: str, estimate: Estimate | None) -> str:
    """A figure with its interval: “81.6 (79.9–83.0)”."""
    if estimate is None:
        return "–"
    digits = 1 if UNITS[name][1] == "%" else 3
    text = f"{estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} ({estimate.low:.{digits}f}–{estimate.high:.{digits}f})"


def chosen_cases(cases: Sequence[Case], method: str) -> list[tuple[str, Case]]:
    """The worst, median and best case of a method, named; fewer of few cases.

    By overlap with the reference, or without one by the class's probability.
    """

    def value(case: Case) -> float:
        return case.overlap.get(method, case.probability)

    # Where some images have a reference, those without one are no cases.
    compared = [case for case in cases if method in case.overlap] or list(cases)
    order = sorted(compared, key=value)
    places = {"worst": 0, "median": (len(order) - 1) // 2, "best": len(order) - 1}
    picked: dict[int, str] = {}
    for name, place in places.items():
        picked.setdefault(place, name)
    return [(name, order[place]) for place, name in picked.items()] if order else []
