"""One image under one model, as an evaluation looks at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_wsol.evaluation.faithfulness import insertion_deletion
from napari_wsol.inference.cache import FeatureCache
from napari_wsol.inference.view import ModelView
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import evaluating, get_method

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsol.evaluation.faithfulness import Faithfulness, Pixels
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.methods import Model

FEATURE_BYTES = 500_000_000
"""For the features of one image, whose classes are compared one after another."""


class EvaluatedView:
    """One image under one model: encoded once for all classes and methods.

    Args:
        model: classifies and localizes.
        slide: the image, open.
        methods: names.
        mpp: µm a level-0 pixel, where you know better than the file.
        check: called often; raises to stop.
    """

    def __init__(
        self,
        model: Model,
        slide: Slide,
        methods: list[str],
        mpp: float | None,
        check: Callable[[], None],
    ) -> None:
        self._view = ModelView(slide, model, mpp, cache=FeatureCache(FEATURE_BYTES))
        self._methods, self._check = methods, check
        self._input: Pixels | None = None

    def scores(self) -> dict[str, float]:
        """Probability of each class; empty where the model does not classify."""
        model = self._view.model
        if model.classifier is None:
            return {}
        taps = [t for name in self._methods for t in get_method(name).taps(model)]
        features = self._view.features(taps, check=self._check)
        own = features.to(model.device).select(model.encoder.taps)
        with evaluating(model), torch.no_grad():
            values = model.probabilities(own)[0].cpu()
        numbers = [float(value) for value in values]
        return dict(zip(model.classes, numbers, strict=True))

    def localize(self, target: str) -> Localization:
        """The maps of a class."""
        view = self._view
        return localize(
            view.model,
            view.slide,
            self._methods,
            target,
            mpp=view.mpp,
            cache=view.cache,
            check=self._check,
        )

    def faithful(self, heatmap: Heatmap, steps: int) -> Faithfulness:
        """Insertion and deletion on the network's own input, as RISE does."""
        model, seen = self._view.model, self._view.geometry()
        if self._input is None:
            with torch.no_grad():
                self._input = self._view.pixels()[0].float().cpu().numpy()
        shape = (self._input.shape[1], self._input.shape[2])
        down = seen.downsample
        values = heatmap.crop(
            (seen.origin[0] * down[0], seen.origin[1] * down[1]),
            (shape[0] * down[0], shape[1] * down[1]),
            shape,
        )
        place = model.class_index(heatmap.target)

        def probability(batch: Pixels) -> Pixels:
            self._check()
            with evaluating(model), torch.no_grad():
                features = model.encoder(torch.from_numpy(batch).to(model.device))
                found = model.probabilities(features)[:, place]
            return found.cpu().numpy()

        return insertion_deletion(probability, self._input, values, steps=steps)
