"""Where our layers lie: every one exactly on its image, whatever its transform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsol.gui.compat import camera_of, cell_size

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image, Layer, Vectors

TRANSFORMS = ("scale", "translate", "rotate", "shear", "affine")


def placed_on(
    image: Layer, scale: tuple[float, float], translate: tuple[float, float]
) -> dict[str, Any]:
    """Layer arguments that put a grid onto an image layer.

    A cell (i, j) of the grid is centred on level-0 pixel ``scale * (i, j) +
    translate``. napari maps data to the world by scale, then shear and rotation, then
    translation, then ``affine``; so the grid's own offset has to go through the
    image's linear part. Of a stack the last two axes count.

    Args:
        image: the image layer.
        scale: level-0 pixels a cell, (y, x).
        translate: level-0 position of the centre of cell (0, 0), (y, x).
    """
    step = np.asarray(image.scale, float)[-2:]
    turn, shear = np.asarray(image.rotate, float)[-2:, -2:], _shear_matrix(image)
    offset = turn @ shear @ (step * np.asarray(translate, float))
    return {
        "scale": step * np.asarray(scale, float),
        "translate": np.asarray(image.translate, float)[-2:] + offset,
        "rotate": turn,
        "shear": image.shear if image.ndim == 2 else shear,
        "affine": image.affine.affine_matrix[-3:, -3:],
        "units": image.units[-2:],
        "axis_labels": image.axis_labels[-2:],
    }


def move_onto(
    layer: Layer,
    image: Layer,
    scale: tuple[float, float],
    translate: tuple[float, float],
) -> None:
    """Put an existing layer onto its image again."""
    wanted = placed_on(image, scale, translate)
    for name in TRANSFORMS:
        if not np.array_equal(_plain(getattr(layer, name)), wanted[name]):
            setattr(layer, name, wanted[name])
    for name in ("units", "axis_labels"):
        if getattr(layer, name) != wanted[name]:
            setattr(layer, name, wanted[name])


def plane_under(viewer: napari.viewer.Viewer, layer: Image) -> tuple[int, ...]:
    """The plane of a stack that napari's sliders stand at.

    Returns:
        The place on each axis before height and width that is longer than 1, from 0.
    """
    at = layer.world_to_data(viewer.dims.point)
    sizes = layer.level_shapes[0][: layer.ndim - 2]
    # What lies beyond its ends shows nothing: the nearest plane is meant.
    places = zip(at, sizes, strict=False)
    return tuple(
        int(np.clip(round(float(place)), 0, size - 1))
        for place, size in places
        if size > 1
    )


def to_world(image: Layer, y: float, x: float) -> tuple[float, float]:
    """World position of a level-0 pixel."""
    world = image.data_to_world((y, x))
    return float(world[-2]), float(world[-1])


def to_pixels(image: Layer, position: tuple[float, ...]) -> tuple[float, float]:
    """Level-0 pixel at a world position (the last two axes are the image's)."""
    pixels = image.world_to_data(position[-2:])
    return float(pixels[-2]), float(pixels[-1])


def seen_pixels(
    viewer: napari.viewer.Viewer, image: Layer
) -> tuple[float, float, float, float] | None:
    """Top, left, bottom and right of what is seen, in level-0 pixels.

    Of a turned image the rectangle around it. None where napari cannot tell.
    """
    view, camera = cell_size(viewer), camera_of(viewer)
    if view is None or camera.zoom <= 0:
        return None
    half = np.asarray(view) / (2 * camera.zoom)
    centre = np.asarray(camera.center[-2:], float)
    corners = [
        to_pixels(image, tuple(centre + half * sign))
        for sign in ((-1, -1), (-1, 1), (1, -1), (1, 1))
    ]
    (top, left), (bottom, right) = np.min(corners, 0), np.max(corners, 0)
    return float(top), float(left), float(bottom), float(right)


def microns_a_pixel(layer: Layer) -> float | None:
    """µm a level-0 pixel where the layer says so with its units, else None."""
    sizes = []
    for unit, step in zip(layer.units[-2:], layer.scale[-2:], strict=True):
        quantity: Any = 1.0 * unit
        if not quantity.is_compatible_with("micrometer"):
            return None
        sizes.append(quantity.to("micrometer").magnitude * abs(float(step)))
    return float(np.mean(sizes)) if sizes[0] > 0 else None


def world_a_pixel(layer: Layer) -> float:
    """World units a pixel of a layer: how large one of its cells is drawn."""
    origin, along = layer.data_to_world((0, 0)), layer.data_to_world((0, 1))
    return float(np.linalg.norm(np.subtract(along, origin)))


def screen_a_pixel(viewer: napari.viewer.Viewer, layer: Layer) -> float:
    """Pixels of the screen that a pixel of a layer takes at the present zoom."""
    return max(camera_of(viewer).zoom * world_a_pixel(layer), 1e-9)


def fit_width(viewer: napari.viewer.Viewer, layer: Vectors, pixels: float) -> None:
    """Draw lines so thick on the screen, about, at any zoom."""
    width = pixels / screen_a_pixel(viewer, layer)
    if abs(width / layer.edge_width - 1) > 0.1:
        layer.edge_width = width


def _shear_matrix(layer: Layer) -> np.ndarray:
    """The (2, 2) shear as napari applies it: upper triangular, ones on the diagonal."""
    shear = np.asarray(layer.shear, float)
    if shear.ndim == 2:
        return shear[-2:, -2:]
    matrix = np.eye(2)
    matrix[0, 1] = shear[-1] if shear.size else 0.0
    return matrix


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a layer has
    """An affine transform as its matrix; anything else as it is."""
    return getattr(value, "affine_matrix", value)
