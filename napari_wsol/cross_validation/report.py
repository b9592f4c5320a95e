"""What a cross-validation found, as JSON and as Markdown tables."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from napari_wsol.evaluation.report import UNITS, shown, title_of
from napari_wsol.export.table import markdown_lines
from napari_wsol.training.summary import spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_wsol.evaluation.bootstrap import Estimate
    from napari_wsol.evaluation.report import ModelReport

FORMAT = "napari-wsol cross-validation 1"

Spread = dict[str, dict[str, dict[str, object]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldReport:
    """One fold.

    Attributes:
        number: from 1.
        learnt: how many images the model learnt from.
        held_out: the group of each image that was measured, by the image's id.
        model: the model's folder, from that of the cross-validation.
        report: figures of the held-out images.
    """

    number: int
    learnt: int
    held_out: Mapping[str, str]
    model: str
    report: ModelReport


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidationReport:
    """What a cross-validation found.

    Attributes:
        plan: what it was made of: recipe and initial weights by their sha256, data,
            grouping, seed and the folds.
        folds: in order.
        pooled: figures of all images, each measured by the model that held it out.
        accuracy_by_group: the pooled accuracy, its interval drawn from whole groups;
            None where images have no one class or the model does not classify.
        notes: what a reader must know, a sentence each.
    """

    plan: Mapping[str, object]
    folds: tuple[FoldReport, ...]
    pooled: ModelReport
    accuracy_by_group: Estimate | None
    notes: tuple[str, ...]

    @property
    def spread(self) -> Spread:
        """Mean and spread over folds of every figure, by section and name.

        "classification", "auc" and each method are the sections. "folds" says which
        folds have the figure: one without a class has no ROC curve of it.
        """
        found: Spread = {}
        for section, figures in _sections(self.pooled).items():
            for name in figures:
                values = self._values(section, name)
                if values:
                    figure = spread(list(values.values())) | {"folds": list(values)}
                    found.setdefault(section, {})[name] = figure
        return found

    def _values(self, section: str, name: str) -> dict[int, float]:
        every = {fold.number: _sections(fold.report) for fold in self.folds}
        return {
            number: sections[section][name].value
            for number, sections in every.items()
            if name in sections.get(section, {})
        }

    def to_json(self) -> str:
        """Everything, as a text that starts with its format."""
        folds = [
            {
                "fold": fold.number,
                "model": fold.model,
                "sha256": fold.report.sha256,
                "images_learnt_from": fold.learnt,
                "held_out": dict(fold.held_out),
                "notes": list(fold.report.notes),
                "figures": _plain(fold.report),
            }
            for fold in self.folds
        ]
        stored = {
            "format": FORMAT,
            **self.plan,
            "notes": self.notes,
            "folds": folds,
            "spread": self.spread,
            "accuracy_by_group": self.accuracy_by_group
            and asdict(self.accuracy_by_group),
            "pooled": asdict(self.pooled),
        }
        return json.dumps(stored, indent=1) + "\n"

    def to_markdown(self) -> str:
        """Tables for people."""
        lines = [f"# {self.pooled.model}: cross-validation", "", self.headline(), ""]
        lines += markdown_lines(self.tables())
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def headline(self) -> str:
        """What was done, in a few sentences."""
        groups = {group for fold in self.folds for group in fold.held_out.values()}
        text = (
            f"{self.pooled.images} images of {len(groups)} groups in "
            f"{len(self.folds)} folds; no group is on both sides of a fold. Each image "
            "was measured by the model that had held it out. Deviations are those of "
            "the folds as a sample. "
        )
        text += "All images together: " + self.pooled.headline()
        if self.accuracy_by_group is not None:
            value = shown("accuracy", self.accuracy_by_group)
            text += f" Accuracy in %, whole groups drawn: {value}."
        return text

    def tables(self) -> Iterator[tuple[str, list[str], list[list[str]]]]:
        """Title, columns and rows of each table; a row starts with its name."""
        columns = [f"fold {fold.number}" for fold in self.folds]
        columns += ["mean ± deviation", "all images"]
        yield "Images", columns, list(self._sizes())
        every = self.spread
        titles = {item.name: item.title for item in self.pooled.methods}
        for section, figures in _sections(self.pooled).items():
            rows = [
                self._row(section, name, estimate, every)
                for name, estimate in _ordered(figures)
            ]
            yield titles.get(section, _TITLES.get(section, section)), columns, rows

    def _sizes(self) -> Iterator[list[str]]:
        held = [len(fold.held_out) for fold in self.folds]
        groups = [sorted(set(fold.held_out.values())) for fold in self.folds]
        yield ["Learnt from", *(str(fold.learnt) for fold in self.folds), "–", "–"]
        yield ["Held out", *map(str, held), "–", str(sum(held))]
        counts = [len(item) for item in groups]
        yield ["Groups held out", *map(str, counts), "–", str(sum(counts))]

    def _row(
        self, section: str, name: str, estimate: Estimate, every: Spread
    ) -> list[str]:
        unit = name if section != "auc" else "macro_auc"
        digits = 1 if UNITS[unit][1] == "%" else 3
        title = f"ROC AUC {name}" if section == "auc" else title_of(name)
        values = self._values(section, name)
        cells = [
            f"{values[fold.number]:.{digits}f}" if fold.number in values else "–"
            for fold in self.folds
        ]
        figure = every.get(section, {}).get(name)
        if figure is None:
            return [title, *cells, "–", shown(unit, estimate)]
        middle, around = cast("float", figure["mean"]), cast("float", figure["std"])
        cells.append(f"{middle:.{digits}f} ± {around:.{digits}f}")
        return [title, *cells, shown(unit, estimate)]


_TITLES = {"classification": "Classification", "auc": "Classes"}


def _sections(report: ModelReport) -> dict[str, Mapping[str, Estimate]]:
    """The figures of a report by section; sections without any are left out."""
    found = {"classification": report.classification, "auc": report.auc}
    found |= {item.name: item.figures for item in report.methods}
    return {name: figures for name, figures in found.items() if figures}


def _plain(report: ModelReport) -> dict[str, dict[str, object]]:
    return {
        section: {name: asdict(item) for name, item in figures.items()}
        for section, figures in _sections(report).items()
    }


def _ordered(figures: Mapping[str, Estimate]) -> Sequence[tuple[str, Estimate]]:
    """In the order of every other table."""
    order = {name: place for place, name in enumerate(UNITS)}
    return sorted(figures.items(), key=lambda item: order.get(item[0], len(order)))
