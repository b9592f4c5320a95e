"""A round of strokes on a slide as a job: learnt, then shown as it comes."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import NoResultError
from napari_wsol.inference.whole_image import Localization
from napari_wsol.methods.pixelcam import PixelCam
from napari_wsol.refinement.on_slides.descriptors import SlideDescriptors
from napari_wsol.refinement.on_slides.left_out import left_out_on_slide
from napari_wsol.refinement.on_slides.refine import SlideRefinement
from napari_wsol.slides.localize import SlideWork
from napari_wsol.slides.scores import scores_through

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.jobs import Report
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.left_out import Marked
    from napari_wsol.refinement.on_slides.descriptors import SlideSpace
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.refinement.samples import Pooled
    from napari_wsol.slides.config import SlideConfig
    from napari_wsol.slides.localize import Keeper
    from napari_wsol.strokes.canvas import Canvas, Scribbles

SHOW_EVERY = 2.0
"""Seconds between two refreshes of the map."""


@dataclass(slots=True, kw_only=True)
class SlideRound:
    """What a session asks for, and whom it tells.

    Attributes:
        work: the localization that the round refines; its tiles have been planned.
        before: the map that is shown now; it stays where a tile is not refined yet.
        scribbles: strokes on the canvas.
        canvas: the grid that they are painted on.
        settings: of the refit.
        config: how tiles are read.
        store: keeps the features.
        folder: for the refined tiles.
        index: of the round.
        step: called with the progress of the refit.
        started: called with the work before the first tile is shown.
        shown: called with the map as it grows.
        others: what was marked on other images.
        space: what earlier rounds have read of the slide.
    """

    work: SlideWork
    before: Heatmap
    scribbles: Scribbles | None
    canvas: Canvas
    settings: FinetuneConfig
    config: SlideConfig
    store: Keeper
    folder: Path
    index: int
    step: Callable[[FinetuneStep], None]
    started: Callable[[SlideWork], None]
    shown: Callable[[Heatmap], None]
    others: Pooled | None = None
    space: SlideSpace | None = None

    def __call__(self, report: Report) -> Round:
        """Learns, and reads the new head on all tiles whose features are kept.

        Raises:
            NoScribblesError: there are no strokes, or of one kind only.
            NoResultError: no tile is finished yet.
            JobCancelledError: stopped; the round before stays.
        """
        if not len(self.work.log):
            raise NoResultError("Localize first, then refine what it found.")
        work = self.work
        refinement = SlideRefinement(
            work.slide,
            work.model,
            work.plan,
            scribbles=self.scribbles,
            canvas=self.canvas,
            settings=self.settings,
            store=self.store,
            folder=self.folder,
            config=self.config,
            check=report.check,
            others=self.others,
            space=self.space,
        )
        for item in refinement.learn(report):
            report(item.step, item.steps, "learning from the strokes")
            self.step(item)
        refined = self._read(refinement, report)
        heatmap = replace(refined.heatmap(PixelCam.name), round=self.index)
        return refinement.finished(self.index, heatmap)

    def seen_through(self, heatmap: Heatmap, report: Report) -> dict[str, float]:
        """Class → probability of the slide, pooled over the cells that a map marks."""
        work = self.work
        return scores_through(
            work.model, work.plan, work.planes, work.log, heatmap, check=report.check
        )

    def agreement(self, marked: Marked, report: Report) -> dict[int, float]:
        """Share of each stroke on which a head agrees that learnt from all others.

        Args:
            marked: the strokes.
            report: may stop it.
        """
        work = self.work
        looks = SlideDescriptors(
            work.slide,
            work.model,
            work.plan,
            self.store,
            config=self.config,
            space=self.space,
            check=report.check,
        )
        return left_out_on_slide(looks, marked, self.settings, check=report.check)

    def _read(self, refinement: SlideRefinement, report: Report) -> SlideWork:
        """The new head on the tiles that are finished, those in view first."""
        plan = self.work.plan
        finished = np.zeros_like(plan.wanted)
        finished.reshape(-1)[self.work.log.done] = True
        refined = SlideWork(
            self.work.slide,
            refinement.model,
            [PixelCam.name],
            self.before.target,
            mpp=self.work.mpp,
            config=self.config,
            folder=self.folder,
            plan=replace(plan, wanted=plan.wanted & finished),
            keep=lambda _plan: self.store,
            readout=refinement.readout,
            check=report.check,
        )
        refined.first = Localization(
            {}, self.before.target, {PixelCam.name: self.before}
        )
        self.started(refined)
        last = time.perf_counter()
        for _ in refined.tiles():
            report(refined.done, refined.count, "refining tiles")
            if time.perf_counter() - last >= SHOW_EVERY:
                self.shown(replace(refined.heatmap(PixelCam.name), round=self.index))
                last = time.perf_counter()
        return refined
