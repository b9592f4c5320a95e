"""One round: strokes in, a refined pixel head and its heatmap out."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from scipy import ndimage

from napari_wsol.inference.whole_image import make_heatmap
from napari_wsol.methods.pixelcam import PLAIN, PixelCam
from napari_wsol.refinement.finetune import refined_copy
from napari_wsol.refinement.guided_filter import guided_filter
from napari_wsol.refinement.heads import own_head
from napari_wsol.refinement.last_stage import adapted_model, taught_stage
from napari_wsol.refinement.local import refined_map, taught
from napari_wsol.refinement.marked import labelled_pixels
from napari_wsol.refinement.rounds import Refined, Round
from napari_wsol.refinement.surroundings import Surroundings, colour_map
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from torch import Tensor

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.encoders import Features
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.inference.view import ModelView
    from napari_wsol.jobs import Report
    from napari_wsol.methods import Model
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.marked import Labelled
    from napari_wsol.refinement.samples import Pooled
    from napari_wsol.strokes.canvas import Canvas, Scribbles

KINDS = (BACKGROUND, FOREGROUND)
"""Values of strokes on a canvas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRequest:
    """What a round is to be learnt from, and how.

    Attributes:
        scribbles: strokes on the canvas; None where other images teach alone.
        canvas: the grid that they are painted on.
        settings: of the refit.
        target: class whose map is refined.
        index: of the round.
        others: what was marked on other images.
    """

    scribbles: Scribbles | None
    canvas: Canvas
    settings: FinetuneConfig
    target: str
    index: int
    others: Pooled | None = None

    @property
    def strokes(self) -> Scribbles:
        """The canvas; empty where nothing is painted."""
        if self.scribbles is None:
            return np.zeros(self.canvas.shape, np.uint8)
        return self.scribbles

    @property
    def has_both(self) -> bool:
        """Whether there are strokes of both kinds on the canvas."""
        return all(bool((self.strokes == kind).any()) for kind in KINDS)


def refine(
    view: ModelView,
    request: RoundRequest,
    *,
    report: Report,
    step: Callable[[FinetuneStep], None],
) -> Round:
    """Refits the pixel head of a model to strokes on one image, and to those on others.

    The model itself is not changed; a model without a pixel head gets a new one. Where
    other images bring both kinds of strokes this one needs none.

    Where the encoder's last stage learns too, other images teach nothing: they were
    read by the encoder as it was. Without strokes of both kinds on it an image leaves
    the encoder as it is.

    Args:
        view: the image as the model sees it.
        request: the strokes, and how they are learnt.
        report: hears of the progress; may stop it.
        step: hears of every step of the solver.

    Raises:
        NoScribblesError: there are no strokes.
        MethodUnavailableError: the encoder's last stage is to learn, and cannot.
        JobCancelledError: stopped meanwhile.
    """
    started = time.perf_counter()
    settings = request.settings
    adapts = settings.encoder == "last_stage" and request.has_both
    if adapts:
        request = replace(request, others=None)
    seen = view.geometry()
    labelled = labelled_on(request, seen, view.model)
    features = view.features(check=report.check)
    stage: Mapping[str, Tensor] | None = None
    if adapts:
        stage = taught_stage(
            view.model, features, labelled, settings, report=report, check=report.check
        )
        view = view.by(adapted_model(view.model, stage))
        features = view.features(check=report.check)
    head = refined_copy(own_head(view.model), features)
    losses: list[float] = []

    def tell(item: FinetuneStep) -> None:
        losses.append(item.loss)
        report(item.step, item.steps)
        step(item)

    around = None
    if settings.corrects or settings.edges != "none":
        around = surroundings(view, head, features)
    others = request.others
    field = taught(
        head, features, labelled, settings, around, others=others, heard=tell
    )
    learnt = Refined(
        index=request.index,
        target=request.target,
        head=head,
        stroke_field=field,
        stage=stage,
        settings=settings,
    )
    return finished_round(
        request,
        _heatmap(view, features, learnt, around),
        learnt,
        losses=losses,
        seconds=time.perf_counter() - started,
    )


def shown_by(view: ModelView, refined: Refined) -> Heatmap:
    """The map of a round that was made before.

    Args:
        view: the image as the model sees it, as it was loaded.
        refined: what the round learnt.

    Raises:
        ModelError: the stage does not belong to the model.
    """
    if refined.stage is not None:
        view = view.by(adapted_model(view.model, refined.stage))
    features, around = view.features(), None
    if refined.stroke_field is not None or refined.settings.edges != "none":
        around = surroundings(view, refined.head, features)
    return _heatmap(view, features, refined, around)


def colour_on(view: ModelView, read: Features) -> Tensor:
    """(1, c, h, w) colour on the finest grid that a head reads.

    Args:
        view: the image as the model sees it.
        read: what the head's last layer reads.
    """
    rows, columns = (int(side) for side in read.maps[0].shape[-2:])
    how = view.model.preprocessing
    return colour_map(view.pixels(), (rows, columns), mean=how.mean, std=how.std)


def surroundings(view: ModelView, head: PixelHead, features: Features) -> Surroundings:
    """What of the image itself strokes are read against; the same in every round.

    Args:
        view: the image as the model sees it; its cache keeps the answer.
        head: reads the features; its last layer does not matter.
        features: of the image, maps (1, C, h, w).
    """

    def make() -> Surroundings:
        with torch.no_grad():
            read = head.hidden(features)
        how = view.model.preprocessing
        return Surroundings(view.pixels(), read, mean=how.mean, std=how.std)

    if view.cache is None:
        return make()
    key = (
        view.slide.fingerprint(),
        view.model.encoder_fingerprint(),
        view.model.preprocessing,
        view.geometry(),
        _hidden_layers(head),
    )
    return view.cache.derived(key, Surroundings, make)


def _hidden_layers(head: PixelHead) -> Hashable:
    """What decides about what the last layer of a head reads."""
    if head.form == PLAIN:
        return head.channels
    digest = hashlib.sha256()
    for name, value in head.state_dict().items():
        if not name.startswith("conv4."):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return head.channels, head.form, digest.digest()


def _heatmap(
    view: ModelView, features: Features, learnt: Refined, around: Surroundings | None
) -> Heatmap:
    colour = None if around is None else around.colour
    values = refined_map(learnt.head, features, learnt.stroke_field, colour)
    if around is not None and learnt.settings.edges == "guided":
        values = guided_filter(values, around.guide)
    return make_heatmap(
        values,
        stride=learnt.head.read(features).strides[0],
        seen=view.geometry(),
        slide=view.slide,
        method=PixelCam.name,
        target=learnt.target,
        round_index=learnt.index,
    )


def labelled_on(request: RoundRequest, seen: Geometry, model: Model) -> Labelled:
    """Where the strokes of a canvas lie on what the network sees.

    Args:
        request: the strokes.
        seen: how the network sees the image.
        model: says what it finds.

    Raises:
        NoScribblesError: there are no strokes, and other images do not bring both
            kinds.
    """
    return labelled_pixels(
        request.strokes,
        scale=request.canvas.scale,
        translate=request.canvas.translate,
        downsample=seen.downsample,
        origin=seen.origin,
        finds=model.finds,
        max_pixels=request.settings.max_pixels,
        may_be_empty=request.others is not None and request.others.kinds == 2,
    )


def finished_round(
    request: RoundRequest,
    heatmap: Heatmap,
    learnt: Refined,
    *,
    losses: Sequence[float],
    seconds: float,
) -> Round:
    """A round with what its strokes count."""
    strokes, touching = request.strokes, np.ones((3, 3), int)
    return Round(
        index=learnt.index,
        heatmap=heatmap,
        head=learnt.head,
        stroke_field=learnt.stroke_field,
        stage=learnt.stage,
        scribbles=strokes,
        loss=tuple(losses),
        strokes=sum(
            cast("tuple[object, int]", ndimage.label(strokes == kind, touching))[1]
            for kind in KINDS
        ),
        foreground=int(np.count_nonzero(strokes == FOREGROUND)),
        background=int(np.count_nonzero(strokes == BACKGROUND)),
        seconds=seconds,
        settings=learnt.settings,
        others=() if request.others is None else request.others.digests,
        other_strokes=0 if request.others is None else request.others.strokes,
    )
