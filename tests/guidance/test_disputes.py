"""Where maps disagree most: planted places, who says what there, and the session's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fixtures.colours import CELL, colour_model

from napari_wsol import Session
from napari_wsol.errors import ImageError, NoImageError, NoResultError
from napari_wsol.guidance.factors import guide
from napari_wsol.guidance.proposals import disputes
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.strokes.canvas import Canvas

WAIT = 60
SIDE = 64
"""Cells a side."""


def a_map(values, method):
    values = np.asarray(values, np.float32)
    return Heatmap(
        values=values,
        scale=(CELL, CELL),
        translate=((CELL - 1) / 2, (CELL - 1) / 2),
        image_shape=(values.shape[0] * CELL, values.shape[1] * CELL),
        method=method,
        target="gland",
        is_probability=True,
    )


def ramp():
    return np.tile(np.linspace(0.1, 0.9, SIDE, dtype=np.float32), (SIDE, 1))


def found(*maps, count=8, tissue=None, strokes=None):
    known = guide(maps, Canvas.over(maps[0].image_shape), strokes, tissue=tissue)
    return disputes(known, maps, count, {one.key: one.key.upper() for one in maps})


def test_the_worst_place_comes_first_and_says_who_sees_what():
    one, other = ramp(), ramp()
    one[4:14, 6:16] = 0.97  # the other is low there, at the left
    other[40:48, 4:12] = 0.96  # less far apart: the first is higher here
    one[40:48, 4:12] = 0.5
    places = found(a_map(one, "one"), a_map(other, "other"))
    first = places[0]
    assert 4 <= first.y / CELL <= 14
    assert 6 <= first.x / CELL <= 16
    assert first.place == "upper left"
    y, x = int(first.y // CELL), int(first.x // CELL)
    assert first.reason.startswith("ONE sees strong evidence here (0.97, pct 9")
    assert first.reason.split("), ")[1].startswith(f"OTHER none ({other[y, x]:.2f}, ")
    assert [40 <= item.y / CELL <= 48 for item in places] == [False, True]
    assert places[1].reason.startswith("OTHER sees strong evidence here (0.96")
    assert places[0].score > places[1].score >= 0.3
    assert found(a_map(one, "one"), a_map(other, "other"), count=1) == places[:1]


def test_a_ring_of_disagreement_is_met_where_the_maps_disagree():
    y, x = np.mgrid[:SIDE, :SIDE]
    far = np.hypot(y - 32, x - 32)
    one, other = ramp(), ramp()
    one[(far > 8) & (far < 14)] = 0.98
    other[(far > 8) & (far < 14)] = 0.02
    first = found(a_map(one, "one"), a_map(other, "other"))[0]
    middle = np.hypot(first.y / CELL - 32, first.x / CELL - 32)
    assert 7 < middle < 15
    assert first.score > 0.8


def test_maps_that_agree_one_map_and_glass_have_no_places():
    one, other = a_map(ramp(), "one"), a_map(1 - ramp(), "other")
    assert found(one, replace(one, method="twin")) == []
    assert found(one) == []
    right = np.zeros((SIDE, SIDE), bool)
    right[:, SIDE // 2 :] = True
    places = found(one, other, tissue=right)
    assert places
    assert all(item.x >= SIDE * CELL / 2 for item in places)


def test_strokes_do_not_change_the_tour():
    maps = a_map(ramp(), "one"), a_map(1 - ramp(), "other")
    strokes = np.full(Canvas.over(maps[0].image_shape).shape, 2, np.uint8)
    assert found(*maps, strokes=strokes) == found(*maps)


@pytest.fixture
def session():
    session = Session(journals=False)
    yield session
    session.close(wait=True)


def test_a_session_tells_doubt_of_two_maps_and_keeps_the_pins_of_an_image(session):
    with pytest.raises(NoImageError):
        session.set_pins([(1, 1)])
    pixels = np.full((96, 128, 3), 40, np.uint8)
    pixels[24:56, 64:104] = 220
    session.open(pixels).result(WAIT)
    told = []
    session.pins_changed.connect(lambda: told.append(session.pins))
    session.set_pins([(0, 127), (-0.4, 3)])
    with pytest.raises(ImageError, match="Point at the image"):
        session.set_pins([(96, 3)])
    assert told == [((0.0, 127.0), (-0.4, 3.0))] == [session.pins]
    session.use(colour_model(("dark", "bright"), (1.0, 1.0, 1.0), 20.0)).result(WAIT)
    session.localize(["cam"]).result(WAIT)
    with pytest.raises(NoResultError, match="two maps"):
        session.doubt()
    wrong = np.zeros((96, 128), np.float32)
    wrong[64:, :32] = 1
    session.add_map(wrong, name="wrong").result(WAIT)
    known, places = session.doubt(3)
    assert known.disagreement.shape == known.uncertainty.shape == known.tissue.shape
    assert known.disagreement.max() <= 1
    assert 0 < len(places) <= 3
    assert any("wrong · from elsewhere" in item.reason for item in places)
    session.set_pins([])
    assert session.pins == ()
    session.set_pins([(5, 5)])
    session.open(pixels[::-1].copy()).result(WAIT)
    assert session.pins == ()


def test_what_speaks_against_the_class_is_no_little_evidence():
    one, other = ramp(), 0.5 + 0 * ramp()
    one[4:14, 6:16], other[4:14, 6:16] = 0.97, 0.1
    signed = replace(a_map(other, "other"), signed=True, raw_range=(-2.0, 2.0))
    reason = found(a_map(one, "one"), signed)[0].reason
    assert "OTHER contrary (-1.60, pct" in reason
