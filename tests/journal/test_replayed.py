"""Entries on their way through text, and what they come to."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from napari_wsol.journal import (
    Dismissed,
    Redone,
    RoundMade,
    RoundShown,
    SettingsChanged,
    StartedAfresh,
    StatusChanged,
    Undone,
    replayed,
)
from napari_wsol.journal.entries import KINDS, entry_from
from napari_wsol.strokes.stroke import StrokeList, drawn

SHAPE = (40, 60)


def round_made(index, model="aa", **facts):
    return RoundMade(
        index=index,
        model="glands",
        model_sha256=model,
        target="benign",
        head="round-0001.safetensors",
        head_sha256="bb",
        map_sha256="cc",
        settings={"steps": 40, "prior": 0.5},
        strokes=(1, 2),
        others=("dd",),
        facts={"seconds": 0.25, **facts},
    )


def numbers(work):
    return [stroke.number for stroke in work.strokes.strokes]


def test_every_kind_comes_back_from_text(made, plain):
    entries = [
        made(1),
        Undone(number=1),
        Redone(number=1),
        round_made(1),
        RoundShown(index=0),
        SettingsChanged(values={"threshold": 0.5}),
        StatusChanged(status="reviewed"),
        Dismissed(y=1.5, x=2.5, radius=3.0),
        StartedAfresh(),
    ]
    assert {entry.kind for entry in entries} == set(KINDS)
    read = [entry_from(json.loads(json.dumps(item))) for item in plain(entries)]
    assert plain(read) == plain(entries)
    assert read[1:] == entries[1:]
    assert np.array_equal(read[0].stroke.runs, entries[0].stroke.runs)


@pytest.mark.parametrize("status", ["done", "", None])
def test_an_unknown_status_is_refused(status):
    with pytest.raises(ValueError, match="status"):
        entry_from({"type": "status", "status": status, "time": ""})


def test_strokes_come_to_the_canvas_that_they_drew(made):
    entries = [made(number, label=number % 3) for number in range(1, 30)]
    work = replayed(SHAPE, entries)
    expected = StrokeList.empty(SHAPE)
    for entry in entries:
        expected = expected.add(entry.stroke)
    assert np.array_equal(work.strokes.canvas, expected.canvas)
    assert numbers(work) == list(range(1, 30))
    assert work.strokes.last_number == 29


def test_undo_and_redo_go_on_after_opening_again(made):
    entries = [made(1), made(2), made(3), Undone(number=3), Undone(number=2)]
    strokes = replayed(SHAPE, entries).strokes
    assert [item.number for item in strokes.redo().strokes] == [1, 2]
    assert [item.number for item in strokes.redo().redo().strokes] == [1, 2, 3]
    assert not strokes.undo().strokes
    work = replayed(SHAPE, [*entries, Redone(number=2)])
    assert numbers(work) == [1, 2]
    assert np.array_equal(
        work.strokes.canvas, drawn([made(1).stroke, made(2).stroke], SHAPE)
    )
    work = replayed(SHAPE, [*entries, made(4), Redone(number=3)])
    assert numbers(work) == [1, 4]
    assert work.strokes.last_number == 4


@pytest.mark.parametrize(
    ("lost", "left"),
    [
        (0, [2, 3]),  # stroke 1: its undo later on has nothing to do
        (3, []),  # undone 3: undone 2 says that 3 was taken back, too
        (4, []),  # undone 2: undone 1 likewise
    ],
)
def test_a_lost_line_is_made_good_by_the_next(made, lost, left):
    entries = [made(1), made(2), made(3)]
    entries += [Undone(number=3), Undone(number=2), Undone(number=1)]
    if lost == 0:
        entries = [entries[0], *entries[1:3], Undone(number=1)]
    assert numbers(replayed(SHAPE, entries[:lost] + entries[lost + 1 :])) == left


def test_starting_afresh_keeps_settings_and_numbers(made):
    entries = [
        SettingsChanged(values={"a": 1, "b": 1}),
        made(1),
        round_made(1),
        StatusChanged(status="refined"),
        Dismissed(y=1, x=1, radius=1),
        StartedAfresh(),
        SettingsChanged(values={"b": 2}),
        made(2),
    ]
    work = replayed(SHAPE, entries)
    assert numbers(work) == [2]
    assert (work.rounds, work.shown, work.dismissed) == ((), 0, ())
    assert work.status == "untouched"
    assert work.settings == {"a": 1, "b": 2}
    assert replayed(SHAPE, entries[:6]).strokes.last_number == 1


def test_rounds_of_two_models_stand_side_by_side():
    entries = [round_made(1), round_made(2), round_made(1, model="ee")]
    work = replayed(SHAPE, entries)
    found = [(item.model_sha256, item.index) for item in work.rounds]
    assert found == [("aa", 1), ("aa", 2), ("ee", 1)]
    assert work.shown == 1


def test_what_is_found_out_later_about_a_round_does_not_show_it():
    entries = [round_made(1), round_made(2), RoundShown(index=0)]
    work = replayed(SHAPE, [*entries, round_made(2, loss=0.5)])
    assert [item.index for item in work.rounds] == [1, 2]
    assert work.rounds[-1].facts["loss"] == 0.5
    assert work.shown == 0


def test_a_round_that_was_made_anew_takes_the_place_of_the_old_one():
    anew = dataclasses.replace(round_made(1), map_sha256="ff")
    work = replayed(SHAPE, [round_made(1), round_made(2), anew])
    assert [(item.index, item.map_sha256) for item in work.rounds] == [
        (2, "cc"),
        (1, "ff"),
    ]
    assert work.shown == 1


def test_a_stroke_outside_of_the_canvas_is_left_out(made):
    work = replayed((40, 20), [made(1), made(2)])
    assert all(stroke.fits((40, 20)) for stroke in work.strokes.strokes)
    assert len(work.strokes.strokes) < 2
