"""A first look at a whole slide, in seconds: the network on a small picture of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.encoders import TileEncoder
from napari_wsol.images.resample import read_region, region_shape
from napari_wsol.inference.encode import Geometry, geometry, interruptible, to_network
from napari_wsol.inference.whole_image import Localization, make_heatmap
from napari_wsol.methods import evaluating, get_method

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_wsol.encoders import Features
    from napari_wsol.images.slide import Slide
    from napari_wsol.methods import Model

COARSE_PIXELS = 2_500_000
"""Of the network's input for a first look: seconds on two cores."""
COARSE_SHARE, LEAST_PIXELS = 5, 1_000_000
"""And one part in so many of the image's, so that it comes well before the tiles, as
long as it is no fewer than this."""


def first_look(
    slide: Slide,
    model: Model,
    methods: Sequence[str],
    target: str | None = None,
    *,
    mpp: float | None = None,
    check: Callable[[], None] = lambda: None,
) -> Localization:
    """Heatmaps of a whole slide at low resolution, until the tiles come.

    The network sees the slide coarser than it was trained for, so it may be wrong; the
    note says how much coarser.

    Args:
        slide: the slide.
        model: from :func:`napari_wsol.load_model`.
        methods: names; those that can be made tile by tile.
        target: class to localize; the most probable by default.
        mpp: µm a level-0 pixel, where the person knows better than the file.
        check: called often; raises to stop.
    """
    seen, times = _coarse_geometry(slide, model, mpp)
    pixels = read_region(slide, *seen.origin, *seen.shape, seen.downsample[0])
    check()
    with (
        evaluating(model),
        torch.inference_mode(),
        interruptible(model.encoder, check),
    ):
        features: Features = model.encoder(to_network(pixels, model))
        scores: dict[str, float] = {}
        if model.classifier is not None:
            values = [float(item) for item in model.probabilities(features)[0].cpu()]
            scores = dict(zip(model.classes, values, strict=True))
        if target is None:
            target = max(scores, key=scores.__getitem__) if scores else model.classes[0]
        chosen = model.class_index(target)
        heatmaps = {
            name: make_heatmap(
                get_method(name).map(model, features, chosen)[0],
                stride=get_method(name).stride(model, features),
                seen=seen,
                slide=slide,
                method=name,
                target=target,
            )
            for name in methods
        }
    note = (
        f"A first look at the whole slide, {times:.3g} times coarser than the model "
        "was trained for."
    )
    return Localization(scores, target, heatmaps, (note,))


def _coarse_geometry(
    slide: Slide, model: Model, mpp: float | None
) -> tuple[Geometry, float]:
    """How the network sees the whole slide at once, and how much coarser that is."""
    fine = geometry(slide, model, mpp)
    pixels = float(np.prod(fine.shape, dtype=float))
    most = min(COARSE_PIXELS, max(LEAST_PIXELS, pixels / COARSE_SHARE))
    times = max(1.0, math.sqrt(pixels / most))
    step = fine.downsample[0] * times
    shape = region_shape(slide.shape, step)
    if isinstance(model.encoder, TileEncoder):
        side = model.encoder.side
        shape = (max(1, shape[0] // side) * side, max(1, shape[1] // side) * side)
    return Geometry((step, step), shape), times
