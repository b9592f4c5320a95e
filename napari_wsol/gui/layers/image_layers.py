"""The canvas side of the window: what the session knows, shown as napari layers."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_wsol.gui.compat import camera_of, cell_size, centre_on, collected_once
from napari_wsol.gui.layers.heatmaps import OF_BEFORE, STALE, HeatmapLayers
from napari_wsol.gui.layers.marks import map_facts, raise_in_order
from napari_wsol.gui.layers.placement import (
    seen_pixels,
    to_pixels,
    to_world,
    world_a_pixel,
)
from napari_wsol.gui.layers.reference import Outline
from napari_wsol.gui.layers.stroke_layer import NAME_ELSEWHERE, StrokeLayer
from napari_wsol.gui.layers.threshold import Threshold
from napari_wsol.gui.layers.touch import canvas_beside
from napari_wsol.gui.layers.wall import Cell, Wall
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.colours import contour_colour, is_bright
from napari_wsol.images.tissue import coarse_tissue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import napari.viewer
    from napari.layers import Image
    from napari.utils.events import Event
    from qtpy.QtWidgets import QWidget

    from napari_wsol.export import Region
    from napari_wsol.gui.layers.threshold import Bools
    from napari_wsol.gui.tasks import Tasks
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.level_arrays import LevelArray
    from napari_wsol.images.slide import Slide
    from napari_wsol.session.session import Session


class ImageLayers(QObject):
    """Heatmaps, contours, strokes and cells of one image in one viewer."""

    cuts_changed = Signal()
    """The value at which each map is cut has changed."""

    maps_changed = Signal()
    """Maps were added, taken away or put in another order."""

    values_changed = Signal()
    """There are other maps, or other values in them; also while titles stay."""

    first_shown = Signal(str)
    """The map that is seen first of a new result."""

    image_changed = Signal()
    """Another image is worked on, or none."""

    pixels_replaced = Signal()
    """Somebody gave the layer of the image other data."""

    cursor_moved = Signal(float, float)
    """Level-0 pixel under the mouse, (y, x)."""

    cells_left = Signal()
    """A brush was taken: strokes are drawn on one picture."""

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        dock: QWidget,
        session: Session,
        tasks: Tasks,
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session
        self._tasks = tasks
        self._titles: dict[str, str] = {}
        self._contours = True
        self.image: Image | None = None
        """The layer whose image is worked on."""
        self.threshold = Threshold()
        """Where all maps are cut."""
        self.tissue: Bools | None = None
        """Where there is tissue; None until that is known."""
        self.cuts: dict[str, float] = {}
        """Method → the value at which its map is cut."""
        self.heatmaps = HeatmapLayers(viewer, tasks)
        self.heatmaps.deleted.connect(self._on_deleted)
        self.strokes = StrokeLayer(viewer)
        self.outline = Outline(viewer)
        """Of what the maps are compared with."""
        self._dock = dock
        self.wall: Wall | None = None
        """The cells side by side, while they are shown over napari's canvas."""
        # Many maps change in one turn of the event loop.
        self._renew_cells = once(self, 0, self._show_in_cells)
        self.heatmaps.redrawn.connect(self._on_redrawn)
        self.strokes.tool_changed.connect(self._on_tool)
        # A slider gives more values than can be drawn: the newest wins.
        self._redraw = once(self, 15, self._cut)
        # Layers take napari a while to add: one a turn of the event loop, those that
        # are seen first, so that the window goes on living.
        self._waiting: list[str] = []
        self._steps: Iterator[None] = iter(())
        self._shown_by: object = None  # the model whose maps are shown
        self._listed: dict[str, Heatmap] = {}
        self._order: Sequence[str] = ()
        self._next = once(self, 0, self._show_next)
        viewer.mouse_move_callbacks.append(self._on_mouse)

    @property
    def titles(self) -> dict[str, str]:
        """Method → title of each map that is shown."""
        names = [heatmap.key for heatmap in self.maps()]
        return {name: self._titles.get(name, name) for name in names}

    def close(self) -> None:
        """Let go of the viewer; heatmaps and strokes stay in it."""
        self._redraw.stop()
        self._next.stop()
        self._forget_waiting()
        self._renew_cells.stop()
        self.show_cells(False)
        if self.image is not None:
            self.image.events.data.disconnect(self._on_data)
        if self._on_mouse in self._viewer.mouse_move_callbacks:
            self._viewer.mouse_move_callbacks.remove(self._on_mouse)
        self.heatmaps.close()
        self.strokes.close()
        self.outline.close()

    def work_on(self, image: Image) -> None:
        """The session has opened the image of this layer."""
        is_other = self.image is not None and image != self.image
        # Whoever takes layers of the image before away does it in one go with ours.
        with collected_once() if is_other else nullcontext():
            self._work_on(image)

    def _work_on(self, image: Image) -> None:
        slide, canvas = self._session.slide, self._session.canvas
        if slide is None or canvas is None:
            return  # it was closed meanwhile
        if image != self.image:
            self.leave_image()
            image.events.data.connect(self._on_data)
        elif self.strokes.fingerprint not in ("", slide.fingerprint()):
            self.strokes.put_away(NAME_ELSEWHERE)
        self.image = image
        self.heatmaps.place_on(image)
        self.strokes.place_on(image, canvas, slide.fingerprint())
        self.outline.begin_on(image, slide)
        self.tissue = None
        self.find_tissue()
        self.image_changed.emit()

    def find_tissue(self) -> None:
        """Shares of tissue count on what a person drew, else on what is found."""
        slide, drawn = self._session.slide, self._session.tissue
        if slide is None or self.image is None:
            return
        if drawn is not None:
            self._tasks.forget("tissue")
            self._on_tissue((slide, drawn))
            return
        self._tasks.ask(
            lambda: (slide, coarse_tissue(slide)), self._on_tissue, kind="tissue"
        )

    def take_up(self) -> None:
        """The image that is worked on has other pixels now.

        Its maps stay, with a badge; strokes that were drawn before are put away.
        """
        if self.image is not None:
            self.strokes.put_away()
            self._work_on(self.image)

    def show_pixels(self, found: tuple[Image, list[LevelArray]]) -> None:
        """Show what is in the image's file by now, in the layer that there is.

        Args:
            found: the layer; and the levels of the file, largest first.
        """
        image, levels = found
        if image != self.image:
            return  # another one is worked on by now
        # napari fixes at the beginning whether a layer has levels.
        with image.events.data.blocker(self._on_data):
            image.data = cast("Any", levels if image.multiscale else levels[0])

    def leave_image(self) -> None:
        """No image, or another one: its heatmaps go, its strokes stay."""
        self.show_cells(False)
        self._forget_waiting()
        self.heatmaps.place_on(None)
        self.outline.begin_on(None, None)
        self.strokes.release()
        if self.image is not None:
            self.image.events.data.disconnect(self._on_data)
        self.image = None
        self.cuts = {}
        self.image_changed.emit()

    def show_results(self, titles: dict[str, str]) -> None:
        """Bring layers up to date with all of the session's heatmaps.

        Args:
            titles: of each method, by its key, in the order in which they are shown.
        """
        self._titles = titles
        self.heatmaps.dropped &= set(self._session.heatmaps)
        for method in [
            m for m in self.heatmaps.pairs if m not in self._session.heatmaps
        ]:
            self.heatmaps.forget(method)
        self._waiting = [
            name
            for name in titles
            if name in self._session.heatmaps and name not in self.heatmaps.dropped
        ]
        if not self.heatmaps.pairs:
            self._shown_by = None
        self._show_next()

    def show_heatmap(self, method: str) -> None:
        """Bring one method's layers up to date."""
        heatmap = self._session.heatmaps.get(method)
        if heatmap is not None and method in self.heatmaps.pairs:
            for _ in self._show(heatmap):
                pass
            self._tell()

    def drop_results(self) -> None:
        """The session has no heatmaps any more."""
        self.show_cells(False)
        self._forget_waiting()
        self.heatmaps.clear()
        self._cut()
        self.maps_changed.emit()
        self.values_changed.emit()

    def show_stale(self) -> None:
        """Badge maps that are older than the strokes, or than the pixels."""
        badges = {method: self._badge(method) for method in self._session.stale}
        self.heatmaps.set_badges(badges, self._titles)

    def _badge(self, method: str) -> str:
        if method not in self._session.stale:
            return ""
        return OF_BEFORE if self._session.is_replaced else STALE

    def set_threshold(self, threshold: Threshold) -> None:
        """Cut all maps elsewhere; drawn in a moment."""
        self.threshold = threshold
        self._redraw.start()

    def set_order(self, keys: Sequence[str]) -> None:
        """Put cells and rows in this order; maps that are not named come last."""
        self._order = keys
        self._put_in_order()
        self._show_in_cells()
        self._tell()

    def _put_in_order(self) -> None:
        """Rows and cells alike: the maps of one model go together."""
        wanted = (*self._order, *self._session.heatmaps)
        keys = [x for x in dict.fromkeys(wanted) if x in self.heatmaps.pairs]
        groups = [self._group(key) for key in keys]
        keys.sort(key=lambda key: groups.index(self._group(key)))
        self.heatmaps.put_in_order(keys)

    def _group(self, key: str) -> str:
        kept = self._session.kept.get(key)
        return "" if kept is None else kept.made_by or "elsewhere"

    def set_contours(self, on: bool) -> None:
        """Lines on or off."""
        self._contours = on
        self._redraw.start()

    def show_cells(self, on: bool) -> None:
        """Side by side, or over each other."""
        wall, self.wall = self.wall, None
        if wall is not None:
            wall.close_wall()
            self.heatmaps.cover(False)
        canvas = canvas_beside(self._dock)
        if not on or not self.heatmaps.pairs or self.image is None or canvas is None:
            return
        self.strokes.choose(None)
        self._viewer.layers.selection.active = self.image  # no other layer has our keys
        self.heatmaps.cover(True)
        wall = self.wall = Wall(self._viewer, canvas, self.image, self._tasks)
        wall.pointed.connect(self.cursor_moved)
        wall.reordered.connect(self.set_order)
        wall.show_cells(self._cells())
        self.show_marks()
        wall.fit()
        wall.show()
        wall.raise_()

    def show_marks(self) -> None:
        """Pins, and the outline of the reference, lie over the maps in all cells."""
        if self.wall is not None:
            self.wall.show_marks(self._session.pins, self.outline.dashes)

    def _cells(self) -> list[Cell]:
        """A cell a map; those of one model, and those from elsewhere, go together.

        Where maps of several models are there, captions say of which each is.
        """
        session, cells, shares = self._session, list[Cell](), np.linspace(0, 1, 256)
        own = session.model.name if session.model is not None else ""
        several = any(one.made_by for one in session.kept.values())
        scores = {} if session.result is None else session.result.scores
        figures = session.figures(wait=False)
        bright = self.image is not None and is_bright(self.image)
        line = contour_colour(bright=bright) if self._contours else None
        for method, pair in self.heatmaps.pairs.items():
            title, of = self._titles.get(method, method), pair.heatmap.model
            words = [title.removesuffix(f" · {of}"), pair.heatmap.target]
            if not (group := self._group(method)):
                of, score = own, scores.get(pair.heatmap.target)
                words.append("" if score is None else f"{score:.2f}")
            words.append(self._badge(method))
            caption = " · ".join(filter(None, words))
            if several and of:
                caption += f"\n{of}"
            if (one := figures.get(method)) is not None:
                iou = one.at(self.cuts[method])["image_iou"]
                caption += "\n{} {:.1f} · IoU {:.2f}".format(*one.headline, iou)
            cell = Cell(
                heatmap=pair.peeked or pair.heatmap,
                cut=pair.cut,
                colours=np.asarray(pair.image.colormap.map(shares)),
                opacity=float(pair.image.opacity),
                line=line,
                is_added=str(pair.image.blending) == "additive",
                caption=caption,
                group=group,
            )
            cells.append(cell)
        return cells

    def _show_in_cells(self) -> None:
        if self.wall is None:
            return
        if self.heatmaps.pairs:
            self.wall.show_cells(self._cells())
        else:
            self.cells_left.emit()

    def _on_redrawn(self) -> None:
        if self.wall is not None:
            self._renew_cells.start()

    def _on_tool(self, tool: str | None) -> None:
        if tool is not None and self.wall is not None:
            self.cells_left.emit()

    def fly_to(self, region: Region) -> None:
        """Centre a region and zoom until it fills a third of the view."""
        self.fly_to_box(*region.bbox)

    def reveal(self, region: Region) -> None:
        """Bring a region into the view where none of it is seen; the zoom stays."""
        if self.image is None:
            return
        y0, x0, y1, x1 = region.bbox
        seen = seen_pixels(self._viewer, self.image)
        if seen is not None:
            top, left, bottom, right = seen
            inside = top <= y0 and left <= x0 and y1 - 1 <= bottom and x1 - 1 <= right
            larger = y1 - y0 > bottom - top or x1 - x0 > right - left
            apart = y1 <= top or x1 <= left or bottom <= y0 or right <= x0
            if inside or (larger and not apart):
                return
        centre = to_world(self.image, (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2)
        centre_on(self._viewer, centre)

    def fly_to_box(self, y0: float, x0: float, y1: float, x1: float) -> None:
        """Centre a rectangle of level-0 pixels and zoom to three times its size."""
        if self.image is None:
            return
        middle = (y0 + y1 - 1) / 2, (x0 + x1 - 1) / 2
        self.cursor_moved.emit(*middle)  # the table says what is there
        centre_on(self._viewer, to_world(self.image, *middle))
        if self.wall is not None:
            self.wall.cross = to_world(self.image, *middle)
            self.wall.update()
        size = max(y1 - y0, x1 - x0, 1) * world_a_pixel(self.image)
        view = cell_size(self._viewer)
        if view is not None:
            camera_of(self._viewer).zoom = min(view) / (3 * size)

    @property
    def every_cut(self) -> dict[str, float]:
        """Of the maps, and of what any should beat, by their keys."""
        reference = self._session.reference
        priors = {} if reference is None else reference.priors
        cut = self.threshold.cut
        return dict(self.cuts) | {x: cut(y, self.tissue) for x, y in priors.items()}

    def maps(self) -> list[Heatmap]:
        """The maps that are shown, in the order of the rows of the probe."""
        return [pair.heatmap for pair in self.heatmaps.pairs.values()]

    @property
    def is_adding(self) -> bool:
        """Whether layers of maps are still to be put into the viewer."""
        return self._next.isActive()

    def _show_next(self) -> None:
        """The next step of a map that waits; after the last one, cells and lists."""
        is_more = self._step()
        if not is_more and self._waiting:
            heatmap = self._session.heatmaps.get(self._waiting.pop(0))
            if heatmap is not None:
                self._steps = self._show(heatmap)
                is_more = self._step()
        if is_more or self._waiting:
            self._next.start()
            return
        self._put_in_order()
        own = [x for x in self.heatmaps.pairs if x not in self._session.kept]
        model, first = self._session.model if own else "", None
        if self._shown_by is None or (own and self._shown_by is not model):
            self._shown_by, first = model, next(iter(own or self.heatmaps.pairs), None)
            self.heatmaps.show_only(first)
        self._tell(first)

    def _tell(self, first: str | None = None) -> None:
        """Whoever shows something of the maps hears what became of them."""
        maps = {one.key: one for one in self.maps()}
        before, self._listed = self._listed, maps
        if list(before) != list(maps):
            self.maps_changed.emit()
        if first is not None:
            self.first_shown.emit(first)
        if before.keys() != maps.keys() or any(before[x] is not maps[x] for x in maps):
            self.values_changed.emit()
        self.cuts_changed.emit()

    def _step(self) -> bool:
        """Go on with the map that is being shown; whether more is to be done."""
        done = object()
        return next(self._steps, done) is not done

    def _forget_waiting(self) -> None:
        self._waiting, self._listed, self._steps = [], {}, iter(())

    def _show(self, heatmap: Heatmap) -> Iterator[None]:
        if self._session.slide is None:
            return
        cut = self.cuts[heatmap.key] = self.threshold.cut(heatmap, self.tissue)
        title = self._titles.get(heatmap.key, heatmap.key)
        mark = {"fingerprint": self._session.mapped, **map_facts(heatmap, title)}
        added = heatmap.key not in self.heatmaps.pairs
        is_ours = heatmap.key not in self._session.kept
        yield from self.heatmaps.show(
            heatmap,
            cut,
            title=title,
            mark=mark,
            badge=self._badge(heatmap.key),
            work=self._session.work if self._session.is_large and is_ours else None,
            is_last=not self._session.is_busy,
        )
        if added:
            self._raise_strokes()

    def _raise_strokes(self) -> None:
        if self.strokes.layer is not None:
            raise_in_order(self._viewer, [self.strokes.layer])

    def _cut(self) -> None:
        self._redraw.stop()
        self.cuts = {
            heatmap.key: self.threshold.cut(heatmap, self.tissue)
            for heatmap in self.maps()
        }
        self.heatmaps.set_cuts(self.cuts, contours=self._contours)
        self.cuts_changed.emit()

    def _on_deleted(self) -> None:
        """The person took a map away: nothing is said of it any more."""
        for key in self.heatmaps.dropped.intersection(self._session.kept):
            self._session.remove_map(key)
        pairs = self.heatmaps.pairs
        self.cuts = {name: cut for name, cut in self.cuts.items() if name in pairs}
        self._tell()

    def _on_tissue(self, answer: tuple[Slide, Bools]) -> None:
        slide, tissue = answer
        if slide is self._session.slide and tissue is not self.tissue:
            self.tissue = tissue
            if self.threshold.currency != "value":
                self._redraw.start()

    def _on_data(self) -> None:
        self.pixels_replaced.emit()

    def _on_mouse(self, viewer: object, event: Event) -> None:
        del viewer
        if self.image is not None:
            self.cursor_moved.emit(*to_pixels(self.image, event.position))
