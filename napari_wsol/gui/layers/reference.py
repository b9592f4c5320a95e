"""A reference among the layers: the person's own layer read, and the outline drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from scipy.ndimage import affine_transform
from skimage.draw import polygon

from napari_wsol.evaluation.scores import spread_over
from napari_wsol.gui.layers.contours import LINE_PIXELS, contour_segments
from napari_wsol.gui.layers.marks import REFERENCE
from napari_wsol.gui.layers.overlay import Lines
from napari_wsol.gui.layers.placement import to_pixels
from napari_wsol.images.heatmap import covering

if TYPE_CHECKING:
    import napari.viewer
    import numpy.typing as npt
    from napari.layers import Image, Layer

    from napari_wsol.session.comparison import Reference

SIDE, DASHES = 2048, 24
"""Cells that a layer is read on, and white dashes, along an image's longer side."""


class Outline(Lines):
    """White dashes around a reference, and black ones between them.

    Attributes:
        dashes: the white and the black ones: (N, 2, 2) starts and steps in level-0
            pixels.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, REFERENCE, LINE_PIXELS)
        self.dashes: tuple[npt.NDArray[np.float32], ...] = ()

    def show(self, reference: Reference | None) -> None:
        """Draw another reference, or none."""
        self.take_away()
        self.dashes = ()
        if reference is None:
            return
        area = spread_over(reference.image_shape, reference.area)
        lines = contour_segments(area, 0.5) * np.array(area.scale, np.float32)
        lines[:, 0] += area.translate
        far = np.cumsum(np.linalg.norm(lines[:, 1], axis=1))
        white = far * 2 * DASHES / max(reference.image_shape) % 2 < 1
        self.dashes = lines[white], lines[~white]
        colours = (1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 0.6)
        counts = [len(each) for each in self.dashes]
        lines = np.concatenate(self.dashes)
        self.draw(lines, "Reference", np.repeat(colours, counts, axis=0))


def is_possible(layer: Layer) -> bool:
    """Whether a layer can be a reference."""
    return isinstance(layer, Labels | Shapes) and layer.ndim == 2


def place_of(layer: Layer, image: Image) -> npt.NDArray[np.float64]:
    """(3, 2): level-0 pixel of a layer's (0, 0), and a step along each of its axes."""
    corners = [layer.data_to_world(at) for at in ((0, 0), (1, 0), (0, 1))]
    origin, down, right = (np.array(to_pixels(image, at)) for at in corners)
    return np.stack([origin, down - origin, right - origin])


def read_layer(
    layer: Any,  # noqa: ANN401 - Labels or Shapes
    place: npt.NDArray[np.float64],
    shape: tuple[int, int],
) -> dict[str, Any]:
    """What ``Session.set_reference`` takes of a layer; on any thread.

    Args:
        layer: of Labels, or of Shapes: boxes where all are rectangles along the image,
            else the filled areas.
        place: where it lies on the image, see :func:`place_of`.
        shape: (H, W) of the image.
    """
    times = max(1.0, max(shape) / SIDE)
    grid = max(1, round(shape[0] / times)), max(1, round(shape[1] / times))
    scale, start = map(np.array, covering(shape, grid))
    if isinstance(layer, Labels):
        labels = np.asarray(layer.data[0] if layer.multiscale else layer.data)
        if labels.shape == shape and np.allclose(place, [(0, 0), (1, 0), (0, 1)]):
            return {"source": labels.copy()}  # each pixel, as in a file
        back = np.linalg.inv(place[1:].T)
        how: Any = {"order": 0, "mode": "grid-constant", "output_shape": grid}
        offset = back @ (start - place[0])
        return {"source": affine_transform(labels, back * scale, offset, **how)}
    mask, boxes = np.zeros(grid, np.uint8), []
    for kind, points in zip(layer.shape_type, layer.data, strict=True):
        if kind not in ("rectangle", "ellipse", "polygon"):
            continue  # no area
        lines = _ring(kind, np.asarray(points)) @ place[1:] + place[0]
        mask[polygon(*((lines - start) / scale).T, shape=grid)] = 1
        if kind == "rectangle" and np.abs(np.diff(lines, axis=0)).min(1).max() < 1e-3:
            low, high = (np.clip(x(0) + 0.5, 0, shape) for x in (lines.min, lines.max))
            if (high > low).all():  # on the image, or a part of it
                boxes.append([*low[::-1], *(high - low)[::-1]])
        else:
            boxes.append(None)
    return {"source": mask} if None in boxes or not boxes else {"boxes": boxes}


def _ring(kind: str, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The corners of a shape; napari gives those of the box around an ellipse."""
    if kind != "ellipse":
        return points
    turn = np.linspace(0, 2 * np.pi, 120, endpoint=False)[:, None]
    down, right = (points[3] - points[0]) / 2, (points[1] - points[0]) / 2
    return points.mean(0) + np.cos(turn) * down + np.sin(turn) * right
