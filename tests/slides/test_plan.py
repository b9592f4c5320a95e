"""Which tiles of a slide the network sees."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsol.config import SlideConfig
from napari_wsol.images.readers import open_slide
from napari_wsol.images.resample import region_shape
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.slides.plan import plan_slide


@pytest.mark.parametrize(
    ("core", "step"),
    [(512, 16), (128, 4), (32, 1)],  # a 32nd of a tile, but no finer than the pixels
)
def test_the_tissue_has_32_cells_a_tile(small_model, section, core, step):
    slide = open_slide(section)
    plan = plan_slide(slide, small_model, SlideConfig(core=core))
    assert plan.tissue.shape == region_shape(slide.shape, step)


def test_so_it_has_for_a_network_that_sees_the_slide_smaller(section):
    spec = ModelSpec(encoder="mobilenet_v2", classes=("a", "b"), mpp=1.0)
    slide = open_slide(section, mpp=0.25)
    plan = plan_slide(slide, Model(spec).eval(), SlideConfig(core=64))
    assert plan.seen.downsample == (4, 4)
    assert plan.tissue.shape == region_shape(slide.shape, 8)


def test_the_tissue_of_a_long_slide_has_4096_cells_at_most(small_model):
    strip = np.full((64, 8192, 3), 245, np.uint8)
    plan = plan_slide(open_slide(strip), small_model, SlideConfig(core=32))
    assert plan.tissue.shape == (32, 4096)
