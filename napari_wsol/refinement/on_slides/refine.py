"""A round of strokes on a slide: learnt from the tiles under them, shown on all.

As on an image in one piece strokes correct the pixel head, and the map where they are
(:mod:`napari_wsol.refinement.local`). That needs the features and the colour of the
marked places, which lie in a few tiles, and of a sample of cells that are spread over
the slide (:mod:`napari_wsol.refinement.on_slides.descriptors`). Where the features are
kept, nothing is encoded: neither to learn nor to show what was learnt.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from napari_wsol.errors import (
    MethodUnavailableError,
    NoResultError,
    UnreadableImageError,
)
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods.pixelcam import PixelCam, PixelHead
from napari_wsol.refinement.finetune import copied, fit
from napari_wsol.refinement.local import learn_locally
from napari_wsol.refinement.marked import Labelled, labelled_places
from napari_wsol.refinement.on_slides.local import LocalMap
from napari_wsol.refinement.refine import finished_round, labelled_on
from napari_wsol.refinement.rounds import Refined

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.on_slides.descriptors import SlideDescriptors
    from napari_wsol.refinement.refine import RoundRequest
    from napari_wsol.refinement.rounds import Round
    from napari_wsol.refinement.stroke_field import StrokeField


class SlideRefinement:
    """One round: :meth:`learn` first; ``model`` and ``readout`` then show it.

    The round starts from the model as it was trained, so it depends on the strokes
    alone. The model given is not changed; one without a pixel head gets a new one.

    Args:
        descriptors: read the slide; tiles under strokes whose features are not kept
            are encoded.
        request: the strokes, and how they are learnt.

    Attributes:
        head: what was learnt; None before.
        stroke_field: what the strokes say beside the head; None before, and where the
            settings leave it out.
        loss: at each step.

    Raises:
        NoScribblesError: there are no strokes.
        MethodUnavailableError: the encoder is to learn too.
    """

    def __init__(self, descriptors: SlideDescriptors, request: RoundRequest) -> None:
        self._started = time.perf_counter()
        if request.settings.encoder != "frozen":
            raise MethodUnavailableError(
                "On a slide the encoder cannot learn from strokes, as all tiles would "
                "have to be encoded anew. Keep it frozen, under Advanced."
            )
        self._descriptors, self._request = descriptors, request
        self._settings, self._others = request.settings, request.others
        self._labelled = labelled_on(request, descriptors.plan.seen, descriptors.model)
        self.head: PixelHead | None = None
        self.stroke_field: StrokeField | None = None
        self.loss: list[float] = []

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
        self._descriptors.check()
        return item

    def _need_readable(self, labelled: Labelled, found: Tensor) -> Labelled:
        """Places where the slide is damaged do not count; some of each kind have to."""
        if {*labelled.labels[found].tolist()} != {*labelled.labels.tolist()}:
            name = self._descriptors.slide.name
            raise UnreadableImageError(
                f"“{name}” is damaged under the strokes: draw them elsewhere, or copy "
                "the file again."
            )
        return Labelled(labelled.points[found], labelled.labels[found])

    @property
    def _learnt(self) -> Refined:
        if self.head is None:
            raise NoResultError("Learn from the strokes first.")
        return Refined(
            index=self._request.index,
            target=self._request.target,
            head=self.head,
            stroke_field=self.stroke_field,
            settings=self._settings,
        )

    @property
    def model(self) -> Model:
        """The model with what was learnt; shares everything else with the original.

        Raises:
            NoResultError: nothing was learnt yet.
        """
        model, head = self._descriptors.model, copied(self._learnt.head)
        return model.with_head(PixelCam.head, head.to(model.device))

    @property
    def readout(self) -> LocalMap | None:
        """Reads the refined map of tiles; None where the head says all."""
        if self.stroke_field is None:
            return None
        descriptors = self._descriptors
        return LocalMap(
            self.model.head(PixelHead, PixelCam.head),
            self.stroke_field,
            descriptors.colour(),
            descriptors.plan,
            check=descriptors.check,
        )

    def finished(self, heatmap: Heatmap) -> Round:
        """The round, for the list of rounds.

        Args:
            heatmap: made of the tiles.

        Raises:
            NoResultError: nothing was learnt yet.
        """
        return finished_round(
            self._request,
            heatmap,
            self._learnt,
            losses=self.loss,
            seconds=time.perf_counter() - self._started,
        )
