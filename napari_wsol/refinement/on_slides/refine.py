"""A round of strokes on a slide: learnt from the tiles under them, shown on all.

As on an image in one piece strokes correct the pixel head, and the map where they are
(:mod:`napari_wsol.refinement.local`). That needs the features and the colour of the
marked places, which lie in a few tiles, and of a sample of cells that are spread over
the slide (:mod:`napari_wsol.refinement.on_slides.descriptors`). Where the features are
kept, nothing is encoded: neither to learn nor to show what was learnt.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_wsol.errors import (
    MethodUnavailableError,
    NoResultError,
    UnreadableImageError,
)
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods.model import weight_bytes
from napari_wsol.methods.pixelcam import PixelCam, PixelHead
from napari_wsol.refinement.finetune import copied, fit
from napari_wsol.refinement.local import learn_locally
from napari_wsol.refinement.marked import Labelled, labelled_places
from napari_wsol.refinement.on_slides.local import LocalMap
from napari_wsol.refinement.refine import finished_round, labelled_on
from napari_wsol.slides.feature_store import belongs_to
from napari_wsol.slides.readouts import planes_of
from napari_wsol.slides.run import SlideRun
from napari_wsol.slides.tile_log import TileLog

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from torch import Tensor

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.on_slides.descriptors import SlideDescriptors
    from napari_wsol.refinement.refine import RoundRequest
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.refinement.stroke_field import StrokeField
    from napari_wsol.slides.order import View
    from napari_wsol.slides.run import TileDone


class SlideRefinement:
    """One round: :meth:`learn` first, then :meth:`tiles`.

    The round starts from the model as it was trained, so it depends on the strokes
    alone. The model given is not changed; one without a pixel head gets a new one.

    Args:
        descriptors: read the slide; tiles under strokes whose features are not kept
            are encoded.
        request: the strokes, and how they are learnt.
        folder: where the maps of finished tiles are kept; it must be there.

    Attributes:
        head: what was learnt; None before.
        stroke_field: what the strokes say beside the head; None before, and where the
            settings leave it out.
        loss: at each step.

    Raises:
        NoScribblesError: there are no strokes, or of one kind only.
        MethodUnavailableError: the encoder is to learn too.
    """

    def __init__(
        self, descriptors: SlideDescriptors, request: RoundRequest, folder: Path
    ) -> None:
        self._started = time.perf_counter()
        if request.settings.encoder != "frozen":
            raise MethodUnavailableError(
                "On a slide the encoder cannot learn from strokes, as all tiles would "
                "have to be encoded anew. Keep it frozen, under Advanced."
            )
        self._descriptors, self._request = descriptors, request
        self._slide, self._model = descriptors.slide, descriptors.model
        self._plan, self._store = descriptors.plan, descriptors.store
        self._folder, self._check = folder, descriptors.check
        self._settings, self._others = request.settings, request.others
        self._labelled = labelled_on(request, self._plan.seen, self._model)
        self._view: View | None = None
        self._run: SlideRun | None = None
        self._log: TileLog | None = None
        self.head: PixelHead | None = None
        self.stroke_field: StrokeField | None = None
        self.loss: list[float] = []
        self._shown_encoded = 0

    def learn(self, report: Progress = ignore_progress) -> Generator[FinetuneStep]:
        """Refits the head; ``head`` is there when it ends.

        Args:
            report: called with (tiles read, tiles under strokes, "").

        Yields:
            Progress of the refit.

        Raises:
            UnreadableImageError: the slide is damaged under all strokes of one kind.
        """
        read = self._descriptors
        field: StrokeField | None = None
        if self._settings.corrects:
            spots = labelled_places(self._labelled)
            known, found = read.places(spots, report)
            self._need_readable(spots, found)
            head = copied(read.head)
            for item, field in learn_locally(  # noqa: B007 - the last one is finished
                head, known, self._settings, others=self._others
            ):
                yield self._told(item)
        else:
            x, found, spread = read.vectors(self._labelled.points, report)
            labelled = self._need_readable(self._labelled, found)
            head = copied(read.head)
            for item in fit(
                head, x[found], labelled, spread, self._settings, others=self._others
            ):
                yield self._told(item)
        self.head, self.stroke_field = head, field

    def _told(self, item: FinetuneStep) -> FinetuneStep:
        self.loss.append(item.loss)
        self._check()
        return item

    def _need_readable(self, labelled: Labelled, found: Tensor) -> Labelled:
        """Places where the slide is damaged do not count; some of each kind have to."""
        if {*labelled.labels[found].tolist()} != {*labelled.labels.tolist()}:
            raise UnreadableImageError(
                f"“{self._slide.name}” is damaged under the strokes: draw them "
                "elsewhere, or copy the file again."
            )
        return Labelled(labelled.points[found], labelled.labels[found])

    @property
    def encoded(self) -> int:
        """Tiles that went through the network, to learn and to show."""
        return self._descriptors.encoded + self._shown_encoded

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

    @property
    def readout(self) -> LocalMap | None:
        """Reads the refined map of tiles; None where the head says all."""
        if self.stroke_field is None:
            return None
        head = self.model.head(PixelHead, PixelCam.head)
        return LocalMap(
            head,
            self.stroke_field,
            self._descriptors.colour(),
            self._plan,
            check=self._check,
        )

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
            plan = replace(plan, wanted=self._descriptors.kept)
        self._run = SlideRun(
            self._slide,
            model,
            plan,
            planes,
            log=self._open_log(),
            config=self._descriptors.config,
            store=self._store,
            readout=self.readout,
            check=self._check,
        )
        self._run.queue.look_at(self._view)
        try:
            yield from self._run.tiles()
        finally:
            self._shown_encoded += self._run.encoded

    def finished(self, heatmap: Heatmap) -> Round:
        """The round, for the list of rounds.

        Args:
            heatmap: made of the tiles.

        Raises:
            NoResultError: nothing was learnt yet.
        """
        if self.head is None:
            raise NoResultError("Learn from the strokes first.")
        return finished_round(
            self._request,
            heatmap,
            self.head,
            stroke_field=self.stroke_field,
            losses=self.loss,
            seconds=time.perf_counter() - self._started,
        )

    def close(self) -> None:
        """Gives the file of finished tiles back; harmless when called again."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _open_log(self) -> TileLog:
        if self._log is None:
            head = self.model.head(PixelHead, PixelCam.head)
            digest = hashlib.sha256()
            for module in (head, self.stroke_field):
                for part in weight_bytes(module) if module is not None else ():
                    digest.update(part)
            key = belongs_to(self._slide, self._model, self._plan)
            key["head"] = digest.hexdigest()
            name = f"{digest.hexdigest()[:16]}.tiles"
            self._log = TileLog(self._folder / name, len(self._plan.grid), key)
        return self._log
