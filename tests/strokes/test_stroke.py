"""Strokes: the cells they change, undo, and their way through text."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsol.errors import ConfigError
from napari_wsol.strokes.stroke import (
    Stroke,
    StrokeList,
    changed_runs,
    drawn,
    owners,
    packed,
    unpacked,
)

SHAPE = (12, 17)


def random_canvas(rng):
    return rng.integers(0, 3, SHAPE).astype(np.uint8)


def painted(strokes: StrokeList, labels, label=2, **facts) -> StrokeList:
    made = strokes.made(labels, label=label, tool="brush", **facts)
    return strokes if made is None else strokes.add(made)


@pytest.mark.parametrize("seed", range(20))
def test_runs_turn_one_canvas_into_the_other(seed):
    rng = np.random.default_rng(seed)
    before, after = random_canvas(rng), random_canvas(rng)
    after[3] = before[3]
    runs = changed_runs(before, after)
    canvas = before.copy()
    touched = np.zeros(SHAPE, int)
    for row, first, last, value in runs:
        canvas[row, first:last] = value
        touched[row, first:last] += 1
    assert np.array_equal(canvas, after)
    assert np.array_equal(touched, (before != after).astype(int))


def test_nothing_changed_is_no_stroke():
    strokes = StrokeList.empty(SHAPE)
    assert strokes.made(strokes.canvas, label=2, tool="brush") is None


def test_a_part_of_the_canvas_is_enough():
    strokes = StrokeList.empty(SHAPE)
    part = np.full((2, 3), 1, np.uint8)
    made = strokes.made(part, label=1, tool="brush", origin=(4, 5))
    assert made is not None
    assert made.box == (4, 5, 6, 8)
    assert made.cells == 6
    assert strokes.add(made).canvas.sum() == 6


@pytest.mark.parametrize("seed", range(5))
def test_undo_and_redo_walk_through_all_canvases(seed):
    rng = np.random.default_rng(seed)
    strokes, seen = StrokeList.empty(SHAPE), [np.zeros(SHAPE, np.uint8)]
    for _ in range(8):
        strokes = painted(strokes, random_canvas(rng))
        seen.append(strokes.canvas.copy())
    for expected in seen[-2::-1]:
        strokes = strokes.undo()
        assert np.array_equal(strokes.canvas, expected)
    assert not strokes.can_undo
    assert strokes.undo() is strokes
    for expected in seen[1:]:
        strokes = strokes.redo()
        assert np.array_equal(strokes.canvas, expected)
    assert not strokes.can_redo


def test_undo_goes_on_beyond_what_is_kept(monkeypatch):
    monkeypatch.setattr("napari_wsol.strokes.stroke.UNDO_STEPS", 2)
    rng = np.random.default_rng(0)
    strokes, seen = StrokeList.empty(SHAPE), [np.zeros(SHAPE, np.uint8)]
    for _ in range(5):
        strokes = painted(strokes, random_canvas(rng))
        seen.append(strokes.canvas)
    for expected in seen[-2::-1]:
        strokes = strokes.undo()
        assert np.array_equal(strokes.canvas, expected)


def test_a_new_stroke_forgets_what_was_taken_back_but_not_its_number():
    rng = np.random.default_rng(0)
    strokes = painted(StrokeList.empty(SHAPE), random_canvas(rng))
    strokes = painted(strokes, random_canvas(rng)).undo()
    assert strokes.can_redo
    strokes = painted(strokes, random_canvas(rng))
    assert not strokes.can_redo
    assert [stroke.number for stroke in strokes.strokes] == [1, 3]


def test_the_list_before_stays_as_it_was():
    rng = np.random.default_rng(0)
    first = painted(StrokeList.empty(SHAPE), random_canvas(rng))
    kept = first.canvas.copy()
    painted(first, random_canvas(rng))
    first.undo()
    assert np.array_equal(first.canvas, kept)


def test_strokes_survive_text():
    rng = np.random.default_rng(3)
    strokes = painted(
        StrokeList.empty(SHAPE),
        random_canvas(rng),
        path=[(1.5, 2.25), (3, 4)],
        width=6.0,
        seconds=1.25,
    )
    before = strokes.strokes[0]
    after = Stroke.from_dict(before.to_dict())
    assert np.array_equal(after.runs, before.runs)
    assert after.runs.dtype == np.int32
    for name in ("number", "label", "tool", "path", "width", "time", "seconds"):
        assert getattr(after, name) == getattr(before, name)
    assert np.array_equal(drawn([after], SHAPE), strokes.canvas)


def test_damaged_cells_are_told():
    text = packed(np.zeros((3, 4), np.int32))
    with pytest.raises(ValueError, match="damaged"):
        unpacked(text[:-8] + "AAAAAAA=")


def test_a_stroke_beside_the_canvas_does_not_fit():
    def runs(*values):
        return np.array([values], np.int32)

    good = Stroke(number=1, label=2, tool="brush", runs=runs(11, 0, 17, 2))
    assert good.fits(SHAPE)
    for bad in (
        (12, 0, 1, 2),
        (0, 0, 18, 2),
        (-1, 0, 1, 2),
        (0, 3, 3, 2),
        (0, 0, 1, 3),
    ):
        assert not Stroke(number=1, label=2, tool="brush", runs=runs(*bad)).fits(SHAPE)


def test_unknown_labels_and_tools_are_refused():
    none = np.zeros((0, 4), np.int32)
    with pytest.raises(ConfigError, match="label"):
        Stroke(number=1, label=3, tool="brush", runs=none)
    with pytest.raises(ConfigError, match="tool"):
        Stroke(number=1, label=1, tool="spoon", runs=none)


def test_every_labelled_cell_belongs_to_the_stroke_that_gave_it():
    strokes = StrokeList.empty((3, 6))
    strokes = painted(strokes, np.full((3, 6), 2, np.uint8))
    labels = strokes.canvas.copy()
    labels[1, 2:4] = 1
    strokes = painted(strokes, labels, label=1)
    labels = strokes.canvas.copy()
    labels[2] = 0
    strokes = painted(strokes, labels, label=0)
    owner = owners(strokes.strokes, strokes.canvas)
    assert owner[0].tolist() == [0] * 6
    assert owner[1].tolist() == [0, 0, 1, 1, 0, 0]
    assert owner[2].tolist() == [-1] * 6
    assert strokes.counts == (1, 1)
    assert dict(strokes.teaching) == {1: 2, 2: 1}


def test_only_strokes_that_own_a_cell_teach():
    strokes = StrokeList.empty((6, 8))

    def paint(rows, value):
        nonlocal strokes
        labels = strokes.canvas.copy()
        labels[rows] = value
        strokes = painted(strokes, labels, label=value)

    paint(0, 2)
    paint(1, 2)
    paint(2, 1)
    assert strokes.counts == (2, 1)
    paint(1, 0)  # erased
    assert dict(strokes.teaching) == {1: 2, 3: 1}
    paint(1, 2)  # the same cells by another stroke: the erased one stays erased
    assert dict(strokes.teaching) == {1: 2, 3: 1, 5: 2}
    paint(2, 2)  # painted over by the other kind
    assert dict(strokes.teaching) == {1: 2, 5: 2, 6: 2}
    everything = strokes
    paint(slice(None), 0)
    assert dict(strokes.teaching) == {}
    assert strokes.counts == (0, 0)
    assert strokes.undo().teaching == everything.teaching
    owner = owners(everything.strokes, everything.canvas)
    numbers = {everything.strokes[place].number for place in owner[owner >= 0]}
    assert numbers == set(everything.teaching)
