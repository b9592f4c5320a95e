"""Localizing a slide as a job of a session: shown as it comes, kept when it stops."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import JobCancelledError
from napari_wsol.slides import live
from napari_wsol.slides.cost import probe

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import Report
    from napari_wsol.slides.cost import Cost
    from napari_wsol.slides.localize import SlideWork

Check = Callable[[], None]

SHARE = 20
"""Showing the maps may take one part in so many of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideProgress:
    """How far a slide is.

    Attributes:
        done: tiles finished.
        total: tiles wanted.
        rate: tiles a second since the start; 0 before the first.
        state: (rows, columns) uint8, a cell a tile: 0 left out, 1 waiting, 2 finished.
        scale: level-0 pixels a cell, (y, x).
        translate: level-0 position of the centre of cell (0, 0), (y, x).
    """

    done: int
    total: int
    rate: float
    state: npt.NDArray[np.uint8]
    scale: tuple[float, float]
    translate: tuple[float, float]


def progress_of(work: SlideWork, rate: float = 0.0) -> SlideProgress:
    """How far it is, as it is now."""
    state = work.plan.wanted.astype(np.uint8)
    flat = state.reshape(-1)
    done = work.log.done
    flat[done[flat[done] > 0]] = 2
    core = float(work.plan.grid.core)
    scale, translate = work.plan.seen.place((core, core))
    return SlideProgress(
        done=work.done,
        total=work.count,
        rate=rate,
        state=state,
        scale=scale,
        translate=translate,
    )


@dataclass(slots=True, kw_only=True)
class SlideJob:
    """What a session asks for, and whom it tells.

    Attributes:
        work: gives what is to be done; hears how to be stopped.
        result: what is shown when all tiles are there.
        started: called with the work before its first tile.
        shown: called with what there is so far, every two seconds.
        moved: called with the progress, as often.
    """

    work: Callable[[Check], SlideWork]
    result: Callable[[SlideWork, Check], Localization]
    started: Callable[[SlideWork], None]
    shown: Callable[[Localization], None]
    moved: Callable[[SlideProgress], None]

    def __call__(self, report: Report) -> Localization:
        """Runs until all tiles are finished.

        Raises:
            JobCancelledError: stopped; what is finished has been shown and is kept.
        """
        work = self._begin(report)
        try:
            if not work.is_finished:
                report(work.done, work.count, "a first look")
                first = work.look()
                if not work.live:  # of a bag, whose map comes at the end
                    self.shown(first)
            self.started(work)
            self._run(work, report)
            report(work.done, work.count, "the slide as a whole")
            result = self.result(work, report.check)
        except JobCancelledError:
            self._show(work, 0.0)
            raise
        return result

    def estimate(self, report: Report) -> Cost:
        """Times three tiles; they are kept, and count as finished.

        Raises:
            JobCancelledError: stopped; what is finished is kept.
        """
        work = self._begin(report)
        report(0, 0, "three tiles, to see how long they take")
        try:
            return probe(work)
        finally:
            work.log.close()

    def _begin(self, report: Report) -> SlideWork:
        report(0, 0, "looking for tissue")
        return self.work(report.check)

    def _run(self, work: SlideWork, report: Report) -> None:
        start = last = time.perf_counter()
        begun = work.done
        self._show(work, 0.0)
        pause, shown = self._pause(start), time.perf_counter()
        for _ in work.tiles():
            now = time.perf_counter()
            done = work.done
            rate = (done - begun) / max(now - start, 1e-9)
            report(done, work.count, f"{rate:.2g} tiles/s")
            if now - last >= live.SHOW_EVERY:
                self.moved(progress_of(work, rate))
                last = now
            if now - shown >= pause:
                self.shown(work.result())
                pause, shown = self._pause(now), time.perf_counter()
        self.moved(progress_of(work))

    def _pause(self, since: float) -> float:
        """Seconds until the maps are shown again: large ones must not hold up tiles."""
        return max(live.SHOW_EVERY, SHARE * (time.perf_counter() - since))

    def _show(self, work: SlideWork, rate: float) -> None:
        self.moved(progress_of(work, rate))
        if work.live:  # nothing to show before the first tile of a bag
            self.shown(work.result())
