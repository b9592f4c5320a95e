"""Annotations of other programs, as strokes: GeoJSON as QuPath writes it.

Positions in such files are (x, y) in level-0 pixels measured from the image's upper
left corner: pixel (0, 0) covers 0 to 1 both ways. Ours are pixel centres, half a pixel
less.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import numpy as np
from msgspec import Meta, Struct

from napari_wsol.errors import ConfigError, ImageError, MalformedError, choices
from napari_wsol.files.parsing import parse_json, read_text, typed
from napari_wsol.strokes.raster import brushed, filled
from napari_wsol.strokes.stroke import (
    BACKGROUND,
    FOREGROUND,
    UNLABELLED,
    Stroke,
    changed_runs,
    now,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsol.strokes.canvas import Canvas
    from napari_wsol.strokes.stroke import StrokeList

Line = tuple[tuple[float, float], ...]
"""Points (y, x) in level-0 pixels, integers are pixel centres."""

Part = tuple["npt.NDArray[np.bool_]", tuple[int, int]]
"""(h, w) bool, and the canvas row and column of its first cell."""

BACKGROUND_NAMES = re.compile(
    r"\b(background|ignored?|negatives?|normal|others?|no|not|non)\b"
)
"""As whole words only: what is abnormal is not normal."""

SKIPPED_ENDING = "*"
"""QuPath's mark for classes that are not meant as one, “Ignore*” and “Region*”."""

MOST_WIDTH = 1e6
"""Of a line, in level-0 pixels: more than any image has."""

_KINDS = frozenset({
    "Polygon", "MultiPolygon", "LineString", "MultiLineString", "Point", "MultiPoint",
})  # fmt: skip

NOT_GEOJSON = (
    "{name} is no GeoJSON with annotations ({why}). In QuPath: File, Export objects as "
    "GeoJSON."
)


class AnnotationError(ImageError):
    """A file of annotations cannot be read, or none of them lies on the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One object of the file.

    Attributes:
        name: of its class; empty where it has none.
        polygons: each the outer ring first, then its holes.
        lines: open lines; a point is a line of one point.
        width: of the lines in level-0 pixels; 0 is as thin as the canvas allows.
    """

    name: str = ""
    polygons: tuple[tuple[Line, ...], ...] = ()
    lines: tuple[Line, ...] = ()
    width: float = 0.0

    @property
    def path(self) -> Line:
        """Its longest outer ring, or its longest line."""
        rings = [polygon[0] for polygon in self.polygons]
        return max(rings or self.lines, key=len, default=())

    @property
    def size(self) -> float:
        """Area of the polygons, level-0 pixels; holes do not count."""
        return sum(abs(_area(polygon[0])) for polygon in self.polygons)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a file of annotations.

    Attributes:
        numbers: of the strokes that they became.
        labels: class → 0 skipped, 1 background, 2 foreground.
        counts: class → annotations.
        outside: annotations that do not touch the image.
        covered: annotations of which nothing was left beside strokes that were there.
        damaged: objects that are no shapes, such as a polygon of two corners.
    """

    numbers: tuple[int, ...]
    labels: Mapping[str, int]
    counts: Mapping[str, int]
    outside: int = 0
    covered: int = 0
    damaged: int = 0

    @property
    def words(self) -> str:
        """What became what, for a person."""
        made = len(self.numbers)
        said = [f"Imported {made} annotation{'' if made == 1 else 's'}."]
        for label, words in (
            (FOREGROUND, "became foreground"),
            (BACKGROUND, "became background"),
            (UNLABELLED, "left out"),
        ):
            names = [name for name, chosen in self.labels.items() if chosen == label]
            if names:
                listed = ", ".join(
                    f"{name or 'without a class'} ({self.counts[name]})"
                    for name in names
                )
                said.append(f"{listed} {words}.")
        if self.outside:
            said.append(f"{self.outside} outside the image.")
        if self.covered:
            said.append(f"{self.covered} wholly under strokes that were there before.")
        if self.damaged:
            said.append(f"{self.damaged} left out: damaged, or no shape at all.")
        return " ".join(said)


def label_of(name: str) -> int:
    """What a class means here: 0 left out, 1 background, 2 foreground.

    Names that speak of background, normal, negative, ignored or other tissue are
    background, also “non-…” and “no …”; a star at the end (QuPath's “Ignore*”) leaves
    it out; everything else, and objects without a class, are foreground.
    """
    plain = name.strip().casefold()
    if plain.endswith(SKIPPED_ENDING):
        return UNLABELLED
    return BACKGROUND if BACKGROUND_NAMES.search(plain) else FOREGROUND


def labels_for(
    annotations: Iterable[Annotation], chosen: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Class → label, for the classes that occur.

    Args:
        annotations: of a file.
        chosen: class → 0 left out, 1 background, 2 foreground; goes before the rule.

    Raises:
        UnknownNameError: a chosen class does not occur.
        ConfigError: a label is none.
    """
    names = list(dict.fromkeys(item.name for item in annotations))
    found = {name: label_of(name) for name in names}
    for name, label in (chosen or {}).items():
        if label not in (UNLABELLED, BACKGROUND, FOREGROUND):
            raise ConfigError(
                f"“{name}” can be 0 (left out), 1 (background) or 2 (foreground), not "
                f"{label}."
            )
        if name not in found:
            raise choices("class", name, names)
        found[name] = label
    return found


def read_annotations(path: Path) -> tuple[Annotation, ...]:
    """The annotations of a GeoJSON file, large areas first.

    A FeatureCollection, a list of features, one feature or one geometry. Small areas
    come after large ones, and lines and points last, so that what lies on top of
    something is drawn on top of it. An object that is none is left out.

    Raises:
        AnnotationError: it cannot be read, or holds none.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[tuple[Annotation, ...], int]:
    """The annotations, and how many objects were too damaged to be one."""
    try:
        content = parse_json(read_text(path))
        found, damaged = _annotations(content)
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise AnnotationError(f"{path} cannot be read: {why}.") from error
    except MalformedError as error:
        raise AnnotationError(NOT_GEOJSON.format(name=path.name, why=error)) from error
    if not found:
        raise AnnotationError(f"There are no annotations in {path.name}.")
    return tuple(sorted(found, key=lambda item: -item.size)), damaged


def drawn_on(annotation: Annotation, canvas: Canvas) -> Part:
    """The cells of an annotation: areas without their holes, lines, points.

    What is smaller than a cell still marks the cell that it lies in.

    Returns:
        (h, w) bool and its place; of no cells where it does not touch the canvas.
    """
    parts = [_polygon(rings, canvas) for rings in annotation.polygons]
    parts += [brushed(line, annotation.width, canvas) for line in annotation.lines]
    parts = [part for part in parts if part[0].any()]
    if not parts:
        return np.zeros((0, 0), bool), (0, 0)
    top = min(origin[0] for _, origin in parts)
    left = min(origin[1] for _, origin in parts)
    bottom = max(origin[0] + part.shape[0] for part, origin in parts)
    right = max(origin[1] + part.shape[1] for part, origin in parts)
    whole = np.zeros((bottom - top, right - left), bool)
    for part, (row, column) in parts:
        rows, columns = part.shape
        at = (slice(row - top, row - top + rows), slice(column - left, None))
        whole[at][:, :columns] |= part
    return whole, (top, left)


def _polygon(rings: Sequence[Line], canvas: Canvas) -> Part:
    """An outer ring without its holes."""
    inside, (top, left) = filled(rings[0], canvas)
    if not inside.any():
        centre = np.mean(rings[0], axis=0)
        return brushed([(float(centre[0]), float(centre[1]))], 0.0, canvas)
    for ring in rings[1:]:
        hole, (row, column) = filled(ring, canvas)
        # A hole may stick out of the outer ring of a careless file.
        above, before = max(0, top - row), max(0, left - column)
        row, column = max(0, row - top), max(0, column - left)
        hole = hole[above:, before:]
        part = inside[row : row + hole.shape[0], column : column + hole.shape[1]]
        part &= ~hole[: part.shape[0], : part.shape[1]]
    return inside, (top, left)


_Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
_Position = Annotated[list[_Number], Meta(min_length=2)]
_Points = Annotated[list[_Position], Meta(min_length=1)]
_Corners = Annotated[list[_Position], Meta(min_length=3)]
_Rings = Annotated[list[_Corners], Meta(min_length=1)]


class _Geometry(Struct):
    """A shape; how deep its coordinates are nested depends on its kind."""

    type: str
    coordinates: object = None
    geometries: list[_Geometry] = []


class _Feature(Struct):
    """An object of a file."""

    geometry: _Geometry | None = None
    properties: dict[str, object] | None = None


def _annotations(content: object) -> tuple[list[Annotation], int]:
    """The annotations in a file, and how many objects are none.

    Raises:
        MalformedError: there is no object, or none that can be used.
    """
    found: list[Annotation] = []
    reasons: list[MalformedError] = []
    for item in _features(content):
        try:
            annotation = _annotation(typed(item, _Feature))
        except MalformedError as error:
            reasons.append(error)
            continue
        if annotation.polygons or annotation.lines:
            found.append(annotation)
    if reasons and not found:
        raise MalformedError(f"no object in it is a whole shape; {reasons[0]}")
    return found, len(reasons)


def _features(content: object) -> Iterator[object]:
    """Each object as a feature, wherever it is nested, in the order of the file."""
    waiting = [content]
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
            yield table
        elif "coordinates" in table or "geometries" in table:
            yield {"type": "Feature", "geometry": table}
        else:
            raise MalformedError("it holds no objects")


def _annotation(feature: _Feature) -> Annotation:
    properties = feature.properties or {}
    polygons: list[tuple[Line, ...]] = []
    lines: list[Line] = []
    if feature.geometry is not None:
        _collect(feature.geometry, polygons, lines)
    width = properties.get("width")
    if not isinstance(width, int | float) or not 0 <= width <= MOST_WIDTH:
        width = 0
    return Annotation(
        name=_class_name(properties.get("classification")),
        polygons=tuple(polygons),
        lines=tuple(lines),
        width=float(width),
    )


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


def _collect(
    geometry: _Geometry, polygons: list[tuple[Line, ...]], lines: list[Line]
) -> None:
    """Sorts a geometry's parts into polygons and lines."""
    kind, found = geometry.type, geometry.coordinates
    if kind == "GeometryCollection":
        for item in geometry.geometries:
            _collect(item, polygons, lines)
    elif kind not in _KINDS:
        raise MalformedError(f"there is no geometry “{kind}”")
    elif found:
        # A polygon is read as a multi-polygon of one, and so on.
        parts = found if kind.startswith("Multi") else [found]
        if kind.endswith("Polygon"):
            polygons.extend(map(_rings, typed(parts, list[_Rings])))
        elif kind.endswith("LineString"):
            lines.extend(map(_line, typed(parts, list[_Points])))
        else:
            lines.extend(_line([point]) for point in typed(parts, list[_Position]))


def _rings(found: Sequence[Sequence[Sequence[float]]]) -> tuple[Line, ...]:
    return tuple(map(_line, found))


def _line(found: Sequence[Sequence[float]]) -> Line:
    """(x, y) from the corner → (y, x) from the centre of pixel (0, 0)."""
    return tuple((point[1] - 0.5, point[0] - 0.5) for point in found)


def _area(ring: Line) -> float:
    y, x = np.array(ring).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnAnnotations:
    """A file of annotations, drawn on a canvas and not yet made strokes.

    Attributes:
        inside: those that touch the canvas and are not left out, and where they lie.
        labels: class → 0 left out, 1 background, 2 foreground.
        counts: class → annotations.
        outside: annotations that do not touch the image.
        damaged: objects that are no shapes.
    """

    inside: tuple[tuple[Annotation, Part], ...]
    labels: Mapping[str, int]
    counts: Mapping[str, int]
    outside: int
    damaged: int

    def strokes(self, before: StrokeList, *, keep: bool) -> tuple[Stroke, ...]:
        """One stroke an annotation that changes something, drawn one over the other.

        Args:
            before: the strokes that are there.
            keep: whether cells that strokes have labelled before keep their label.
        """
        time, canvas = now(), before.canvas.copy()
        made: list[Stroke] = []
        for annotation, (part, (top, left)) in self.inside:
            rows, columns = part.shape
            place = (slice(top, top + rows), slice(left, left + columns))
            label, after = self.labels[annotation.name], canvas[place].copy()
            after[part & (before.canvas[place] == 0) if keep else part] = label
            runs = changed_runs(canvas[place], after, (top, left))
            if len(runs):
                canvas[place] = after
                stroke = Stroke(
                    number=before.last_number + len(made) + 1,
                    label=label,
                    tool="import",
                    runs=runs,
                    path=annotation.path,
                    width=annotation.width,
                    time=time,
                )
                made.append(stroke)
        return tuple(made)

    def imported(self, made: Sequence[Stroke]) -> Imported:
        """What became of the file, once these strokes were made of it."""
        return Imported(
            numbers=tuple(stroke.number for stroke in made),
            labels=self.labels,
            counts=self.counts,
            outside=self.outside,
            covered=len(self.inside) - len(made),
            damaged=self.damaged,
        )


def draw_annotations(
    path: Path,
    canvas: Canvas,
    image_shape: tuple[int, int],
    *,
    chosen: Mapping[str, int] | None = None,
    progress: Callable[[int, int], None],
) -> DrawnAnnotations:
    """Reads the annotations of a GeoJSON file, and draws them on a canvas.

    Args:
        path: as QuPath or the journal writes it.
        canvas: of the image.
        image_shape: its rows and columns at level 0, for the message.
        chosen: class → 0 left out, 1 background, 2 foreground, where :func:`label_of`
            is not what is meant.
        progress: hears how many of how many are drawn; may stop it.

    Raises:
        AnnotationError: the file cannot be read, or nothing in it lies on the image.
    """
    found, damaged = _read(path)
    labels = labels_for(found, chosen)
    wanted = [item for item in found if labels[item.name] != UNLABELLED]
    drawn: list[tuple[Annotation, Part]] = []
    for place, item in enumerate(wanted):
        try:
            drawn.append((item, drawn_on(item, canvas)))
        except ImageError:  # an outline that no hand could draw
            damaged += 1
        progress(place + 1, len(wanted))
    inside = tuple(pair for pair in drawn if pair[1][0].any())
    if wanted and not inside:
        height, width = image_shape
        raise AnnotationError(
            f"No annotation of {path.name} lies on this image ({width} × {height} "
            "pixels). Is it of another one?"
        )
    return DrawnAnnotations(
        inside=inside,
        labels=labels,
        counts=counted(found),
        outside=len(drawn) - len(inside),
        damaged=damaged,
    )


def counted(annotations: Iterable[Annotation]) -> dict[str, int]:
    """Class → annotations."""
    return dict(Counter(item.name for item in annotations))
