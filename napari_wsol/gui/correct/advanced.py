"""How strokes are learnt, as a form that is made from the settings' own fields."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QGridLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_wsol.config import FinetuneConfig
from napari_wsol.errors import ConfigError
from napari_wsol.gui.widgets.panel import Choice, Fold, Words

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLD = "Advanced"
LARGEST = 1_000_000

COARSE = 5
"""From this step on, digits after the point say nothing."""


@dataclass(frozen=True, slots=True)
class Option:
    """How a setting is offered.

    Attributes:
        words: in front of it.
        tip: what it does for a person.
        lowest, highest, step: of a number.
        decimals: of a number that is not whole; as the step needs it by default.
        choices: words for each value of a few.
    """

    words: str
    tip: str
    lowest: float = 0
    highest: float = LARGEST
    step: float = 1
    decimals: int | None = None
    choices: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


OPTIONS: Mapping[str, Option] = {
    "steps": Option(
        "steps at most",
        "How long a round may think. It stops by itself when nothing gets better.",
        1,
        10_000,
        10,
    ),
    "prior": Option(
        "trust in the model",
        "How strongly the model holds on to what it knew. With less, few strokes move "
        "the map far; with more, many are needed. 0 forgets the model.",
        0,
        100,
        0.25,
    ),
    "max_pixels": Option(
        "pixels of each kind",
        "So many pixels of the strokes are learnt from; longer strokes are thinned "
        "evenly. More are slower.",
        1,
        LARGEST,
        500,
    ),
    "others": Option(
        "other images",
        "How much the strokes of all other images of the list count together: 1 as "
        "much as those of this image, 0 not at all.",
        0,
        100,
        0.25,
    ),
    "local": Option(
        "also correct where strokes are",
        "Strokes correct the map around them too, beside teaching what to look for "
        "everywhere.",
    ),
    "reach": Option(
        "reach of a stroke (px)",
        "How far a stroke corrects around itself, in pixels as the model sees them.",
        1,
        2_000,
        10,
    ),
    "balanced": Option(
        "the rarer kind weighs more",
        "Where much more of one kind is marked than of the other, each place of the "
        "rarer kind weighs more, so that long strokes do not outvote short ones.",
    ),
    "head": Option(
        "what is learnt",
        "A linear correction is exact, and can be saved for other images. A small "
        "network can learn what no straight line divides, but few strokes lead it "
        "astray more easily; it stays with this image.",
        choices={"linear": "linear", "mlp": "network"},
    ),
    "encoder": Option(
        "encoder",
        "Whether the strokes also teach the last stage of the network that reads the "
        "image. It is for images that the model cannot tell apart at all, with many "
        "strokes on them. A round takes seconds, on a large image a minute, and other "
        "images teach nothing. Not on slides.",
        choices={"frozen": "frozen", "last_stage": "last stage"},
    ),
    "learning_rate": Option(
        "learning rate of the encoder",
        "How large the steps are in which the encoder's last stage learns. Where a "
        "round makes the map wild, take less. It matters only where the encoder "
        "learns.",
        0,
        1,
        0.00001,
        decimals=6,
    ),
    "edges": Option(
        "edges of the map",
        "Whether the map is smoothed along the edges of the image: specks go, and "
        "outlines follow what is seen. Not on slides.",
        choices={"none": "as learnt", "guided": "smoothed"},
    ),
    "propagate": Option(
        "strokes spread over alike surroundings",
        "A stroke also marks, with less weight, the small patch of one colour that it "
        "lies on, unless strokes of the other kind lie there too. Not on slides.",
    ),
}
"""Words for the settings that are known here; any other speaks for itself."""


class Advanced(QWidget):
    """A line that opens a form; every change is told as new settings."""

    changed = Signal(object)
    """A :class:`FinetuneConfig`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._settings = FinetuneConfig()
        self.inputs: dict[str, QWidget] = {}
        content = QWidget()
        inner = QVBoxLayout(content)
        inner.setContentsMargins(12, 2, 0, 4)
        inner.setSpacing(4)
        grid = QGridLayout()
        grid.setColumnStretch(0, 1)
        for row, (name, kind) in enumerate(get_type_hints(FinetuneConfig).items()):
            self._add(grid, row, name, kind)
        inner.addLayout(grid)
        self.problem = Words()
        self.problem.hide()
        inner.addWidget(self.problem)
        self.defaults_button = QPushButton("Back to defaults")
        self.defaults_button.setToolTip("Learn from strokes as it was meant again.")
        self.defaults_button.clicked.connect(self._on_defaults)
        inner.addWidget(self.defaults_button)
        self.fold = Fold(FOLD, content)
        self.fold.setToolTip("How strokes are learnt, in every round from now on.")
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(2)
        rows.addWidget(self.fold)
        rows.addWidget(content)
        self.show_settings(self._settings)

    @property
    def settings(self) -> FinetuneConfig:
        """What is shown."""
        return self._settings

    def show_settings(self, settings: FinetuneConfig) -> None:
        """Follow settings that were chosen elsewhere."""
        self._settings = settings
        self.problem.hide()
        for name, widget in self.inputs.items():
            blocker = QSignalBlocker(widget)
            put(widget, getattr(settings, name))
            del blocker
        is_default = settings == FinetuneConfig()
        self.defaults_button.setEnabled(not is_default)
        self.fold.say(FOLD if is_default else f"{FOLD} · changed")

    def _add(self, grid: QGridLayout, row: int, name: str, kind: object) -> None:
        option = OPTIONS.get(name) or Option(name.replace("_", " "), meaning(name))
        widget = input_for(kind, option)
        if widget is None:
            return  # a setting that is more than one value
        widget.setToolTip(option.tip)
        changed = getattr(widget, "toggled", None) or getattr(
            widget, "activated", getattr(widget, "valueChanged", None)
        )
        changed.connect(self._on_changed)
        self.inputs[name] = widget
        if isinstance(widget, QCheckBox):
            grid.addWidget(widget, row, 0, 1, 2)
            return
        label = QLabel(option.words)
        label.setToolTip(option.tip)
        label.setBuddy(widget)
        grid.addWidget(label, row, 0)
        grid.addWidget(widget, row, 1)

    def _on_changed(self, value: object = None) -> None:
        del value
        values = {name: taken(widget) for name, widget in self.inputs.items()}
        try:
            settings = replace(self._settings, **values)
        except ConfigError as error:
            self.problem.setText(str(error))
            self.problem.show()
            return
        self.show_settings(settings)
        self.changed.emit(settings)

    def _on_defaults(self) -> None:
        self.show_settings(FinetuneConfig())
        self.changed.emit(self._settings)


def input_for(kind: object, option: Option) -> QWidget | None:
    """A widget for a value of a type; None for types that have no widget."""
    if get_origin(kind) is Literal:
        box = Choice()
        for value in get_args(kind):
            words = option.choices.get(value, str(value).replace("_", " "))
            box.addItem(words, value)
        return box
    if kind is bool:
        return QCheckBox(option.words)
    if kind not in (int, float):
        return None
    number = QSpinBox() if kind is int else QDoubleSpinBox()
    cast: Any = kind
    if isinstance(number, QDoubleSpinBox) and option.decimals is not None:
        number.setDecimals(option.decimals)
    number.setRange(cast(option.lowest), cast(option.highest))
    number.setSingleStep(cast(option.step))
    number.setKeyboardTracking(False)
    number.setFixedWidth(96)
    if isinstance(number, QDoubleSpinBox) and option.step >= COARSE:
        number.setDecimals(0)  # more only where a value has more
    return number


def put(widget: QWidget, value: Any) -> None:  # noqa: ANN401 - whatever the field holds
    """Show a value."""
    if isinstance(widget, QCheckBox):
        widget.setChecked(value)
    elif isinstance(widget, Choice):
        widget.setCurrentIndex(widget.findData(value))
    else:
        if isinstance(widget, QDoubleSpinBox):
            widget.setDecimals(digits(value, widget.decimals()))
        widget.setValue(value)


def taken(widget: QWidget) -> object:
    """The value that is shown."""
    if isinstance(widget, QCheckBox):
        return widget.isChecked()
    if isinstance(widget, Choice):
        return widget.currentData()
    return widget.value()


def digits(value: float, least: int) -> int:
    """Digits after the point that show a value as it is."""
    written = f"{value:.10f}".rstrip("0").partition(".")[2]
    return max(least, len(written))


def meaning(name: str) -> str:
    """What the settings' docstring says of a field."""
    found = re.search(
        rf"^ +{name}: (.*?)(?=^ +\w+: |^\s*$|\Z)",
        FinetuneConfig.__doc__ or "",
        re.DOTALL | re.MULTILINE,
    )
    words = " ".join(found[1].split()) if found else name.replace("_", " ")
    return words[:1].upper() + words[1:]
