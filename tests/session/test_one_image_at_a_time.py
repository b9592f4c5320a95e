"""What is done on one image stays with it, also where jobs and calls overlap."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_wsol import Session
from napari_wsol.config import FinetuneConfig
from napari_wsol.errors import NoImageError, NoScribblesError
from napari_wsol.journal import (
    Dismissed,
    RoundMade,
    SettingsChanged,
    StatusChanged,
    StrokeMade,
    read_record,
)

WAIT = 60


class Slow:
    """(h, w, 3) uint8 pixels that are given only when somebody says so.

    Args:
        pixels: of the image.
    """

    def __init__(self, pixels: np.ndarray) -> None:
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, 3
        self._pixels = pixels
        self.asked, self.given = threading.Event(), threading.Event()

    def __getitem__(self, key) -> np.ndarray:
        self.asked.set()
        assert self.given.wait(WAIT)
        return self._pixels[key]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        del copy
        return self[:].astype(dtype or np.uint8)


@pytest.fixture
def other(tissue):
    """Another image of the same shape, with the square elsewhere."""
    return np.ascontiguousarray(tissue[::-1, ::-1])


@pytest.fixture
def session(small_model, tissue, tmp_path):
    session = Session(journals=tmp_path / "journals")
    session.open(tissue, name="first", mpp=0.5)
    session.use(small_model).result(WAIT)
    yield session
    session.close(wait=True)


@pytest.fixture
def refined(session, strokes):
    """With a round on the first image; it, and its journal's folder."""
    session.localize(["pixelcam"]).result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    done = session.finetune(FinetuneConfig(steps=3)).result(WAIT)
    return done, session.journal.folder


def entries(folder, kind):
    return [item for item in read_record(folder).entries if isinstance(item, kind)]


def written(session, kind):
    """Entries of a kind in the open image's journal."""
    assert session.journal.flush()
    return entries(session.journal.folder, kind)


def test_strokes_of_one_image_teach_no_other(session, refined, other):
    done, folder = refined
    opened = session.open(other, name="second")
    localized = session.localize(["pixelcam"])
    refit = session.finetune(FinetuneConfig(steps=3))
    with pytest.raises(NoScribblesError, match="Nothing is marked yet"):
        refit.result(WAIT)
    assert opened.result(WAIT) is session.slide
    assert localized.result(WAIT) is session.result
    assert [item.index for item in session.rounds] == [0]
    assert session.heatmap("pixelcam").round == 0
    assert session.status == "untouched"
    assert session.scribbles is None
    assert session.strokes == ()
    # Nothing was done on it, so it has no journal yet.
    assert not session.journal.folder.exists()
    numbers = tuple(item.stroke.number for item in entries(folder, StrokeMade))
    assert len(numbers) == 3
    made = entries(folder, RoundMade)
    assert {(item.index, item.strokes) for item in made} == {(1, numbers)}
    assert done.learnt_from == numbers
    assert [item.status for item in entries(folder, StatusChanged)] == ["refined"]


def test_a_refit_learns_from_the_strokes_of_the_image_that_is_open_when_it_runs(
    session, refined, other, tissue, strokes
):
    first, _ = refined
    session.open(other, name="second").result(WAIT)
    session.localize(["pixelcam"]).result(WAIT)
    session.set_scribbles(np.ascontiguousarray(strokes[::-1, ::-1])).result(WAIT)
    second = session.finetune(FinetuneConfig(steps=3)).result(WAIT)
    assert second.strokes_sha256 != first.strokes_sha256
    session.open(tissue, name="first")  # it goes on where it was
    session.localize(["pixelcam"])
    again = session.finetune(FinetuneConfig(steps=3)).result(WAIT)
    assert again.index == 2
    assert again.strokes_sha256 == first.strokes_sha256
    assert np.array_equal(again.heatmap.values, first.heatmap.values)


def test_a_round_is_not_put_on_the_image_that_came_after(session, refined, other):
    _, folder = refined
    reached, go_on = threading.Event(), threading.Event()

    def hold(_step):
        """Hold the learning at its first step: it could be done before the open."""
        reached.set()
        assert go_on.wait(WAIT)

    session.finetune_step.connect(hold)
    session.finetune(FinetuneConfig(steps=10_000, prior=0.0))
    assert reached.wait(WAIT)
    opening = session.open(other, name="second")
    go_on.set()
    opening.result(WAIT)
    assert session.rounds == ()
    assert session.heatmaps == {}
    assert not session.journal.folder.exists()
    assert {item.index for item in entries(folder, RoundMade)} == {1}


def say_everything(session):
    """Everything that a person can say of an image at once."""
    session.set_status("reviewed")
    session.settings = FinetuneConfig(steps=17)
    session.live = not session.live
    session.brush([(20, 20), (20, 60)], 2, 5)


def test_what_is_said_while_another_image_is_read_is_said_of_the_open_one(
    session, other
):
    first, slow = session.slide, Slow(other)
    opening = session.open(slow, name="second", rgb=True)
    assert slow.asked.wait(WAIT)
    assert session.slide is first
    say_everything(session)
    assert session.status == "stroked"  # what was reviewed has a new stroke
    folder = session.journal.folder
    slow.given.set()
    opening.result(WAIT)
    assert [item.status for item in entries(folder, StatusChanged)] == [
        *("reviewed", "stroked"),
    ]
    assert [list(item.values) for item in entries(folder, SettingsChanged)] == [
        ["refinement"],
        ["live"],
    ]
    assert len(entries(folder, StrokeMade)) == 1
    assert not session.journal.folder.exists()
    assert session.status == "untouched"
    assert session.strokes == ()


def test_what_is_said_while_another_image_waits_to_be_read_is_said_of_the_open_one(
    session, other, tissue
):
    session.open(tissue, name="first").result(WAIT)
    first, slow = session.slide, Slow(other)
    session.open(slow, name="second", rgb=True)
    assert slow.asked.wait(WAIT)
    last = session.open(other[:, ::-1].copy(), name="third")  # waits for the second
    say_everything(session)
    assert session.slide is first
    folder = session.journal.folder
    slow.given.set()
    last.result(WAIT)
    assert len(entries(folder, StatusChanged)) == 2
    assert len(entries(folder, SettingsChanged)) == 2
    assert len(entries(folder, StrokeMade)) == 1
    assert not session.journal.folder.exists()


@pytest.mark.parametrize(
    "signal", ["image_changed", "scribbles_changed", "status_changed"]
)
def test_what_is_said_when_the_new_image_is_told_is_said_of_it(
    session, refined, other, signal
):
    """Also in the middle of an opening: slide, journal and status change as one."""
    _, folder = refined
    seen = []

    def say(*_: object) -> None:
        if not seen and session.slide is not None and session.slide.name == "second":
            seen.append(session.slide)
            session.set_status("reviewed")
            session.settings = FinetuneConfig(steps=18)

    # The second image has an earlier work, so that opening it tells of strokes.
    session.open(other, name="second").result(WAIT)
    before = len(read_record(folder).entries)
    session.brush([(20, 20), (20, 60)], 2, 5)
    session.open(np.array(session.slide.read(0, 0, 0, 40, 40))).result(WAIT)
    getattr(session, signal).connect(say)
    session.open(other, name="second").result(WAIT)
    assert seen == [session.slide]
    assert [item.status for item in written(session, StatusChanged)] == ["reviewed"]
    assert session.status == "reviewed"
    assert len(written(session, SettingsChanged)) == 1
    assert session.settings.steps == 18
    assert len(read_record(folder).entries) == before


def test_a_proposal_that_is_dismissed_is_dismissed_on_its_image(session, other):
    session.localize(["pixelcam"]).result(WAIT)
    folder = session.journal.folder
    place, slow = session.propose()[0], Slow(other)
    opening = session.open(slow, name="second", rgb=True)
    assert slow.asked.wait(WAIT)
    session.dismiss(place)
    slow.given.set()
    opening.result(WAIT)
    (dismissed,) = entries(folder, Dismissed)
    assert (dismissed.y, dismissed.x) == (place.y, place.x)
    assert session.dismissed == ()


def test_an_image_that_is_opened_again_goes_on_with_all_its_strokes(session, tissue):
    """Whatever is drawn while it is opened again is in its one journal."""
    folder = session.journal.folder
    for number in range(6):
        session.brush([(20 * number + 5, 20), (20 * number + 5, 60)], 2, 5)
        opening = session.open(tissue, name="first")
        session.brush([(20 * number + 5, 90), (20 * number + 5, 130)], 1, 5)
        opening.result(WAIT)
    assert session.journal.folder == folder
    assert len(written(session, StrokeMade)) == 12
    assert len(session.strokes) == 12
    assert len(list(folder.parent.iterdir())) == 1


@pytest.mark.usefixtures("refined")
def test_an_image_that_is_left_keeps_its_work_and_leaves_nothing_open(session, tissue):
    session.settings = FinetuneConfig(steps=17)
    strokes, folder = session.strokes, session.journal.folder
    session.leave().result(WAIT)
    assert session.slide is session.result is session.journal is None
    assert session.strokes == session.rounds == ()
    assert session.heatmaps == {}
    assert session.model is not None
    assert session.settings.steps == 17  # for what comes next
    with pytest.raises(NoImageError):
        session.undo()
    session.leave().result(WAIT)  # there is nothing to do
    assert len(read_record(folder).entries) > 0
    session.open(tissue).result(WAIT)
    assert [x.number for x in session.strokes] == [x.number for x in strokes]
