"""Compare: one picture or a wall of methods, cut at equal terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDoubleSpinBox,
    QRadioButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_wsol.gui.compare.gallery import Gallery
from napari_wsol.gui.compare.probe import ProbeTable, RegionList
from napari_wsol.gui.layers.threshold import RANGES, TITLES, Threshold
from napari_wsol.gui.widgets.elided import Choice, Fold
from napari_wsol.gui.widgets.panel import Panel, add_row

if TYPE_CHECKING:
    from collections.abc import Mapping

STEPS = 1000
EMPTY = "Localize to see regions here."


class ComparePanel(Panel):
    """How evidence is looked at."""

    side_by_side_wanted = Signal(bool)
    threshold_changed = Signal(object)
    currency_wanted = Signal(str)
    contours_changed = Signal(bool)
    opacity_changed = Signal(float)
    method_changed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(
            "Compare", "See the methods over the image or side by side.", parent
        )
        self._threshold = Threshold()
        self._build_mode()
        self._build_threshold()
        self._build_looks()
        self.probe = ProbeTable()
        self.rows.addWidget(self.probe)
        self._build_regions()

    def _build_mode(self) -> None:
        self.overlay = QRadioButton("overlay")
        self.overlay.setToolTip("Evidence over the image, one method at a time.")
        self.side_by_side = QRadioButton("side by side")
        self.side_by_side.setToolTip(
            "Every method in a cell of its own; all cells move together."
        )
        self.overlay.setChecked(True)
        group = QButtonGroup(self)
        group.addButton(self.overlay)
        group.addButton(self.side_by_side)
        self.side_by_side.toggled.connect(self.side_by_side_wanted)
        add_row(self.rows, self.overlay, self.side_by_side)

    def _build_threshold(self) -> None:
        self.currency_box = Choice()
        for name, title in TITLES.items():
            self.currency_box.addItem(title, name)
        self.currency_box.setToolTip(
            "What the threshold is measured in. “Share of tissue” and “percentile” "
            "treat all methods alike; “value” is each method's own scale."
        )
        self.currency_box.activated.connect(self._on_currency)
        self.amount_box = QDoubleSpinBox()
        self.amount_box.setToolTip("The threshold as a number.")
        self.amount_box.setKeyboardTracking(False)
        self.amount_box.setFixedWidth(86)
        self.amount_box.valueChanged.connect(self._on_amount)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setToolTip("Move the threshold; the contours follow.")
        self.slider.valueChanged.connect(self._on_slider)
        add_row(self.rows, "Threshold", self.currency_box, self.amount_box, stretch=1)
        self.rows.addWidget(self.slider)
        self.show_threshold(self._threshold)

    def _build_looks(self) -> None:
        self.contours = QCheckBox("contours")
        self.contours.setChecked(True)
        self.contours.setToolTip(
            "Lines around what is above the threshold; evidence below it is hidden."
        )
        self.contours.toggled.connect(self.contours_changed)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setValue(60)
        self.opacity.setToolTip("How strongly the evidence covers the image.")
        self.opacity.valueChanged.connect(self._on_opacity)
        add_row(self.rows, self.contours, "opacity", self.opacity, stretch=2)

    def _build_regions(self) -> None:
        self.method_box = Choice()
        self.method_box.setToolTip("The method whose regions are listed, and exported.")
        self.method_box.activated.connect(self._on_method)
        self.regions = RegionList()
        content = QWidget()
        inner = QVBoxLayout(content)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        add_row(inner, "of", self.method_box, stretch=1)
        inner.addWidget(self.regions)
        self.summary = Fold(EMPTY, content)
        self.summary.setToolTip(
            "What is above the threshold. Click to list it; a click on a region flies "
            "there. Areas are in mm² where the pixel size is known, else in pixels."
        )
        self.rows.addWidget(self.summary)
        self.rows.addWidget(content)
        self.summary.setChecked(True)
        self.gallery = Gallery()
        self.rows.addWidget(self.gallery)

    @property
    def threshold(self) -> Threshold:
        """Amount and currency as they are set."""
        return self._threshold

    @property
    def method(self) -> str | None:
        """The method whose regions are listed."""
        return self.method_box.currentData()

    def show_threshold(self, threshold: Threshold) -> None:
        """Set the controls without telling anyone."""
        self._threshold = threshold
        largest = RANGES[threshold.currency]
        with signals_blocked(self.amount_box, self.slider):
            self.amount_box.setDecimals(2 if largest == 1.0 else 1)
            self.amount_box.setRange(0.0, largest)
            self.amount_box.setSingleStep(largest / 100)
            self.amount_box.setSuffix(" %" if threshold.currency == "area" else "")
            self.amount_box.setValue(threshold.amount)
            self.slider.setValue(round(threshold.amount / largest * STEPS))
            self.currency_box.setCurrentIndex(
                self.currency_box.findData(threshold.currency)
            )

    def show_methods(self, titles: Mapping[str, str]) -> None:
        """The methods that have a map, and a row for each in the table."""
        keep = self.method
        self.method_box.clear()
        for name, title in titles.items():
            self.method_box.addItem(title, name)
        self.method_box.setCurrentIndex(max(0, self.method_box.findData(keep)))
        self.probe.show_methods(list(titles.values()))

    def choose_method(self, name: str) -> None:
        """Follow a choice that was made elsewhere."""
        place = self.method_box.findData(name)
        if place >= 0:
            self.method_box.setCurrentIndex(place)

    def show_side_by_side(self, on: bool) -> None:
        """Follow napari's own grid button, without telling anyone."""
        with signals_blocked(self.side_by_side):
            (self.side_by_side if on else self.overlay).setChecked(True)

    def _on_slider(self, step: int) -> None:
        amount = step / STEPS * RANGES[self._threshold.currency]
        with signals_blocked(self.amount_box):
            self.amount_box.setValue(amount)
        self._set(amount)

    def _on_amount(self, amount: float) -> None:
        with signals_blocked(self.slider):
            self.slider.setValue(
                round(amount / RANGES[self._threshold.currency] * STEPS)
            )
        self._set(amount)

    def _set(self, amount: float) -> None:
        self._threshold = Threshold(amount, self._threshold.currency)
        self.threshold_changed.emit(self._threshold)

    def _on_currency(self) -> None:
        self.currency_wanted.emit(self.currency_box.currentData())

    def _on_opacity(self, percent: int) -> None:
        self.opacity_changed.emit(percent / 100)

    def _on_method(self) -> None:
        if self.method is not None:
            self.method_changed.emit(self.method)
