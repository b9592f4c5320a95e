"""What other programs write is read: QuPath's shapes, ASAP's XML, packed or not."""

from __future__ import annotations

import gzip
import io
import json
import zipfile

import numpy as np
import pytest
from skimage.draw import ellipse

from napari_wsol.strokes.annotation_files import is_annotations
from napari_wsol.strokes.annotations import (
    AnnotationError,
    UnclearClassesError,
    areas_on,
    drawn_on,
    read_annotations,
)
from napari_wsol.strokes.canvas import Canvas

SHAPE = (40, 60)
RING = [[10, 5], [20, 5], [20, 8], [10, 8], [10, 5]]
HOLE = [[12, 6], [14, 6], [14, 7], [12, 7], [12, 6]]


def cells(annotation):
    part, (top, left) = drawn_on(annotation, Canvas.over(SHAPE))
    whole = np.zeros(SHAPE, bool)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole


def of_qupath(geometry, kind="annotation", name="Tumor", **more):
    """A feature with the entries that QuPath 0.5 and later write."""
    return {
        "type": "Feature",
        "id": "3f0c1f1e-7d1c-5b55-9c1c-0a8e5a0c6b11",
        "geometry": geometry,
        **{key: more[key] for key in more if key == "nucleusGeometry"},
        "properties": {
            "objectType": kind,
            "name": "Region 1",
            "color": [255, 0, 0],
            "classification": {"name": name, "color": [200, 0, 0]},
            "isLocked": True,
            "measurements": {"Area µm^2": "NaN"},
            "metadata": {"ANNOTATION_DESCRIPTION": "normal"},
            **{key: more[key] for key in more if key != "nucleusGeometry"},
        },
    }


POLYGON = {"type": "Polygon", "coordinates": [RING, HOLE], "plane": {"c": -1, "z": 0}}
SHAPES = {
    "Point": ([3.5, 2.5], 1),
    "MultiPoint": ([[3.5, 2.5], [9.2, 9.9]], 2),
    "LineString": ([[5.5, 3.5], [15.5, 3.5]], 11),
    "MultiLineString": ([[[5.5, 3.5], [15.5, 3.5]], [[5.5, 9.5], [6.5, 9.5]]], 13),
    "Polygon": ([RING, HOLE], 28),
    "MultiPolygon": ([[RING, HOLE], [[[40, 20], [50, 20], [50, 30], [40, 20]]]], 83),
}


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.geojson"):
        path = tmp_path / name
        if not isinstance(content, bytes):
            text = content if isinstance(content, str) else json.dumps(content)
            content = text.encode()
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("kind", SHAPES)
def test_every_shape_that_qupath_writes_is_read(write, kind):
    coordinates, count = SHAPES[kind]
    shape = {"type": kind, "coordinates": coordinates}
    every = {"type": "GeometryCollection", "geometries": [shape]}
    feature = of_qupath(shape)
    for content in (
        feature,
        [feature],
        {"type": "FeatureCollection", "features": [feature]},
        of_qupath(every),
        shape,
        every,
    ):
        (found,) = read_annotations(write(content))
        assert cells(found).sum() == count
        assert found.name == ("Tumor" if "properties" in str(content) else "")


def test_an_ellipse_is_round(write):
    box = [[10, 5], [40, 5], [40, 25], [10, 25], [10, 5]]
    shape = {"type": "Polygon", "coordinates": [box], "isEllipse": True}
    (found,) = read_annotations(write(of_qupath(shape)))
    wanted = np.zeros(SHAPE, bool)
    wanted[ellipse(14.5, 24.5, 10, 15, SHAPE)] = True
    assert (cells(found) != wanted).sum() <= 4


@pytest.mark.parametrize("kind", ["annotation", "detection", "tile", "cell"])
def test_objects_of_every_type_are_read(write, kind):
    nucleus = {"type": "Polygon", "coordinates": [HOLE]}
    whole = of_qupath(POLYGON, kind, nucleusGeometry=nucleus)
    (found,) = read_annotations(write([whole]))
    assert cells(found).sum() == 28


def test_children_are_read_and_what_only_holds_them_is_not(write):
    inside = of_qupath(POLYGON, name="Tumor: Negative")
    core = {"type": "Polygon", "coordinates": [[[0, 0], [60, 0], [60, 40], [0, 0]]]}
    holder = of_qupath(core, "tmaCore", isMissing=False, childObjects=[inside])
    (found,) = read_annotations(write([holder]))
    assert (found.name, cells(found).sum()) == ("Tumor: Negative", 28)


def zipped(*files, method=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return packed.getvalue()


SOUND = json.dumps([of_qupath(POLYGON)])


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(SOUND.encode()),
        zipped(("a.geojson", SOUND)),
        zipped(
            ("in/a.geojson", SOUND),
            ("notes.txt", "x"),
            ("__MACOSX/in/._a.geojson", b"\0"),
            method=zipfile.ZIP_STORED,
        ),
    ],
)
def test_packed_files_are_read_whatever_their_name(write, packed):
    for name in ("a.geojson.gz", "a.zip", "a.geojson"):
        (found,) = read_annotations(write(packed, name))
        assert cells(found).sum() == 28


@pytest.mark.parametrize(
    ("packed", "why"),
    [
        (gzip.compress(b" " * (65 << 20)), "larger than 64 MB"),
        (zipped(("a.geojson", b" " * (65 << 20))), "larger than 64 MB"),
        (zipped(("a.json", SOUND), ("b.json", SOUND)), "zip of 2 files"),
        (zipped(("a.geojson", SOUND), method=zipfile.ZIP_LZMA), "unpack it"),
        (zipped(), "no GeoJSON"),
        (gzip.compress(gzip.compress(SOUND.encode())), "no JSON"),
        (gzip.compress(SOUND.encode())[:60], "cut off or damaged"),
        (zipped(("a.geojson", SOUND))[:60], "cut off or damaged"),
        (zipped(*((f"{n}.json", b"") for n in range(10_001))), "too many files"),
    ],
)
def test_what_is_packed_is_unpacked_within_bounds(write, packed, why):
    with pytest.raises(AnnotationError, match=why):
        read_annotations(write(packed, "a.zip"))


def asap(*annotations):
    """XML as ASAP writes it."""
    items = ""
    for kind, group, points in annotations:
        places = "".join(
            f'<Coordinate Order="{n}" X="{x}" Y="{y}" />'
            for n, (x, y) in reversed(list(enumerate(points)))
        )
        items += (
            f'<Annotation Name="A" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
            f"<Coordinates>{places}</Coordinates></Annotation>"
        )
    return (
        f'<?xml version="1.0"?>\n<ASAP_Annotations><Annotations>{items}</Annotations>'
        "<AnnotationGroups></AnnotationGroups></ASAP_Annotations>"
    )


@pytest.mark.parametrize(
    ("kind", "points", "count"),
    [
        ("Polygon", RING[:-1], 30),
        ("Spline", RING[:-1], 30),
        ("Rectangle", RING[:-1], 30),
        ("Dot", [[3.5, 2.5]], 1),
        ("PointSet", [[3.5, 2.5], [9.2, 9.9]], 2),
    ],
)
def test_every_type_of_asap_is_read(write, kind, points, count):
    ruler = ("Measurement", "None", [[0, 0], [9, 9]])
    file = write(asap((kind, "Tumor", points), ruler), "a.xml")
    (found,) = read_annotations(file)
    assert (found.name, cells(found).sum()) == ("Tumor", count)
    (found,) = read_annotations(write(gzip.compress(file.read_bytes()), "b.xml.gz"))
    assert cells(found).sum() == count


def test_exclusions_of_camelyon_are_cut_out_of_tumours_whatever_their_size(write):
    def square(low, high):
        return [[low, low], [high, low], [high, high], [low, high]]

    file = write(
        asap(
            ("Polygon", "_2", square(4, 30)),
            ("Polygon", "_0", square(2, 34)),
            ("Polygon", "_1", square(10, 20)),  # an island in what is cut out
        ),
        "tumor_001.xml",
    )
    wanted = np.ones(SHAPE, np.uint8)
    wanted[2:34, 2:34] = 2
    wanted[4:30, 4:30] = 1
    assert np.array_equal(areas_on(file, SHAPE), wanted)


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>'
    "<ASAP_Annotations>&c;</ASAP_Annotations>"
)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (BOMB, "no XML that is read"),
        ("<ASAP_Annotations>", "no XML that is read"),
        ("<ASAP_Annotations/>", "There are no annotations"),
        ("<a/>", "outermost element is “a”"),
        (asap(("Polygon", "Tumor", RING[:2])), "whole shape"),
        (asap(("Dot", "Tumor", [["x", 1]])), "whole shape"),
        (asap(("Dot", "Tumor", [["nan", 1]])), "whole shape"),
        (asap(("Blob", "Tumor", RING)), "There are no annotations"),
    ],
)
def test_xml_that_is_none_is_told_in_words(write, content, why):
    with pytest.raises(AnnotationError, match=why):
        read_annotations(write(content, "a.xml"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.xml", '<Annotations MicronsPerPixel="0.25"/>'),
        ("a.ndpa", '<?xml version="1.0"?><annotations/>'),
        ("a.roi", b"Iout\0\xe3\7\0"),
        ("a.qpdata", b"\xac\xed\0\5sr"),
        ("a.json", {"images": [], "annotations": [], "categories": []}),
        ("a.json", [{"id": 1, "data": {}, "annotations": []}]),
        ("a.ndjson", '{"type": "Feature"}\n{"type": "Feature"}\n'),
    ],
)
def test_of_other_formats_is_told_the_way_through_qupath(write, name, content):
    path = write(content, name)
    assert is_annotations(path)
    with pytest.raises(AnnotationError, match=f"{name} is no .* QuPath is the way"):
        read_annotations(path)


def test_truth_is_what_areas_say(write):
    big = {"type": "Polygon", "coordinates": [[[0, 0], [60, 0], [60, 40], [0, 40]]]}
    part = {"type": "Polygon", "coordinates": [[[0, 0], [5, 0], [5, 5], [0, 5]]]}
    features = [
        of_qupath(POLYGON),
        of_qupath(big, name="Region*"),
        of_qupath(part, name="Ignore*"),
        of_qupath({"type": "Point", "coordinates": [30, 30]}),
    ]
    wanted = np.ones(SHAPE, np.uint8)
    wanted[5:8, 10:20] = 2
    wanted[6, 12:14] = 1
    wanted[:5, :5] = 0
    assert np.array_equal(areas_on(write(features), SHAPE), wanted)
    features[2] = of_qupath(part, name="Gland")
    with pytest.raises(UnclearClassesError, match=r"Gland \(1\)"):
        areas_on(write(features), SHAPE)
    wanted[:5, :5] = 2
    assert np.array_equal(areas_on(write(features), SHAPE, {"Gland": 2}), wanted)
    features[2] = of_qupath({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]})
    with pytest.raises(AnnotationError, match=r"1 objects .* damaged"):
        areas_on(write(features), SHAPE)
    with pytest.raises(AnnotationError, match=r"No annotation .* lies on this image"):
        areas_on(write([of_qupath(POLYGON)]), (4, 4))
