"""An image that is held whole but takes long comes in as a slide does."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsol import Session
from napari_wsol.config import InferenceConfig
from napari_wsol.errors import ImageError, JobCancelledError
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.view import ModelView
from napari_wsol.slides import expected

SECONDS = "napari_wsol.slides.expected.GRADUAL_SECONDS"
TILES = 4 * 5  # of 192 pixels
METHODS = ("cam", "pixelcam", "layercam@features.2")


@pytest.fixture
def gradual(small_model, monkeypatch):
    """Makes sessions to which every image takes long."""
    sessions = []
    monkeypatch.setattr(SECONDS, 0.0)
    monkeypatch.setattr("napari_wsol.slides.live.SHOW_EVERY", 0.0)

    def make(image):
        session = Session(InferenceConfig(whole=64, core=192))
        sessions.append(session)
        session.open(image, name="section").result()
        session.use(small_model).result()
        return session

    yield make
    for session in sessions:
        session.close(wait=True)


def test_it_ends_bit_for_bit_as_if_it_had_come_at_once(gradual, section, monkeypatch):
    session, moved, shown = gradual(section), [], []
    session.slide_moved.connect(lambda item: moved.append((item.done, item.total)))
    session.localized.connect(lambda: shown.append(session.result))
    assert session.is_gradual
    assert not session.is_large
    found = session.localize(METHODS, "bright").result()
    assert moved[-1] == (TILES, TILES)
    assert len({done for done, _ in moved}) > 10
    assert "the others show the first look" in shown[0].notes[-1]
    assert set(shown[0].heatmaps) == {"cam", "pixelcam"}  # the third needs it whole
    assert session.work is None

    monkeypatch.setattr(SECONDS, 1e9)
    moved.clear()
    other = gradual(section)
    assert not other.is_gradual
    other.slide_moved.connect(moved.append)
    at_once = other.localize(METHODS, "bright").result()
    assert not moved
    assert found.scores == at_once.scores
    for name in METHODS:
        assert np.array_equal(
            found.heatmaps[name].values, at_once.heatmaps[name].values
        )
    assert found.notes == at_once.notes
    for one in (session, other):
        one.brush([(300, 100), (300, 160)], 2, 9)
        one.brush([(300, 300), (300, 360)], 1, 9)
        one.finetune().result()
    assert np.array_equal(
        session.heatmap("pixelcam").values, other.heatmap("pixelcam").values
    )


def test_what_is_looked_at_comes_first_and_glass_last(gradual, section):
    session, states = gradual(section), []
    session.look_at(0, 400, 60, 440)
    tissue = np.zeros(section.shape[:2], bool)
    tissue[:192, 384:] = True
    session.set_tissue(tissue)
    session.slide_moved.connect(states.append)
    session.localize(["pixelcam"]).result()
    early = next(item for item in states if item.done >= 2)
    assert early.state[0, 2] == 2
    half = next(item for item in states if item.done >= tissue_tiles(session))
    assert (half.state[:1, 2:] == 2).all()
    assert (half.state[1:] == 1).any()


def tissue_tiles(session) -> int:
    plan = session.plan()
    return plan.count - int(plan.last.sum())


def test_cancel_keeps_the_tiles_and_the_estimate_counts_what_is_left(gradual, section):
    session = gradual(section)

    def stop(item):
        if item.done >= 5:
            session.cancel()

    session.slide_moved.connect(stop)
    with pytest.raises(JobCancelledError):
        session.localize(["pixelcam"]).result()
    session.slide_moved.disconnect(stop)
    assert session.heatmap("pixelcam").values.max() > 0
    cost = session.estimate(["pixelcam"]).result()
    assert 0 < cost.tiles <= TILES - 5 - 3
    assert cost.seconds > 0
    assert cost.disk_bytes == 0
    session.localize(["pixelcam"]).result()
    assert session.estimate(["pixelcam"]).result().tiles == 0


def test_localizing_again_keeps_the_rounds_and_encodes_nothing(gradual, section):
    session, moved = gradual(section), []
    session.localize(["pixelcam"]).result()
    session.brush([(300, 100), (300, 160)], 2, 9)
    session.brush([(300, 300), (300, 360)], 1, 9)
    session.finetune().result()
    before = session.heatmap("pixelcam").values
    session.slide_moved.connect(moved.append)
    session.localize(["cam", "pixelcam"]).result()
    assert not moved
    assert np.array_equal(session.heatmap("pixelcam").values, before)


def test_opened_again_it_goes_on_with_its_rounds(gradual, section):
    first = gradual(section)
    first.localize(["pixelcam"]).result()
    first.brush([(300, 100), (300, 160)], 2, 9)
    first.brush([(300, 300), (300, 360)], 1, 9)
    first.finetune().result()
    before = first.heatmap("pixelcam").values
    first.close(wait=True)
    again = gradual(section)
    again.resume()
    again.localize(["pixelcam"]).result()
    assert again.round_index == 1
    assert np.abs(again.heatmap("pixelcam").values - before).max() < 1e-6


def test_what_comes_at_once_has_no_estimate(gradual, section, monkeypatch):
    monkeypatch.setattr(SECONDS, 1e9)
    with pytest.raises(ImageError, match="small enough"):
        gradual(section).estimate(["pixelcam"]).result()


def test_the_expected_time_is_that_of_pixels_and_layers(small_model, monkeypatch):
    def seconds(side):
        view = ModelView(open_slide(np.zeros((side, side), np.uint8)), small_model)
        grid = expected.tile_grid(view.geometry(), small_model, view.config)
        return expected.expected_seconds(grid, small_model)

    monkeypatch.setattr("os.cpu_count", lambda: 2)
    once = seconds(500)
    assert seconds(1000) == pytest.approx(4 * once)
    assert seconds(3000) > 36 * once  # tiles see what is around them
    monkeypatch.setattr("os.cpu_count", lambda: 5)
    assert seconds(500) == pytest.approx(once / 4)


def test_a_deeper_network_is_expected_to_take_longer():
    from napari_wsol.methods import Model, ModelSpec

    def cost(encoder):
        spec = ModelSpec(encoder=encoder, classes=("a", "b"), heads=("cam",))
        return expected.seconds_a_pixel(Model(spec).eval())

    assert cost("resnet18") < cost("resnet50")
    assert 163e3 < cost("resnet50") * expected.OPERATIONS_A_SECOND < 300e3
