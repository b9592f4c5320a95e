"""The strokes of a session: made, taken back, written down, and found again.

Strokes are changed by whoever holds the pen, on the caller's thread, and are done when
the call returns: a person must not wait for them. Their way to the disk goes over the
journal's own thread.
"""

from __future__ import annotations

import threading
from concurrent import futures
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_wsol.errors import NoImageError
from napari_wsol.journal import (
    ImageFacts,
    Redone,
    StartedAfresh,
    Store,
    StrokeMade,
    Undone,
    folded,
)
from napari_wsol.session.slides import SlideState
from napari_wsol.session.state import REFINED
from napari_wsol.strokes.canvas import Canvas
from napari_wsol.strokes.raster import Drawing, changed, pieces
from napari_wsol.strokes.stroke import StrokeList, now

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsol.images.slide import Slide
    from napari_wsol.journal import Entry, Journal, Saved, Work
    from napari_wsol.strokes.stroke import Stroke


class StrokeState(SlideState):
    """Strokes of the open image, with their journal.

    Args:
        journals: folder of the journals; True for the one in the user's data, False
            where nothing shall be written.

    Signals:
        saved_changed: a :class:`Saved`, whenever something reached the disk or failed.
        earlier_changed: no argument; an earlier work on the image was found, or the
            question what to do with it was answered.
    """

    saved_changed = Signal(object)
    earlier_changed = Signal()

    _opening: Future[Slide] | None

    def __init__(self, journals: str | Path | bool = True) -> None:
        super().__init__()
        self._pen = threading.RLock()
        self._strokes: StrokeList | None = None
        self._journal: Journal | None = None
        self._earlier: Work | None = None
        self._drawn_on = ""
        self._worked_on: set[str] = set()
        self._journals: Store | None = None
        if journals is not False:
            self._journals = Store(None if journals is True else Path(journals))

    @property
    def journals(self) -> Store | None:
        """Where journals are kept; None where nothing is written."""
        return self._journals

    @property
    def journal(self) -> Journal | None:
        """The journal of the open image."""
        return self._journal

    @property
    def strokes(self) -> tuple[Stroke, ...]:
        """The strokes that count, in the order in which they were made."""
        return self._strokes.strokes if self._strokes is not None else ()

    @property
    def stroke_counts(self) -> tuple[int, int]:
        """Strokes of foreground and background that still show."""
        return self._strokes.counts if self._strokes is not None else (0, 0)

    @property
    def stale(self) -> frozenset[str]:
        """Methods whose map is older than the last stroke."""
        shown = self._current_round()
        if self._strokes is None or REFINED not in self._heatmaps:
            return frozenset()
        numbers = tuple(stroke.number for stroke in self.strokes)
        learnt = shown.learnt_from if shown is not None else ()
        is_bare = not learnt and not self._strokes.canvas.any()
        return frozenset() if numbers == learnt or is_bare else frozenset({REFINED})

    @property
    def drawn_on(self) -> str:
        """Fingerprint of the image whose strokes these are; empty before the first."""
        return self._drawn_on

    @property
    def undo_steps(self) -> int:
        """How often :meth:`undo` takes something back."""
        return self._strokes.steps if self._strokes is not None else 0

    @property
    def can_undo(self) -> bool:
        """Whether there is a stroke to take back."""
        return self._strokes is not None and self._strokes.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether a stroke that was taken back can come again."""
        return self._strokes is not None and self._strokes.can_redo

    @property
    def earlier(self) -> Work | None:
        """Work on this image from an earlier day, while nobody said what to do."""
        return self._earlier

    @property
    def saved(self) -> Saved | None:
        """What has reached the disk; None without a journal."""
        return self._journal.saved if self._journal is not None else None

    def set_scribbles(
        self, labels: npt.ArrayLike, drawing: Drawing | None = None
    ) -> Future[None]:
        """Replaces the strokes' canvas; done when it returns, while jobs go on.

        Waits for an image that is just being opened.

        Args:
            labels: (h, w) integers on the canvas or on level 0: 0 unlabelled,
                1 background, 2 foreground. Copied.
            drawing: what it was made with: all that differs from the canvas before is
                one stroke then. Without, each connected piece that differs is one.
        """
        future: Future[None] = Future()
        try:
            if self._opening is not None:
                # An image that failed to open leaves the one before, with its canvas.
                futures.wait([self._opening])
            canvas, slide = self._need_canvas(), self._need_slide()
            checked = canvas.checked(np.asarray(labels), slide.shape)
            if drawing is not None:
                self._draw(checked, drawing)
            else:
                self._draw_pieces(checked)
        except Exception as error:  # noqa: BLE001 - a Future carries whatever went wrong
            future.set_exception(error)
            return future
        future.set_result(None)
        return future

    def put(
        self,
        part: npt.NDArray[np.bool_],
        origin: tuple[int, int],
        drawing: Drawing,
        *,
        labels: npt.NDArray[np.uint8] | None = None,
        keep: bool = False,
        resume: bool = False,
        on: str | None = None,
    ) -> Stroke | None:
        """Gives the cells of a mask a label: one stroke, whatever made the mask.

        Args:
            part: (h, w) bool on the canvas.
            origin: row and column of its first cell; what lies outside is left out.
            drawing: label and tool.
            labels: (h, w) what the cells become; the drawing's label by default.
            keep: whether cells that have a label already keep it.
            resume: whether to go on with an earlier work that nobody decided about
                yet, rather than to start afresh.
            on: fingerprint of the image that it was drawn on; where another one is
                open by now nothing is done.

        Raises:
            NoImageError: nothing is open.
            ImageError: a label is none.
        """
        with self._pen:
            if on not in (None, self._drawn_on):
                return None
            self._need_strokes()
            if resume:
                self.resume()
            self.start_afresh()  # Whoever wants earlier strokes has said so by now.
            strokes = self._need_strokes()
            stroke = changed(strokes, part, origin, drawing, labels, keep=keep)
            if stroke is not None:
                self._adopt(strokes.add(stroke), stroke)
        if stroke is not None:
            self.scribbles_changed.emit()
        return stroke

    def undo(self) -> bool:
        """Takes the last stroke, erasure or clearing back; whether there was one.

        The strokes of one file of annotations go together.
        """
        with self._pen:
            before = self._need_strokes()
            if not before.can_undo:
                return False
            self._take_back(before)
        self.scribbles_changed.emit()
        return True

    def redo(self) -> bool:
        """Brings back what was taken back last; whether there was something."""
        with self._pen:
            before = self._need_strokes()
            if not before.can_redo:
                return False
            self._strokes = before.redo()
            self._scribbles = self._strokes.canvas
            for stroke in before.next_step:
                self._write(Redone(number=stroke.number, time=now()))
        self.scribbles_changed.emit()
        return True

    def clear(self) -> bool:
        """Wipes all strokes off, as one step that can be taken back."""
        canvas = self._need_canvas()
        empty = np.zeros(canvas.shape, np.uint8)
        return self._draw(empty, Drawing(0, "clear")) is not None

    def resume(self) -> bool:
        """Goes on where an earlier work on this image stopped.

        Strokes come back at once, rounds when the image has been localized with the
        model that they were made with. Drawing without this starts afresh.

        Returns:
            Whether there was one.
        """
        with self._pen:
            work, self._earlier = self._earlier, None
            if work is None:
                return False
            self._strokes, self._scribbles = work.strokes, work.strokes.canvas
            self._take_up(work)
        self.earlier_changed.emit()
        self.scribbles_changed.emit()
        return True

    def start_afresh(self) -> bool:
        """Leaves the earlier work where it is, and begins anew.

        It stays in the journal. Returns whether there was one.
        """
        with self._pen:
            work, self._earlier = self._earlier, None
            if work is None:
                return False
            self._write(StartedAfresh(time=now()))
        self.earlier_changed.emit()
        return True

    # ------------------------------------------------------------------ for the session

    def _begin_strokes(self, slide: Slide, *, resume: bool) -> None:
        """Another image is open: its journal is found. Called on the worker."""
        canvas = Canvas.over(slide.shape)
        journal, earlier, last = None, None, 0
        fingerprint = slide.fingerprint()
        if self._journals is not None:
            journal = self._journals.open(
                ImageFacts(
                    fingerprint=fingerprint,
                    name=slide.name,
                    path=str(slide.path) if slide.path is not None else None,
                    shape=slide.shape,
                    canvas_shape=canvas.shape,
                    canvas_scale=canvas.scale,
                    canvas_translate=canvas.translate,
                    mpp=slide.mpp,
                )
            )
            journal.changed.connect(self.saved_changed.emit)
            work = folded(canvas.shape, journal.entries)
            last = work.strokes.last_number
            if work.strokes.strokes or work.rounds:
                earlier = work
        with self._pen:
            before, self._journal = self._journal, journal
            self._canvas = canvas
            empty = StrokeList.empty(canvas.shape)
            self._strokes, self._scribbles = replace(empty, last_number=last), None
            self._earlier, self._drawn_on = earlier, fingerprint
            is_known = fingerprint in self._worked_on
            self._worked_on.add(fingerprint)
        self._forget_strokes()
        if before is not None:
            before.close()
        if earlier is not None and (resume or is_known):
            self.resume()

    def _forget_strokes(self) -> None:
        """Another image: what belonged to the strokes of the one before goes."""

    def _take_up(self, work: Work) -> None:
        """Whatever else than strokes an earlier work brings; under the lock."""

    def _end_strokes(self) -> None:
        with self._pen:
            journal, self._journal = self._journal, None
        if journal is not None:
            journal.close()

    def _write(self, entry: Entry) -> None:
        if self._journal is not None:
            self._journal.append(entry)

    def _need_strokes(self) -> StrokeList:
        if self._strokes is None:
            raise NoImageError("Open an image first, then draw on it.")
        return self._strokes

    def _take_back(self, before: StrokeList) -> None:
        """Without its last step; under the lock."""
        self._strokes = before.undo()
        self._scribbles = self._strokes.canvas
        for stroke in before.last_step:
            self._write(Undone(number=stroke.number, time=now()))

    def _draw_pieces(self, labels: npt.NDArray[np.uint8]) -> None:
        """Each connected piece that differs as a stroke, all of them as one step."""
        with self._pen:
            before = self._need_strokes()
            self.start_afresh()
            time = now()
            made: list[Stroke] = []
            for label, part, (top, left) in pieces(before.canvas, labels):
                rows, columns = part.shape
                after = before.canvas[top : top + rows, left : left + columns].copy()
                after[part] = label
                stroke = before.made(
                    after,
                    label=label,
                    tool="edit",
                    origin=(top, left),
                )
                if stroke is not None:
                    number = before.last_number + 1 + len(made)
                    made.append(replace(stroke, number=number, time=time))
            if not made:
                return
            self._adopt(before.add(*made), *made)
        self.scribbles_changed.emit()

    def _adopt(self, strokes: StrokeList, *new: Stroke) -> None:
        """These, and what is new in them into the journal; under the lock."""
        self._strokes, self._scribbles = strokes, strokes.canvas
        for stroke in new:
            self._write(StrokeMade(stroke=stroke, time=stroke.time))

    def _draw(self, labels: npt.NDArray[np.uint8], drawing: Drawing) -> Stroke | None:
        """Another canvas as a whole."""
        return self.put(np.ones(labels.shape, bool), (0, 0), drawing, labels=labels)
