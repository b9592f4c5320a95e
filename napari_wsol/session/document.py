"""One open image and a person's work on it.

Made when an image is opened, and never used for another one: what belongs to an image
goes when its document goes. Strokes are changed by whoever holds the pen, on the
caller's thread, and are done when the call returns: a person must not wait for them.
Their way to the disk goes over the journal's own thread.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_wsol.errors import ImageError, WsolError
from napari_wsol.images.pixel_size import TOLD_UM
from napari_wsol.images.readers import reread, told_path
from napari_wsol.journal import (
    Dismissed,
    ImageFacts,
    Redone,
    SettingsChanged,
    StartedAfresh,
    StatusChanged,
    StrokeMade,
    Undone,
    replayed,
)
from napari_wsol.session.learning import LIVE, REFINEMENT, Learning
from napari_wsol.strokes.annotations import AnnotationError, draw_annotations
from napari_wsol.strokes.canvas import Canvas
from napari_wsol.strokes.raster import Drawing, brushed, changed, filled, pieces
from napari_wsol.strokes.stroke import UNLABELLED, StrokeList, now

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from psygnal import SignalInstance

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.guidance.proposals import Proposal
    from napari_wsol.images.bags import Bag
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import Report
    from napari_wsol.journal import (
        EarlierWork,
        Entry,
        Journal,
        JournalLibrary,
        RoundMade,
        Saved,
        Status,
    )
    from napari_wsol.strokes.annotations import DrawnAnnotations, Imported, Part
    from napari_wsol.strokes.canvas import Scribbles
    from napari_wsol.strokes.stroke import Stroke, Tool

    Point = tuple[float, float]
    Box = tuple[float, float, float, float]

LARGEST_MASK = 64_000_000
"""Cells of a tissue mask; more say nothing that tiles could follow."""


class ReopenedError(WsolError):
    """The image was opened again meanwhile.

    Args:
        document: goes on with it.
    """

    def __init__(self, document: Document) -> None:
        super().__init__("This image was opened again.")
        self.document = document


@dataclass(frozen=True, slots=True)
class Drawn:
    """The strokes of an image at one moment.

    Attributes:
        document: the image that they were drawn on.
        strokes: all that were not taken back, in the order in which they were made;
            erasures too.
        scribbles: the canvas that they give; None before the first.
        teaching: number → label of those that still show, and count.
    """

    document: Document
    strokes: tuple[Stroke, ...]
    scribbles: Scribbles | None
    teaching: Mapping[int, int]

    @property
    def numbers(self) -> tuple[int, ...]:
        """What the journal calls the strokes."""
        return tuple(stroke.number for stroke in self.strokes)

    @property
    def told(self) -> dict[str, object]:
        """What an export says of them, beside those that a round has learnt from."""
        if self.scribbles is None:
            return {}
        digest = sha256(self.scribbles.tobytes()).hexdigest()
        return {"drawn": {"learnt_from": self.numbers, "strokes_sha256": digest}}


class Document:
    """An open image: its strokes, how far the work is, and the journal of both.

    ``lock`` guards all of it, and the order of the journal: a line is written under
    the lock that guards what it says. Signals are emitted after the lock is given back,
    on the thread that made the change.

    Args:
        slide: the open image.
        owned: whether it is closed with the document.
        journals: where journals are kept; None where nothing is written.

    Attributes:
        mpp: µm a level-0 pixel, where the person knows better than the file.
        tissue: (h, w) bool over the whole slide: where to look, as a person drew it.
        looked_at: what the person sees: top, left, bottom, right in level-0 pixels.
        bag: vectors of its tiles, read instead of the pixels; None for the pixels.
        pins: places at which maps are compared, as :meth:`set_pins` was given them.
        waiting_shown: the round that an earlier work had shown last.

    Signals:
        scribbles_changed, dismissed_changed, pins_changed, settings_changed,
            mpp_changed, tissue_changed: no argument.
        earlier_changed: no argument; an earlier work was found, or somebody said what
            to do with it.
        status_changed: the status.
        saved_changed: a :class:`~napari_wsol.journal.Saved`, whenever something
            reached the disk or failed.
    """

    scribbles_changed = Signal()
    dismissed_changed = Signal()
    pins_changed = Signal()
    settings_changed = Signal()
    earlier_changed = Signal()
    mpp_changed = Signal()
    tissue_changed = Signal()
    status_changed = Signal(str)
    saved_changed = Signal(object)

    def __init__(
        self,
        slide: Slide,
        *,
        owned: bool = True,
        journals: JournalLibrary | None = None,
    ) -> None:
        self.slide, self._owned = slide, owned
        self.fingerprint = slide.fingerprint()
        self.canvas = Canvas.over(slide.shape)
        self.lock = threading.RLock()
        self.mpp: float | None = None
        self.tissue: npt.NDArray[np.bool_] | None = None
        self.looked_at: Box | None = None
        self.bag: Bag | None = None
        self.pins: tuple[Point, ...] = ()
        self._strokes = StrokeList.empty(self.canvas.shape)
        self._has_drawn = False
        self._status: Status = "untouched"
        self._reviewed: tuple[int, ...] | None = None
        self._dismissed: tuple[Dismissed, ...] = ()
        self._learning = Learning()
        self._successor: Document | None = None
        self._source: Callable[[], Slide] | None = None
        self._earlier: EarlierWork | None = None
        self._waiting: tuple[RoundMade, ...] = ()
        self.waiting_shown = 0
        self._untold: list[Callable[[], None]] | None = None
        self._journal = None if journals is None else self._find_journal(journals)

    def _find_journal(self, journals: JournalLibrary) -> Journal:
        """What was done to the image before waits as :attr:`earlier`."""
        slide, canvas = self.slide, self.canvas
        path = told_path(slide)
        journal = journals.open(
            ImageFacts(
                fingerprint=self.fingerprint,
                name=slide.name,
                path=str(path) if path is not None else None,
                shape=slide.shape,
                canvas_shape=canvas.shape,
                canvas_scale=canvas.scale,
                canvas_translate=canvas.translate,
                mpp=slide.mpp,
            )
        )
        told = self.saved_changed  # outlives the document while its journal waits

        def tell(saved: Saved) -> None:
            told.emit(saved)

        journal.changed.connect(tell)
        work = replayed(canvas.shape, journal.entries)
        self._strokes = replace(self._strokes, last_number=work.strokes.last_number)
        if work.strokes.strokes or work.rounds:
            self._earlier = work
        else:  # there is nothing to go on with, so nobody is asked
            self._dismissed = work.dismissed
            if work.status == "reviewed":
                self._status, self._reviewed = work.status, ()
        return journal

    def hand_over(self, document: Document) -> None:
        """Another document takes the image and its journal up; under the lock of this.

        From now on only ReopenedError is raised here: what is drawn by whoever still
        holds this one belongs there.
        """
        self._successor = document

    def close(self, *, keep_slide: bool = False) -> None:
        """Writes what is left, and gives the image back.

        What is drawn afterwards is written all the same.

        Args:
            keep_slide: whether somebody goes on reading the image.
        """
        if self._journal is not None:
            self._journal.close()
        if self._owned and not keep_slide:
            self.slide.close()

    # ------------------------------------------------------------------------ strokes

    @property
    def journal(self) -> Journal | None:
        """The journal; None where nothing is written."""
        return self._journal

    @property
    def saved(self) -> Saved | None:
        """What has reached the disk; None without a journal."""
        return None if self._journal is None else self._journal.saved

    @property
    def strokes(self) -> StrokeList:
        """The strokes that count, what can be taken back, and the canvas."""
        return self._strokes

    @property
    def scribbles(self) -> Scribbles | None:
        """Strokes on the canvas: 0 none, 1 background, 2 foreground; None before any.

        Do not write.
        """
        return self._strokes.canvas if self._has_drawn else None

    def drawn(self) -> Drawn:
        """The strokes as they are now."""
        with self.lock:
            now, scribbles = self._strokes, self.scribbles
        return Drawn(self, now.strokes, scribbles, now.teaching)

    def set_scribbles(
        self, labels: npt.ArrayLike, drawing: Drawing | None = None
    ) -> None:
        """Replaces the canvas.

        Args:
            labels: (h, w) integers on the canvas or on level 0: 0 unlabelled,
                1 background, 2 foreground. Copied.
            drawing: what it was made with: all that differs from the canvas before is
                one stroke then. Without, each connected piece that differs is one, all
                of them one step.

        Raises:
            ImageError: another size, or values other than 0, 1, 2.
        """
        checked = self.canvas.checked(np.asarray(labels), self.slide.shape)
        if drawing is not None:
            whole = np.ones(checked.shape, bool)
            self.put(whole, (0, 0), drawing, labels=checked)
            return
        with self.changing():
            self.start_afresh()
            before, time = self._strokes, now()
            made: list[Stroke] = []
            for label, part, (top, left) in pieces(before.canvas, checked):
                rows, columns = part.shape
                after = before.canvas[top : top + rows, left : left + columns].copy()
                after[part] = label
                stroke = before.made(
                    after, label=label, tool="edit", origin=(top, left)
                )
                if stroke is not None:
                    number = before.last_number + 1 + len(made)
                    made.append(replace(stroke, number=number, time=time))
            self._adopt(before, *made)

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
            on: fingerprint of the image that it was drawn on; nothing is done where
                this is another one.

        Raises:
            ImageError: a label is none.
        """
        if on not in (None, self.fingerprint):
            return None
        with self.changing():
            if resume:
                self.resume()
            self.start_afresh()  # Whoever wants earlier strokes has said so by now.
            stroke = changed(self._strokes, part, origin, drawing, labels, keep=keep)
            if stroke is not None:
                self._adopt(self._strokes, stroke)
            return stroke

    def brush(
        self, path: Sequence[Point], label: int, width: float, *, tool: Tool = "brush"
    ) -> Stroke | None:
        """Paints along a line; 0 erases. The stroke, or None where nothing changed.

        Args:
            path: points (y, x) in level-0 pixels.
            label: 0 unlabelled, 1 background, 2 foreground.
            width: of the brush in level-0 pixels.
            tool: "erase" is written for label 0.

        Raises:
            ImageError: a point is no number.
        """
        part, origin = brushed(path, width, self.canvas)
        used: Tool = "erase" if label == UNLABELLED else tool
        return self.put(part, origin, Drawing(label, used, tuple(path), width))

    def fill(
        self,
        corners: Sequence[Point],
        label: int,
        *,
        tool: Tool = "polygon",
        seconds: float = 0.0,
        resume: bool = False,
        on: str | None = None,
    ) -> Stroke | None:
        """Fills a polygon, also one that crosses itself; 0 erases.

        Args:
            corners: (y, x) in level-0 pixels.
            label: 0 unlabelled, 1 background, 2 foreground.
            tool: what is written.
            seconds: how long it took.
            resume: as for :meth:`put`.
            on: as for :meth:`put`.

        Raises:
            ImageError: fewer than three corners, or one is no number.
        """
        part, origin = filled(corners, self.canvas)
        drawing = Drawing(label, tool, tuple(corners), seconds=seconds)
        return self.put(part, origin, drawing, resume=resume, on=on)

    def put_grown(
        self, part: Part, point: Point, label: int, *, instead: bool
    ) -> Stroke | None:
        """Adds a region that grew from a point; cells that have a label keep it.

        Args:
            part: (h, w) bool on the canvas, and the row and column of its first cell.
            point: (y, x) in level-0 pixels.
            label: 1 background, 2 foreground.
            instead: whether the last stroke, where it grew from the same point, is
                taken back in the same step: whoever looks sees the old region or the
                new one, never none.
        """
        mask, origin = part
        drawing = Drawing(label, "grow", (point,))
        with self.changing():
            last = self._strokes.strokes[-1:]
            if not (instead and any(_grew_from(stroke, point) for stroke in last)):
                return self.put(mask, origin, drawing, keep=True, resume=True)
            before = self._strokes
            base = before.undo()
            made = changed(base, mask, origin, drawing, keep=True)
            self._write_undone(before)
            if made is None:
                self._hold(base)
            else:
                self._adopt(base, made)
            return made

    def import_annotations(
        self,
        path: Path,
        labels: Mapping[str, int] | None,
        *,
        keep: bool,
        report: Report,
        is_current: Callable[[], bool],
    ) -> Imported:
        """Adds the annotations of a file as strokes, all in one step.

        Args:
            path: GeoJSON, as QuPath or the journal writes it, or XML of ASAP.
            labels: class → 0 left out, 1 background, 2 foreground; see
                :func:`~napari_wsol.strokes.annotations.labels_for`.
            keep: whether cells that strokes have labelled before keep their label.
            report: hears of the progress; may stop it.
            is_current: whether the image is still worked on.

        Raises:
            AnnotationError: the file cannot be read, nothing in it lies on the image,
                a class does not tell what it means (UnclearClassesError), or another
                image was opened meanwhile; then nothing is changed.
        """
        drawn = draw_annotations(
            path, self.canvas, self.slide.shape, chosen=labels, progress=report
        )
        report.check()
        made = self._put_annotations(drawn, keep=keep, is_current=is_current)
        return drawn.imported(made)

    def _put_annotations(
        self, drawn: DrawnAnnotations, *, keep: bool, is_current: Callable[[], bool]
    ) -> tuple[Stroke, ...]:
        while True:
            with self.changing():
                if not is_current():
                    raise AnnotationError("Another image was opened meanwhile.")
                self.resume()
                before = self._strokes
            made = drawn.strokes(before, keep=keep)  # takes a while
            with self.changing():
                if not is_current():
                    raise AnnotationError("Another image was opened meanwhile.")
                if self._strokes is before:  # else somebody drew meanwhile
                    self._adopt(before, *made)
                    return made

    def undo(self) -> bool:
        """Takes the last stroke, erasure or clearing back; whether there was one.

        The strokes of one file of annotations go together.
        """
        with self.changing():
            before = self._strokes
            if not before.can_undo:
                return False
            self._write_undone(before)
            self._hold(before.undo())
            return True

    def redo(self) -> bool:
        """Brings back what was taken back last; whether there was something."""
        with self.changing():
            before = self._strokes
            if not before.can_redo:
                return False
            for stroke in before.next_step:
                self.write(Redone(number=stroke.number, time=now()))
            self._hold(before.redo())
            return True

    def clear(self) -> bool:
        """Wipes all strokes off, as one step that can be taken back."""
        empty = np.zeros(self.canvas.shape, np.uint8)
        whole = np.ones(self.canvas.shape, bool)
        return self.put(whole, (0, 0), Drawing(0, "clear"), labels=empty) is not None

    # ------------------------------------------------------------------- earlier work

    @property
    def earlier(self) -> EarlierWork | None:
        """Work on this image from an earlier day, while nobody said what to do."""
        return self._earlier

    @property
    def has_waiting_rounds(self) -> bool:
        """Whether rounds wait for the model that they were made with."""
        return bool(self._waiting)

    def resume(self) -> bool:
        """Goes on where an earlier work on this image stopped.

        Strokes come back at once, rounds when the image has been localized with the
        model that they were made with. Drawing without this starts afresh.

        Returns:
            Whether there was one.
        """
        with self.changing():
            work, self._earlier = self._earlier, None
            if work is None:
                return False
            self._learning = self._learning.as_told(work.settings)
            if not {LIVE, REFINEMENT}.isdisjoint(work.settings):
                self._tell(self.settings_changed)
            self._waiting = tuple(sorted(work.rounds, key=lambda made: made.index))
            self.waiting_shown = work.shown
            self._dismissed = (*work.dismissed, *self._dismissed)
            self._status = work.status
            if work.status == "reviewed":
                self._reviewed = tuple(item.number for item in work.strokes.strokes)
            self._strokes, self._has_drawn = work.strokes, True
            self._tell(self.status_changed, self.status)
            self._tell(self.earlier_changed)
            self._tell(self.scribbles_changed)
            return True

    def start_afresh(self) -> bool:
        """Leaves the earlier work where it is, and begins anew.

        It stays in the journal. Returns whether there was one.
        """
        with self.changing():
            work, self._earlier = self._earlier, None
            if work is None:
                return False
            self.write(StartedAfresh(time=now()))
            for entry in self._dismissed:  # made since; the record begins here
                self.write(entry)
            self._tell(self.earlier_changed)
            return True

    def take_waiting(self, model: str, target: str) -> tuple[RoundMade, ...]:
        """The rounds of an earlier work that were made with a model, for a class.

        Those of another model or class stay in the journal.

        Args:
            model: digest of its weights.
            target: name of the class.
        """
        with self.lock:
            fitting = tuple(
                made
                for made in self._waiting
                if made.model_sha256 == model and made.target == target
            )
            if fitting:
                self._waiting = ()
            return fitting

    def waiting_target(self, model: str) -> str | None:
        """The class that an earlier work had shown last; None where nothing waits.

        Args:
            model: digest of the weights that its rounds were made with.
        """
        with self.lock:
            made = [item for item in self._waiting if item.model_sha256 == model]
            shown = [item for item in made if item.index == self.waiting_shown]
            return next((item.target for item in (*shown, *reversed(made))), None)

    # ------------------------------------------------------------- how far the work is

    @property
    def status(self) -> Status:
        """How far the work is."""
        status = self._status
        if status == "untouched" and self._strokes.strokes:
            return "stroked"
        return status

    @property
    def listed_status(self) -> Status:
        """How far the work is, also while nobody said whether it goes on."""
        with self.lock:
            work = self._earlier
            if work is not None:
                return work.status if work.status != "untouched" else "stroked"
            if self._status != "reviewed" and not self._strokes.strokes:
                return "untouched"
            return self.status

    def set_status(self, status: Status) -> None:
        """Says how far the work is.

        An image that was reviewed is so until its strokes change.
        """
        with self.changing():
            if status == "reviewed":
                self._reviewed = self._numbers()
            self._put_status(status)

    def refined(self) -> None:
        """A round was made."""
        with self.changing():
            if self._status in ("untouched", "stroked"):
                self._put_status("refined")

    @property
    def dismissed(self) -> tuple[Dismissed, ...]:
        """Places that nobody wants to see proposed again."""
        return self._dismissed

    def dismiss(self, place: Proposal) -> None:
        """Proposes nothing there any more, also not after reopening the image."""
        entry = Dismissed(y=place.y, x=place.x, radius=place.radius, time=now())
        with self.changing():
            self._dismissed = (*self._dismissed, entry)
            self.write(entry)
            self._tell(self.dismissed_changed)

    def set_pins(self, pins: Sequence[Point]) -> None:
        """Marks places to compare maps at, (y, x) in level-0 pixels, from no. 1 on.

        Raises:
            ImageError: one lies beside the image.
        """
        height, width = self.slide.shape
        if not all(0 <= y + 0.5 < height and 0 <= x + 0.5 < width for y, x in pins):
            raise ImageError("Point at the image; then its place can be pinned.")
        with self.changing():
            self.pins = tuple((float(y), float(x)) for y, x in pins)
            self._tell(self.pins_changed)

    # ----------------------------------------------------------------------- settings

    @property
    def learning(self) -> Learning:
        """How strokes on this image are learnt."""
        return self._learning

    def learn(
        self, *, live: bool | None = None, settings: FinetuneConfig | None = None
    ) -> None:
        """Sets how strokes are learnt; what is new in it is written down."""
        with self.changing():
            before, self._learning = self._learning, self._learning.but(live, settings)
            values = self._learning.told_after(before)
            if values:
                self.write(SettingsChanged(values=values))
                self._tell(self.settings_changed)

    def inherit(self, learning: Learning) -> None:
        """Begins as was learnt on the image before; nothing is written down."""
        with self.lock:
            self._learning = learning

    # --------------------------------------------------------------------- the image

    def read_from(self, source: Callable[[], Slide]) -> None:
        """The pixels come from elsewhere by now; whoever reads next looks there.

        Args:
            source: opens the image.
        """
        self._source = source

    def reread(self) -> Slide | None:
        """The image opened anew, where it has other pixels by now; on the worker.

        Raises:
            ImageError: it has others, and they cannot be used.
        """
        source = self._source
        if source is None:
            return reread(self.slide)
        fresh = source()
        if fresh.fingerprint() != self.fingerprint:
            return fresh
        # The same pixels elsewhere. Who reads the slide from before may go on.
        self.slide, self._owned = fresh, True
        if self._source is source:
            self._source = None
        return None

    def set_mpp(self, mpp: float | None) -> Slide:
        """Sets µm a level-0 pixel, where the person knows better; None for the file's.

        Returns:
            The slide that it was said of.

        Raises:
            ImageError: not a length.
        """
        least, most = TOLD_UM
        if mpp is not None and not least <= mpp <= most:
            raise ImageError(
                f"{mpp:g} µm a pixel cannot be: microscopes give about 0.1 to 10, "
                "films 100 to 200."
            )
        with self.changing():
            self.mpp = mpp
            self._tell(self.mpp_changed)
        return self.slide

    @property
    def known_mpp(self) -> float | None:
        """µm a level-0 pixel: the person's word, else the file's, else None."""
        return self.mpp or self.slide.mpp

    def set_tissue(self, mask: npt.ArrayLike | None) -> None:
        """Where to look on a slide: tiles elsewhere are left out.

        Args:
            mask: (h, w) over the whole slide, at any resolution; not 0 where there is
                tissue. None finds it by itself.

        Raises:
            ImageError: it is empty or no plane.
        """
        found = None
        if mask is not None:
            found = np.asarray(mask) != 0
            if found.ndim != 2 or found.size > LARGEST_MASK or not found.any():
                raise ImageError(
                    "A tissue mask is one plane over the whole slide, of at most "
                    f"{LARGEST_MASK} cells, with some tissue in it; this has the "
                    f"shape {found.shape}."
                )
        with self.changing():
            self.tissue = found
            self._tell(self.tissue_changed)

    def seen_tissue(self) -> npt.NDArray[np.bool_]:
        """(h, w) bool: where there is tissue, as it was drawn or as it is found."""
        from napari_wsol.images.tissue import coarse_tissue  # a window opens at once

        return self.tissue if self.tissue is not None else coarse_tissue(self.slide)

    # -------------------------------------------------------------------- in the lock

    def write(self, entry: Entry) -> None:
        """Puts a line into the journal; whatever it says has just become true."""
        with self.lock:
            if self._journal is not None:
                self._journal.append(entry)

    @contextmanager
    def changing(self) -> Generator[None]:
        """Holds the lock; what is told meanwhile is heard once it is given back."""
        untold: list[Callable[[], None]] = []
        try:
            with self.lock:
                if self._successor is not None:
                    raise ReopenedError(self._successor)
                is_outermost = self._untold is None
                if is_outermost:
                    self._untold = untold
                try:
                    yield
                finally:
                    if is_outermost:
                        self._untold = None
        finally:
            for tell in untold:
                tell()

    def _tell(self, signal: SignalInstance, *values: object) -> None:
        if self._untold is not None:
            self._untold.append(partial(signal.emit, *values))

    def _adopt(self, before: StrokeList, *new: Stroke) -> None:
        """Adds strokes, and writes them down."""
        if not new:
            return
        for stroke in new:
            self.write(StrokeMade(stroke=stroke, time=stroke.time))
        self._hold(before.add(*new))

    def _write_undone(self, before: StrokeList) -> None:
        for stroke in before.last_step:
            self.write(Undone(number=stroke.number, time=now()))

    def _hold(self, strokes: StrokeList) -> None:
        """Other strokes count now."""
        self._strokes, self._has_drawn = strokes, True
        if self._status == "reviewed" and self._reviewed != self._numbers():
            # What was looked at is not what there is now.
            self._put_status("stroked")
        self._tell(self.scribbles_changed)

    def _put_status(self, status: Status) -> None:
        if status != self._status:
            self._status = status
            self.write(StatusChanged(status=status, time=now()))
            self._tell(self.status_changed, status)

    def _numbers(self) -> tuple[int, ...]:
        return tuple(stroke.number for stroke in self._strokes.strokes)


def _grew_from(stroke: Stroke, point: Point) -> bool:
    return stroke.tool == "grow" and stroke.path == (point,)
