"""The strokes of a session: made by any means, taken back, and found again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_wsol.errors import ImageError, NoImageError, NoResultError
from napari_wsol.session.session import Session
from napari_wsol.strokes.annotations import AnnotationError
from napari_wsol.strokes.raster import Drawing

WAIT = 60


@pytest.fixture
def session(tissue, tmp_path):
    session = Session(journals=tmp_path / "journals")
    session.open(tissue).result(WAIT)
    yield session
    session.close(wait=True)


@pytest.fixture
def again(tmp_path):
    """Opens the image in another session, as on another day."""
    made = []

    def again(image, **options):
        session = Session(journals=tmp_path / "journals")
        made.append(session)
        session.open(image, **options).result(WAIT)
        return session

    yield again
    for item in made:
        item.close(wait=True)


def boxes_file(path, *features):
    def feature(name, x0, y0, x1, y1):
        ring = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": name}},
        }

    found = [feature(*item) for item in features]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": found}))
    return path


def everything(session, path):
    """Strokes by all means, on the fixture's image."""
    session.brush([(20, 20), (20, 60)], 2, 5)
    session.fill([(90, 20), (90, 60), (120, 40)], 1)
    session.brush([(20, 30), (20, 35)], 0, 5)
    session.put(np.ones((3, 4), bool), (60, 120), Drawing(2, "grow", ((61, 121),)))
    labels = session.scribbles.copy()
    labels[5:8, 5:8] = 1
    labels[5:8, 100:103] = 2
    session.set_scribbles(labels).result(WAIT)
    file = boxes_file(path, ("Tumor", 70, 100, 80, 110), ("Normal", 90, 100, 99, 110))
    session.import_annotations(file).result(WAIT)


def test_every_step_goes_back_and_comes_again(session, tmp_path):
    seen = [np.zeros(session.canvas.shape, np.uint8)]
    session.scribbles_changed.connect(lambda: seen.append(session.scribbles.copy()))
    everything(session, tmp_path / "some.geojson")
    session.clear()
    tools = [stroke.tool for stroke in session.strokes]
    assert tools == [
        *("brush", "polygon", "erase", "grow", "edit", "edit"),
        *("import", "import", "clear"),
    ]
    assert session.undo_steps == len(seen) - 1 == 7
    expected = seen[:]
    for before in expected[-2::-1]:
        assert session.undo()
        assert np.array_equal(session.scribbles, before)
    assert not session.undo()
    for after in expected[1:]:
        assert session.redo()
        assert np.array_equal(session.scribbles, after)
    assert not session.redo()
    assert [stroke.tool for stroke in session.strokes] == tools


def test_another_day_finds_the_canvas_as_it_was(session, again, tissue, tmp_path):
    everything(session, tmp_path / "some.geojson")
    session.undo()
    session.redo()
    session.undo()
    canvas, strokes = session.scribbles.copy(), session.strokes
    session.close(wait=True)
    later = again(tissue)
    assert later.scribbles is None
    assert later.strokes == ()
    assert len(later.earlier.strokes.strokes) == len(strokes)
    assert later.resume()
    assert later.earlier is None
    assert np.array_equal(later.scribbles, canvas)
    assert [item.to_dict() for item in later.strokes] == [
        item.to_dict() for item in strokes
    ]
    assert later.redo()  # what was taken back can still come again
    assert len(later.strokes) == len(strokes) + 2
    for _ in range(20):
        later.undo()
    assert not later.scribbles.any()


def test_drawing_before_answering_goes_on_or_starts_afresh(session, again, tissue):
    session.brush([(20, 20), (20, 60)], 2, 5)
    session.close(wait=True)
    on = again(tissue)
    dot = np.ones((2, 2), bool)
    on.put(dot, (100, 100), Drawing(1, "brush"), resume=True)
    assert [stroke.number for stroke in on.strokes] == [1, 2]
    assert on.scribbles[20, 40] == 2
    on.close(wait=True)
    afresh = again(tissue)
    afresh.put(dot, (50, 50), Drawing(1, "brush"))
    assert [stroke.number for stroke in afresh.strokes] == [3]
    afresh.close(wait=True)
    assert len(again(tissue, resume=True).strokes) == 1


def test_a_stroke_of_an_image_that_is_left_is_not_drawn_on_the_next(session, tissue):
    first = session.drawn_on
    dot = np.ones((2, 2), bool)
    assert session.put(dot, (5, 5), Drawing(2, "brush"), on=first) is not None
    session.open(tissue[::-1].copy()).result(WAIT)
    assert session.put(dot, (9, 9), Drawing(2, "brush"), on=first) is None
    assert session.scribbles is None
    session.open(tissue).result(WAIT)  # in one session nobody is asked
    assert len(session.strokes) == 1


def test_labels_that_are_kept_and_labels_that_are_none(session):
    session.fill([(10, 10), (10, 20), (20, 20), (20, 10)], 1)
    part = np.ones((30, 30), bool)
    session.put(part, (-5, -5), Drawing(2, "grow"), keep=True)
    canvas = session.scribbles
    assert (canvas[10:21, 10:21] == 1).all()
    assert (canvas[:25, :25] > 0).all()
    before = session.strokes
    with pytest.raises(ImageError, match=r"0 .nothing., 1 .background."):
        session.put(part, (0, 0), Drawing(2, "edit"), labels=7 * part.astype(np.uint8))
    assert session.strokes is before
    assert session.put(part, (500, 500), Drawing(2, "brush")) is None


def test_growing_follows_the_reach_in_one_step(session, small_model):
    session.use(small_model).result(WAIT)
    with pytest.raises(NoResultError, match="Localize first"):
        session.grow(60, 80, 2).result(WAIT)
    session.localize(["pixelcam"]).result(WAIT)
    session.fill([(62, 82), (62, 90), (70, 90), (70, 82)], 1)
    small = session.grow(60, 80, 2, 0.3).result(WAIT)
    assert (small.tool, small.label, small.path) == ("grow", 2, ((60, 80),))
    assert session.scribbles[60, 80] == 2
    assert session.scribbles[65, 85] == 1
    large = session.grow(60, 80, 2, 3.0, instead=True).result(WAIT)
    assert large.cells > small.cells
    assert [stroke.tool for stroke in session.strokes] == ["polygon", "grow"]
    assert (session.scribbles[62:70, 82:90] == 1).all()
    session.undo()
    assert session.strokes[-1].tool == "polygon"
    assert session.grow(60, 80, 2, 0.3).result(WAIT).cells == small.cells
    with pytest.raises(ImageError, match="not on the image"):
        session.grow(-60, 80, 2).result(WAIT)


def test_annotations_are_strokes_of_one_step(session, tmp_path):
    session.fill([(10, 10), (10, 20), (20, 20), (20, 10)], 2)
    before = session.scribbles.copy()
    file = boxes_file(
        tmp_path / "qupath.geojson",
        ("Stroma", 0, 0, 50, 50),
        ("Tumor", 30, 30, 40, 40),
        ("Tumor", 12, 12, 14, 14),  # wholly under a stroke
        ("Tumor", 500, 500, 510, 510),  # outside
        ("Region*", 0, 0, 150, 130),
    )
    done = session.import_annotations(file, {"Stroma": 1}).result(WAIT)
    assert done.labels == {"Stroma": 1, "Tumor": 2, "Region*": 0}
    assert (len(done.numbers), done.outside, done.covered) == (2, 1, 1)
    canvas = session.scribbles
    assert np.array_equal(canvas[before > 0], before[before > 0])
    assert (canvas[30:40, 30:40] == 2).all()  # the small one on top
    assert canvas[45, 45] == 1
    assert canvas[60, 60] == 0
    assert session.undo()
    assert np.array_equal(session.scribbles, before)
    over = session.import_annotations(file, {"Stroma": 1}, keep=False).result(WAIT)
    assert over.covered == 0
    assert session.scribbles[11, 11] == 1


def test_files_that_do_not_fit_change_nothing(session, tmp_path):
    session.brush([(20, 20), (20, 60)], 2, 5)
    before = session.strokes
    away = boxes_file(tmp_path / "a.geojson", ("Tumor", 900, 900, 950, 950))
    with pytest.raises(AnnotationError, match="lies on this image"):
        session.import_annotations(away).result(WAIT)
    away.write_text("{")
    with pytest.raises(AnnotationError, match="no GeoJSON"):
        session.import_annotations(away).result(WAIT)
    assert session.strokes is before


def test_thousands_of_annotations_are_one_step(session, tmp_path):
    rng = np.random.default_rng(0)
    corners = rng.uniform((0, 0), (150, 125), (2_500, 2))
    file = boxes_file(
        tmp_path / "many.geojson",
        *(("Tumor", x, y, x + 1.7, y + 1.7) for x, y in corners),
    )
    session.import_annotations(file, keep=False).result(WAIT)
    assert len(session.strokes) > 1_000
    assert session.undo_steps == 1
    assert session.undo()
    assert not session.scribbles.any()


def test_nothing_can_be_drawn_without_an_image(tmp_path):
    session = Session(journals=tmp_path / "journals")
    with pytest.raises(NoImageError, match="Open an image first"):
        session.put(np.ones((2, 2), bool), (0, 0), Drawing(2, "brush"))
    session.close(wait=True)
