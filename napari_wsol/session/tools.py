"""Strokes by other means than a brush: outlines, a click that grows, a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import NoResultError
from napari_wsol.jobs import JobKind
from napari_wsol.journal import Undone
from napari_wsol.session.strokes import StrokeState
from napari_wsol.strokes.annotations import (
    AnnotationError,
    Imported,
    counted,
    drawn_on,
    labels_for,
    read_annotations,
)
from napari_wsol.strokes.raster import Drawing, brushed, changed, filled
from napari_wsol.strokes.stroke import UNLABELLED, Stroke, changed_runs, now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future

    from napari_wsol.config import InferenceConfig
    from napari_wsol.inference.cache import FeatureCache
    from napari_wsol.jobs import JobRunner, Report
    from napari_wsol.strokes.annotations import Annotation, Part
    from napari_wsol.strokes.stroke import StrokeList, Tool

TOO_LARGE = (
    "Growing from a point needs the features of the whole image in memory, and this is "
    "a slide that is read tile by tile. Draw around the place instead."
)
GROW_FIRST = "Localize first: a region grows where the model sees the same as there."


class StrokeTools(StrokeState):
    """The part of a session that makes strokes from shapes, points and files."""

    _runner: JobRunner
    _cache: FeatureCache
    config: InferenceConfig

    def brush(
        self,
        path: Sequence[tuple[float, float]],
        label: int,
        width: float,
        *,
        tool: Tool = "brush",
    ) -> Stroke | None:
        """Paints along a line; 0 erases. The stroke, or None where nothing changed.

        Args:
            path: points (y, x) in level-0 pixels.
            label: 0 unlabelled, 1 background, 2 foreground.
            width: of the brush in level-0 pixels.
            tool: "erase" is written for label 0.

        Raises:
            NoImageError: nothing is open.
            ImageError: a point is no number.
        """
        part, origin = brushed(path, width, self._need_canvas())
        used: Tool = "erase" if label == UNLABELLED else tool
        return self.put(part, origin, Drawing(label, used, tuple(path), width))

    def fill(
        self,
        corners: Sequence[tuple[float, float]],
        label: int,
        *,
        tool: Tool = "polygon",
        seconds: float = 0.0,
        resume: bool = False,
        on: str | None = None,
    ) -> Stroke | None:
        """Fills a polygon, also one that crosses itself; 0 erases.

        Args:
            corners: (y, x) in level-0 pixels.
            label: 0 unlabelled, 1 background, 2 foreground.
            tool: what is written.
            seconds: how long it took.
            resume: as for :meth:`put`.
            on: as for :meth:`put`.

        Raises:
            NoImageError: nothing is open.
            ImageError: fewer than three corners, or one is no number.
        """
        part, origin = filled(corners, self._need_canvas())
        drawing = Drawing(label, tool, tuple(corners), seconds=seconds)
        return self.put(part, origin, drawing, resume=resume, on=on)

    def grow(
        self,
        y: float,
        x: float,
        label: int,
        tolerance: float | None = None,
        *,
        instead: bool = False,
    ) -> Future[Stroke | None]:
        """Labels the connected place around a point that looks alike to the model.

        Cells that have a label keep it. See :mod:`napari_wsol.refinement.grow`.

        Args:
            y: row of the level-0 pixel.
            x: its column.
            label: 1 background, 2 foreground.
            tolerance: how unlike the point a place may be; 1 is the image's average.
            instead: whether the last stroke, where it grew from the same point, is
                taken back in the same step.

        Returns:
            Of the stroke; None where all of the place was labelled already. It fails
            with NoResultError before the image was localized, and on slides.
        """
        image = self._drawn_on

        def work(report: Report) -> Stroke | None:
            part, origin = self._grown((y, x), tolerance, report)
            report.check()
            drawing = Drawing(label, "grow", ((y, x),))
            with self._pen:
                if not (
                    instead and image == self._drawn_on and self._grew_from((y, x))
                ):
                    return self.put(
                        part, origin, drawing, keep=True, resume=True, on=image
                    )
                # Whoever looks sees the old region or the new one, never none.
                before = self._need_strokes()
                base = before.undo()
                made = changed(base, part, origin, drawing, keep=True)
                if made is None:
                    self._take_back(before)
                else:
                    for stroke in before.last_step:
                        self._write(Undone(number=stroke.number, time=now()))
                    self._adopt(base.add(made), made)
            self.scribbles_changed.emit()
            return made

        return self._runner.submit(
            JobKind.GROW, work, replaces=(JobKind.GROW, JobKind.JUDGE)
        )

    def _grew_from(self, point: tuple[float, float]) -> bool:
        """Whether the last stroke did."""
        return any(
            stroke.tool == "grow" and stroke.path == (point,)
            for stroke in self.strokes[-1:]
        )

    def import_annotations(
        self,
        path: str | Path,
        labels: Mapping[str, int] | None = None,
        *,
        keep: bool = True,
    ) -> Future[Imported]:
        """Adds the annotations of a GeoJSON file as strokes, one each.

        Undo takes all of them back at once.

        Args:
            path: as QuPath or the journal writes it.
            labels: class → 0 left out, 1 background, 2 foreground, where
                :func:`label_of` is not what is meant.
            keep: whether cells that strokes have labelled before keep their label.

        Returns:
            Of what became of it. It fails with AnnotationError where the file cannot
            be read or nothing in it lies on the image; then nothing is changed.
        """
        image = self._drawn_on

        def work(report: Report) -> Imported:
            found = read_annotations(Path(path))
            chosen = labels_for(found, labels)
            wanted = [item for item in found if chosen[item.name] != UNLABELLED]
            canvas = self._need_canvas()
            drawn: list[tuple[Annotation, Part]] = []
            for place, item in enumerate(wanted):
                drawn.append((item, drawn_on(item, canvas)))
                report(place + 1, len(wanted))
            inside = [pair for pair in drawn if pair[1][0].any()]
            if wanted and not inside:
                height, width = self._need_slide().shape
                raise AnnotationError(
                    f"No annotation of {Path(path).name} lies on this image "
                    f"({width} × {height} pixels). Is it of another one?"
                )
            report.check()
            made = self._import(inside, chosen, keep=keep, on=image)
            return Imported(
                numbers=tuple(stroke.number for stroke in made),
                labels=chosen,
                counts=counted(found),
                outside=len(wanted) - len(inside),
                covered=len(inside) - len(made),
            )

        return self._runner.submit(JobKind.IMPORT_ANNOTATIONS, work)

    def _import(
        self,
        drawn: Sequence[tuple[Annotation, Part]],
        labels: Mapping[str, int],
        *,
        keep: bool,
        on: str,
    ) -> tuple[Stroke, ...]:
        """Adds all in one step."""
        while True:
            with self._pen:
                self.resume()
                before = self._need_strokes()
            made = _strokes_of(drawn, labels, before, keep=keep)
            with self._pen:
                if on != self._drawn_on:
                    raise AnnotationError("Another image was opened meanwhile.")
                if self._strokes is not before:
                    continue  # Somebody drew meanwhile.
                if made:
                    self._adopt(before.add(*made), *made)
            if made:
                self.scribbles_changed.emit()
            return made

    def _grown(
        self, point: tuple[float, float], tolerance: float | None, report: Report
    ) -> Part:
        from napari_wsol.inference.encode import encode
        from napari_wsol.refinement.grow import TOLERANCE, grow

        slide, model = self._need_slide(), self._need_model()
        canvas = self._need_canvas()
        if self.is_large:
            raise NoResultError(TOO_LARGE)
        if self._result is None:
            raise NoResultError(GROW_FIRST)
        features, seen = encode(
            slide,
            model,
            mpp=self.mpp,
            config=self.config,
            cache=self._cache,
            check=report.check,
        )

        def seen_at(place: tuple[float, float]) -> tuple[float, float]:
            # Pixel centres are integers on both grids.
            y, x = (
                (at + 0.5) / step - 0.5 - begin
                for at, step, begin in zip(
                    place, seen.downsample, seen.origin, strict=True
                )
            )
            return y, x

        return grow(
            features,
            seen_at(point),
            shape=canvas.shape,
            scale=(
                canvas.scale[0] / seen.downsample[0],
                canvas.scale[1] / seen.downsample[1],
            ),
            translate=seen_at(canvas.translate),
            tolerance=TOLERANCE if tolerance is None else tolerance,
        )


def _strokes_of(
    drawn: Sequence[tuple[Annotation, Part]],
    labels: Mapping[str, int],
    before: StrokeList,
    *,
    keep: bool,
) -> tuple[Stroke, ...]:
    """One stroke an annotation that changes something, drawn one over the other."""
    time, canvas = now(), before.canvas.copy()
    made: list[Stroke] = []
    for annotation, (part, (top, left)) in drawn:
        rows, columns = part.shape
        place = (slice(top, top + rows), slice(left, left + columns))
        label, after = labels[annotation.name], canvas[place].copy()
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
