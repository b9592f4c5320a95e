"""A tissue section on glass, a small network, and how to run one over the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_wsol.images.readers import open_slide
from napari_wsol.slides import (
    SlideConfig,
    SlideRun,
    TileLog,
    plan_slide,
    planes_of,
)

if TYPE_CHECKING:
    from pathlib import Path

METHODS = ("cam", "pcam", "pixelcam")


@pytest.fixture
def section() -> np.ndarray:
    """(600, 820, 3) uint8: noisy pink tissue in the left part of white glass."""
    rng = np.random.default_rng(1)
    image = np.full((600, 820, 3), 245, np.uint8)
    texture = rng.integers(-40, 40, (500, 400, 3))
    image[50:550, 60:460] = np.clip(np.array([190, 90, 150]) + texture, 0, 255)
    return image


class Job:
    """A run over a slide with its log in a folder."""

    def __init__(
        self, image, model, folder: Path, *, methods=METHODS, target=None, **how
    ):
        how = {"core": 128, "tissue_only": False, **how}
        store = how.pop("store", None)
        self.config = SlideConfig(**how)
        self.slide = open_slide(image)
        self.plan = plan_slide(self.slide, model, self.config)
        self.planes = planes_of(model, methods, target)
        self.log = TileLog(
            folder / "slide.tiles", len(self.plan.grid), {"methods": list(methods)}
        )
        self.run = SlideRun(
            self.slide,
            model,
            self.plan,
            self.planes,
            log=self.log,
            config=self.config,
            target=target,
            store=store,
        )


@pytest.fixture
def job(small_model, tmp_path):
    """Makes a :class:`Job` with the small model."""

    def make(image, **how):
        return Job(image, small_model, how.pop("folder", tmp_path), **how)

    return make
