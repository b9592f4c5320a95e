"""One round: strokes in, a refined pixel head and its heatmap out."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from scipy import ndimage

from napari_wsol.config import FinetuneConfig
from napari_wsol.inference.encode import encode, geometry, network_input
from napari_wsol.inference.whole_image import make_heatmap
from napari_wsol.methods.pixelcam import PLAIN, PixelCam, PixelHead
from napari_wsol.refinement.finetune import finetune, refined_copy
from napari_wsol.refinement.guided_filter import guided_filter
from napari_wsol.refinement.last_stage import adapted_model, taught_stage
from napari_wsol.refinement.local import finetune_locally, refined_map
from napari_wsol.refinement.marked import labelled_pixels
from napari_wsol.refinement.rounds import Round
from napari_wsol.refinement.surroundings import Surroundings, colour_map
from napari_wsol.strokes.stroke import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from torch import Tensor

    from napari_wsol.config import InferenceConfig
    from napari_wsol.encoders import Features
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.cache import FeatureCache
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.jobs import Report
    from napari_wsol.methods import Model
    from napari_wsol.refinement.finetune import FinetuneStep
    from napari_wsol.refinement.marked import Labelled
    from napari_wsol.refinement.samples import Pooled
    from napari_wsol.refinement.stroke_field import StrokeField
    from napari_wsol.strokes.canvas import Canvas, Scribbles


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
    others: Pooled | None = None,
) -> Round:
    """Refits the pixel head of a model to strokes on one image, and to those on others.

    The model itself is not changed; a model without a pixel head gets a new one. Where
    other images bring both kinds of strokes this one needs none.

    Where the encoder's last stage learns too, other images teach nothing: they were
    read by the encoder as it was. Without strokes of its own an image leaves the
    encoder as it is.

    Raises:
        NoScribblesError: there are no strokes, or of one kind only.
        MethodUnavailableError: the encoder's last stage is to learn, and cannot.
        JobCancelledError: stopped meanwhile.
    """
    started = time.perf_counter()
    strokes = np.zeros(canvas.shape, np.uint8) if scribbles is None else scribbles
    adapts = settings.encoder == "last_stage" and bool(strokes.any())
    if adapts:
        others = None
    seen = geometry(slide, model, mpp)
    labelled = labelled_on(canvas, strokes, seen, model, settings, others=others)
    features, seen = encode(
        slide, model, mpp=mpp, config=config, cache=cache, check=report.check
    )
    stage: Mapping[str, Tensor] | None = None
    if adapts:
        stage = taught_stage(
            model, features, labelled, settings, report=report, check=report.check
        )
        model = adapted_model(model, stage)
        features, _ = encode(
            slide, model, mpp=mpp, config=config, cache=cache, check=report.check
        )
    has_head = PixelCam.head in model.heads
    head = refined_copy(
        model.head(PixelHead, PixelCam.head) if has_head else None, features
    )
    losses: list[float] = []

    def tell(item: FinetuneStep) -> None:
        losses.append(item.loss)
        report(item.step, item.steps)
        step(item)

    field: StrokeField | None = None
    around = None
    if settings.corrects or settings.edges != "none":
        around = surroundings(slide, model, seen, head, features, cache=cache)
    if around is not None and settings.corrects:
        for item, field in finetune_locally(  # noqa: B007 - the last one is finished
            head,
            features,
            labelled,
            settings,
            colour=around.colour,
            space=around.space,
            superpixels=around.superpixels if settings.propagate else None,
            others=others,
        ):
            tell(item)
    else:
        for item in finetune(head, features, labelled, settings, others=others):
            tell(item)
    values = _values(head, features, field, around, settings)
    heatmap = _heatmap(values, head, features, seen, slide, target=target, index=index)
    return finished_round(
        index,
        heatmap,
        head,
        stroke_field=field,
        stage=stage,
        strokes=strokes,
        losses=losses,
        settings=settings,
        seconds=time.perf_counter() - started,
        others=() if others is None else others.digests,
    )


def shown_by(
    head: PixelHead,
    slide: Slide,
    model: Model,
    *,
    target: str,
    index: int,
    stroke_field: StrokeField | None = None,
    stage: Mapping[str, Tensor] | None = None,
    settings: FinetuneConfig | None = None,
    mpp: float | None = None,
    config: InferenceConfig | None = None,
    cache: FeatureCache | None = None,
) -> Heatmap:
    """The map that a head gives which was refined before, with its strokes' field.

    Args:
        head: of the round.
        slide: the image.
        model: as it was loaded.
        target: class.
        index: of the round.
        stroke_field: of the round.
        stage: the encoder's last stage, as the round has it.
        settings: what the round was made with: they say what becomes of edges.
        mpp: µm a level-0 pixel.
        config: tile size.
        cache: keeps features.

    Raises:
        ModelError: the stage does not belong to the model.
    """
    if stage is not None:
        model = adapted_model(model, stage)
    features, seen = encode(slide, model, mpp=mpp, config=config, cache=cache)
    settings, around = settings or FinetuneConfig(), None
    if stroke_field is not None or settings.edges != "none":
        around = surroundings(slide, model, seen, head, features, cache=cache)
    values = _values(head, features, stroke_field, around, settings)
    return _heatmap(values, head, features, seen, slide, target=target, index=index)


def colour_on(slide: Slide, model: Model, seen: Geometry, read: Features) -> Tensor:
    """(1, c, h, w) colour on the finest grid that a head reads.

    Args:
        slide: the image.
        model: that looks at it.
        seen: how.
        read: what the head's last layer reads.
    """
    rows, columns = (int(side) for side in read.maps[0].shape[-2:])
    how = model.preprocessing
    image = network_input(slide, model, seen)
    return colour_map(image, (rows, columns), mean=how.mean, std=how.std)


def surroundings(
    slide: Slide,
    model: Model,
    seen: Geometry,
    head: PixelHead,
    features: Features,
    *,
    cache: FeatureCache | None = None,
) -> Surroundings:
    """What of the image itself strokes are read against; the same in every round.

    Args:
        slide: the image.
        model: that gave the features.
        seen: how it looked at the image.
        head: reads the features; its last layer does not matter.
        features: of the image, maps (1, C, h, w).
        cache: keeps the answer.
    """

    def make() -> Surroundings:
        with torch.no_grad():
            read = head.hidden(features)
        how = model.preprocessing
        image = network_input(slide, model, seen)
        return Surroundings(image, read, mean=how.mean, std=how.std)

    if cache is None:
        return make()
    key = (
        slide.fingerprint(),
        model.encoder_fingerprint(),
        model.preprocessing,
        seen,
        _hidden_layers(head),
    )
    return cache.derived(key, Surroundings, make)


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


def _values(
    head: PixelHead,
    features: Features,
    field: StrokeField | None,
    around: Surroundings | None,
    settings: FinetuneConfig,
) -> Tensor:
    """(h, w) foreground probability, as the settings want it."""
    if around is None:
        return refined_map(head, features)
    values = refined_map(head, features, field, around.colour)
    if settings.edges == "guided":
        values = guided_filter(values, around.guide)
    return values


def _heatmap(
    values: Tensor,
    head: PixelHead,
    features: Features,
    seen: Geometry,
    slide: Slide,
    *,
    target: str,
    index: int,
) -> Heatmap:
    return make_heatmap(
        values,
        stride=head.read(features).strides[0],
        seen=seen,
        slide=slide,
        method=PixelCam.name,
        target=target,
        round_index=index,
    )


def labelled_on(
    canvas: Canvas,
    strokes: Scribbles,
    seen: Geometry,
    model: Model,
    settings: FinetuneConfig,
    *,
    others: Pooled | None = None,
) -> Labelled:
    """Where the strokes of a canvas lie on what the network sees.

    Raises:
        NoScribblesError: there are no strokes, or of one kind only, and other images
            do not bring the rest.
    """
    return labelled_pixels(
        strokes,
        scale=canvas.scale,
        translate=canvas.translate,
        downsample=seen.downsample,
        origin=seen.origin,
        finds=model.card.finds if model.card is not None else "what you look for",
        max_pixels=settings.max_pixels,
        needs_both=others is None or others.kinds < 2,
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
    stroke_field: StrokeField | None = None,
    stage: Mapping[str, Tensor] | None = None,
    others: tuple[str, ...] = (),
) -> Round:
    """A round with what its strokes count."""
    return Round(
        index=index,
        heatmap=heatmap,
        head=head,
        stroke_field=stroke_field,
        stage=stage,
        scribbles=strokes,
        loss=tuple(losses),
        strokes=_count_strokes(strokes),
        foreground=int(np.count_nonzero(strokes == FOREGROUND)),
        background=int(np.count_nonzero(strokes == BACKGROUND)),
        seconds=seconds,
        settings=settings,
        others=others,
    )


def _count_strokes(strokes: Scribbles) -> int:
    """Connected strokes of each kind."""
    touching = np.ones((3, 3), int)
    total = 0
    for kind in (BACKGROUND, FOREGROUND):
        _, count = cast("tuple[object, int]", ndimage.label(strokes == kind, touching))
        total += count
    return total
