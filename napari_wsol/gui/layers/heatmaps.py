"""Heatmaps and their contours as napari layers, one pair a method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.layers import Image, Vectors
from napari.utils import Colormap
from qtpy.QtCore import QObject, Signal

from napari_wsol.gui.compat import camera_of, draws_lines, fill, set_tooltip
from napari_wsol.gui.layers.contours import LARGE_CELLS, LINE_PIXELS, contour_segments
from napari_wsol.gui.layers.fine_map import SHOWN_CELLS, FineMap, needs_levels
from napari_wsol.gui.layers.marks import (
    CONTOUR,
    HEATMAP,
    MARK,
    add_quietly,
    our_layers,
    remove,
)
from napari_wsol.gui.layers.placement import TRANSFORMS, fit_width, move_onto, placed_on
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.colours import (
    EVIDENCE,
    contour_colour,
    evidence_colours,
    is_bright,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import napari.viewer
    from napari.utils.events import Event

    from napari_wsol.gui.layers.overlay import Place
    from napari_wsol.gui.tasks import Tasks
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.slides.localize import SlideWork


@dataclass(slots=True)
class MethodLayers:
    """A method's heatmap, the two layers that show it, and the image they lie on."""

    source: Image
    heatmap: Heatmap
    image: Image
    contour: Vectors
    drawn: Heatmap
    """The heatmap on cells that end where the image ends: what the image layer shows
    where there is no fine map."""
    cut: float = 0.5
    fine: FineMap | None = None
    """Values between the cells of the heatmap, where a slide has more of them."""
    drawn_from: Heatmap | None = None
    """What ``drawn`` was made from."""
    peeked: Heatmap | None = None
    """What is shown for a moment instead."""
    behind: SlideWork | None = None
    """What the layers have to be filled from when they are shown again."""

    @property
    def place(self) -> Place:
        """Scale and translate of the image layer, in level-0 pixels."""
        if self.fine is not None:
            return self.fine.place
        return self.drawn.scale, self.drawn.translate

    def fits(self, heatmap: Heatmap, work: SlideWork | None) -> bool:
        """Whether these layers can show a map: napari fixes the number of levels."""
        if self.fine is None:
            return not self.image.multiscale and not needs_levels(work, heatmap)
        return self.fine.fits(work, heatmap)

    def fill(self, work: SlideWork | None) -> None:
        """Give the image layer the values of the map, in place."""
        self.behind, self.peeked, before = None, None, self.place
        self._fill(work, self.heatmap)
        if self.place != before:
            self.move()

    def peek(self, heatmap: Heatmap) -> bool:
        """Give the image layer other values on the same grid; false if none are seen.

        Only of maps that are not finer than they are shown: those of rounds.
        """
        if not self.image.visible or heatmap.values.shape != self.heatmap.values.shape:
            return False
        self._fill(None, heatmap)
        self.peeked = None if heatmap is self.heatmap else heatmap
        return True

    def _fill(self, work: SlideWork | None, heatmap: Heatmap) -> None:
        if self.fine is not None:
            self.fine.show(work, heatmap)
            self.image.refresh(extent=False)
            return
        if heatmap is not self.drawn_from:
            self.drawn, self.drawn_from = heatmap.within_image(SHOWN_CELLS), heatmap
        if self.image.data is not self.drawn.values:
            fill(self.image, self.drawn.values)
            self.image.contrast_limits = (0.0, 1.0)

    def move(self) -> None:
        """Put both layers onto the image."""
        move_onto(self.image, self.source, *self.place)
        move_onto(self.contour, self.source, self.heatmap.scale, self.heatmap.translate)

    def end(self) -> None:
        """The layers are not kept up to date any more."""
        if self.fine is not None:
            self.fine.close()


STALE = "older than your last stroke"
OF_BEFORE = "of the image as it was"
BADGES = (STALE, OF_BEFORE)
"""Why a map is not that of what is there now."""


class HeatmapLayers(QObject):
    """Keeps one image layer and one contour layer a method, on the image, current."""

    deleted = Signal()
    """The person took a map out of the viewer."""

    redrawn = Signal()
    """A map, or how maps are drawn, has changed."""

    def __init__(self, viewer: napari.viewer.Viewer, tasks: Tasks) -> None:
        super().__init__()
        self._viewer, self._tasks = viewer, tasks
        self._source: Image | None = None
        self.pairs: dict[str, MethodLayers] = {}
        """Method → its layers, in the order in which they were added."""
        self._begun: MethodLayers | None = None
        """Layers of which not both are in the viewer yet."""
        self._colormaps: dict[str, Colormap] = {}
        self._contours = True
        self._opacity = 0.6
        self._bright = True
        self._covered = False
        self.dropped: set[str] = set()
        """Methods whose layers the person has deleted since :meth:`begin`."""
        self._width_timer = once(self, 60, self._fit_width)
        viewer.layers.events.removed.connect(self._on_removed)
        camera_of(viewer).events.zoom.connect(self._on_zoom)
        viewer.dims.events.ndisplay.connect(self._on_visible)

    def close(self) -> None:
        """Stop listening; the layers stay as they are."""
        self._width_timer.stop()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        camera_of(self._viewer).events.zoom.disconnect(self._on_zoom)
        self._viewer.dims.events.ndisplay.disconnect(self._on_visible)
        self._follow(None)
        self._abandon()
        for pair in self.pairs.values():
            pair.end()
            pair.image.events.visible.disconnect(self._on_visible)
        self.pairs.clear()

    def place_on(self, source: Image | None) -> None:
        """Show heatmaps of another image: those of the one before go."""
        if source == self._source:
            return
        self.clear()
        self._follow(source)
        if source is not None:
            self._bright = is_bright(source)

    def clear(self) -> None:
        """Take all heatmaps and contours out of the viewer."""
        self._abandon()
        layers = [x for p in self.pairs.values() for x in (p.contour, p.image)]
        for pair in self.pairs.values():
            pair.end()
        self.pairs = {}
        remove(self._viewer, layers)
        self.dropped.clear()
        self.redrawn.emit()

    def forget(self, method: str) -> None:
        """Take one method's layers out of the viewer."""
        pair = self.pairs.pop(method)
        pair.end()
        remove(self._viewer, [pair.contour, pair.image])
        self.redrawn.emit()

    def begin(self) -> None:
        """New maps are wanted: also those that were deleted before."""
        self.dropped.clear()

    def show(
        self,
        heatmap: Heatmap,
        cut: float,
        *,
        title: str,
        mark: dict[str, object],
        badge: str,
        work: SlideWork | None = None,
        is_last: bool = True,
    ) -> Iterator[None]:
        """Add a heatmap, or bring the layers of its method up to date in place.

        In steps: each layer that napari has to add takes it a while, and the window
        lives on between them. Where nothing is added there is but one.

        Args:
            heatmap: the map.
            cut: where to cut it.
            title: of its method.
            mark: what the layers' metadata say of it.
            badge: one of ``BADGES``, or empty where it is up to date.
            work: where a slide keeps its values at full resolution.
            is_last: False while newer values come in: hidden layers wait for the last.
        """
        source, method = self._source, heatmap.key
        if source is None:
            return
        pair = self.pairs.get(method) or self._adopt(source, heatmap, mark)
        visible = not any(item.image.visible for item in self.pairs.values())
        if pair is not None and not pair.fits(heatmap, work):
            visible = pair.image.visible
            self.pairs.pop(method, None)
            pair.end()
            remove(self._viewer, [pair.contour, pair.image])
            pair = None
        name = layer_name(heatmap, title, badge)
        if pair is None:
            fine = None
            if needs_levels(work, heatmap):
                fine = FineMap(self._tasks, work, heatmap)
            pair = self._add(source, heatmap, heatmap.cut(cut), fine)
            pair.image.name, pair.contour.name = name, f"{title} · contour"
            yield from self._put_in(pair)
            if self._begun is not pair:
                return  # its image was left meanwhile, or a layer was deleted
            self._begun = None
            pair.image.visible = visible
        first = method not in self.pairs
        self.pairs[method] = pair
        pair.heatmap, pair.cut = heatmap, heatmap.cut(cut)
        if not (first or is_last or pair.image.visible):
            pair.behind = work
            self.redrawn.emit()
            return
        pair.fill(work)
        self._name(pair, name, layer_words(heatmap, title, badge), mark)
        if first:
            pair.move()
            pair.image.events.visible.connect(self._on_visible)
            yield
        if self.pairs.get(method) is pair:
            self._draw(pair)

    def _name(
        self, pair: MethodLayers, name: str, words: str, mark: dict[str, object]
    ) -> None:
        """Say on both layers what they show."""
        for layer, role in ((pair.image, HEATMAP), (pair.contour, CONTOUR)):
            layer.metadata = {**layer.metadata, MARK: {**mark, "role": role}}
            set_tooltip(layer, words)
        if pair.image.name != name:
            pair.image.name = name

    def _put_in(self, pair: MethodLayers) -> Iterator[None]:
        """Put both layers into the viewer, hidden, in a turn of the event loop each."""
        self._abandon()
        self._begun = pair
        for layer in (pair.image, pair.contour):
            if self._begun is pair:
                add_quietly(self._viewer, [layer])
                yield

    def _abandon(self) -> None:
        """Layers that are being added are not wanted any more."""
        pair, self._begun = self._begun, None
        if pair is not None:
            pair.end()
            remove(self._viewer, [pair.contour, pair.image])

    def peek(self, heatmap: Heatmap) -> bool:
        """Show other values of a method for a moment; everything else stays.

        Args:
            heatmap: on the grid of the method's map.

        Returns:
            Whether they can be seen.
        """
        pair = self.pairs.get(heatmap.key)
        if pair is None or not pair.peek(heatmap):
            return False
        if pair.contour.visible and heatmap.values.size <= LARGE_CELLS:
            fill(pair.contour, contour_segments(heatmap, pair.cut))
        self.redrawn.emit()
        return True

    def end_peek(self, method: str) -> None:
        """Show a method's own values again."""
        pair = self.pairs.get(method)
        if pair is not None and pair.behind is None:
            pair.peek(pair.heatmap)
            self._draw(pair)

    def put_in_order(self, methods: Iterable[str]) -> None:
        """Rows and cells in this order; the layer list stays as the person has it.

        What is not named stays last: the session may have gone on to another image,
        which the window hears of a turn later.
        """
        order = dict.fromkeys([*(x for x in methods if x in self.pairs), *self.pairs])
        self.pairs = {name: self.pairs[name] for name in order}
        self.redrawn.emit()

    def set_badges(self, badges: Mapping[str, str], titles: Mapping[str, str]) -> None:
        """Badge these maps, clear the badges of others."""
        for method, pair in self.pairs.items():
            badge = badges.get(method, "")
            has_badge = any(words in pair.image.name for words in BADGES)
            if has_badge or badge:
                title = titles[method]
                pair.image.name = layer_name(pair.heatmap, title, badge)
                set_tooltip(pair.image, layer_words(pair.heatmap, title, badge))

    def set_cuts(self, cuts: Mapping[str, float], *, contours: bool) -> None:
        """Move the lines, and with contours hide what is below them."""
        changed = contours != self._contours
        self._contours = contours
        for method, pair in self.pairs.items():
            known = method in cuts
            cut = pair.heatmap.cut(cuts[method]) if known else pair.cut
            if changed or cut != pair.cut:
                pair.cut = cut
                self._draw(pair)

    def set_opacity(self, opacity: float) -> None:
        """How strongly all heatmaps cover the image."""
        self._opacity = opacity
        for pair in self.pairs.values():
            pair.image.opacity = opacity
        self.redrawn.emit()

    def show_only(self, method: str | None) -> None:
        """One map over the image, or none."""
        for name, pair in self.pairs.items():
            pair.image.visible = method == name

    def cover(self, on: bool) -> None:
        """Nobody sees the layers: what changes is drawn once they are seen again."""
        if on != self._covered:
            self._covered = on
            for pair in self.pairs.values():
                self._draw(pair)

    def _adopt(
        self, source: Image, heatmap: Heatmap, mark: dict[str, object]
    ) -> MethodLayers | None:
        """Layers that an earlier opening of the dock has left for this very image."""
        same = {"method": heatmap.key, "fingerprint": mark.get("fingerprint")}
        # A role is always that of one class of layers.
        images = cast("list[Image]", our_layers(self._viewer, HEATMAP, **same))
        contours = cast("list[Vectors]", our_layers(self._viewer, CONTOUR, **same))
        if not images or not contours:
            remove(self._viewer, [*images, *contours])
            return None
        remove(self._viewer, [*images[1:], *contours[1:]])
        return MethodLayers(source, heatmap, images[0], contours[0], heatmap)

    def _add(
        self, source: Image, heatmap: Heatmap, cut: float, fine: FineMap | None
    ) -> MethodLayers:
        drawn = heatmap.within_image(SHOWN_CELLS) if fine is None else heatmap
        place = placed_on(source, heatmap.scale, heatmap.translate)
        colours = self._colours(heatmap, cut)
        data: Any = drawn.values if fine is None else fine.levels
        image = Image(
            data,
            multiscale=fine is not None,
            contrast_limits=(0.0, 1.0),
            blending="translucent_no_depth" if self._bright else "additive",
            opacity=self._opacity,
            interpolation2d="linear",
            visible=False,
            colormap=cast("Any", colours),  # napari takes more than it says
            **place,
        )
        zoom = camera_of(self._viewer).zoom
        contour = Vectors(
            np.zeros((0, 2, 2), np.float32),
            ndim=2,
            edge_color=contour_colour(bright=self._bright),
            vector_style="line",
            blending="translucent",
            visible=False,
            edge_width=cast("Any", LINE_PIXELS / max(zoom, 1e-9)),
            **place,
        )
        # napari draws a thumbnail line by line, at every change; a few lines will do.
        contour._max_vectors_thumbnail = 32  # noqa: SLF001 - its class documents it
        for layer, role in ((image, HEATMAP), (contour, CONTOUR)):
            layer.metadata = {MARK: {"role": role}}
        pair = MethodLayers(source, heatmap, image, contour, drawn, cut, fine, heatmap)
        pair.move()
        if fine is not None:
            fine.arrived = partial(image.refresh, extent=False, thumbnail=False)
        return pair

    def _draw(self, pair: MethodLayers) -> None:
        """Contour and colours of one method for its present cut."""
        self._recolour(pair)
        self.redrawn.emit()
        if self._covered:
            return
        visible = self._has_lines(pair)
        if visible and pair.heatmap.values.size > LARGE_CELLS:
            # Longer than a frame; of each method the newest counts.
            heatmap, cut = pair.heatmap, pair.cut
            self._tasks.ask(
                lambda: contour_segments(heatmap, cut),
                partial(self._on_lines, heatmap.key),
                kind="contours",
                about=heatmap.key,
            )
            return
        if visible:
            fit_width(self._viewer, pair.contour, LINE_PIXELS)
            fill(pair.contour, contour_segments(pair.heatmap, pair.cut))
        if pair.contour.visible != visible:
            pair.contour.visible = visible

    def _has_lines(self, pair: MethodLayers) -> bool:
        return self._contours and pair.image.visible and draws_lines(self._viewer)

    def _on_lines(self, method: str, segments: np.ndarray) -> None:
        pair = self.pairs.get(method)
        if pair is None or not self._has_lines(pair):
            return
        fit_width(self._viewer, pair.contour, LINE_PIXELS)
        fill(pair.contour, segments)
        if not pair.contour.visible:
            pair.contour.visible = True

    def _recolour(self, pair: MethodLayers) -> None:
        """Nothing below the cut; colours that the user has chosen stay."""
        if pair.image.colormap.name != colours_name(pair.heatmap.key):
            return
        ours = self._colours(pair.heatmap, pair.cut)
        if not self._covered:
            pair.image.colormap = ours

    def _colours(self, heatmap: Heatmap, cut: float) -> Colormap:
        """The colormap of a method: one for ever, changed in place.

        napari keeps every new colormap in its list.
        """
        method, signed = heatmap.key, heatmap.signed
        colours = evidence_colours(cut, cut=self._contours, signed=signed)
        if method not in self._colormaps:
            name = colours_name(method)
            self._colormaps[method] = Colormap(colours, name=name, display_name=name)
        ours = self._colormaps[method]
        ours.colors = cast("Any", colours)
        return ours

    def _fit_width(self) -> None:
        for pair in self.pairs.values():
            if pair.contour.visible:
                fit_width(self._viewer, pair.contour, LINE_PIXELS)

    def _follow(self, source: Image | None) -> None:
        """Move our layers when the image's own transform is changed."""
        for layer, connect in ((self._source, False), (source, True)):
            if layer is not None:
                for emitter in (getattr(layer.events, name) for name in TRANSFORMS):
                    (emitter.connect if connect else emitter.disconnect)(self._on_moved)
        self._source = source

    def _on_moved(self) -> None:
        for pair in self.pairs.values():
            pair.move()

    def _on_zoom(self) -> None:
        self._width_timer.start()

    def _on_visible(self) -> None:
        for pair in self.pairs.values():
            if pair.image.visible and pair.behind is not None:
                pair.fill(pair.behind)
            if pair.contour.visible != self._has_lines(pair):
                self._draw(pair)

    def _on_removed(self, event: Event) -> None:
        """One of our layers was deleted by the user: its partner goes with it."""
        layer, begun = event.value, self._begun
        if begun is not None and layer in (begun.image, begun.contour):
            self.dropped.add(begun.heatmap.key)
            self._abandon()
            self.deleted.emit()
        for method, pair in list(self.pairs.items()):
            if layer in (pair.image, pair.contour):
                del self.pairs[method]
                pair.end()
                self.dropped.add(method)
                remove(self._viewer, [pair.image, pair.contour])
                self.deleted.emit()
                self.redrawn.emit()


def layer_name(heatmap: Heatmap, title: str, badge: str) -> str:
    """“PixelCAM · malignant”, and a badge when it is out of date."""
    name = f"{title} · {heatmap.target}"
    return f"{name} ({badge})" if badge else name


def layer_words(heatmap: Heatmap, title: str, badge: str) -> str:
    """All that a name has no room for, a line each."""
    kind = "probability" if heatmap.is_probability else "score, normalised per image"
    if heatmap.signed:
        kind = f"yellow speaks for it, blue against it; 1 is {heatmap.words(1)}"
    lines = [layer_name(heatmap, title, badge), kind]
    if heatmap.round:
        lines.append(f"round {heatmap.round}")
    return "\n".join((*lines, *heatmap.notes))


def colours_name(method: str) -> str:
    """Name of the colormap of a method."""
    return f"{EVIDENCE} ({method})"
