"""Files of annotations: GeoJSON as QuPath writes it, and ASAP's XML as CAMELYON has it.

Positions in such files are (x, y) in level-0 pixels measured from the image's upper
left corner: pixel (0, 0) covers 0 to 1 both ways. Ours are pixel centres, half a pixel
less. The content tells what a file is, not its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import shapely
from shapely.affinity import scale
from shapely.geometry import MultiPoint, Point, Polygon, shape

from napari_wsol.errors import MalformedError, told_as
from napari_wsol.files.parsing import parse_json, parse_xml, read_unpacked, typed
from napari_wsol.strokes.classes import AnnotationError, label_of
from napari_wsol.strokes.stroke import BACKGROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from xml.etree.ElementTree import Element

    import numpy.typing as npt
    from shapely.geometry.base import BaseGeometry

Line = tuple[tuple[float, float], ...]
"""Points (y, x) in level-0 pixels, integers are pixel centres."""

ENDINGS = (".geojson", ".json", ".xml", ".zip")
"""Of the files that are read; ".gz" may follow."""

FOREIGN = (".annotations", ".ndjson", ".ndpa", ".qpdata", ".roi")
"""Endings of other programs' annotations, of which is said how they can be brought."""

FARTHEST = 1e9
"""Of a position from the corner, in level-0 pixels."""

MOST_WIDTH = 1e6
"""Of a line, in level-0 pixels: more than any image has."""

NOT_READ = (
    "{name} is no GeoJSON with annotations, and no XML of ASAP ({why}). QuPath is the "
    "way for other formats: open the image there, bring the file in (drop it on the "
    "image, or run a script for its format), then File, Export objects as GeoJSON."
)

_no_shape = partial(
    told_as, lambda error: MalformedError(f"it is no shape ({str(error)[:80]})")
)


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
        return sum(Polygon(part.exterior).area for part in self.areas)


def line_of(part: BaseGeometry) -> npt.NDArray[np.float64]:
    """The points of a line: (x, y) from the corner → (y, x) from pixel centres."""
    return shapely.get_coordinates(part)[:, ::-1] - 0.5


def is_annotations(path: Path) -> bool:
    """Whether a file's name is that of annotations; it is not opened."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith((*ENDINGS, *FOREIGN)) and not name.endswith(".zarr.zip")


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
        found, damaged = _parsed(read_unpacked(path, ENDINGS))
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise AnnotationError(f"{path} cannot be read: {why}.") from error
    except MalformedError as error:
        raise AnnotationError(NOT_READ.format(name=path.name, why=error)) from error
    if not found:
        raise AnnotationError(f"There are no annotations in {path.name}.")
    found.sort(key=lambda item: (not item.areas, item.cuts, -item.size))
    return tuple(found), damaged


def _parsed(data: bytes) -> tuple[list[Annotation], int]:
    is_xml = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    found: list[Annotation] = []
    reasons: list[MalformedError] = []
    for read in _asap(parse_xml(data)) if is_xml else _geojson(parse_json(data)):
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


def _geojson(content: object) -> Iterator[Callable[[], Annotation]]:
    """Each object as a feature, wherever it is nested, in the order of the file."""
    waiting = [content]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(cast("list[object]", item)))
            continue
        table = _table(item)
        if table.get("type") == "FeatureCollection":
            waiting.append(typed(table.get("features"), list[object]))
        elif table.get("type") == "Feature":
            properties = _table(table.get("properties"))
            waiting.append(properties.get("childObjects") or [])
            # QuPath's objects that only hold others.
            if properties.get("objectType") not in ("tmaCore", "root"):
                yield partial(_of_qupath, _table(table.get("geometry")), properties)
        elif "coordinates" in table or "geometries" in table:
            yield partial(_of_qupath, table, {})
        else:
            raise MalformedError("it holds no objects")


def _of_qupath(
    geometry: dict[str, object], properties: dict[str, object]
) -> Annotation:
    width = properties.get("width")
    if not isinstance(width, int | float) or not 0 <= width <= MOST_WIDTH:
        width = 0
    with _no_shape():
        found = shape(geometry) if geometry else Point()
    if geometry.get("isEllipse") is True and not found.is_empty:
        # The ellipse in the box around it, which is how QuPath reads one.
        x0, y0, x1, y1 = found.bounds
        circle = Point((x0 + x1) / 2, (y0 + y1) / 2).buffer(0.5, quad_segs=90)
        found = scale(circle, x1 - x0, y1 - y0)
    name = _class_name(properties.get("classification"))
    return Annotation(parts=_parts(found), name=name, width=float(width))


def _table(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _class_name(classification: object) -> str:
    """QuPath writes {"name": …}, newer releases also {"names": […]}."""
    if isinstance(classification, str):
        return classification
    found = _table(classification)
    names = found.get("names")
    if isinstance(names, list):
        return ": ".join(map(str, cast("list[object]", names)))
    return str(found.get("name") or "")


def _parts(found: BaseGeometry) -> tuple[BaseGeometry, ...]:
    """What a shape is made of."""
    if not (np.abs(shapely.get_coordinates(found)) <= FARTHEST).all():
        raise MalformedError("a position is no number, or far from any image")
    parts = [found]
    while any(hasattr(part, "geoms") for part in parts):
        parts = shapely.get_parts(parts).tolist()
    return tuple(part for part in parts if not part.is_empty)


_ASAP: Mapping[str | None, Callable[[npt.NDArray[np.float64]], BaseGeometry]] = {
    "Polygon": Polygon,
    "Spline": Polygon,
    "Rectangle": Polygon,
    "Dot": MultiPoint,
    "PointSet": MultiPoint,
}
"""Its types; there are measurements, too. A spline is the area of its corners, as in
ASAP's own masks."""


def _asap(root: Element) -> Iterator[Callable[[], Annotation]]:
    """Each annotation, in the order of the file."""
    if root.tag != "ASAP_Annotations":
        raise MalformedError(f"its outermost element is “{root.tag[:40]}”")
    for item in root.iterfind("Annotations/Annotation"):
        if item.get("Type") in _ASAP:
            yield partial(_of_asap, item)


def _of_asap(item: Element) -> Annotation:
    corners = item.findall("Coordinates/Coordinate")
    with _no_shape():
        corners.sort(key=lambda corner: int(corner.get("Order", "0")))
        points = np.array([[c.attrib["X"], c.attrib["Y"]] for c in corners], float)
        found = _ASAP[item.get("Type")](points)
    group = item.get("PartOfGroup", "None")
    return Annotation(
        parts=_parts(found),
        name="" if group == "None" else group,
        cuts=label_of(group) == BACKGROUND,
    )
