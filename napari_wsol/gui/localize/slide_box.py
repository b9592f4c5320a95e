"""How a slide, or what else takes long, is read, and what it will cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QWidget
from superqt.utils import signals_blocked

from napari_wsol.config import LEAST_MEMORY
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import counted, grouped
from napari_wsol.gui.widgets.panel import fill_column, held, push_button, row
from napari_wsol.jobs import duration

if TYPE_CHECKING:
    from qtpy.QtWidgets import QPushButton

    from napari_wsol.slides.cost import Cost
    from napari_wsol.slides.plan import SlidePlan

GIGABYTE = 1e9

POWERS = ((40, 0.25), (20, 0.5), (10, 1.0))
"""Objective → µm a pixel, as scanners have it, give or take a tenth."""


class SlideBox(QWidget):
    """One line on the image, with *Estimate* and *Tissue…*; hidden for small ones."""

    mpp_chosen = Signal(float)
    memory_chosen = Signal(object)
    """Bytes that images may take."""

    def __init__(self) -> None:
        super().__init__()
        self.words = Words(lines=2)
        self.cost = Words(lines=2)
        self.cost.hide()
        self.estimate_button = push_button(
            "Estimate",
            "Times three tiles and says how long the image will take, and how much "
            "disk. The three are kept.",
        )
        self.tissue_button = push_button(
            "Tissue…",
            "Shows where tissue was found, to be corrected by brush. A slide is read "
            "there only; a smaller image, there first. Delete the layer, and the "
            "tissue is found without you again.",
        )
        self.memory = QDoubleSpinBox()
        self.memory.setRange(LEAST_MEMORY / GIGABYTE, 512.0)
        self.memory.setSingleStep(0.5)
        self.memory.setDecimals(1)
        self.memory.setSuffix(" GB")
        self.memory.setKeyboardTracking(False)
        self.memory.setToolTip(
            "How much memory images may take: features, maps and decoded tiles, of all "
            "images together. What does not fit goes to the disk and comes back. "
            "Remembered; it counts from the next slide that is localized."
        )
        self.memory.valueChanged.connect(self._on_memory)
        self.power_buttons: dict[int, QPushButton] = {}
        for power, mpp in POWERS:
            tip = f"About {mpp:g} µm a pixel. The answer is remembered for this slide."
            button = self.power_buttons[power] = push_button(f"{power}×", tip)
            button.clicked.connect(lambda _=False, size=mpp: self.mpp_chosen.emit(size))
        self._powers = held(
            row("Scanned at", *self.power_buttons.values(), None, spacing=6)
        )
        self._powers.hide()
        fill_column(
            self,
            self.words,
            self._powers,
            row(self.estimate_button, self.tissue_button, stretch=(0, 1), spacing=6),
            self.cost,
            row("Memory up to", self.memory, None, spacing=6),
            spacing=3,
        )
        self.hide()

    def show_memory(self, count: int) -> None:
        """The budget in bytes."""
        with signals_blocked(self.memory):
            self.memory.setValue(count / GIGABYTE)

    def _on_memory(self, amount: float) -> None:
        self.memory_chosen.emit(round(amount * GIGABYTE))

    def show_slide(self, words: str, *, knows_size: bool) -> None:
        """Say what it is; ask for the objective where the pixel size is not known."""
        self.words.setText(words)
        self._powers.setVisible(not knows_size)
        self.show()

    def show_cost(self, cost: Cost | None) -> None:
        """What is left to be done will take; None takes the words away."""
        if cost is not None:
            self.cost.setText(cost_words(cost))
            self.cost.setToolTip(memory_words(cost))
        self.cost.setVisible(cost is not None)

    def set_ready(self, ready: bool) -> None:
        """Whether Estimate and Tissue can be pressed: not while a job runs."""
        self.estimate_button.setEnabled(ready)
        self.tissue_button.setEnabled(ready)


def slide_words(plan: SlidePlan, mpp: float | None) -> str:
    """“1 030 tiles of tissue, read at 0.5 µm a pixel”."""
    at = "as if its pixels fitted the model"
    if mpp is not None:
        at = f"at {mpp:.3g} µm a pixel"
    if plan.last is None:
        return f"Slide: {counted(plan.count, 'tile')} of tissue, read {at}."
    tissue = plan.count - int(np.count_nonzero(plan.last & plan.wanted))
    return (
        f"Large image: {counted(plan.count, 'tile')}, the {grouped(tissue)} with "
        f"tissue first, read {at}."
    )


def cost_words(cost: Cost) -> str:
    """“412 tiles left · about 14 min · 60 MB on disk · 24 MB of memory a tile”."""
    if cost.tiles == 0:
        return "All tiles are finished already: Localize shows them."
    parts = [f"{counted(cost.tiles, 'tile')} left", f"about {duration(cost.seconds)}"]
    if cost.disk_bytes:
        parts.append(f"{size_words(cost.disk_bytes)} on disk")
    return " · ".join([*parts, f"{size_words(cost.memory_bytes)} of memory a tile"])


def memory_words(cost: Cost) -> str:
    """What the figure for memory leaves out."""
    return (
        f"{cost_words(cost)}. The memory is that of a tile's pixels and output; the "
        "network's own layers take several times as much while it runs. It does not "
        "grow with the slide."
    )


def size_words(count: float) -> str:
    """“60 MB”, “1.2 GB”."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            amount = count / size
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{count:.0f} bytes"
