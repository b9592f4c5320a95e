"""From features to heatmaps, as often as asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.devices import with_room
from napari_wsol.errors import MethodUnavailableError, NoResultError
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import encode, network_input
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods import (
    NetworkInput,
    evaluating,
    get_method,
    map_of,
    method_title,
    own_methods,
)
from napari_wsol.methods.flat import flat_note

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from napari_wsol.config import InferenceConfig
    from napari_wsol.encoders import Features
    from napari_wsol.images.readers import Source
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.cache import FeatureCache
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model


@dataclass(frozen=True, slots=True)
class Localization:
    """What one image shows, and where.

    Attributes:
        scores: probability of each class.
        target: the class that was localized.
        heatmaps: one a method.
        notes: what a reader must know, a sentence each.
    """

    scores: dict[str, float]
    target: str
    heatmaps: dict[str, Heatmap]
    notes: tuple[str, ...] = ()

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that a reader must know: of the image, and of each of its maps."""
        return (*self.notes, *map_notes(self.heatmaps.values()))


def map_notes(heatmaps: Iterable[Heatmap]) -> list[str]:
    """The notes of maps, each once, with the methods where it is not true of all."""
    maps = list(heatmaps)
    titles: dict[str, list[str]] = {}
    for heatmap in maps:
        for note in heatmap.notes:
            titles.setdefault(note, []).append(method_title(heatmap.method))
    return [
        note if len(names) == len(maps) else f"{', '.join(names)}: {note}"
        for note, names in titles.items()
    ]


def make_heatmap(
    values: Tensor,
    *,
    stride: float,
    seen: Geometry,
    slide: Slide,
    method: str,
    target: str,
    round_index: int = 0,
) -> Heatmap:
    """Places a method's map on its image.

    Probabilities stay as they are; an unbounded score is min–max normalised over the
    image, or divided by its maximum where its 0 has a meaning; a constant one becomes
    0. Cells over a fixed input's padding are left out.

    Args:
        values: (h, w) as the method gives it.
        stride: network input pixels a cell.
        seen: how the network saw the image.
        slide: the image.
        method: name of the method.
        target: name of the class.
        round_index: refinement round.

    Raises:
        NoResultError: a value is not finite.
    """
    array = values.float().cpu().numpy().astype(np.float32)
    if not np.isfinite(array).all():
        raise NoResultError(
            f"The {method} map of {slide.name} has values that are not numbers. "
            "The weights are damaged or do not fit; run “napari-wsol models verify”."
        )
    # A cell that begins on the image shows some of it.
    rows = min(array.shape[0], math.ceil(seen.shape[0] / stride - 1e-6))
    columns = min(array.shape[1], math.ceil(seen.shape[1] / stride - 1e-6))
    array = array[:rows, :columns]
    low, high = float(array.min()), float(array.max())
    read_out = get_method(method)
    is_probability = read_out.is_probability
    if not is_probability:
        floor = 0.0 if read_out.from_zero else low
        array = (
            (array - floor) / (high - floor) if high > floor else np.zeros_like(array)
        )
    is_refined = round_index > 0
    flat = flat_note(read_out, target, low, high, refined=is_refined)
    scale, translate = seen.place((stride, stride))
    return Heatmap(
        values=np.clip(array, 0.0, 1.0),
        scale=scale,
        translate=translate,
        image_shape=slide.shape,
        method=method,
        target=target,
        is_probability=is_probability,
        raw_range=(low, high),
        round=round_index,
        notes=tuple(filter(None, (read_out.note, flat))),
    )


def check_methods(model: Model, names: Sequence[str] | None) -> list[str]:
    """The methods to run: those asked for, or those that the model was made for.

    Raises:
        UnknownNameError: no such method.
        MethodUnavailableError: the model does not support it; says why.
    """
    if names is None:
        return list(model.card.methods) if model.card else own_methods(model)
    if not names:
        raise MethodUnavailableError("Tick at least one method.")
    for name in names:
        reason = get_method(name).unavailable(model)
        if reason is not None:
            raise MethodUnavailableError(reason)
    return list(dict.fromkeys(names))


def localize(
    model: Model,
    source: Source,
    methods: Sequence[str] | None = None,
    target: str | None = None,
    *,
    mpp: float | None = None,
    config: InferenceConfig | None = None,
    cache: FeatureCache | None = None,
    report: Progress = ignore_progress,
    check: Callable[[], None] = lambda: None,
) -> Localization:
    """Says which class an image shows, and where the evidence for it is.

    Where the model's device has too little memory for it, the processor does the work,
    the model stays there, and a note says so.

    Args:
        model: from :func:`napari_wsol.load_model`.
        source: a slide, a path, or an (H, W), (H, W, 3) or (H, W, 4) array.
        methods: names; those that the model was made for by default. They share one
            encoding. “layercam@layer3” reads at another layer than the last.
        target: class to localize; the most probable by default.
        mpp: µm a level-0 pixel, where you know better than the file.
        config: tile size.
        cache: keeps features between calls.
        report: called with (done, total, message).
        check: called often; raises to stop.

    Raises:
        ImageError: the image cannot be used.
        UnknownNameError: no such method or class.
        MethodUnavailableError: the model does not support a method.
    """
    slide = open_slide(source)
    found, notes = with_room(
        model,
        lambda: _localized(
            model,
            slide,
            methods,
            target,
            mpp=mpp,
            config=config,
            cache=cache,
            report=report,
            check=check,
        ),
    )
    return replace(found, notes=(*found.notes, *notes))


def _localized(
    model: Model,
    slide: Slide,
    methods: Sequence[str] | None,
    target: str | None,
    *,
    mpp: float | None,
    config: InferenceConfig | None,
    cache: FeatureCache | None,
    report: Progress,
    check: Callable[[], None],
) -> Localization:
    names = check_methods(model, methods)
    chosen = None if target is None else model.class_index(target)
    picked = [get_method(name) for name in names]
    layers = [name for item in picked for name in item.taps(model)]
    features, seen = encode(
        slide,
        model,
        layers=layers,
        mpp=mpp,
        config=config,
        cache=cache,
        report=report,
        check=check,
    )
    features = features.to(model.device)
    pixels = partial(network_input, slide, model, seen)
    with evaluating(model), torch.no_grad():
        own = features.select(model.encoder.taps)
        scores = _scores(model, own, needed=chosen is None)
        if chosen is None:
            chosen = int(np.argmax(list(scores.values())))
        heatmaps: dict[str, Heatmap] = {}
        for place, (name, method) in enumerate(zip(names, picked, strict=True), 1):
            check()
            tell = _telling(report, method_title(name), place, len(names))
            tell(0, 0, "")
            image = NetworkInput(pixels, tell, check)
            read = features.select((*model.encoder.taps, *method.taps(model)))
            heatmaps[name] = make_heatmap(
                map_of(method, model, read, chosen, image)[0],
                stride=method.stride(model, read),
                seen=seen,
                slide=slide,
                method=name,
                target=model.classes[chosen],
            )
    notes = tuple(dict.fromkeys((*slide.notes, *((seen.note,) if seen.note else ()))))
    return Localization(scores, model.classes[chosen], heatmaps, notes)


def _telling(report: Progress, title: str, place: int, count: int) -> Progress:
    """What a method reports, under its title: “Score-CAM (2 of 3)”."""
    words = title if count == 1 else f"{title} ({place} of {count})"

    def tell(done: int, total: int, message: str) -> None:
        del message
        report(done, total, words)

    return tell


def _scores(model: Model, features: Features, *, needed: bool) -> dict[str, float]:
    """Probability of each class; empty where the model does not classify."""
    if model.classifier is None:
        if len(model.classes) == 1:
            return dict.fromkeys(model.classes, 1.0) if needed else {}
        if not needed:
            return {}
    probabilities = model.probabilities(features)[0].cpu()
    values = [float(value) for value in probabilities]
    return dict(zip(model.classes, values, strict=True))
