"""Our layers among those of the user: how they are marked, found, added and removed.

Everything this plugin adds carries ``metadata["napari-wsol"]``. A layer without it is
the user's: it is never changed, renamed, moved or deleted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_wsol.gui.compat import collected_once
from napari_wsol.images.level_arrays import LevelArray
from napari_wsol.images.readers import Shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    import napari.viewer
    from napari.layers import Layer

    from napari_wsol.images.heatmap import Heatmap

MARK = "napari-wsol"

HEATMAP, CONTOUR, STROKES = "heatmap", "contour", "strokes"
TILES, TISSUE, DIFFERENCE, GUIDE = "tiles", "tissue", "difference", "guide"
REGION, PINS, REFERENCE, BOX = "region", "pins", "reference", "box"
"""Roles of our layers."""


def role_of(layer: Layer) -> str | None:
    """What one of our layers is for; None for the user's own layers."""
    mark = layer.metadata.get(MARK)
    return mark.get("role") if isinstance(mark, dict) else None


def our_layers(
    viewer: napari.viewer.Viewer, role: str | None = None, **marks: object
) -> list[Layer]:
    """Our layers of a role (any when None) whose mark holds all of ``marks``."""
    found = []
    for layer in viewer.layers:
        own = role_of(layer)
        if own is None or role not in (None, own):
            continue
        mark = layer.metadata[MARK]
        if all(mark.get(key) == value for key, value in marks.items()):
            found.append(layer)
    return found


def image_layers(viewer: napari.viewer.Viewer) -> list[Image]:
    """The user's image layers, newest last; usable ones and others."""
    return [x for x in viewer.layers if isinstance(x, Image) and role_of(x) is None]


def is_usable(layer: Image) -> bool:
    """True for an image (grey or RGB, one or many resolutions), or a stack of such."""
    return layer.ndim >= 2 and min(layer.level_shapes[0][: layer.ndim]) >= 1


def map_facts(heatmap: Heatmap, title: str) -> dict[str, object]:
    """What a layer's metadata says of its map, under ``"napari-wsol"``.

    ``method`` is the key that repeats it (“layercam@layer3”), ``layer`` the chosen
    layer of the encoder, None where none was chosen; ``raw_range`` the smallest and
    largest value before a score was scaled to [0, 1].
    """
    return {
        "method": heatmap.key,
        "title": title,
        "layer": heatmap.method.partition("@")[2] or None,
        "target": heatmap.target,
        "is_probability": heatmap.is_probability,
        "raw_range": heatmap.raw_range,
        "round": heatmap.round,
        "notes": heatmap.notes,
    }


def file_of(layer: Image) -> Path | None:
    """The file that a layer was read from, by whichever reader; None where none was."""
    mark = layer.metadata.get(MARK)
    named = mark.get("path") if isinstance(mark, dict) else None
    path = named or layer.source.path
    if path is None or "://" in str(path):
        return None
    return Path(path).absolute()


def source_of(layer: Image, plane: tuple[int, ...] = ()) -> tuple[Any, dict[str, Any]]:
    """What to open for an image layer, and how.

    Layers of our own reader name their file, so that it is read by our reader rather
    than through the layer. Any other layer gives its pixels, also one of ours that
    somebody gave other data; and its file, if it has one, by which it is known where
    it holds these pixels.

    Args:
        layer: the layer.
        plane: of a stack, the one that is seen.
    """
    from napari_wsol.gui.layers.placement import microns_a_pixel

    path, mark = file_of(layer), layer.metadata.get(MARK)
    if isinstance(mark, dict) and "path" in mark and shows_file(layer):
        wanted = {key: mark[key] for key in ("rgb", "channel", "plane") if key in mark}
        options = {"name": layer.name, "reader": mark.get("reader"), **wanted}
        if mark.get("listed"):  # one of many: whoever goes from image to image goes on
            options["resume"] = True
        return path, options
    data: Any = layer.data
    if layer.multiscale:
        deep = [shape[: layer.ndim - 2] for shape in layer.level_shapes]
        # Where coarser levels have fewer planes, too, the first has them all.
        is_flat = all(tuple(one) == tuple(deep[0]) for one in deep)
        data = list(data) if is_flat else data[0]
    options: dict[str, Any] = {"rgb": bool(layer.rgb), "mpp": microns_a_pixel(layer)}
    if plane:
        options["plane"] = plane
    if path is None or not path.exists():
        return data, {"name": layer.name, **options}
    # napari names a layer after its file, without the ending; a person may rename it.
    is_renamed = re.fullmatch(rf"{re.escape(path.stem)}( \[\d+\])?", layer.name) is None
    name = layer.name if is_renamed else None
    return Shown(path, data), {"name": name, **options}


def levels_of(layer: Image) -> list[Any]:
    """The arrays that a layer shows, largest first: those themselves, no copies.

    A viewer that plugins are given wraps anew, at each look, whatever has a module that
    begins with its own name: ours too.
    """
    data: Any = layer.data
    levels = list(data) if layer.multiscale else [data]
    return [getattr(level, "__wrapped__", level) for level in levels]


def shows_file(layer: Image) -> bool:
    """Whether a layer still shows what our reader gave it."""
    return isinstance(levels_of(layer)[0], LevelArray)


def add_quietly(viewer: napari.viewer.Viewer, layers: Iterable[Layer]) -> None:
    """Add layers on top and leave the selection as it is.

    napari selects every layer that is added, and builds its controls anew each time.
    """
    selection = viewer.layers.selection
    before, active = set(selection), selection.active
    with selection.events.blocker_all():
        for layer in layers:
            viewer.add_layer(layer)
        selection.clear()
        if active is not None:
            selection.active = active
        selection.update(before)


def remove(viewer: napari.viewer.Viewer, layers: Iterable[Layer]) -> None:
    """Take layers out of the viewer, those that are still in it."""
    there = [layer for layer in layers if layer in viewer.layers]
    if not there:
        return
    with collected_once():
        for layer in there:
            viewer.layers.remove(layer)


def raise_in_order(viewer: napari.viewer.Viewer, layers: Iterable[Layer]) -> None:
    """Put layers on top of the list, the last one uppermost, moving no more than need.

    The order of all other layers among themselves stays.
    """
    wanted = [layer for layer in layers if layer in viewer.layers]
    if list(viewer.layers)[-len(wanted) :] == wanted:
        return
    for layer in wanted:
        viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))
