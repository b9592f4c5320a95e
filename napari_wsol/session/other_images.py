"""Many images: which there are, what the others taught, and the score.

Every image teaches the next one: each round learns from the strokes of the open image
and from the samples of all other images of the list. Images that are set aside teach
nothing; they score every round. Slides learn from other images, but do not teach them:
the features under their strokes lie in tiles and are not gathered.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_wsol.errors import ExportError
from napari_wsol.images.readers import is_as_opened
from napari_wsol.paths import lists_folder
from napari_wsol.strokes.stroke import kinds_of, now
from napari_wsol.worklist.samples import SampleStore
from napari_wsol.worklist.saved import remember_list, saved_lists
from napari_wsol.worklist.status import INDEX, Fingerprints, StatusSearch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_wsol.journal import JournalLibrary
    from napari_wsol.methods import Model
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.refinement.samples import Pooled, Samples, Score
    from napari_wsol.refinement.saved_model import TrainedFrom
    from napari_wsol.session.document import Document
    from napari_wsol.session.engine import Engine
    from napari_wsol.session.state import State
    from napari_wsol.worklist.items import WorkList
    from napari_wsol.worklist.saved import SavedList


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A round, judged by the images that are set aside.

    Attributes:
        time: UTC, ISO 8601.
        image: fingerprint of the image that it was made on.
        round: its index.
        score: balanced accuracy over strokes.
    """

    time: str
    image: str
    round: int
    score: Score


class OtherImages:
    """The list of images, beside the one that is open.

    What reads or gathers samples belongs to the worker; the rest is for any thread.

    Args:
        state: which image is open, under which model.
        journals: where the work on all images is; None where nothing is written.

    Attributes:
        journals: as given.

    Signals:
        list_changed: no argument; another list, or none.
        scored: a :class:`Scored`.
    """

    list_changed = Signal()
    scored = Signal(object)

    def __init__(self, state: State, journals: JournalLibrary | None) -> None:
        self._state, self.journals = state, journals
        self._worklist: WorkList | None = None
        self._search: StatusSearch | None = None
        self._fingerprints: Fingerprints | None = None
        self._samples = SampleStore(journals)
        self._scores: tuple[Scored, ...] = ()
        self._gathered: tuple[object, ...] = ()
        self._given: tuple[Samples, ...] | None = None

    # ----------------------------------------------------------------------- the list

    @property
    def worklist(self) -> WorkList | None:
        """The images that are worked on; None where there is one only."""
        return self._worklist

    @property
    def scores(self) -> tuple[Scored, ...]:
        """Every round since the list was opened, judged by what is set aside."""
        return self._scores

    @property
    def folder(self) -> Path | None:
        """Where lists are remembered; None where nothing is written."""
        return None if self.journals is None else lists_folder()

    @property
    def is_aside(self) -> bool:
        """Whether the open image is set aside: its strokes score, and teach nothing."""
        worklist, document = self._worklist, self._state.current.document
        if worklist is None or document is None:
            return False
        return worklist.is_aside(document.fingerprint)

    @property
    def stale(self) -> frozenset[str]:
        """Methods whose map is older than the last stroke, or than the pixels."""
        now = self._state.current
        if now.document is None or (self.is_aside and now.maps.before is None):
            return frozenset()
        return now.maps.stale(now.document.strokes)

    def use_list(self, worklist: WorkList | None) -> None:
        """Works on these images; how far each is, is found in the background."""
        self._scores = ()
        self._stop_search()
        self._worklist = worklist
        if worklist is not None:
            known = self._known_files()
            self._search = StatusSearch(worklist, self.journals, known)
            self._search.start()
            if self._state.current.document is not None:
                self.find(self._state.current.document)
        self.list_changed.emit()

    def find(self, document: Document | None) -> None:
        """The list hears which image is open, if any, and what its content is."""
        worklist = self._worklist
        self._gathered = ()
        if worklist is None:
            return
        if document is None:
            worklist.go_to(None)
            return
        path = document.slide.path
        row = None if path is None else worklist.row_of(path)
        worklist.go_to(row)
        if row is not None and path is not None:
            worklist.learn(row, fingerprint=document.fingerprint, note="")
            known = self._known_files()
            known.learn(path, document.fingerprint)
            known.save()
        self.hear_status(document)

    def hear_status(self, document: Document) -> None:
        """The list hears how far the work on the open image is."""
        if self._worklist is not None:
            self._worklist.set_status(document.fingerprint, document.listed_status)

    def remembered_lists(self) -> list[SavedList]:
        """Lists of earlier days, the latest first."""
        return [] if self.folder is None else saved_lists(self.folder)

    def remember_list(self) -> Path | None:
        """Writes the list down: where one is in it, and what is set aside.

        Raises:
            ExportError: it cannot be written.
        """
        if self._worklist is None or self.folder is None:
            return None
        return remember_list(self._worklist, self.folder)

    def close(self) -> None:
        """Writes the list down, and searches no more."""
        self._stop_search()
        with suppress(ExportError):  # where one was in it; strokes matter more now
            self.remember_list()

    def _known_files(self) -> Fingerprints:
        if self._fingerprints is None:
            file = None if self.journals is None else self.journals.folder / INDEX
            self._fingerprints = Fingerprints(file)
        return self._fingerprints

    def _stop_search(self) -> None:
        search, self._search = self._search, None
        if search is not None:
            search.cancel()

    # -------------------------------------------------------------- what others teach

    def learn_beside(self, samples: Sequence[Samples] | None) -> None:
        """Says what other images teach, rather than the list; None asks it again.

        Args:
            samples: made with the model that is used.
        """
        self._given = None if samples is None else tuple(samples)

    def others(self) -> Pooled | None:
        """What the other images of the list teach; None where there is nothing.

        Called on the worker. Images that are set aside, and images whose strokes were
        taken away again, are left out.
        """
        from napari_wsol.refinement.samples import pooled

        worklist, now = self._worklist, self._state.current
        if self._given is not None:
            return pooled(self._given)
        if worklist is None or now.model is None:
            return None
        own = "" if now.document is None else now.document.fingerprint
        teaching = (
            item.fingerprint
            for item in worklist
            if item.fingerprint not in ("", own)
            and item.status != "untouched"
            and not worklist.is_aside(item.fingerprint)
        )
        return pooled(self._samples_of(teaching, now.model))

    def held_out(self) -> list[Samples]:
        """Strokes on images that are set aside. Called on the worker."""
        worklist, model = self._worklist, self._state.current.model
        if worklist is None or model is None:
            return []
        held_out = (item.fingerprint for item in worklist.held_out if item.fingerprint)
        return self._samples_of(held_out, model)

    def score_own(self, engine: Engine, shown: Round) -> None:
        """The strokes of an image that is set aside judge the round that is shown."""
        self.gather(engine)
        self._score(shown)

    def learnt(self, engine: Engine, done: Round) -> None:
        """A round is shown: its strokes are kept for others, and it is scored."""
        if self._worklist is not None:
            self._samples.use(done.others)
            self.gather(engine)
            self._score(done)

    def gather(self, engine: Engine) -> None:
        """Keeps what the strokes of the open image teach; the features are cached."""
        from napari_wsol.refinement.heads import reading_digest

        document, view = self._state.document, engine.view
        drawn = document.drawn()
        state = (view.model, view.mpp, drawn.numbers)
        if self._worklist is None or drawn.scribbles is None:
            return
        if state == self._gathered or not engine.teaches_others:
            return
        if not is_as_opened(view.slide):
            return  # its colours are not those that the strokes were drawn on
        found = engine.samples(drawn)
        self._gathered = state
        journal, folder = document.journal, None
        if journal is not None and journal.flush(1.0) and journal.folder.is_dir():
            folder = journal.folder  # there is none while the journal holds nothing
        digest = reading_digest(view.model)
        self._samples.keep(document.fingerprint, digest, found, folder)

    def trained_from(self, shown: Round) -> TrainedFrom:
        """What a round has learnt from, over all images."""
        from napari_wsol.refinement.samples import score
        from napari_wsol.refinement.saved_model import TrainedFrom

        known = self._samples_of(
            (item.fingerprint for item in self._worklist or ()),
            self._state.current.need()[1],
        )
        others = [item for item in known if item.digest in shown.others]
        counts = [item.stroke_counts for item in others]
        if shown.teaching:
            counts.append(kinds_of(shown.teaching))
        held_out = self.held_out() if _holds_elsewhere(shown) else []
        return TrainedFrom(
            foreground=sum(count[0] for count in counts),
            background=sum(count[1] for count in counts),
            images=len(counts),
            score=score(shown.head, held_out) if shown.head and held_out else None,
        )

    def _samples_of(self, fingerprints: Iterable[str], model: Model) -> list[Samples]:
        from napari_wsol.refinement.heads import reading_digest

        return self._samples.of_all(fingerprints, reading_digest(model))

    def _score(self, done: Round) -> None:
        from napari_wsol.refinement.finetune import copied
        from napari_wsol.refinement.heads import own_head
        from napari_wsol.refinement.samples import score

        samples, head = self.held_out(), done.head
        if head is None:  # nothing was learnt yet: the model as it was loaded
            own = own_head(self._state.current.need()[1])
            head = None if own is None else copied(own)
        if head is None or not samples or not _holds_elsewhere(done):
            return
        image, found = self._state.document.fingerprint, score(head, samples)
        last = self._scores[-1] if self._scores else None
        if last is not None and (last.image, last.round, last.score) == (
            image,
            done.index,
            found,
        ):
            return
        scored = Scored(time=now(), image=image, round=done.index, score=found)
        self._scores = (*self._scores, scored)
        self.scored.emit(scored)


def _holds_elsewhere(done: Round) -> bool:
    """Whether its head alone says what was learnt, on features as samples have them."""
    return done.stage is None and not done.has_network
