"""Compare: one picture or a wall of methods, cut at equal terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QDoubleSpinBox, QRadioButton, QWidget
from superqt.utils import signals_blocked

from napari_wsol.gui.compare.gallery import Verdict
from napari_wsol.gui.compare.probe import PinTree, ProbeTable, RegionList
from napari_wsol.gui.layers.threshold import RANGES, TITLES, Threshold
from napari_wsol.gui.widgets.elided import Choice, Fold, MethodChoice, Words
from napari_wsol.gui.widgets.panel import (
    Panel,
    check_box,
    fill_column,
    push_button,
    put,
    row,
    slider,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEPS = 1000
EMPTY = "Localize to see regions here."


class ComparePanel(Panel):
    """How evidence is looked at."""

    side_by_side_wanted = Signal(bool)
    threshold_changed = Signal(object)
    currency_wanted = Signal(str)
    opacity_changed = Signal(float)

    def __init__(self) -> None:
        super().__init__("Compare", "See the methods over the image or side by side.")
        self.threshold = Threshold()
        """Amount and currency as they are set."""
        self._build_mode()
        self._build_threshold()
        self._build_looks()
        self.probe = ProbeTable()
        self.reference_box = Choice(
            "What the maps are compared with: a Labels or Shapes layer, or a file."
        )
        self.scores_button = push_button(
            "Scores…",
            "All figures, precision-recall curves, and those of a whole list.",
        )
        chosen = row("reference", self.reference_box, self.scores_button, stretch=1)
        put(self.rows, self.probe, chosen)
        self._build_places()
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
        tip = "By PxAP or MaxBoxAcc, with a reference. By hand: drag a cell's caption."
        self.best_first = push_button("Best first", tip)
        modes = (self.overlay, self.side_by_side, None, self.best_first)
        put(self.rows, row(*modes, spacing=6))

    def _build_threshold(self) -> None:
        self.currency_box = Choice(
            "What the threshold is measured in. “Share of tissue” and “percentile” "
            "treat all methods alike; “value” is each method's own scale."
        )
        self.currency_box.offer([(title, name) for name, title in TITLES.items()])
        box = self.currency_box
        box.activated.connect(lambda: self.currency_wanted.emit(box.currentData()))
        self.amount_box = QDoubleSpinBox()
        self.amount_box.setToolTip("The threshold as a number.")
        self.amount_box.setKeyboardTracking(False)
        self.amount_box.setFixedWidth(86)
        self.amount_box.valueChanged.connect(self._on_amount)
        self.slider = slider(0, STEPS, 0, "Move the threshold; the contours follow.")
        self.slider.valueChanged.connect(self._on_slider)
        words = row(
            "Threshold", self.currency_box, self.amount_box, stretch=1, spacing=6
        )
        put(self.rows, words, self.slider)
        self.show_threshold(self.threshold)

    def _build_looks(self) -> None:
        self.contours = check_box(
            "contours",
            "Lines around what is above the threshold; evidence below it is hidden.",
            on=True,
        )
        self.opacity = slider(0, 100, 60, "How strongly the evidence covers the image.")
        self.opacity.valueChanged.connect(lambda x: self.opacity_changed.emit(x / 100))
        put(
            self.rows, row(self.contours, "opacity", self.opacity, stretch=2, spacing=6)
        )

    def _build_places(self) -> None:
        """Pinned places, and what the maps disagree on."""
        self.pins = PinTree()
        what = "the maps disagree. T walks where they do most, Shift+T back."
        less = "the map cannot tell: that of PixelCAM, or else the first."
        self.doubts = {
            role: check_box(role, f"From dark to bright, where {tip}")
            for role, tip in (("disagreement", what), ("uncertainty", less))
        }
        self.places_csv = push_button(
            "CSV…", "Save what each map says at pins, and where they disagree most."
        )
        doubts = row(*self.doubts.values(), None, self.places_csv, spacing=6)
        put(self.rows, self.pins, doubts)

    def _build_regions(self) -> None:
        self.method_box = MethodChoice(
            "The method whose regions are listed, and exported."
        )
        self.regions = RegionList()
        content = QWidget()
        fill_column(
            content, row("of", self.method_box, stretch=1, spacing=6), self.regions
        )
        self.summary = Fold(
            EMPTY,
            content,
            "What is above the threshold. Click to list it; a click on a region marks "
            "it on the image. Areas are in mm² where the pixel size is known, else in "
            "pixels.",
        )
        self.verdict = Verdict()
        self.gallery = self.verdict.galleries[0]
        self.notes = Words(lines=4)
        self.notes.setToolTip("What must be known of these maps.")
        self.notes.hide()
        put(self.rows, self.notes, self.summary, content, self.verdict)
        self.summary.setChecked(True)

    def show_threshold(self, threshold: Threshold) -> None:
        """Set the controls without telling anyone."""
        self.threshold = threshold
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
        self.method_box.show_methods(titles)
        self.probe.show_methods(list(titles.values()))

    def show_notes(self, notes: Sequence[str]) -> None:
        """What must be known of the maps that are shown."""
        self.notes.setText(" ".join(notes))
        self.notes.setVisible(bool(notes))

    def show_side_by_side(self, on: bool) -> None:
        """Follow what was decided elsewhere, without telling anyone."""
        with signals_blocked(self.side_by_side):
            (self.side_by_side if on else self.overlay).setChecked(True)

    def _on_slider(self, step: int) -> None:
        amount = step / STEPS * RANGES[self.threshold.currency]
        with signals_blocked(self.amount_box):
            self.amount_box.setValue(amount)
        self._set(amount)

    def _on_amount(self, amount: float) -> None:
        with signals_blocked(self.slider):
            self.slider.setValue(
                round(amount / RANGES[self.threshold.currency] * STEPS)
            )
        self._set(amount)

    def _set(self, amount: float) -> None:
        self.threshold = Threshold(amount, self.threshold.currency)
        self.threshold_changed.emit(self.threshold)
