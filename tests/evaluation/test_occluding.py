"""A box is blurred: true drops of networks whose logit is known by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_wsol import wrap
from napari_wsol.config import InferenceConfig
from napari_wsol.errors import ImageError
from napari_wsol.evaluation.occluding import blurred, occlude
from napari_wsol.evaluation.scores import spread_over
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.view import ModelView
from napari_wsol.session.session import Session


class UpperLeft(nn.Module):
    """Its logit is the mean over the upper left quadrant."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.constant_(self.conv.weight, 1 / 3)

    def forward(self, x):
        rows, columns = x.shape[-2] // 2, x.shape[-1] // 2
        return self.conv(x)[..., :rows, :columns].mean((-2, -1))


@pytest.fixture
def model():
    plain = {"mean": [0.0] * 3, "std": [1.0] * 3}
    return wrap(UpperLeft().eval(), "conv", ["no", "yes"], size=64, **plain)


@pytest.fixture
def image():
    """A bright spot in each quadrant."""
    pixels = np.full((64, 64, 3), 20, np.uint8)
    for y in (12, 44):
        for x in (12, 44):
            pixels[y : y + 8, x : x + 8] = 250
    return pixels


def test_the_drop_is_that_of_the_quadrant_that_is_read(model, image):
    values = np.zeros((64, 64), np.float32)
    values[:32, :32] = 1
    maps = {
        "right": spread_over((64, 64), values),
        "flat": spread_over((64, 64), values * 0 + 1),
    }
    view = ModelView(open_slide(image), model)
    found = occlude(view, (4, 4, 28, 28), maps, "yes")
    after = blurred(image, (4, 4, 28, 28))
    wanted = [x[:32, :32].mean() / 255 for x in (image, after)]
    np.testing.assert_allclose(found.logits, wanted, atol=1e-5)
    assert found.logits[1] < found.logits[0]
    sigmoid = torch.tensor(wanted).sigmoid()
    np.testing.assert_allclose(found.probabilities, sigmoid, atol=1e-5)
    assert found.area == (24 / 64) ** 2
    assert found.evidence["right"] == pytest.approx(24**2 / 32**2, rel=0.02)
    assert found.evidence["flat"] == pytest.approx(found.area)
    other = occlude(view, (4, 36, 28, 60), maps, "yes")
    assert other.logits[0] == other.logits[1]
    assert other.evidence["right"] < 0.01


def test_beyond_the_box_nothing_changes_and_no_edge_is_made(image):
    after = blurred(image, (36, 4, 60, 28)).astype(int)  # left, top, right, bottom
    outside = np.ones((64, 64), bool)
    outside[4:28, 36:60] = False
    np.testing.assert_array_equal(after[outside], image[outside])
    assert after[16, 48].max() < 120  # the spot is gone
    assert np.abs(np.diff(after[:, 48, 0])[2:6]).max() < 30
    even = np.full((40, 50, 3), 90, np.uint8)
    np.testing.assert_array_equal(blurred(even, (5, 5, 30, 30)), even)


def test_a_box_beyond_the_image_is_refused(model, image):
    view = ModelView(open_slide(image), model)
    for box in ((70, 70, 90, 90), (4, 4, 5, 30)):
        with pytest.raises(ImageError, match="draw a larger one"):
            occlude(view, box, {}, "yes")


def test_in_tiles_and_in_the_session_it_is_the_same(small_model, tissue):
    session = Session(InferenceConfig(device="cpu"), journals=False)
    try:
        session.open(tissue).result(60)
        session.use(small_model).result(60)
        session.localize(["cam", "pixelcam"], "bright").result(60)
        found = session.occlude((40, 60, 80, 100)).result(60)
    finally:
        session.close(wait=True)
    tiles = InferenceConfig(device="cpu", whole=64, core=64)
    view = ModelView(open_slide(tissue), small_model, config=tiles)
    again = occlude(view, (40, 60, 80, 100), {}, "bright")
    np.testing.assert_allclose(found.logits, again.logits, atol=1e-4)
    assert [*found.evidence] == ["cam", "pixelcam"]


def test_evidence_against_the_class_is_evidence_and_nothing_is_none(model, image):
    raw = np.full((64, 64), 0.5, np.float32)
    raw[:32, :32], raw[32:, 32:] = 0.25, 1.0
    maps = {"signed": replace(spread_over((64, 64), raw), signed=True)}
    view = ModelView(open_slide(image), model)
    found = occlude(view, (0, 0, 32, 32), maps, "yes")
    assert found.evidence["signed"] == pytest.approx(1 / 3, abs=0.01)
