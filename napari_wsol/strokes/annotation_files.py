"""Files of annotations: GeoJSON as QuPath writes it, and ASAP's XML as CAMELYON has it.

Positions in such files are (x, y) in level-0 pixels measured from the image's upper
left corner: pixel (0, 0) covers 0 to 1 both ways. Ours are pixel centres, half a pixel
less. The content tells what a file is, not its name.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import shapely
from shapely.affinity import affine_transform
from shapely.geometry import MultiPoint, Point, Polygon, box, shape

from napari_wsol.errors import MalformedError, told_as
from napari_wsol.files.archives import GZIP, ZIP, read_unpacked
from napari_wsol.files.parsing import (
    TEXT_BYTES,
    parse_json,
    parse_xml,
    text_of,
    typed,
)
from napari_wsol.strokes.classes import AnnotationError, label_of
from napari_wsol.strokes.stroke import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping
    from pathlib import Path
    from xml.etree.ElementTree import Element

    import numpy.typing as npt
    from shapely.geometry import GeometryCollection
    from shapely.geometry.base import BaseGeometry

Line = tuple[tuple[float, float], ...]
"""Points (y, x) in level-0 pixels, integers are pixel centres."""

ENDINGS = (".geojson", ".json", ".xml")
"""Of the files that are read, which may be packed, too."""

PACKED = (".gz", ".zip")

FOREIGN = (".annotations", ".ndjson", ".ndpa", ".qpdata", ".roi")
"""Endings of other programs' annotations, of which is said how they can be brought."""

FARTHEST = 1e9
"""Of a position from the corner, in level-0 pixels."""

MOST_WIDTH = 1e6
"""Of a line, in level-0 pixels: more than any image has."""

NOT_READ = (
    "{name} is no GeoJSON with annotations, and no XML of ASAP ({why}). In QuPath: "
    "File, Export objects as GeoJSON."
)
BY_QUPATH = (
    "{name} is {what}, which is not read here. QuPath is the way: open the image "
    "there, bring the file in (drop it on the image, or run a script for its format), "
    "then File, Export objects as GeoJSON."
)

_BYTES_OF = {
    b"Iout": "a region of ImageJ",
    b"\xac\xed\x00\x05": "QuPath's own data file",
}
_XML_OF = {
    "Annotations": "a file of Aperio ImageScope or HALO",
    "annotations": "a file of Hamamatsu NDP.view or CVAT",
    "OME": "an OME-XML file",
}
_JSON_OF = {
    "categories": "a COCO file",
    "shapes": "a file of LabelMe",
    "elements": "a file of HistomicsUI",
    "annotations": "a file of another program (Label Studio, CVAT, Darwin)",
}
_NO_ANNOTATIONS = ("tmaCore", "root")
"""QuPath's objects that only hold others."""
_NO_AREAS = frozenset({"Measurement", "None"})
_NESTED = 8
"""Groups in groups."""
_BEFORE_TEXT = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"


class _ForeignError(MalformedError):
    """The file is of a format that is known, and not read; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One object of the file.

    Attributes:
        parts: polygons, lines and points, as in the file: (x, y) measured from the
            corner of the image.
        name: of its class; empty where it has none.
        width: of its lines in level-0 pixels; 0 is as thin as the canvas allows.
        cuts: whether it is cut out of areas that are no background, whatever its size.
    """

    parts: tuple[BaseGeometry, ...]
    name: str = ""
    width: float = 0.0
    cuts: bool = False

    @property
    def areas(self) -> tuple[Polygon, ...]:
        """Its polygons."""
        return tuple(part for part in self.parts if isinstance(part, Polygon))

    @property
    def path(self) -> Line:
        """Its longest outer ring, or its longest line."""
        lines = [part.exterior for part in self.areas] or self.parts
        points = max(map(line_of, lines), key=len, default=np.zeros((0, 2)))
        return tuple((y, x) for y, x in points.tolist())

    @property
    def size(self) -> float:
        """Area of the polygons, level-0 pixels; holes do not count."""
        return sum(
            Polygon(part.exterior).area if len(part.interiors) else part.area
            for part in self.areas
        )


def line_of(part: BaseGeometry) -> npt.NDArray[np.float64]:
    """The points of a line: (x, y) from the corner → (y, x) from pixel centres."""
    return shapely.get_coordinates(part)[:, ::-1] - 0.5


def is_annotations(path: Path) -> bool:
    """Whether a file's name is that of annotations; it is not opened."""
    name = path.name.lower()
    packed = tuple(f"{ending}.gz" for ending in ENDINGS)
    is_zip = name.endswith(".zip") and not name.endswith(".zarr.zip")
    return is_zip or name.endswith((*ENDINGS, *packed, *FOREIGN))


def read_all(path: Path) -> tuple[tuple[Annotation, ...], int]:
    """The annotations of a file, and how many objects are too damaged to be one.

    GeoJSON is a FeatureCollection, a list of features, one feature or one geometry;
    XML is ASAP's. Either may be packed by gzip or zip. Small areas come after large
    ones, and lines and points last, so that what lies on top of something is drawn on
    top of it.

    Raises:
        AnnotationError: it cannot be read, or holds none.
    """
    try:
        data = read_unpacked(path, TEXT_BYTES, ENDINGS)
        found, damaged = _parsed(data)
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise AnnotationError(f"{path} cannot be read: {why}.") from error
    except _ForeignError as error:
        raise AnnotationError(BY_QUPATH.format(name=path.name, what=error)) from error
    except MalformedError as error:
        raise AnnotationError(NOT_READ.format(name=path.name, why=error)) from error
    if not found:
        raise AnnotationError(f"There are no annotations in {path.name}.")

    def place(item: Annotation) -> tuple[bool, bool, float]:
        return not item.areas, item.cuts, -item.size

    return tuple(sorted(found, key=place)), damaged


def _parsed(data: bytes) -> tuple[list[Annotation], int]:
    for start, what in _BYTES_OF.items():
        if data.startswith(start):
            raise _ForeignError(what)
    if data.startswith((GZIP, ZIP)):
        raise MalformedError("it is packed twice")
    is_xml = data[:64].lstrip(_BEFORE_TEXT).startswith(b"<")
    reads = _asap(parse_xml(data)) if is_xml else _geojson(text_of(data))
    found: list[Annotation] = []
    reasons: list[MalformedError] = []
    for read in reads:
        try:
            annotation = read()
        except MalformedError as error:
            reasons.append(error)
            continue
        if annotation.parts:
            found.append(annotation)
    if reasons and not found:
        raise MalformedError(f"no object in it is a whole shape; {reasons[0]}")
    return found, len(reasons)


# -------------------------------------------------------------------------- GeoJSON


def _geojson(text: str) -> Iterator[Callable[[], Annotation]]:
    """Each object as a feature, wherever it is nested, in the order of the file."""
    try:
        waiting = [parse_json(text)]
    except MalformedError:
        if _is_json(text.lstrip().partition("\n")[0]):
            raise _ForeignError("a file of one JSON object a line") from None
        raise
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(cast("list[object]", item)))
            continue
        if not isinstance(item, dict):
            raise MalformedError("it holds no objects")
        table = cast("dict[str, object]", item)
        if table.get("type") == "FeatureCollection":
            waiting.append(typed(table.get("features"), list[object]))
        elif table.get("type") == "Feature":
            properties = _table(table.get("properties"))
            waiting.append(properties.get("childObjects") or [])
            if properties.get("objectType") not in _NO_ANNOTATIONS:
                yield partial(_annotation, table)
        elif "coordinates" in table or "geometries" in table:
            yield partial(_annotation, {"geometry": table})
        else:
            _check_foreign(table, _JSON_OF)
            raise MalformedError("it holds no objects")


def _is_json(text: str) -> bool:
    with contextlib.suppress(MalformedError):
        return bool(parse_json(text))
    return False


def _check_foreign(found: Container[str], known: Mapping[str, str]) -> None:
    for key, what in known.items():
        if key in found:
            raise _ForeignError(what)


def _annotation(table: dict[str, object]) -> Annotation:
    properties = _table(table.get("properties"))
    # A cell has a nucleus, too, and may have nothing else.
    geometry = _table(table.get("geometry") or table.get("nucleusGeometry"))
    width = properties.get("width")
    if not isinstance(width, int | float) or not 0 <= width <= MOST_WIDTH:
        width = 0
    return Annotation(
        parts=_parts(geometry) if geometry else (),
        name=_class_name(properties.get("classification")),
        width=float(width),
    )


def _table(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _class_name(classification: object) -> str:
    """QuPath writes {"name": …}, newer releases also {"names": […]}."""
    if isinstance(classification, str):
        return classification
    if not isinstance(classification, dict):
        return ""
    found = cast("Mapping[str, object]", classification)
    names = found.get("names")
    if isinstance(names, list):
        return ": ".join(map(str, cast("list[object]", names)))
    return str(found.get("name") or "")


def _parts(geometry: dict[str, object]) -> tuple[BaseGeometry, ...]:
    kind = str(geometry.get("type"))[:40]
    with told_as(lambda error: MalformedError(f"a “{kind}” is no shape ({error})")):
        found = shape(geometry)
    if geometry.get("isEllipse") is True and not found.is_empty:
        # The ellipse in the box around it, which is how QuPath reads one.
        left, top, right, bottom = found.bounds
        circle = Point(0.5, 0.5).buffer(0.5, quad_segs=90)
        by = [right - left, 0, 0, bottom - top, left, top]
        found = affine_transform(circle, by)
    return _checked(found)


def _checked(found: BaseGeometry) -> tuple[BaseGeometry, ...]:
    """What a shape is made of."""
    if not (np.abs(shapely.get_coordinates(found)) <= FARTHEST).all():
        raise MalformedError("a position is no number, or far from any image")
    if not hasattr(found, "geoms"):
        return () if found.is_empty else (found,)
    parts = cast("GeometryCollection", found).geoms
    return tuple(part for item in parts for part in _checked(item))


# ---------------------------------------------------------------------- XML of ASAP


def _asap(root: Element) -> Iterator[Callable[[], Annotation]]:
    """Each annotation, in the order of the file."""
    if root.tag != "ASAP_Annotations":
        _check_foreign([root.tag], _XML_OF)
        raise MalformedError(f"its outermost element is “{root.tag[:40]}”")
    parents = {
        group.get("Name", ""): group.get("PartOfGroup", "")
        for group in root.iterfind("AnnotationGroups/Group")
    }
    for item in root.iterfind("Annotations/Annotation"):
        if item.get("Type") not in _NO_AREAS:
            yield partial(_asap_annotation, item, parents)


def _asap_annotation(item: Element, parents: Mapping[str, str]) -> Annotation:
    """An area is that of its corners, also of a spline, as in ASAP's own masks."""
    make, name = _MAKE.get(item.get("Type", "")), _group(item, parents)
    if make is None:
        raise MalformedError("it is of a type that ASAP does not have")
    corners = sorted(item.iterfind("Coordinates/Coordinate"), key=_order)
    with told_as(lambda error: MalformedError(f"it is no shape ({error})")):
        points = np.array([[c.attrib["X"], c.attrib["Y"]] for c in corners], float)
        found = make(points)
    return Annotation(
        parts=_checked(found), name=name, cuts=label_of(name) == BACKGROUND
    )


def _rectangle(points: npt.NDArray[np.float64]) -> Polygon:
    """Of two opposite corners, or all four."""
    return box(*points.min(0), *points.max(0)) if len(points) == 2 else Polygon(points)


def _order(corner: Element) -> int:
    told = corner.get("Order", "")
    return int(told) if told.isdecimal() and len(told) < 10 else 0


_MAKE: Mapping[str, Callable[[npt.NDArray[np.float64]], BaseGeometry]] = {
    "Polygon": Polygon,
    "Spline": Polygon,
    "Rectangle": _rectangle,
    "Dot": MultiPoint,
    "PointSet": MultiPoint,
}


def _group(item: Element, parents: Mapping[str, str]) -> str:
    """The group of an annotation; that around it, where only its name tells."""
    own = found = item.get("PartOfGroup", "")
    for _ in range(_NESTED):
        if label_of(found) is None:
            found = parents.get(found, found)
    found = own if label_of(found) is None else found
    return "" if found == "None" else found
