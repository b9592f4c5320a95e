"""A network that is never cut: what is read of it equals what `resume` gives."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from napari_wsol.config import InferenceConfig, SlideConfig
from napari_wsol.encoders.mobilenet import MobileNetV2
from napari_wsol.errors import ImageError, MethodUnavailableError
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.view import ModelView
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import get_method
from napari_wsol.slides.expected import is_gradual
from napari_wsol.slides.plan import plan_slide

METHODS = ["gradcam", "gradcam++", "xgradcam", "layercam", "eigencam", "scorecam"]


class OnePiece(MobileNetV2):
    """The same network, which says that it cannot be cut."""

    in_one_piece: ClassVar[bool] = True


def test_traced_equals_resumed(small_model):
    image = np.random.default_rng(0).integers(0, 255, (96, 160, 3), dtype=np.uint8)
    keys = [*METHODS, "smoothgradcam++", "gradcam@features.3", "layercam@features.2"]
    expected = localize(small_model, image, keys, small_model.classes[0])
    whole = InferenceConfig(core=32, whole=32)
    small_model.encoder.__class__ = OnePiece
    found = localize(small_model, image, keys, small_model.classes[0], config=whole)
    for key in keys:
        assert np.allclose(
            found.heatmaps[key].values, expected.heatmaps[key].values, atol=1e-5
        ), key
        assert found.heatmaps[key].scale == expected.heatmaps[key].scale
        assert found.heatmaps[key].translate == expected.heatmaps[key].translate


def test_what_is_too_large_is_refused_with_what_to_do(small_model):
    small_model.encoder.__class__ = OnePiece
    large = np.zeros((4000, 4000, 3), np.uint8)
    view = ModelView(open_slide(large), small_model)
    assert not is_gradual(view)
    with pytest.raises(ImageError, match="too large. Give the model"):
        localize(small_model, large)
    with pytest.raises(MethodUnavailableError, match="cannot read a slide"):
        plan_slide(view.slide, small_model, SlideConfig())


def test_features_alone_are_not_enough(small_model):
    small_model.encoder.__class__ = OnePiece
    features = small_model.encoder(torch.zeros(1, 3, 64, 64))
    with pytest.raises(MethodUnavailableError, match="use localize"):
        get_method("gradcam").map(small_model, features, 0)
