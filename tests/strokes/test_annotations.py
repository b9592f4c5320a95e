"""Annotations of other programs become strokes at the right place."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_wsol.errors import ConfigError, UnknownNameError
from napari_wsol.strokes.annotations import (
    AnnotationError,
    Imported,
    UnclearClassesError,
    counted,
    draw_annotations,
    drawn_on,
    label_of,
    labels_for,
    read_annotations,
)
from napari_wsol.strokes.canvas import Canvas

CANVAS = Canvas.over((40, 60))
COARSE = Canvas((10, 15), (4, 4), (1.5, 1.5))


def square(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def feature(geometry, name=None, **properties):
    if name is not None:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    return {
        "type": "Feature",
        "geometry": geometry,
        "properties": {"objectType": "annotation", **properties},
    }


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


@pytest.fixture
def read(tmp_path):
    """Reads what would stand in a file."""

    def read(content):
        path = tmp_path / "some.geojson"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, "utf-8")
        return read_annotations(path)

    return read


def cells(annotation, canvas=CANVAS):
    part, (top, left) = drawn_on(annotation, canvas)
    whole = np.zeros(canvas.shape, bool)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole


def test_a_polygon_is_measured_from_the_corner_of_the_image(read):
    (found,) = read(feature(polygon(square(10, 5, 20, 8)), "Tumor"))
    wanted = np.zeros(CANVAS.shape, bool)
    wanted[5:8, 10:20] = True  # pixels 10 to 19, not 20
    assert np.array_equal(cells(found), wanted)
    assert found.name == "Tumor"
    assert found.size == 30


def test_holes_stay_empty_also_of_many_polygons(read):
    shape = {
        "type": "MultiPolygon",
        "coordinates": [
            [square(2, 2, 12, 12), square(4, 4, 8, 9), square(10, 10, 30, 11)],
            [square(40, 20, 50, 30)],
        ],
    }
    (found,) = read([feature(shape)])
    wanted = np.zeros(CANVAS.shape, bool)
    wanted[2:12, 2:12] = True
    wanted[4:9, 4:8] = False
    wanted[10, 10:12] = False
    wanted[20:30, 40:50] = True
    assert np.array_equal(cells(found), wanted)


def test_lines_and_points_mark_the_cells_they_lie_in(read):
    line = {"type": "LineString", "coordinates": [[5.5, 3.5], [15.5, 3.5]]}
    points = {"type": "MultiPoint", "coordinates": [[0.1, 0.1], [59.9, 39.9]]}
    features = [feature(line), feature(points)]
    found = read({"type": "FeatureCollection", "features": features})
    assert cells(found[0])[3, 5:16].all()
    assert cells(found[0]).sum() == 11
    assert np.argwhere(cells(found[1])).tolist() == [[0, 0], [39, 59]]


def test_what_is_smaller_than_a_cell_of_the_canvas_is_not_lost(read):
    (found,) = read(polygon(square(21, 13, 22, 14)))
    assert np.argwhere(cells(found, COARSE)).tolist() == [[3, 5]]


@pytest.mark.parametrize("seed", range(20))
def test_a_thin_dot_marks_its_cell(read, seed):
    x, y = np.random.default_rng(seed).uniform((0, 0), (60, 40))
    (found,) = read({"type": "Point", "coordinates": [x, y]})
    assert cells(found)[int(y), int(x)]
    assert cells(found, COARSE)[int(y) // 4, int(x) // 4]


def test_the_outline_of_a_region_comes_back_as_its_cells(read):
    from shapely.geometry import mapping

    from napari_wsol.export.outlines import outline

    rng = np.random.default_rng(0)
    inside = np.zeros(COARSE.shape, bool)
    inside[2:8, 3:12] = True
    inside[3:7, 4:11] = rng.random((4, 7)) > 0.4
    edges = [np.arange(size + 1) * 4.0 for size in COARSE.shape]
    (found,) = read(feature(mapping(outline(inside, *edges)), "Foreground"))
    assert np.array_equal(cells(found, COARSE), inside)


def test_small_areas_come_after_large_ones_and_lines_last(read):
    found = read(
        [
            feature({"type": "Point", "coordinates": [1, 1]}, "c"),
            feature(polygon(square(0, 0, 2, 2)), "b"),
            feature(polygon(square(0, 0, 9, 9)), "a"),
        ]
    )
    assert [item.name for item in found] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Tumor", 2),
        ("Positive", 2),
        ("Foreground", 2),
        ("Abnormal", 2),
        ("_0", 2),
        ("Background", 1),
        (" normal ", 1),
        ("Negative", 1),
        ("Other", 1),
        ("Non-tumor", 1),
        ("_2", 1),
        ("Ignore", 0),
        ("Ignore*", 0),
        ("Region*", 0),
        ("Tumor: Negative", 2),
        ("Other: Positive: CD3", 1),
        ("Ignore*: Tumor", 0),
        ("normal mucosa", None),
        ("No stain", None),
        ("CD8: Negative", None),
        ("Stroma", None),
        ("", None),
    ],
)
def test_whole_names_of_base_classes_say_what_a_class_means(name, label):
    assert label_of(name) == label


def test_what_names_do_not_tell_a_person_must(read):
    found = read(
        [
            feature(polygon(square(0, 0, 9, 9)), "Stroma"),
            feature(polygon(square(0, 0, 8, 8)), "Stroma: Negative"),
            feature(polygon(square(0, 0, 7, 7)), "Tumor"),
            feature(polygon(square(0, 0, 6, 6))),
        ]
    )
    with pytest.raises(UnclearClassesError, match=r"Stroma \(2\), without") as error:
        labels_for(found)
    questions = error.value.questions
    assert [(item.key, item.text, item.proposed) for item in questions] == [
        ("Stroma", "Stroma (2)", "left out"),
        ("Tumor", "Tumor (1)", "foreground"),
        ("", "without a class (1)", "left out"),
    ]
    chosen = {"Stroma": 1}
    assert labels_for(found, chosen) == {
        "Stroma": 1, "Stroma: Negative": 1, "Tumor": 2, "": 0,
    }  # fmt: skip
    chosen["Stroma: Negative"] = 2
    assert labels_for(found, chosen)["Stroma: Negative"] == 2
    assert labels_for(found[-1:]) == {"": 2}


def test_what_is_chosen_must_occur_where_it_is_drawn(tmp_path):
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([feature(polygon(square(0, 0, 9, 9)), "Stroma")]))

    def draw(chosen):
        return draw_annotations(
            path, CANVAS, CANVAS.shape, chosen=chosen, progress=lambda *_: None
        )

    assert draw({"Stroma": 1}).labels == {"Stroma": 1}
    with pytest.raises(ConfigError, match=r"2 .foreground., not 3"):
        draw({"Stroma": 3})
    with pytest.raises(UnknownNameError, match="Stroma"):
        draw({"Gland": 1})


def test_newer_qupath_names_are_lists(read):
    (found,) = read(
        feature(
            polygon(square(0, 0, 9, 9)), classification={"names": ["Tumor", "Negative"]}
        )
    )
    assert found.name == "Tumor: Negative"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("not json", "no JSON"),
        ("{}", "no objects"),
        ("[]", "no annotations"),
        ("[1]", "no objects"),
        ("[" * 100_000, "no JSON"),
        ({"type": "FeatureCollection"}, "Expected `array`"),
        (feature(None), "no annotations"),
        (polygon([[0, 0], [1, 1]]), "whole shape"),
        (polygon([[0, 0], [1, 1], [2, "x"]]), "whole shape"),
        ('{"type": "Point", "coordinates": [NaN, 1]}', "whole shape"),
        ({"type": "Circle", "coordinates": [1, 1]}, "circle"),
    ],
)
def test_a_bad_file_is_told_in_words(read, content, why):
    with pytest.raises(AnnotationError, match=why):
        read(content)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"gone.geojson cannot be read"):
        read_annotations(tmp_path / "gone.geojson")


def test_the_report_says_what_became_what(read):
    found = read(
        [
            feature(polygon(square(0, 0, 9, 9)), "Normal"),
            feature(polygon(square(0, 0, 8, 8)), "Tumor"),
            feature(polygon(square(0, 0, 7, 7)), "Tumor"),
            feature(polygon(square(0, 0, 6, 6)), "Ignore*"),
        ]
    )
    done = Imported(
        numbers=(1, 2), labels=labels_for(found), counts=counted(found), covered=1
    )
    assert done.words == (
        "Imported 2 annotations. Tumor (2) became foreground. Normal (1) became "
        "background. Ignore* (1) left out. 1 wholly under strokes that were there "
        "before."
    )


def test_the_journal_s_own_annotations_come_back_cell_by_cell(tmp_path):
    from napari_wsol.journal.geojson import write_strokes
    from napari_wsol.session.session import Session

    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3)).astype(np.uint8)
    session = Session(journals=tmp_path / "journals")
    session.open(image).result(60)
    session.brush([(20, 20), (40, 70)], 2, 9)
    session.fill([(5, 5), (60, 10), (30, 60)], 1)
    session.brush([(20, 30), (40, 30)], 0, 4)
    canvas = session.scribbles.copy()
    path = tmp_path / "strokes.geojson"
    write_strokes(path, session._parts.state.document.strokes, session.journal.image)
    session.clear()
    done = session.import_annotations(path).result(60)
    assert np.array_equal(session.scribbles, canvas)
    assert done.labels == {"Foreground": 2, "Background": 1}
    session.close(wait=True)


def test_an_object_that_is_no_shape_is_left_out_and_counted(tmp_path):
    path = tmp_path / "some.geojson"
    tangle = np.tile([[0.0, 0.0], [1.0, 1e9]], (1200, 1)).tolist()
    content = [
        feature(polygon(square(0, 0, 9, 9)), "Tumor"),
        feature(polygon([[0, 0], [1, 1]]), "two corners"),
        feature({"type": "Point", "coordinates": [1e300, 0]}, "nowhere"),
        feature({"type": "LineString", "coordinates": [5, "x"]}, "a word"),
        feature(polygon(tangle), "Tumor"),
    ]
    path.write_text(json.dumps(content))
    tall = Canvas.over((8000, 60))
    drawn = draw_annotations(path, tall, tall.shape, progress=lambda *_: None)
    assert [item.name for item, _ in drawn.inside] == ["Tumor"]
    assert drawn.damaged == 4
    assert "4 left out" in drawn.imported([]).words


def test_many_holes_cost_what_they_cover(read):
    side = 3000
    canvas = Canvas.over((side, side))
    places = range(5, 300, 9)
    holes = [square(x, y, x + 2, y + 2) for x in places for y in places]
    (found,) = read(feature(polygon(square(0, 0, side, side), *holes)))
    assert cells(found, canvas).sum() == side * side - 4 * len(holes)
