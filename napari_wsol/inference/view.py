"""An image as a model sees it: all that a reading of the image depends on, as one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_wsol.config import InferenceConfig
from napari_wsol.inference.encode import (
    encode,
    geometry,
    network_input,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.images.slide import Slide
    from napari_wsol.inference.cache import FeatureCache
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.methods import Model


@dataclass(frozen=True, slots=True)
class ModelView:
    """One image under one model.

    Attributes:
        slide: the image, open.
        model: from :func:`napari_wsol.load_model`, on its device.
        mpp: µm a level-0 pixel, where the person knows better than the file.
        config: how the image goes through the encoder.
        cache: keeps features between readings; none are kept without.
    """

    slide: Slide
    model: Model
    mpp: float | None = None
    config: InferenceConfig = field(default_factory=InferenceConfig)
    cache: FeatureCache | None = None

    def geometry(self) -> Geometry:
        """At which size the model sees the image."""
        return geometry(self.slide, self.model, self.mpp)

    def features(
        self,
        layers: Sequence[str] = (),
        *,
        check: Callable[[], None] = lambda: None,
    ) -> Features:
        """The features of the whole image, maps (1, C, h, w) on the CPU.

        Those of one cell for all of the image are left out.

        Args:
            layers: of the encoder, whose maps are wanted beside the model's taps.
            check: called often; raises to stop.
        """
        found, _ = encode(
            self.slide,
            self.model,
            layers=layers,
            mpp=self.mpp,
            config=self.config,
            cache=self.cache,
            check=check,
        )
        single = self.model.encoder.one_cell
        return found.select(name for name in found.names if name not in single)

    def pixels(self) -> Tensor:
        """(1, C, H, W): the whole image as the model sees it, on its device."""
        return network_input(self.slide, self.model, self.geometry())

    def by(self, model: Model) -> ModelView:
        """The same image under another model."""
        return replace(self, model=model)
