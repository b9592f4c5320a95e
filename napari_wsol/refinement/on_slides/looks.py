"""What marked places on a slide look like, read from the tiles that hold them.

Beside those tiles a sample of others is read
(:mod:`napari_wsol.refinement.on_slides.space`), once for all rounds. Where their
features are kept, nothing is encoded.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.errors import UnreadableImageError
from napari_wsol.inference.encode import ignore_progress
from napari_wsol.methods.pixelcam import PLAIN, PixelCam, PixelHead
from napari_wsol.refinement.finetune import LEAST_STD, copied, untrained_head
from napari_wsol.refinement.local import Gathered
from napari_wsol.refinement.on_slides.gather import Gatherer, tiles_under
from napari_wsol.refinement.on_slides.space import (
    SAMPLE_TILES,
    SlideSpace,
    spread_evenly,
)
from napari_wsol.refinement.on_slides.tile_colour import TileColour
from napari_wsol.slides.config import SlideConfig
from napari_wsol.slides.run import SlideRun
from napari_wsol.slides.tile_log import TileLog

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.encode import Progress
    from napari_wsol.methods import Model
    from napari_wsol.refinement.finetune import Labelled
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.slides.run import Store

SPREAD_TILES = 64
"""Tiles from which mean and standard deviation of the features are taken, where the
head does not bring them."""

FEW_TILES = 4
"""Tiles that are encoded to learn from others' strokes, where nothing is kept."""


class SlideLooks:
    """Reads places of one slide for the pixel head of one model.

    Args:
        slide: the slide.
        model: on its device; without a pixel head it gets a new one.
        plan: how the slide was cut when its features were kept.
        store: keeps features; tiles under places that are not there are encoded.
        config: how tiles are read.
        space: what was read of the slide before; goes on from there.
        check: called often; raises to stop.

    Attributes:
        head: as it is before the first stroke. One that is new knows the spread of the
            features once something was read.
        encoded: tiles that went through the network.
    """

    def __init__(
        self,
        slide: Slide,
        model: Model,
        plan: SlidePlan,
        store: Store,
        *,
        config: SlideConfig | None = None,
        space: SlideSpace | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._slide, self._model, self._plan = slide, model, plan
        self._store, self._config = store, config or SlideConfig()
        self._space, self._check = space or SlideSpace(), check
        self._is_new = PixelCam.head not in model.heads
        self.head = _untrained(model) if self._is_new else _trained(model)
        self.encoded = 0

    def vectors(
        self, points: Tensor, report: Progress = ignore_progress
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """What the head alone learns from.

        Args:
            points: (n, 2) positions (y, x) in network input pixels.
            report: called with (tiles read, tiles, "").

        Returns:
            (n, C) features, (n,) bool where they could be read, and (C,) mean and
            standard deviation of the features.
        """
        own = None if self._is_new else self.head.statistics
        sample = None if own else spread_evenly(np.flatnonzero(self.kept), SPREAD_TILES)
        gatherer = Gatherer(
            self.head, self._plan, points, self._store, spread_of=sample
        )
        self._gather(gatherer, report)
        spread = own or gatherer.spread()
        if self._is_new:
            self.head.standardize_to(*spread)
        return gatherer.vectors, gatherer.found, spread

    def places(
        self, spots: Labelled, report: Progress = ignore_progress
    ) -> tuple[Gathered, Tensor]:
        """What head and field learn from.

        Args:
            spots: where is what.
            report: called with (tiles read, tiles, "").

        Returns:
            What the places look like, and (n,) bool: those that could be read, which
            alone are in it.

        Raises:
            UnreadableImageError: nothing at all could be read.
        """
        space, colour = self._space, self.colour()
        under = np.unique(tiles_under(spots.points.numpy(), self._plan))
        tiles = (
            spread_evenly(np.flatnonzero(self.kept), SAMPLE_TILES)
            or [int(item) for item in under]
            or spread_evenly(np.flatnonzero(self._plan.wanted), FEW_TILES)
        )
        unknown = space.wants(tiles, self._plan, colour.stride)
        points = torch.cat([spots.points, *unknown.values()])
        gatherer = Gatherer(self.head, self._plan, points, self._store, colour=colour)
        self._gather(gatherer, report)
        counts = [len(spots.points), *map(len, unknown.values())]
        found = torch.split(gatherer.found, counts)
        vectors = torch.split(gatherer.vectors, counts)
        for index, there, values in zip(unknown, found[1:], vectors[1:], strict=True):
            if bool(there.any()):  # what is damaged is in no sample
                space.add(index, values[there].clone())
        if space.is_empty:
            raise UnreadableImageError(
                f"No tile of “{self._slide.name}” could be read to learn from: the "
                "file is damaged. Copy or download it again."
            )
        mean, projection = space.reduction([*self._channels, colour.channels])
        if self._is_new:
            width = sum(self._channels)
            std = space.vectors[:, :width].std(0).clamp_min(LEAST_STD)
            self.head.standardize_to(mean[:width], std)
        known = Gathered(
            vectors[0][found[0]],
            spots.points[found[0]],
            spots.labels[found[0]],
            mean,
            projection,
        )
        return known, found[0]

    def colour(self) -> TileColour:
        """The colour of the slide on the grid of what the head reads."""
        return TileColour(
            self._slide, self._model, self._plan, self.head, kept=self._space.colour
        )

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """(rows, columns) bool: wanted tiles whose features are kept."""
        kept = np.zeros_like(self._plan.wanted)
        numbers = np.flatnonzero(self._plan.wanted)
        kept.reshape(-1)[[item for item in numbers if int(item) in self._store]] = True
        return kept

    @property
    def _channels(self) -> list[int]:
        """Of each map that the head's last layer reads."""
        if self.head.form == PLAIN:
            return [*self.head.channels]
        return [self.head.affine()[0].shape[1]]

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


def _trained(model: Model) -> PixelHead:
    return copied(model.head(PixelHead, PixelCam.head))


def _untrained(model: Model) -> PixelHead:
    """One that reads features as they are, until their spread is known."""
    channels = model.encoder.channels
    width = sum(channels)
    return untrained_head(channels, torch.zeros(width), torch.ones(width))
