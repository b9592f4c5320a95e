"""The images that are worked on: which there are, how far each is, the score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView
from superqt.utils import signals_blocked

from napari_wsol.gui.compat import needed
from napari_wsol.gui.images.list_model import NAME, STATUS, ImageListModel
from napari_wsol.gui.widgets.charts import Sparkline
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import grouped
from napari_wsol.gui.widgets.panel import Panel, push_button, put, row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QModelIndex

    from napari_wsol.refinement.samples import Score
    from napari_wsol.session.other_images import Scored
    from napari_wsol.worklist.items import WorkList

ROWS = 7
"""Rows that are seen at once."""

NEXT, BEFORE, UNTOUCHED = "N", "Shift+N", "U"
"""Keys."""


class ImageList(Panel):
    """A list of images with coloured dots; hidden where there is one image only."""

    row_wanted = Signal(int)
    step_wanted = Signal(int)
    aside_wanted = Signal(int, bool)

    def __init__(self) -> None:
        super().__init__("Images", "The images of a folder, one after the other.")
        self.model = ImageListModel()
        self.summary = Words(lines=2, keeps=True)
        self._build_table()
        self._build_buttons()
        self.score_words = Words(lines=2, keeps=True)
        self.score_words.setToolTip(
            "Strokes on images that are set aside teach nothing: they tell how right "
            "the model is on images that it has not learnt from. Balanced accuracy "
            "over strokes, the mean over images."
        )
        self.score_curve = Sparkline(
            "The score on images that are set aside after each round, between the "
            "line of chance (0.5) and 1.",
            "#009e73",
            empty="The score of each round is drawn here.",
            chance=0.5,
        )
        put(
            self.rows,
            self.summary,
            self.table,
            row(
                self.before_button,
                self.next_button,
                self.untouched_button,
                stretch=(1, 2),
                spacing=6,
            ),
            row(self.reviewed_button, self.aside_button, stretch=(0, 1), spacing=6),
            self.score_words,
            self.score_curve,
        )
        for changed in (self.model.dataChanged, self.model.modelReset):
            changed.connect(self._on_changed)
        self.show_list(None)

    def _build_table(self) -> None:
        table = self.table = QTableView()
        table.setModel(self.model)
        header = needed(table.horizontalHeader())
        beside = needed(table.verticalHeader())
        header.hide()
        beside.hide()
        table.setShowGrid(False)
        table.setWordWrap(False)
        table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header.setMinimumSectionSize(20)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(STATUS, QHeaderView.ResizeMode.ResizeToContents)
        header.setResizeContentsPrecision(0)  # of the rows that are seen
        high = table.fontMetrics().height() + 7
        beside.setDefaultSectionSize(high)
        beside.setMinimumSectionSize(high)
        table.setToolTip("Click an image to work on it.")
        table.clicked.connect(self._on_clicked)
        table.activated.connect(self._on_clicked)
        self._selection = needed(table.selectionModel())
        self._selection.currentRowChanged.connect(self._show_marks)

    def _build_buttons(self) -> None:
        self.before_button = push_button("◀  ⇧N", "The image before. Key: Shift+N.")
        self.next_button = push_button("Next  N  ▶", "The next image. Key: N.")
        self.untouched_button = push_button(
            "Next untouched  U", "The next image that nothing was drawn on yet. Key: U."
        )
        self.before_button.clicked.connect(lambda: self.step_wanted.emit(-1))
        self.next_button.clicked.connect(lambda: self.step_wanted.emit(1))
        self.reviewed_button = push_button(
            "Reviewed ✓",
            "You have looked at this image and its map is right. A new stroke takes "
            "the mark off.",
            checkable=True,
        )
        self.aside_button = push_button(
            "Set aside",
            "Keep the chosen image for scoring: nothing is ever learnt from its "
            "strokes. Five images with three strokes of each kind tell something.",
            checkable=True,
        )
        self.aside_button.clicked.connect(self._on_aside)

    @property
    def chosen(self) -> int | None:
        """The row that is chosen, which need not be open."""
        index = self._selection.currentIndex()
        return index.row() if index.isValid() else None

    def show_list(self, worklist: WorkList | None) -> None:
        """Show another list, or hide where there is none."""
        self.model.show_list(worklist)
        count = 0 if worklist is None else len(worklist)
        self.setVisible(count > 1)
        table = self.table
        high = needed(table.verticalHeader()).defaultSectionSize()
        table.setFixedHeight(high * min(max(count, 2), ROWS) + 2 * table.frameWidth())
        self.show_scores(())
        if worklist is not None and worklist.current is not None:
            self.choose(worklist.current)

    def choose(self, row: int) -> None:
        """Mark a row and scroll to it; nothing is opened."""
        index = self.model.index(row, NAME)
        self.table.setCurrentIndex(index)
        self.table.scrollTo(index)

    def show_scores(self, scores: Sequence[Scored]) -> None:
        """The score of the images that are set aside, and how it went."""
        worklist = self.model.worklist
        aside = 0 if worklist is None else len(worklist.held_out)
        self.score_words.setText(
            score_words(scores[-1].score if scores else None, aside)
        )
        self.score_words.setVisible(bool(aside))
        values = [x.score.value for x in scores if x.score.value is not None]
        self.score_curve.show_values(values)
        self.score_curve.setVisible(bool(aside))

    def _on_changed(self) -> None:
        if self.model.worklist is not None:
            self.summary.setText(list_words(self.model.worklist))
            self._show_marks()

    def _show_marks(self) -> None:
        """The buttons say what holds of the open and of the chosen image."""
        worklist, chosen = self.model.worklist, self.chosen
        if worklist is None:
            return
        current = worklist.current
        is_open = current is not None
        self.reviewed_button.setEnabled(is_open)
        self.aside_button.setEnabled(chosen is not None)
        is_reviewed = is_open and worklist[current].status == "reviewed"
        is_aside = chosen is not None and worklist[chosen].set_aside
        for button, on in (
            (self.reviewed_button, is_reviewed),
            (self.aside_button, is_aside),
        ):
            with signals_blocked(button):
                button.setChecked(on)
        self.before_button.setEnabled(worklist.after(current, -1) is not None)
        self.next_button.setEnabled(worklist.after(current) is not None)
        self.untouched_button.setEnabled(worklist.next_untouched(current) is not None)

    def _on_clicked(self, index: QModelIndex) -> None:
        self.row_wanted.emit(index.row())

    def _on_aside(self, aside: bool) -> None:
        if self.chosen is not None:
            self.aside_wanted.emit(self.chosen, aside)


def list_words(worklist: WorkList) -> str:
    """“60 images · 3 reviewed, 4 refined, 5 stroked · 5 set aside”."""
    counts, aside = worklist.counts, len(worklist.held_out)
    done = [
        f"{grouped(counts[status])} {status}"
        for status in ("reviewed", "refined", "stroked")
        if counts[status]
    ]
    parts = (
        [f"{grouped(len(worklist))} images"],
        done or ["all untouched"],
        [f"{grouped(aside)} set aside"] if aside else [],
    )
    # A number stays in the line of its word.
    whole = [[item.replace(" ", "\u00a0") for item in part] for part in parts]
    return " · ".join(", ".join(part) for part in whole if part)


def score_words(score: Score | None, aside: int) -> str:
    """“Score on 5 images set aside: 0.91”, or what is missing to tell."""
    images = f"{aside} image{'s' if aside != 1 else ''} set aside"
    if score is None:
        return f"{images}: draw strokes on them, and each round is scored."
    if score.value is None:
        return (
            f"{images}: too few strokes to tell ({score.foreground} foreground, "
            f"{score.background} background on {score.images}; three of each are "
            "needed)."
        )
    found = f"{score.images} image{'s' if score.images != 1 else ''} set aside"
    strokes = score.foreground + score.background
    return f"Score on {found}: {score.value:.2f} ({strokes} strokes)"
