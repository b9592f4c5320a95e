"""What is asked for while an image is opened again, left, or read in another way."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import psygnal
import pytest

from napari_wsol import Session
from napari_wsol.config import FinetuneConfig, InferenceConfig, SlideConfig
from napari_wsol.images.readers import open_slide
from napari_wsol.worklist.items import WorkList

WAIT = 60


@pytest.fixture
def session(small_model, tissue, tmp_path):
    session = Session(journals=tmp_path / "journals")
    session.open(tissue, name="tissue").result(WAIT)
    session.use(small_model).result(WAIT)
    yield session
    session.close(wait=True)


def test_what_is_asked_for_while_it_is_opened_again_is_done_on_it(session, tissue):
    session.open(tissue, name="tissue")
    session.localize(["pixelcam"])
    grown = session.grow(60, 80, 2)
    assert grown.result(WAIT) is not None
    assert [stroke.tool for stroke in session.strokes] == ["grow"]
    session.open(tissue, name="tissue")
    session.set_scribbles(np.ones(session.canvas.shape, np.uint8)).result(WAIT)
    assert session.stroke_counts == (0, 1)


def test_a_status_can_be_read_while_somebody_listens_to_the_journal(session, tissue):
    heard = []
    session.saved_changed.connect(lambda _saved: heard.append(session.status))
    session.brush([(10, 10), (10, 40)], 2, 5)
    session.open(tissue, name="tissue").result(WAIT)
    session.brush([(20, 10), (20, 40)], 1, 5)
    assert session.journal.flush()
    assert set(heard) == {"stroked"}


def test_an_image_that_was_left_takes_no_memory(session):
    gc.disable()
    try:
        left = []
        for number in range(3):
            slide = open_slide(np.full((64, 64, 3), number, np.uint8))
            session.open(slide).result(WAIT)
            session.brush([(10, 10), (10, 40)], 2, 5)
            left.append(weakref.ref(slide))
            del slide
        session.open(np.full((64, 64, 3), 9, np.uint8), name="last").result(WAIT)
        assert [item() for item in left] == [None, None, None]
    finally:
        gc.enable()


def test_settings_are_those_of_the_moment_in_which_a_round_was_asked_for(
    session, strokes
):
    session.localize(["pixelcam"]).result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    session.settings = FinetuneConfig(steps=3)
    round_ = session.finetune()
    session.settings = FinetuneConfig(steps=7)
    assert round_.result(WAIT).settings.steps == 3


def test_rounds_keep_to_the_budget_as_it_is_by_then(session, strokes):
    session.localize(["pixelcam"]).result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    session.finetune(FinetuneConfig(steps=3)).result(WAIT)
    history = session._parts.state.history
    session.config = replace(session.config, memory_bytes=1_000_000_000)
    session.revert(0).result(WAIT)
    assert history.budget == session.config.round_bytes


def test_nothing_is_told_where_a_setting_stays_as_it_is():
    session = Session(journals=False)
    told = []
    session.settings_changed.connect(lambda: told.append(session.live))
    session.live, session.settings = True, FinetuneConfig()
    assert told == []
    session.live = False
    assert told == [False]
    assert not session.resume()
    assert not session.start_afresh()
    session.close(wait=True)


def test_a_listener_that_fails_keeps_nothing_from_the_session(session, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    from PIL import Image

    Image.fromarray(np.full((64, 64, 3), 7, np.uint8)).save(folder / "a.png")
    session.use_list(WorkList.of_folder(folder))
    session.open(folder / "a.png").result(WAIT)

    def fail() -> None:
        raise ZeroDivisionError

    session.scribbles_changed.connect(fail)
    with pytest.raises(psygnal.EmitLoopError):
        session.brush([(10, 10), (10, 40)], 2, 5)
    assert [item.status for item in session.worklist] == ["stroked"]


def test_a_slide_that_is_read_at_once_for_a_while_keeps_its_tiles(
    small_model, section, monkeypatch
):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 100_000)
    session = Session(InferenceConfig(), journals=False)
    session.slide_config = SlideConfig(core=128, tissue_only=False)
    try:
        session.open(section, name="section").result(WAIT)
        session.use(small_model).result(WAIT)
        session.localize(["pixelcam"]).result(WAIT)
        work = session.work
        monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 10_000_000)
        session.grow(100, 100, 2).result(WAIT)
        session.brush([(300, 700), (300, 760)], 1, 9)
        monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 100_000)
        assert session.finetune(FinetuneConfig(steps=3)).result(WAIT).index == 1
        assert session.work is work
    finally:
        session.close(wait=True)


def test_the_engines_of_an_image_are_swapped_as_one_value(session):
    """Other threads walk through them while the worker adds one."""
    before = session._parts.state.engines
    walk = iter(before.values())
    session.localize(["pixelcam"]).result(WAIT)
    assert list(walk) == []
    assert session._parts.state.engines is not before


def test_a_pixel_size_is_remembered_for_the_image_that_took_it(session, tissue):
    other = np.ascontiguousarray(tissue[::-1])
    seen = []
    session.mpp_changed.connect(
        lambda: (
            None if seen else seen.append(session.open(other, name="b").result(WAIT))
        )
    )
    session.set_mpp(0.5)
    session.set_memory(session.config.memory_bytes).result(WAIT)  # after remembering
    assert open_slide(tissue).mpp == 0.5
    assert open_slide(other).mpp is None
