"""A round of strokes on a slide: learnt from the tiles under them, shown on all.

The same convex refit as on an image (:mod:`napari_wsol.learning.finetune`): it needs
the features of the labelled pixels alone, and those lie in a few tiles. Where the
features are kept, nothing is encoded: neither to learn nor to show what was learnt.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.encoding import ignore_progress
from napari_wsol.errors import NoResultError, UnreadableImageError
from napari_wsol.learning.finetune import Labelled, copied, fit, untrained_head
from napari_wsol.methods.model import weight_bytes
from napari_wsol.methods.pixelcam import PixelCam, PixelHead
from napari_wsol.refine import finished_round, labelled_on
from napari_wsol.slides.config import SlideConfig
from napari_wsol.slides.feature_store import belongs_to
from napari_wsol.slides.gather import Gatherer
from napari_wsol.slides.readouts import planes_of
from napari_wsol.slides.run import SlideRun
from napari_wsol.slides.tile_log import TileLog

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.encoding import Progress
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.learning.finetune import FinetuneStep
    from napari_wsol.methods import Model
    from napari_wsol.rounds import Canvas, Round, Scribbles
    from napari_wsol.slides.order import View
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.slides.run import Store, TileDone

SPREAD_TILES = 64
"""Tiles from which mean and standard deviation of the features are taken, where the
head does not bring them."""


class SlideRefinement:
    """One round: :meth:`learn` first, then :meth:`tiles`.

    The model given is not changed.

    Args:
        slide: the slide.
        model: on its device; without a pixel head it gets a new one.
        plan: how the slide was cut when its features were kept.
        scribbles: strokes on the canvas, all of them: the round starts from the model
            as it was trained, so it depends on the strokes alone.
        canvas: the grid that they are painted on.
        settings: of the refit.
        store: keeps features; tiles under strokes that are not there are encoded.
        folder: where the maps of finished tiles are kept; it must be there.
        config: how tiles are read.
        check: called often; raises to stop.

    Attributes:
        head: what was learnt; None before.
        loss: at each step.
        encoded: tiles that went through the network.

    Raises:
        NoScribblesError: there are no strokes, or of one kind only.
    """

    def __init__(
        self,
        slide: Slide,
        model: Model,
        plan: SlidePlan,
        *,
        scribbles: Scribbles | None,
        canvas: Canvas,
        settings: FinetuneConfig,
        store: Store,
        folder: Path,
        config: SlideConfig | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._started = time.perf_counter()
        self._slide, self._model, self._plan = slide, model, plan
        self._store, self._folder = store, folder
        self._config, self._settings = config or SlideConfig(), settings
        self._check = check
        self._strokes = (
            np.zeros(canvas.shape, np.uint8) if scribbles is None else scribbles
        )
        self._labelled = labelled_on(canvas, self._strokes, plan.seen, model, settings)
        self._view: View | None = None
        self._run: SlideRun | None = None
        self._log: TileLog | None = None
        self.head: PixelHead | None = None
        self.loss: list[float] = []
        self.encoded = 0

    def learn(self, report: Progress = ignore_progress) -> Generator[FinetuneStep]:
        """Refits the head; ``head`` is there when it ends.

        Args:
            report: called with (tiles read, tiles under strokes, "").

        Yields:
            Progress of the refit.

        Raises:
            UnreadableImageError: the slide is damaged under all strokes of one kind.
        """
        is_new = PixelCam.head not in self._model.heads
        head = self._untrained() if is_new else self._trained()
        own = None if is_new else head.statistics
        gatherer = Gatherer(
            head,
            self._plan,
            self._labelled.points,
            self._store,
            spread_of=self._sample() if own is None else (),
        )
        self._gather(gatherer, report)
        x, labelled = self._readable(gatherer)
        spread = own or gatherer.spread()
        if is_new:
            head.standardize_to(*spread)
        for item in fit(head, x, labelled, spread, self._settings):
            self.loss.append(item.loss)
            self._check()
            yield item
        self.head = head

    @property
    def model(self) -> Model:
        """The model with what was learnt; shares everything else with the original.

        Raises:
            NoResultError: nothing was learnt yet.
        """
        if self.head is None:
            raise NoResultError("Learn from the strokes first.")
        head = copied(self.head).to(self._model.device)
        return self._model.with_head(PixelCam.head, head)

    def look_at(self, view: View | None) -> None:
        """What the person sees, in units of tiles, comes first; also while it runs."""
        self._view = view
        if self._run is not None:
            self._run.queue.look_at(view)

    def tiles(self, *, missing: bool = False) -> Generator[TileDone]:
        """The new foreground probability, tile by tile, those in view first.

        Stopped, it goes on from there when it is called again; also tomorrow, in the
        same folder and after the same strokes.

        Args:
            missing: whether tiles whose features are not kept are encoded too; they
                are left out without.

        Yields:
            Tiles with the map "pixelcam", (1, rows, columns) float16.
        """
        model = self.model
        planes = [
            item
            for item in planes_of(model, [PixelCam.name])
            if item.name == PixelCam.name
        ]
        plan = self._plan
        if not missing:
            plan = replace(plan, wanted=self._kept())
        self._run = SlideRun(
            self._slide,
            model,
            plan,
            planes,
            log=self._open_log(),
            config=self._config,
            store=self._store,
            check=self._check,
        )
        self._run.queue.look_at(self._view)
        try:
            yield from self._run.tiles()
        finally:
            self.encoded += self._run.encoded

    def finished(self, index: int, heatmap: Heatmap) -> Round:
        """The round, for the list of rounds.

        Args:
            index: counts up.
            heatmap: made of the tiles.
        """
        if self.head is None:
            raise NoResultError("Learn from the strokes first.")
        return finished_round(
            index,
            heatmap,
            self.head,
            strokes=self._strokes,
            losses=self.loss,
            settings=self._settings,
            seconds=time.perf_counter() - self._started,
        )

    def close(self) -> None:
        """Gives the file of finished tiles back; harmless when called again."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _trained(self) -> PixelHead:
        return copied(self._model.head(PixelHead, PixelCam.head))

    def _untrained(self) -> PixelHead:
        """One that reads features as they are, until their spread is known."""
        channels = self._model.encoder.channels
        width = sum(channels)
        return untrained_head(channels, torch.zeros(width), torch.ones(width))

    def _gather(self, gatherer: Gatherer, report: Progress) -> None:
        """Sends the tiles that are needed past the gatherer."""
        plan = replace(self._plan, wanted=gatherer.wanted)
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            log = TileLog(Path(folder) / "strokes.tiles", len(plan.grid), {})
            run = SlideRun(
                self._slide,
                self._model,
                plan,
                (),
                log=log,
                config=self._config,
                store=gatherer,
                check=self._check,
            )
            try:
                for done, _ in enumerate(run.tiles(), 1):
                    report(done, plan.count, "")
            finally:
                log.close()
                self.encoded += run.encoded

    def _readable(self, gatherer: Gatherer) -> tuple[Tensor, Labelled]:
        """Features and labels, without the pixels where the slide is damaged."""
        labels = self._labelled.labels
        found = gatherer.found
        if {*labels[found].tolist()} != {*labels.tolist()}:
            raise UnreadableImageError(
                f"“{self._slide.name}” is damaged under the strokes: draw them "
                "elsewhere, or copy the file again."
            )
        points = self._labelled.points[found]
        return gatherer.vectors[found], Labelled(points, labels[found])

    def _kept(self) -> npt.NDArray[np.bool_]:
        """(rows, columns) bool: wanted tiles whose features are kept."""
        kept = np.zeros_like(self._plan.wanted)
        numbers = np.flatnonzero(self._plan.wanted)
        kept.reshape(-1)[[item for item in numbers if int(item) in self._store]] = True
        return kept

    def _sample(self) -> list[int]:
        """Some of the tiles whose features are kept, spread evenly."""
        numbers = np.flatnonzero(self._kept())
        at = np.linspace(0, len(numbers) - 1, min(SPREAD_TILES, len(numbers)))
        return [int(item) for item in numbers[at.round().astype(np.intp)]]

    def _open_log(self) -> TileLog:
        if self._log is None:
            head = self.model.head(PixelHead, PixelCam.head)
            digest = hashlib.sha256()
            for part in weight_bytes(head):
                digest.update(part)
            key = belongs_to(self._slide, self._model, self._plan)
            key["head"] = digest.hexdigest()
            name = f"{digest.hexdigest()[:16]}.tiles"
            self._log = TileLog(self._folder / name, len(self._plan.grid), key)
        return self._log
