"""Rounds of strokes on a slide that is localized: learnt, then shown as they come."""

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
from napari_wsol.slides import live
from napari_wsol.slides.localize import SlideWork
from napari_wsol.slides.scores import scores_through

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_wsol.config import FinetuneConfig, SlideConfig
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.jobs import Report
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.left_out import Marked
    from napari_wsol.refinement.on_slides.descriptors import SlideSpace
    from napari_wsol.refinement.refine import RoundRequest
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.slides.feature_store import FeatureStore


LOCALIZE_FIRST = "Localize first, then refine what it found."


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRounds:
    """What all rounds on a localized slide have in common.

    Attributes:
        work: the localization that they refine; its tiles have been planned.
        config: how tiles are read.
        store: keeps the features.
        space: what has been read of the slide so far; grows.
        folder: for the refined tiles.
        started: called with the work before the first tile is shown.
        shown: called with the map as it grows.
    """

    work: SlideWork
    config: SlideConfig
    store: FeatureStore
    space: SlideSpace
    folder: Path
    started: Callable[[SlideWork], None]
    shown: Callable[[Heatmap], None]

    def refine(
        self,
        request: RoundRequest,
        before: Heatmap,
        report: Report,
        step: Callable[[FinetuneStep], None],
    ) -> Round:
        """Learns, and reads the new head on all tiles whose features are kept.

        Args:
            request: the strokes, and how they are learnt.
            before: the map that is shown now; it stays where a tile is not refined yet.
            report: hears of the progress; may stop it.
            step: hears of every step of the solver.

        Raises:
            NoScribblesError: there are no strokes.
            NoResultError: no tile is finished yet.
            JobCancelledError: stopped; the round before stays.
        """
        if not len(self.work.log):
            raise NoResultError(LOCALIZE_FIRST)
        refinement = SlideRefinement(self._descriptors(report), request)
        for item in refinement.learn(report):
            report(item.step, item.steps, "learning from the strokes")
            step(item)
        refined = self._read(refinement, before, request.index, report)
        return refinement.finished(_numbered(refined, request.index))

    def seen_through(self, heatmap: Heatmap, report: Report) -> dict[str, float]:
        """Class → probability of the slide, pooled over the cells that a map marks."""
        work = self.work
        return scores_through(work.model, work.kept, heatmap, check=report.check)

    def agreement(
        self, marked: Marked, settings: FinetuneConfig, report: Report
    ) -> dict[int, float]:
        """Share of each stroke on which a head agrees that learnt from all others.

        Args:
            marked: the strokes.
            settings: of the refit.
            report: may stop it.
        """
        descriptors = self._descriptors(report)
        return left_out_on_slide(descriptors, marked, settings, check=report.check)

    def _descriptors(self, report: Report) -> SlideDescriptors:
        return SlideDescriptors(
            self.work.slide,
            self.work.model,
            self.work.plan,
            self.store,
            config=self.config,
            space=self.space,
            check=report.check,
        )

    def _read(
        self, refinement: SlideRefinement, before: Heatmap, index: int, report: Report
    ) -> SlideWork:
        """The new head on the tiles that are finished, those in view first."""
        work, plan = self.work, self.work.plan
        finished = np.zeros_like(plan.wanted)
        finished.reshape(-1)[work.log.done] = True
        refined = SlideWork(
            work.slide,
            refinement.model,
            [PixelCam.name],
            before.target,
            mpp=work.mpp,
            config=self.config,
            folder=self.folder,
            plan=replace(plan, wanted=plan.wanted & finished),
            keep=lambda _plan: self.store,
            readout=refinement.readout,
            check=report.check,
        )
        refined.first = Localization({}, before.target, {PixelCam.name: before})
        self.started(refined)
        last = time.perf_counter()
        for _ in refined.tiles():
            report(refined.done, refined.count, "refining tiles")
            if time.perf_counter() - last >= live.SHOW_EVERY:
                self.shown(_numbered(refined, index))
                last = time.perf_counter()
        return refined


def _numbered(refined: SlideWork, index: int) -> Heatmap:
    return replace(refined.heatmap(PixelCam.name), round=index)
