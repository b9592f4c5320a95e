"""Annotations of other programs on the canvas: as strokes, and as truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from shapely.geometry import Polygon

from napari_wsol.errors import ConfigError, ImageError, choices
from napari_wsol.strokes.annotation_files import line_of, read_all
from napari_wsol.strokes.canvas import Canvas
from napari_wsol.strokes.classes import (
    MEANINGS,
    AnnotationError,
    UnclearClassesError,
    base_of,
    label_of,
    listed,
)
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
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsol.strokes.annotation_files import Annotation
    from napari_wsol.strokes.canvas import Scribbles
    from napari_wsol.strokes.stroke import StrokeList

Part = tuple["npt.NDArray[np.bool_]", tuple[int, int]]
"""(h, w) bool, and the canvas row and column of its first cell."""

FRAME = "Region*"
"""QuPath's class for what was looked at, in which all the others lie."""


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
        for words, label in MEANINGS.items():
            names = [name for name, chosen in self.labels.items() if chosen == label]
            if names:
                became = words if label == UNLABELLED else f"became {words}"
                said.append(f"{listed(names, self.counts)} {became}.")
        if self.outside:
            said.append(f"{self.outside} outside the image.")
        if self.covered:
            said.append(f"{self.covered} wholly under strokes that were there before.")
        if self.damaged:
            said.append(f"{self.damaged} left out: damaged, or no shape at all.")
        return " ".join(said)


def read_annotations(path: Path) -> tuple[Annotation, ...]:
    """The annotations of a file, large areas first; what is damaged is left out.

    Raises:
        AnnotationError: it cannot be read, or holds none.
    """
    return read_all(path)[0]


def labels_for(
    annotations: Iterable[Annotation], chosen: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Class → label, for the classes that occur.

    Where no annotation has a class, all are foreground.

    Args:
        annotations: of a file.
        chosen: class or base class → 0 left out, 1 background, 2 foreground; goes
            before what the name tells. Where something is chosen, classes of which
            neither tells are left out.

    Raises:
        UnclearClassesError: a name does not tell, and nothing is chosen.
    """
    counts, given = counted(annotations), chosen or {}
    found = {
        name: given.get(name, given.get(base_of(name), label_of(name)))
        for name in counts
    }
    if list(found.items()) == [("", None)]:
        return {"": FOREGROUND}
    if None in found.values() and not given:
        bases: Counter[str] = Counter()
        for name, count in counts.items():
            bases[base_of(name)] += count
        raise UnclearClassesError(bases)
    return {name: label or UNLABELLED for name, label in found.items()}


def _check(chosen: Mapping[str, int], names: Iterable[str]) -> None:
    """Whether these classes occur, and can be what they shall be."""
    for name, label in chosen.items():
        if label not in MEANINGS.values():
            raise ConfigError(
                f"“{name}” can be 0 (left out), 1 (background) or 2 (foreground), not "
                f"{label}."
            )
        if name not in names and name not in map(base_of, names):
            raise choices("class", name, list(names))


def drawn_on(annotation: Annotation, canvas: Canvas) -> Part:
    """The cells of an annotation: areas without their holes, lines, points.

    What is smaller than a cell still marks the cell that it lies in.

    Returns:
        (h, w) bool and its place; of no cells where it does not touch the canvas.
    """
    parts = [
        _polygon(part, canvas)
        if isinstance(part, Polygon)
        else brushed(line_of(part), annotation.width, canvas)
        for part in annotation.parts
    ]
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


def _polygon(polygon: Polygon, canvas: Canvas) -> Part:
    """An outer ring without its holes."""
    ring = line_of(polygon.exterior)
    inside, (top, left) = filled(ring, canvas)
    if not inside.any():
        return brushed(ring.mean(axis=0, keepdims=True), 0.0, canvas)
    for interior in polygon.interiors:
        hole, (row, column) = filled(line_of(interior), canvas)
        # A hole may stick out of the outer ring of a careless file.
        above, before = max(0, top - row), max(0, left - column)
        row, column = max(0, row - top), max(0, column - left)
        hole = hole[above:, before:]
        part = inside[row : row + hole.shape[0], column : column + hole.shape[1]]
        part &= ~hole[: part.shape[0], : part.shape[1]]
    return inside, (top, left)


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
    """Reads the annotations of a file, and draws them on a canvas.

    Args:
        path: of GeoJSON or ASAP's XML.
        canvas: of the image.
        image_shape: its rows and columns at level 0, for the message.
        chosen: class → 0 left out, 1 background, 2 foreground, where :func:`label_of`
            is not what is meant.
        progress: hears how many of how many are drawn; may stop it.

    Raises:
        AnnotationError: the file cannot be read, or nothing in it lies on the image.
    """
    found, damaged = read_all(path)
    _check(chosen or {}, counted(found))
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
        raise _elsewhere(path, image_shape)
    return DrawnAnnotations(
        inside=inside,
        labels=labels,
        counts=counted(found),
        outside=len(drawn) - len(inside),
        damaged=damaged,
    )


def areas_on(
    path: Path, shape: tuple[int, int], chosen: Mapping[str, int] | None = None
) -> Scribbles:
    """The areas of a file of annotations, as truth; lines and points are none.

    Args:
        path: of the file.
        shape: rows and columns of the image at level 0.
        chosen: class → label, of many files; see :func:`labels_for`.

    Returns:
        On the canvas of the image: 0 does not count, 1 background, also where nothing
        is drawn, 2 foreground.

    Raises:
        AnnotationError: the file cannot be read, an object in it is damaged, or no area
            lies on the image.
    """
    found, damaged = read_all(path)
    if damaged:
        raise AnnotationError(
            f"{damaged} objects of {path.name} are damaged, so that it is not known "
            "what is true. Export them anew."
        )
    canvas = Canvas.over(shape)
    areas = [item for item in found if item.areas and item.name != FRAME]
    labels = labels_for(areas, chosen)
    truth = np.full(canvas.shape, BACKGROUND, np.uint8)
    is_inside = any(item.name == FRAME for item in found)
    for item in areas:
        part, (top, left) = drawn_on(replace(item, parts=item.areas), canvas)
        is_inside |= bool(part.any())
        rows, columns = part.shape
        truth[top : top + rows, left : left + columns][part] = labels[item.name]
    if not is_inside:
        raise _elsewhere(path, shape)
    return truth


def _elsewhere(path: Path, shape: tuple[int, int]) -> AnnotationError:
    height, width = shape
    return AnnotationError(
        f"No annotation of {path.name} lies on this image ({width} × {height} pixels). "
        "Is it of another one?"
    )


def counted(annotations: Iterable[Annotation]) -> dict[str, int]:
    """Class → annotations."""
    return dict(Counter(item.name for item in annotations))
