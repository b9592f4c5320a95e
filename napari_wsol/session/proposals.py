"""What a session proposes: the places where the next stroke would teach most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_wsol.errors import NoResultError
from napari_wsol.guidance.factors import guide
from napari_wsol.guidance.proposals import proposals
from napari_wsol.journal import Dismissed, folded
from napari_wsol.session.state import REFINED
from napari_wsol.session.strokes import StrokeState
from napari_wsol.strokes.stroke import now

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_wsol.guidance.proposals import Proposal
    from napari_wsol.images.slide import Slide
    from napari_wsol.journal import Work

TISSUE_SIDE = 512
"""Cells along the longer side of the tissue that is found."""


class GuidanceState(StrokeState):
    """The part of a session that knows where a stroke would teach most.

    Args:
        journals: as for :class:`StrokeState`.

    Signals:
        those of :class:`StrokeState`, and
        dismissed_changed: no argument.
    """

    dismissed_changed = Signal()

    def __init__(self, journals: str | Path | bool = True) -> None:
        super().__init__(journals)
        self._dismissed: tuple[Dismissed, ...] = ()
        self._found_tissue: tuple[Slide, npt.NDArray[np.bool_]] | None = None

    @property
    def dismissed(self) -> tuple[Dismissed, ...]:
        """Places on this image that nobody wants to see proposed again."""
        return self._dismissed

    def propose(
        self, count: int = 5, *, methods: Sequence[str] | None = None
    ) -> list[Proposal]:
        """The places where the next stroke would teach most, the best first.

        Reads the maps and strokes as they are now, in less than a second, on any
        thread; the first call on a slide finds its tissue, too.

        Args:
            count: how many at most; there are fewer where no more are worth a stroke.
            methods: whose disagreement counts; of all maps by default.

        Raises:
            NoResultError: nothing was localized yet.
        """
        slide, heatmaps = self._slide, self._heatmaps
        canvas, scribbles = self._canvas, self._scribbles
        dismissed, mpp = self._dismissed, self.mpp
        if slide is None or canvas is None or not heatmaps:
            raise NoResultError(
                "Localize first; then the places can be found where a stroke would "
                "teach most."
            )
        from napari_wsol.methods import method_title  # torch is there by now

        wanted = [name for name in heatmaps if methods is None or name in methods]
        first = REFINED if REFINED in heatmaps else (*wanted, *heatmaps)[0]
        names = (first, *(name for name in wanted if name != first))
        known = guide(
            [heatmaps[name] for name in names],
            canvas,
            scribbles,
            tissue=self._tissue_of(slide),
            mpp=mpp,
        )
        return proposals(
            known,
            count,
            dismissed=[(item.y, item.x, item.radius) for item in dismissed],
            titles={name: method_title(name) for name in names},
        )

    def dismiss(self, place: Proposal) -> None:
        """Proposes nothing there any more, also not after reopening the image."""
        entry = Dismissed(y=place.y, x=place.x, radius=place.radius, time=now())
        with self._pen:
            self._need_slide()
            self._dismissed = (*self._dismissed, entry)
            self._write(entry)
        self.dismissed_changed.emit()

    def start_afresh(self) -> bool:
        """Leaves the earlier work where it is, and begins anew.

        It stays in the journal. Returns whether there was one.
        """
        with self._pen:
            begins = super().start_afresh()
            if begins:
                for entry in self._dismissed:  # made since; the record begins here
                    self._write(entry)
        return begins

    def _begin_strokes(self, slide: Slide, *, resume: bool) -> None:
        self._dismissed = ()
        super()._begin_strokes(slide, resume=resume)
        with self._pen:
            journal, canvas = self._journal, self._canvas
            if journal is None or canvas is None or self._earlier is not None:
                return
            if self._dismissed or not any(
                isinstance(entry, Dismissed) for entry in journal.entries
            ):
                return
            # There is nothing else to go on with, so nobody is asked.
            self._dismissed = folded(canvas.shape, journal.entries).dismissed

    def _take_up(self, work: Work) -> None:
        super()._take_up(work)
        self._dismissed = (*work.dismissed, *self._dismissed)

    def _tissue_of(self, slide: Slide) -> npt.NDArray[np.bool_]:
        """As a person drew it, or as it is found, once."""
        if self._tissue is not None:
            return self._tissue
        found = self._found_tissue
        if found is None or found[0] is not slide:
            from napari_wsol.images.tissue import tissue_mask

            step = max(1.0, max(slide.shape) / TISSUE_SIDE)
            found = self._found_tissue = (slide, tissue_mask(slide, step))
        return found[1]
