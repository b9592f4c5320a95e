"""One round: strokes in, a refined pixel head and its heatmap out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import ndimage

from napari_wsol.encoding import encode, geometry
from napari_wsol.inference import make_heatmap
from napari_wsol.learning.finetune import (
    finetune,
    foreground_map,
    labelled_pixels,
    refined_copy,
)
from napari_wsol.methods.pixelcam import PixelCam, PixelHead
from napari_wsol.rounds import Round

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_wsol.config import FinetuneConfig, InferenceConfig
    from napari_wsol.encoding import Geometry
    from napari_wsol.feature_cache import FeatureCache
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.jobs import Report
    from napari_wsol.learning.finetune import FinetuneStep, Labelled
    from napari_wsol.methods import Model
    from napari_wsol.rounds import Canvas, Scribbles


def refine(
    slide: Slide,
    model: Model,
    scribbles: Scribbles | None,
    canvas: Canvas,
    settings: FinetuneConfig,
    *,
    target: str,
    index: int,
    report: Report,
    step: Callable[[FinetuneStep], None],
    mpp: float | None = None,
    config: InferenceConfig | None = None,
    cache: FeatureCache | None = None,
) -> Round:
    """Refits the pixel head of a model to strokes on one image.

    The model itself is not changed; a model without a pixel head gets a new one.

    Raises:
        NoScribblesError: there are no strokes, or of one kind only.
        JobCancelledError: stopped meanwhile.
    """
    started = time.perf_counter()
    strokes = np.zeros(canvas.shape, np.uint8) if scribbles is None else scribbles
    seen = geometry(slide, model, mpp)
    labelled = labelled_on(canvas, strokes, seen, model, settings)
    features, seen = encode(
        slide, model, mpp=mpp, config=config, cache=cache, check=report.check
    )
    has_head = PixelCam.head in model.heads
    head = refined_copy(
        model.head(PixelHead, PixelCam.head) if has_head else None, features
    )
    losses: list[float] = []
    for item in finetune(head, features, labelled, settings):
        losses.append(item.loss)
        report(item.step, item.steps)
        step(item)
    read = head.read(features)
    heatmap = make_heatmap(
        foreground_map(head, features),
        stride=read.strides[0],
        seen=seen,
        slide=slide,
        method=PixelCam.name,
        target=target,
        round_index=index,
    )
    return finished_round(
        index,
        heatmap,
        head,
        strokes=strokes,
        losses=losses,
        settings=settings,
        seconds=time.perf_counter() - started,
    )


def labelled_on(
    canvas: Canvas,
    strokes: Scribbles,
    seen: Geometry,
    model: Model,
    settings: FinetuneConfig,
) -> Labelled:
    """Where the strokes of a canvas lie on what the network sees.

    Raises:
        NoScribblesError: there are no strokes, or of one kind only.
    """
    return labelled_pixels(
        strokes,
        scale=canvas.scale,
        translate=canvas.translate,
        downsample=seen.downsample,
        origin=seen.origin,
        finds=model.card.finds if model.card is not None else "what you look for",
        max_pixels=settings.max_pixels,
    )


def finished_round(
    index: int,
    heatmap: Heatmap,
    head: PixelHead,
    *,
    strokes: Scribbles,
    losses: Sequence[float],
    settings: FinetuneConfig,
    seconds: float,
) -> Round:
    """A round with what its strokes count."""
    return Round(
        index=index,
        heatmap=heatmap,
        head=head,
        scribbles=strokes,
        loss=tuple(losses),
        strokes=_count_strokes(strokes),
        foreground=int(np.count_nonzero(strokes == 2)),
        background=int(np.count_nonzero(strokes == 1)),
        seconds=seconds,
        settings=settings,
    )


def _count_strokes(strokes: Scribbles) -> int:
    """Connected strokes of each kind."""
    touching = np.ones((3, 3), int)
    total = 0
    for kind in (1, 2):
        _, count = cast("tuple[object, int]", ndimage.label(strokes == kind, touching))
        total += count
    return total
