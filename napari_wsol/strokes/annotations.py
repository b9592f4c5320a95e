"""Annotations of other programs, as strokes: GeoJSON as QuPath writes it.

Positions in such files are (x, y) in level-0 pixels measured from the image's upper
left corner: pixel (0, 0) covers 0 to 1 both ways. Ours are pixel centres, half a pixel
less.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_wsol.errors import ConfigError, ImageError, WsolError, choices
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
    """

    numbers: tuple[int, ...]
    labels: Mapping[str, int]
    counts: Mapping[str, int]
    outside: int = 0
    covered: int = 0

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
    something is drawn on top of it.

    Raises:
        AnnotationError: it cannot be read, or holds none.
    """
    try:
        content: object = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise AnnotationError(f"{path} cannot be read: {why}.") from error
    except (ValueError, RecursionError) as error:
        why = "it is no JSON text"
        raise AnnotationError(NOT_GEOJSON.format(name=path.name, why=why)) from error
    try:
        found = [_annotation(item) for item in _features(content)]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, WsolError) else "an object is incomplete"
        raise AnnotationError(NOT_GEOJSON.format(name=path.name, why=why)) from error
    found = [item for item in found if item.polygons or item.lines]
    if not found:
        raise AnnotationError(f"There are no annotations in {path.name}.")
    return tuple(sorted(found, key=lambda item: -item.size))


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
        whole = np.zeros(canvas.shape, bool)
        whole[row : row + hole.shape[0], column : column + hole.shape[1]] = hole
        inside &= ~whole[top : top + inside.shape[0], left : left + inside.shape[1]]
    return inside, (top, left)


def _features(content: object) -> Iterator[Mapping[str, object]]:
    if isinstance(content, list):
        for item in cast("list[object]", content):
            yield from _features(item)
        return
    if not isinstance(content, dict):
        raise AnnotationError("it holds no objects")
    found = cast("Mapping[str, object]", content)
    if found.get("type") == "FeatureCollection":
        yield from _features(found["features"])
    elif found.get("type") == "Feature":
        yield found
    elif "coordinates" in found or "geometries" in found:
        yield {"type": "Feature", "geometry": found}
    else:
        raise AnnotationError("it holds no objects")


def _annotation(feature: Mapping[str, object]) -> Annotation:
    properties: Mapping[str, object] = {}
    if isinstance(feature.get("properties"), dict):
        properties = cast("Mapping[str, object]", feature["properties"])
    polygons: list[tuple[Line, ...]] = []
    lines: list[Line] = []
    geometry = feature.get("geometry")
    if geometry is not None:
        _collect(cast("Mapping[str, object]", geometry), polygons, lines)
    width = properties.get("width")
    return Annotation(
        name=_class_name(properties.get("classification")),
        polygons=tuple(polygons),
        lines=tuple(lines),
        width=float(width) if isinstance(width, int | float) else 0.0,
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
    geometry: Mapping[str, object],
    polygons: list[tuple[Line, ...]],
    lines: list[Line],
) -> None:
    """Sorts a geometry's parts into polygons and lines."""
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for item in cast("list[Mapping[str, object]]", geometry["geometries"]):
            _collect(item, polygons, lines)
        return
    # The depth of the nested lists depends on the kind; _line checks what it finds.
    found = cast("list[list[list[list[float]]]]", geometry["coordinates"])
    if not found:
        return
    if kind == "Polygon":
        polygons.append(_rings(found))
    elif kind == "MultiPolygon":
        polygons.extend(_rings(item) for item in found if item)
    elif kind == "LineString":
        lines.append(_line(found))
    elif kind == "MultiLineString":
        lines.extend(_line(item) for item in found)
    elif kind == "Point":
        lines.append(_line([found]))
    elif kind == "MultiPoint":
        lines.extend(_line([item]) for item in found)
    else:
        raise AnnotationError(f"there is no geometry “{kind}”")


def _rings(found: Sequence[object]) -> tuple[Line, ...]:
    rings = tuple(map(_line, found))
    if any(len(ring) < 3 for ring in rings):
        raise AnnotationError("a polygon has fewer than three corners")
    return rings


def _line(found: object) -> Line:
    """(x, y) from the corner → (y, x) from the centre of pixel (0, 0)."""
    line: list[tuple[float, float]] = []
    for point in cast("Sequence[Sequence[float]]", found):
        x, y = float(point[0]), float(point[1])
        if not (math.isfinite(x) and math.isfinite(y)):
            raise AnnotationError("a position is no number")
        line.append((y - 0.5, x - 0.5))
    return tuple(line)


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
    """

    inside: tuple[tuple[Annotation, Part], ...]
    labels: Mapping[str, int]
    counts: Mapping[str, int]
    outside: int

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
    found = read_annotations(path)
    labels = labels_for(found, chosen)
    wanted = [item for item in found if labels[item.name] != UNLABELLED]
    drawn: list[tuple[Annotation, Part]] = []
    for place, item in enumerate(wanted):
        drawn.append((item, drawn_on(item, canvas)))
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
        outside=len(wanted) - len(inside),
    )


def counted(annotations: Iterable[Annotation]) -> dict[str, int]:
    """Class → annotations."""
    return dict(Counter(item.name for item in annotations))
