"""Rounds and strokes that outlive the session."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_wsol import Session
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import encode
from napari_wsol.inference.read_through import prediction_through
from napari_wsol.journal import RoundMade, StatusChanged
from napari_wsol.strokes.raster import Drawing
from napari_wsol.strokes.stroke import kinds_of

WAIT = 60


@pytest.fixture
def begin(small_model, tissue, tmp_path):
    """Opens a new session on the same image, in the same folder of journals."""
    opened = []

    def start(image=tissue, **options):
        session = Session(journals=tmp_path / "journals")
        opened.append(session)
        session.open(image, name="tissue", **options).result(WAIT)
        session.use(small_model).result(WAIT)
        return session

    yield start
    for session in opened:
        session.close(wait=True)


def paint(session, strokes, labels=(1, 2)):
    for label in labels:
        session.put(strokes == label, (0, 0), Drawing(label, "brush"))


def worked(session, strokes):
    session.localize(["pixelcam"]).result(WAIT)
    paint(session, strokes)
    session.finetune().result(WAIT)
    session.put(strokes == 1, (3, 3), Drawing(1, "brush"))
    return session.finetune().result(WAIT)


def test_tomorrow_strokes_and_rounds_are_there_again(begin, strokes):
    session = begin()
    done = worked(session, strokes)
    maps = [item.heatmap.values.copy() for item in session.rounds]
    canvas = session.scribbles.copy()
    session.close(wait=True)

    again = begin()
    assert again.earlier is not None
    assert again.strokes == ()
    assert again.resume()
    assert np.array_equal(again.scribbles, canvas)
    assert not again.rounds
    again.localize(["pixelcam"]).result(WAIT)
    assert [item.index for item in again.rounds] == [0, 1, 2]
    for item, values in zip(again.rounds, maps, strict=True):
        assert np.array_equal(item.heatmap.values, values)
    assert again.round_index == 2
    assert again.stale == frozenset()
    found = again.rounds[-1]
    assert found.learnt_from == done.learnt_from == (1, 2, 3)
    assert found.strokes_sha256 == done.strokes_sha256
    assert found.settings == done.settings
    assert np.allclose(found.loss, done.loss, atol=1e-5)
    assert again.finetune().result(WAIT).index == 3


def test_everybody_counts_the_strokes_that_teach(begin, strokes, tmp_path):
    """The dock, the round and the export say one number, whatever was wiped off."""
    session = begin()
    session.localize(["pixelcam"]).result(WAIT)

    def told() -> tuple[int, ...]:
        done = session.finetune().result(WAIT)
        paths = session.export(tmp_path / str(done.index), ("csv",)).result(WAIT)
        (record,) = (path for path in paths if path.suffix == ".json")
        refinement = json.loads(record.read_text())["provenance"]["refinement"]
        assert refinement["strokes"] == len(refinement["stroke_numbers"])
        assert sum(session.stroke_counts) == done.strokes == refinement["strokes"]
        assert session.stroke_counts == kinds_of(done.teaching)
        assert session.stale == frozenset()
        return tuple(refinement["stroke_numbers"])

    paint(session, strokes)  # one of each kind
    session.clear()
    for row in (10, 30, 50):
        session.brush([(row, 10), (row, 40)], 2, 4)
    session.brush([(70, 10), (70, 40)], 1, 4)
    assert told() == (4, 5, 6, 7)
    session.brush([(10, 5), (10, 45)], 0, 8)  # the first is erased
    assert told() == (5, 6, 7)
    session.brush([(30, 5), (30, 45)], 1, 8)  # the second is painted over
    assert told() == (6, 7, 9)
    session.undo()
    session.undo()
    assert told() == (4, 5, 6, 7)
    session.redo()
    last = told()
    session.close(wait=True)

    again = begin()
    again.resume()
    again.localize(["pixelcam"]).result(WAIT)
    found = again.rounds[-1]
    assert (tuple(found.teaching), found.strokes) == (last, 3)
    assert found.learnt_from == (1, 2, 3, 4, 5, 6, 7, 8)  # what its canvas is made of
    assert sum(again.stroke_counts) == 3


def test_going_on_after_localizing_brings_the_rounds_too(begin, strokes):
    session = begin()
    worked(session, strokes)
    session.revert(1).result(WAIT)
    session.close(wait=True)
    again = begin()
    again.localize(["pixelcam"]).result(WAIT)
    again.resume()
    again.revert(1).result(WAIT)  # waits for what was queued before
    assert [item.index for item in again.rounds] == [0, 1, 2]


def test_the_round_that_was_shown_is_shown_again(begin, strokes):
    session = begin()
    worked(session, strokes)
    session.revert(1).result(WAIT)
    values = session.heatmap("pixelcam").values.copy()
    session.close(wait=True)
    again = begin(resume=True)
    again.localize(["pixelcam"]).result(WAIT)
    assert again.round_index == 1
    assert np.array_equal(again.heatmap("pixelcam").values, values)


def test_starting_afresh_leaves_the_earlier_work_in_the_journal(begin, strokes):
    session = begin()
    worked(session, strokes)
    session.close(wait=True)
    again = begin()
    paint(again, strokes, labels=(2,))  # without a word on the earlier work
    assert again.earlier is None
    assert [stroke.number for stroke in again.strokes] == [4]
    again.close(wait=True)
    third = begin(resume=True)
    assert [stroke.number for stroke in third.strokes] == [4]
    kinds = [entry.kind for entry in third.journal.entries]
    assert kinds.count("stroke") == 4


def test_rounds_of_another_model_stay_in_the_journal(begin, strokes):
    session = begin()
    worked(session, strokes)
    session.close(wait=True)
    again = begin(resume=True)
    again.use("glands-mobilenetv2").result(WAIT)
    again.localize(["pixelcam"]).result(WAIT)
    assert [item.index for item in again.rounds] == [0]
    assert len(again.strokes) == 3


def test_the_same_image_under_another_name_is_known(begin, tissue, strokes):
    session = begin()
    worked(session, strokes)
    session.close(wait=True)
    other = begin(tissue[::-1].copy())
    assert other.earlier is None
    same = begin(tissue.copy())
    assert same.earlier is not None


def test_an_image_comes_back_as_it_was_left_within_a_session(begin, tissue, strokes):
    session = begin()
    worked(session, strokes)
    session.open(tissue[::-1].copy()).result(WAIT)
    assert session.strokes == ()
    session.open(tissue).result(WAIT)
    assert len(session.strokes) == 3
    assert session.earlier is None


def test_undo_and_clear_are_remembered(begin, strokes):
    session = begin()
    paint(session, strokes)
    session.undo()
    session.clear()
    session.undo()
    canvas = session.scribbles.copy()
    session.close(wait=True)
    again = begin(resume=True)
    assert np.array_equal(again.scribbles, canvas)
    assert [stroke.label for stroke in again.strokes] == [1]
    assert again.redo()
    assert not again.scribbles.any()


def test_the_status_follows_the_work(begin, strokes):
    session = begin()
    assert session.status == "untouched"
    paint(session, strokes)
    assert session.status == "stroked"
    session.localize(["pixelcam"]).result(WAIT)
    session.finetune().result(WAIT)
    assert session.status == "refined"
    session.set_status("reviewed")
    session.close(wait=True)
    again = begin(resume=True)
    assert again.status == "reviewed"
    entries = again.journal.entries
    assert [e.status for e in entries if isinstance(e, StatusChanged)] == [
        "refined",
        "reviewed",
    ]
    made = [entry for entry in entries if isinstance(entry, RoundMade)]
    assert made[0].facts["threads"] >= 1


def test_nothing_is_written_where_nothing_shall_be(tissue):
    session = Session(journals=False)
    session.open(tissue).result(WAIT)
    session.brush([(40.0, 40.0), (60.0, 80.0)], 2, 5.0)
    assert session.journal is None
    assert len(session.strokes) == 1
    session.close(wait=True)


def test_looking_writes_nothing(begin, tmp_path):
    session = begin()
    session.localize(["pixelcam"]).result(WAIT)
    session.close(wait=True)
    assert not list(tmp_path.rglob("*.jsonl"))


def judged(session):
    """Waits until the last round was judged; the runner has one thread."""
    session.revert(session.rounds[-1].index).result(WAIT)
    return session.rounds[-1]


def test_a_round_is_judged_after_it_is_shown(begin, strokes):
    session = begin()
    session.localize(["pixelcam"]).result(WAIT)
    session.set_scribbles(strokes).result(WAIT)  # two of background, one of foreground
    first = session.finetune().result(WAIT)
    found = judged(session)
    assert first.left_out == ()
    numbers = {item.number for item in found.left_out}
    kinds = {stroke.number: stroke.label for stroke in session.strokes}
    assert {kinds[number] for number in numbers} == {1}  # the only one is not judged
    assert len(numbers) == 2
    assert all(0 <= item.agreement <= 1 for item in found.left_out)
    assert 0 <= found.agreement <= 1
    assert set(found.before) <= set(session.model.classes)
    assert found.heatmap is first.heatmap
    session.close(wait=True)
    again = begin(resume=True)
    again.localize(["pixelcam"]).result(WAIT)
    assert again.rounds[-1].agreement == pytest.approx(found.agreement, abs=1e-3)
    assert dict(again.rounds[-1].before) == pytest.approx(dict(found.before))


def test_a_round_says_what_the_prediction_was_before_it(
    begin, small_model, tissue, strokes
):
    session = begin()
    found = session.localize(["pixelcam"]).result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    session.finetune().result(WAIT)
    features, seen = encode(open_slide(tissue), small_model)
    unrefined = found.heatmaps["pixelcam"]
    expected = prediction_through(small_model, features, seen, unrefined)
    assert set(expected) == set(small_model.classes)
    assert judged(session).before == pytest.approx(expected, abs=1e-5)


def test_a_stroke_that_contradicts_the_others_stands_out(begin, strokes):
    session = begin()
    session.localize(["pixelcam"]).result(WAIT)
    more = strokes.copy()
    more[70:74, 65:95] = 2
    more[45:49, 65:95] = 2
    more[62:66, 64:96] = 1  # in the middle of the bright square
    more[10:15, 70:75] = 0
    session.set_scribbles(more).result(WAIT)
    session.finetune().result(WAIT)
    found = judged(session)
    boxes = {stroke.number: stroke.box for stroke in session.strokes}
    worst = min(found.left_out, key=lambda item: item.agreement)
    assert boxes[worst.number][:2] == (62, 64)
    assert worst.agreement < 0.5


def test_a_newer_stroke_stops_the_judging(begin, strokes):
    session = begin()
    session.localize(["pixelcam"]).result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    session.finetune().result(WAIT)
    session.put(strokes == 1, (3, 3), Drawing(1, "brush"))
    last = session.finetune().result(WAIT)
    assert judged(session).index == last.index
    assert len(session.rounds) == 3
