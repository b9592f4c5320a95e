"""A session localizes a slide: first look, tiles, Cancel, and on again."""

import numpy as np
import pytest

from napari_wsol import Session
from napari_wsol.config import SlideConfig
from napari_wsol.errors import ImageError, JobCancelledError, NoResultError


@pytest.fixture
def session(small_model, section, monkeypatch, tmp_path):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 100_000)
    monkeypatch.setattr("napari_wsol.slides.live.SHOW_EVERY", 0.0)
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path))
    session = Session()
    session.slide_config = SlideConfig(core=64)
    session.open(section, name="section").result()
    session.use(small_model).result()
    yield session
    session.close(wait=True)


def test_maps_grow_until_all_tiles_are_there(session):
    seen = []
    session.slide_moved.connect(lambda item: seen.append((item.done, item.total)))
    assert session.is_large
    result = session.localize(["cam", "pixelcam"]).result()
    assert set(result.heatmaps) == {"cam", "pixelcam"}
    assert seen[-1][0] == seen[-1][1] > 20
    assert len(seen) > 20
    assert any("show no tissue" in note for note in result.notes)
    assert session.heatmap("pixelcam").values[:, 180:].max() == 0


def test_cancel_keeps_the_tiles_and_the_next_run_needs_the_rest_only(session):
    def stop(item):
        if item.done >= 5:
            session.cancel()

    session.slide_moved.connect(stop)
    with pytest.raises(JobCancelledError):
        session.localize().result()
    session.slide_moved.disconnect(stop)
    kept = session.work.done
    assert 5 <= kept < session.work.count
    assert session.heatmap("pixelcam").values.max() > 0
    session.localize().result()
    assert session.work.run.encoded == session.work.count - kept


def test_what_is_looked_at_comes_first(session):
    order = []

    def watch(item):
        if item.done == 0:
            session.look_at(420, 380, 480, 440)
        order.append(item)

    session.slide_moved.connect(watch)
    session.localize(["pixelcam"]).result()
    early = next(item for item in order if item.done >= 6)
    assert early.state[6, 6] == 2


def test_a_drawn_tissue_mask_is_obeyed(session):
    mask = np.zeros((60, 82), np.uint8)
    mask[10:20, 10:20] = 1
    session.set_tissue(mask)
    session.localize(["pixelcam"]).result()
    assert session.work.count == 9  # tiles of 64 px that touch pixels 100 to 200
    with pytest.raises(ImageError, match="some tissue"):
        session.set_tissue(np.zeros((5, 5)))


def test_a_round_needs_no_encoding_and_shows_on_the_whole_slide(session, section):
    session.localize(["pixelcam"]).result()
    encoded = session.work.run.encoded
    before = session.heatmap("pixelcam")
    strokes = np.zeros(section.shape[:2], np.uint8)
    strokes[200:204, 100:300] = 2
    strokes[20:24, 100:300] = 1
    session.set_scribbles(strokes)
    done = session.finetune().result()
    assert session.work.run.encoded == encoded
    assert session.round_index == 1
    shown = session.heatmap("pixelcam")
    assert shown is done.heatmap
    assert shown.round == 1
    assert shown.at(202, 200) > 0.6
    assert np.abs(shown.values - before.values).max() > 0.1
    session.revert(0).result()
    assert session.heatmap("pixelcam") is before
    session.finetune().result()
    assert [item.index for item in session.rounds] == [0, 1, 2]


def test_opened_again_tomorrow_nothing_is_encoded(session, section, small_model):
    first = session.localize(["pixelcam"]).result()
    session.close(wait=True)
    again = Session()
    again.slide_config = session.slide_config
    again.open(section, name="section").result()
    again.use(small_model).result()
    second = again.localize(["pixelcam"]).result()
    assert again.work.run.encoded == 0
    one, other = (item.heatmaps["pixelcam"].values for item in (first, second))
    assert np.array_equal(one, other)
    again.localize(["pcam"]).result()  # another method, from the kept features
    assert again.work.run.encoded == 0
    again.close(wait=True)


def test_a_refit_without_a_pixelcam_map_says_which_maps_there_are(session):
    session.localize(["cam"]).result()
    session.brush([(300, 100), (300, 160)], 2, 9)
    session.brush([(300, 300), (300, 360)], 1, 9)
    with pytest.raises(NoResultError, match=r"no pixelcam heatmap \(there is: cam\)"):
        session.finetune().result()
