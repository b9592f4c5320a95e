"""From features to heatmaps, as often as asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from napari_wsol.config import InferenceConfig
from napari_wsol.devices import with_room
from napari_wsol.errors import MethodUnavailableError, NoResultError
from napari_wsol.images.bags import is_bag, open_bag
from napari_wsol.images.heatmap import Heatmap, on_scale
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.augmentation import (
    augmentations,
    average_note,
    check_views,
)
from napari_wsol.inference.bags import bag_maps
from napari_wsol.inference.cache import FeatureCache
from napari_wsol.inference.encode import encode, geometry, network_input
from napari_wsol.inference.registration import registered
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods import (
    NetworkInput,
    default_methods,
    evaluating,
    get_method,
    list_methods,
    map_of,
    method_title,
)
from napari_wsol.methods.flat import flat_note
from napari_wsol.methods.model import checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.images.bags import Bag
    from napari_wsol.images.readers import Source
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.augmentation import Augmentation
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Method, Model


NO_VERDICT = "It does not depend on the image's verdict."


@dataclass(frozen=True, slots=True)
class Localization:
    """What one image shows, and where.

    Attributes:
        scores: probability of each class.
        target: the class that was localized.
        heatmaps: one a method.
        notes: what a reader must know, a sentence each.
        views: of how many views of the image scores and heatmaps are the average.
    """

    scores: dict[str, float]
    target: str
    heatmaps: dict[str, Heatmap]
    notes: tuple[str, ...] = ()
    views: int = 1

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that a reader must know: of the image, and of each of its maps."""
        told = [x.bias for x in self.heatmaps.values() if x.bias is not None]
        biases = (f"The bias of the evidence is {bias:+.3f}." for bias in told)
        return (*self.notes, *map_notes(self.heatmaps.values()), *biases)


def map_title(heatmap: Heatmap) -> str:
    """Title of its method, and of the model where that is not the one in use."""
    if heatmap.method.partition("@")[0] not in list_methods():
        return f"{heatmap.method} · from elsewhere"
    return " · ".join(filter(None, (method_title(heatmap.method), heatmap.model)))


def map_notes(heatmaps: Iterable[Heatmap]) -> list[str]:
    """The notes of maps, each once, with the methods where it is not true of all."""
    maps = list(heatmaps)
    titles: dict[str, list[str]] = {}
    for heatmap in maps:
        for note in heatmap.notes:
            titles.setdefault(note, []).append(map_title(heatmap))
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
    note: str = "",
    bias: float | None = None,
) -> Heatmap:
    """Places a method's map on its image.

    Probabilities stay as they are; an unbounded score is min–max normalised over the
    image, or divided by its maximum where its 0 has a meaning; a constant one becomes
    0; one with a sign has 0 at one half. Cells over a fixed input's padding are left
    out.

    Args:
        values: (h, w) as the method gives it.
        stride: network input pixels a cell.
        seen: how the network saw the image.
        slide: the image.
        method: name of the method.
        target: name of the class.
        round_index: refinement round.
        note: what else a reader must know, a sentence.
        bias: of evidence, what does not come from any cell.

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
        array = on_scale(
            array, low, high, from_zero=read_out.from_zero, signed=read_out.signed
        )
    is_refined = round_index > 0
    flat = flat_note(read_out, target, low, high, refined=is_refined)
    apart = "" if read_out.follows_verdict else NO_VERDICT
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
        notes=tuple(filter(None, (read_out.note, apart, flat, note))),
        signed=read_out.signed,
        bias=bias,
    )


def check_methods(model: Model, names: Sequence[str] | None) -> list[str]:
    """The methods to run: those asked for, or those that the model was made for.

    Raises:
        UnknownNameError: no such method.
        MethodUnavailableError: the model does not support it; says why.
    """
    if names is None:
        return default_methods(model)
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
    views: int = 1,
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
        views: of how many views of the image maps and probabilities are the average: 1
            is the image as it is, 4 are its flips, 12 the flips at three sizes. For
            images without an up and down, such as tissue; takes as many times as long.
        mpp: µm a level-0 pixel, where you know better than the file.
        config: tile size.
        cache: keeps features between calls.
        report: called with (done, total, message).
        check: called often; raises to stop.

    Raises:
        ImageError: the image cannot be used.
        UnknownNameError: no such method or class.
        MethodUnavailableError: the model does not support a method, or so many views.
        ConfigError: there is no such number of views.
    """
    checked(model)
    if is_bag(source):
        return localize_bag(model, open_bag(cast("str", source)), methods, target)
    slide = open_slide(source)
    found, notes = with_room(
        model,
        lambda: _Reading(
            model, slide, views, mpp, config, cache, report, check
        ).localize(methods, target),
    )
    return replace(found, notes=(*found.notes, *notes))


def localize_bag(
    model: Model,
    bag: Bag,
    methods: Sequence[str] | None = None,
    target: str | None = None,
    *,
    image_shape: tuple[int, int] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Localization:
    """Runs a model on a slide's bag of tiles, as :func:`localize` on an image.

    Args:
        model: from :func:`napari_wsol.load_model`; one that pools tiles.
        bag: from :func:`napari_wsol.images.bags.open_bag`.
        methods: names; those that the model was made for by default.
        target: class to localize; the most probable one by default.
        image_shape: (H, W) of the slide's level 0; as the bag says by default.
        check: called often; raises to stop.

    Raises:
        ImageError: the bag does not fit the model, or is damaged.
        MethodUnavailableError: a method needs the pixels.
    """
    names = check_methods(model, methods)
    scores, chosen, maps = bag_maps(
        model, bag, names, target, image_shape=image_shape, check=check
    )
    return Localization(scores, chosen, maps)


def class_scores(
    model: Model,
    slide: Slide,
    *,
    methods: Sequence[str] = (),
    views: int = 1,
    mpp: float | None = None,
    cache: FeatureCache | None = None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Probability of each class; empty where the model does not classify.

    Args:
        model: from :func:`napari_wsol.load_model`.
        slide: the image, open.
        methods: that will be run on the same features, kept by ``cache``.
        views: as for :func:`localize`.
        mpp: µm a level-0 pixel, where you know better than the file.
        cache: keeps features between calls.
        check: called often; raises to stop.
    """
    if model.classifier is None:
        return {}
    reading = _Reading(model, slide, views, mpp, None, cache, ignore_progress, check)
    return reading.scores([get_method(name) for name in methods])


class _Reading:
    """One image under one model, view by view."""

    def __init__(  # noqa: PLR0917 - as localize was given them
        self,
        model: Model,
        slide: Slide,
        views: int,
        mpp: float | None,
        config: InferenceConfig | None,
        cache: FeatureCache | None,
        report: Progress,
        check: Callable[[], None],
    ) -> None:
        check_views(model, views)
        self._model, self._slide, self._mpp = model, slide, mpp
        self._config = config or InferenceConfig()
        if cache is None and views > 1:  # the class is asked for before the maps
            cache = FeatureCache(self._config.cache_bytes)
        self._cache, self._report, self._check = cache, report, check
        self._views = augmentations(views)
        self._steps, self._step = views, -1
        self._last: tuple[Augmentation, Features, Geometry] | None = None

    def localize(
        self, methods: Sequence[str] | None, target: str | None
    ) -> Localization:
        model, slide, count = self._model, self._slide, len(self._views)
        names = check_methods(model, methods)
        chosen = None if target is None else model.class_index(target)
        picked = [get_method(name) for name in names]
        scores: dict[str, float] = {}
        if chosen is None:
            self._steps = 2 * count if count > 1 else 1
            scores = self.scores(picked, needed=True)
            chosen = int(np.argmax(list(scores.values())))
        plain = geometry(slide, model, self._mpp)
        totals: dict[str, Tensor] = {}
        strides: dict[str, float] = {}
        biases: dict[str, float | None] = {}
        seen_scores: list[dict[str, float]] = []
        for view in self._views:
            features, seen = self._features(view, picked)
            if not scores:
                seen_scores.append(self._scores_of(features, needed=False))
            for place, (name, method) in enumerate(zip(names, picked, strict=True), 1):
                self._check()
                tell = self._telling(method_title(name), place, len(names))
                values, stride, bias = self._map(method, features, seen, chosen, tell)
                strides.setdefault(name, stride)
                if name in totals:
                    values = registered(
                        values,
                        stride,
                        seen,
                        onto=plain,
                        onto_stride=strides[name],
                        shape=(totals[name].shape[0], totals[name].shape[1]),
                    )
                    values = totals[name] + values
                totals[name], biases[name] = values, bias
        heatmaps = {
            name: make_heatmap(
                total / count if count > 1 else total,
                stride=strides[name],
                seen=plain,
                slide=slide,
                method=name,
                target=model.classes[chosen],
                note=average_note(count),
                # Maps of several views are interpolated: they no longer add up.
                bias=biases[name] if count == 1 else None,
            )
            for name, total in totals.items()
        }
        notes = (*slide.notes, *((plain.note,) if plain.note else ()))
        return Localization(
            scores or _mean(seen_scores),
            model.classes[chosen],
            heatmaps,
            tuple(dict.fromkeys(notes)),
            views=count,
        )

    def scores(
        self, methods: Sequence[Method], *, needed: bool = False
    ) -> dict[str, float]:
        """The mean probability of each class over all views.

        The last view comes first: the first one is then at hand for the maps.
        """
        return _mean(
            [
                self._scores_of(self._features(view, methods)[0], needed=needed)
                for view in reversed(self._views)
            ]
        )

    def _features(
        self, view: Augmentation, methods: Sequence[Method]
    ) -> tuple[Features, Geometry]:
        """Features on the model's device, with the maps that methods read."""
        model, steps = self._model, self._steps
        self._step += 1
        if self._last is not None and self._last[0] == view:
            return self._last[1:]
        step = self._step

        def report(done: int, total: int, text: str) -> None:
            if steps > 1:
                number = step % len(self._views) + 1
                text = f"view {number} of {len(self._views)}"
            self._report(step * total + done, steps * total, text)

        features, seen = encode(
            self._slide,
            model,
            layers=[name for item in methods for name in item.taps(model)],
            mpp=self._mpp,
            augmentation=view,
            config=self._config,
            cache=self._cache,
            report=report,
            check=self._check,
        )
        self._last = (view, features.to(model.device), seen)
        return self._last[1:]

    def _scores_of(self, features: Features, *, needed: bool) -> dict[str, float]:
        """Probability of each class; empty where the model does not classify."""
        model = self._model
        if model.classifier is None:
            if len(model.classes) == 1:
                return dict.fromkeys(model.classes, 1.0) if needed else {}
            if not needed:
                return {}
        with evaluating(model), torch.no_grad():
            own = features.select(model.encoder.taps)
            values = [float(value) for value in model.probabilities(own)[0].cpu()]
        return dict(zip(model.classes, values, strict=True))

    def _telling(self, title: str, place: int, count: int) -> Progress:
        """What a method reports, under its title: “Score-CAM (2 of 3)”."""
        words = title if count == 1 else f"{title} ({place} of {count})"
        views = len(self._views)
        if views > 1:
            words = f"{words}, view {self._step % views + 1} of {views}"

        def tell(done: int, total: int, message: str) -> None:
            del message
            self._report(done, total, words)

        if views == 1:  # else the bar goes on over all views
            tell(0, 0, "")
        return tell

    def _map(
        self,
        method: Method,
        features: Features,
        seen: Geometry,
        chosen: int,
        tell: Progress,
    ) -> tuple[Tensor, float, float | None]:
        """(h, w) on the CPU, pixels of the network's input a cell, and the bias."""
        model = self._model
        pixels = partial(network_input, self._slide, model, seen)
        image = NetworkInput(pixels, tell, self._check)
        read = features.select((*model.encoder.taps, *method.taps(model)))
        with evaluating(model), torch.no_grad():
            values = map_of(method, model, read, chosen, image)[0].float().cpu()
            bias = method.bias(model, read, chosen)
        return values, method.stride(model, read), bias


def _mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each class's probabilities."""
    count = len(scores)
    return {name: sum(one[name] for one in scores) / count for name in scores[0]}
