"""Many images in a session: which there are, how far each is, which are set aside."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_wsol.errors import ExportError
from napari_wsol.journal import folded
from napari_wsol.paths import lists_folder
from napari_wsol.session.rounds import RoundState
from napari_wsol.worklist.saved import remember_list, saved_lists
from napari_wsol.worklist.status import INDEX, Fingerprints, StatusSearch

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.images.slide import Slide
    from napari_wsol.journal import Status, Work
    from napari_wsol.worklist.items import WorkList
    from napari_wsol.worklist.saved import SavedList


class ListState(RoundState):
    """The part of a session that knows of other images than the open one.

    Args:
        journals: as for :class:`~napari_wsol.session.strokes.StrokeState`.

    Signals:
        those of :class:`~napari_wsol.session.rounds.RoundState`, and
        list_changed: no argument; another list, or none.
    """

    list_changed = Signal()

    def __init__(self, journals: str | Path | bool = True) -> None:
        super().__init__(journals)
        self._worklist: WorkList | None = None
        self._search: StatusSearch | None = None
        self._fingerprints: Fingerprints | None = None
        self._reviewed: tuple[int, ...] | None = None
        self.scribbles_changed.connect(self._on_work)
        self.status_changed.connect(self._on_work)

    @property
    def worklist(self) -> WorkList | None:
        """The images that are worked on; None where there is one only."""
        return self._worklist

    @property
    def lists_folder(self) -> Path | None:
        """Where lists are remembered; None where nothing is written."""
        return None if self._journals is None else lists_folder()

    @property
    def is_aside(self) -> bool:
        """Whether the open image is set aside: its strokes score, and teach nothing."""
        worklist = self._worklist
        return worklist is not None and worklist.is_aside(self._drawn_on)

    @property
    def stale(self) -> frozenset[str]:
        """Methods whose map is older than the last stroke that it learns from."""
        return frozenset() if self.is_aside else super().stale

    def use_list(self, worklist: WorkList | None) -> None:
        """Works on these images; how far each is, is found in the background."""
        self._stop_search()
        self._worklist = worklist
        if worklist is not None:
            known = self._known_files()
            self._search = StatusSearch(worklist, self._journals, known)
            self._search.start()
            if self._slide is not None:
                self._place_in_list(self._slide)
                self._on_work()
        self.list_changed.emit()

    def remembered_lists(self) -> list[SavedList]:
        """Lists of earlier days, the latest first."""
        folder = self.lists_folder
        return [] if folder is None else saved_lists(folder)

    def remember_list(self) -> Path | None:
        """Writes the list down: where one is in it, and what is set aside.

        Raises:
            ExportError: it cannot be written.
        """
        worklist, folder = self._worklist, self.lists_folder
        if worklist is None or folder is None:
            return None
        return remember_list(worklist, folder)

    def set_status(self, status: Status) -> None:
        """Says how far the work on the open image is; written to the journal.

        An image that was reviewed is so until its strokes change.
        """
        if status == "reviewed":
            self._reviewed = tuple(stroke.number for stroke in self.strokes)
        super().set_status(status)

    # ---------------------------------------------------------------- for the session

    def _begin_strokes(self, slide: Slide, *, resume: bool) -> None:
        super()._begin_strokes(slide, resume=resume)
        journal, canvas = self._journal, self._canvas
        if journal is not None and canvas is not None and self._earlier is None:
            # A review without a stroke: nothing to go on with, so nobody is asked.
            status = folded(canvas.shape, journal.entries).status
            if self._status == "untouched" and status == "reviewed":
                self._status, self._reviewed = status, ()
                self.status_changed.emit(status)
        self._place_in_list(slide)
        self._on_work()

    def _forget_strokes(self) -> None:
        super()._forget_strokes()
        self._reviewed = None

    def _take_up(self, work: Work) -> None:
        if work.status == "reviewed":
            self._reviewed = tuple(item.number for item in work.strokes.strokes)
        super()._take_up(work)

    def _end_strokes(self) -> None:
        self._stop_search()
        with suppress(ExportError):  # where one was in it; strokes matter more now
            self.remember_list()
        super()._end_strokes()

    def _place_in_list(self, slide: Slide) -> None:
        """The list hears what is open, and what its content is."""
        worklist = self._worklist
        if worklist is None:
            return
        row = None if slide.path is None else worklist.row_of(slide.path)
        worklist.go_to(row)
        if row is not None and slide.path is not None:
            fingerprint = slide.fingerprint()  # known since it was opened
            worklist.learn(row, fingerprint=fingerprint, note="")
            known = self._known_files()
            known.learn(slide.path, fingerprint)
            known.save()

    def _on_work(self, *_: object) -> None:
        """The list hears how far the open image is."""
        if self._status == "reviewed" and self._reviewed is not None:
            numbers = tuple(stroke.number for stroke in self.strokes)
            if numbers != self._reviewed:
                # What was looked at is not what there is now.
                self._reviewed = None
                self.set_status("stroked")
                return
        if self._worklist is not None and self._drawn_on:
            self._worklist.set_status(self._drawn_on, self._listed_status())

    def _listed_status(self) -> Status:
        work = self._earlier
        if work is not None:  # nobody has said yet whether it goes on
            return work.status if work.status != "untouched" else "stroked"
        if self.status != "reviewed" and not self.strokes:
            return "untouched"
        return self.status

    def _known_files(self) -> Fingerprints:
        if self._fingerprints is None:
            store = self._journals
            file = None if store is None else store.folder / INDEX
            self._fingerprints = Fingerprints(file)
        return self._fingerprints

    def _stop_search(self) -> None:
        search, self._search = self._search, None
        if search is not None:
            search.cancel()
