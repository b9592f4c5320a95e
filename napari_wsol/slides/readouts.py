"""What is kept of each tile: the maps of every method, from the same features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_wsol.encoders import Features, TileEncoder
from napari_wsol.errors import MethodUnavailableError
from napari_wsol.methods import get_method, method_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from napari_wsol.images.tiling import Tile
    from napari_wsol.methods import Model
    from napari_wsol.methods.heads import Head

CLASSIFIER = "classifier"
"""The plane with the classifier's own class maps, from which the slide is scored."""
VECTORS = "vectors"
"""The plane with one vector a tile, from which attention is computed at the end."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Plane:
    """One kind of value that is kept of every tile.

    Attributes:
        name: of the method, or ``CLASSIFIER``, or ``VECTORS``.
        channels: values a cell: one a class where the method tells classes apart.
        stride: network pixels a cell.
        dtype: "float16" for probabilities, "float32" for what is normalised later.
    """

    name: str
    channels: int
    stride: int
    dtype: str = "float32"

    def shape(self, tile: Tile) -> tuple[int, int, int]:
        """(channels, rows, columns) of a tile's core."""
        return (
            self.channels,
            -(-tile.height // self.stride),
            -(-tile.width // self.stride),
        )


def planes_of(
    model: Model, methods: Sequence[str], target: int | None = None
) -> tuple[Plane, ...]:
    """What is kept of each tile for some methods.

    Args:
        model: from :func:`napari_wsol.load_model`.
        methods: names.
        target: index of the class to localize; None keeps the maps of all classes, so
            that the most probable one can be chosen at the end.

    Raises:
        MethodUnavailableError: a method needs the whole image at once; says why.
    """
    if isinstance(model.encoder, TileEncoder):
        stray = [name for name in methods if not get_method(name).pools_tiles]
        if stray:
            raise MethodUnavailableError(_whole_only(stray[0]))
        channels, side = model.encoder.channels[-1], model.encoder.side
        return (Plane(VECTORS, channels, side),)
    planes: list[Plane] = []
    probe = _probe(model)
    for name in methods:
        method = get_method(name)
        if not method.reads_cells(model):
            raise MethodUnavailableError(_whole_only(name))
        stride = int(method.stride(model, probe))
        every = 1 if target is not None or method.for_all_classes else None
        dtype = "float16" if method.is_probability else "float32"
        planes.append(Plane(name, every or len(model.classes), stride, dtype))
    head = model.classifier
    if head is not None and head.reads_cells:
        stride = int(probe.strides[head.map_index(probe)])
        planes.append(Plane(CLASSIFIER, len(model.classes), stride))
    return tuple(planes)


def tile_methods(model: Model, names: Sequence[str]) -> list[str]:
    """Those of some methods whose maps can be made tile by tile."""
    if isinstance(model.encoder, TileEncoder):
        return [name for name in names if get_method(name).pools_tiles]
    return [name for name in names if get_method(name).reads_cells(model)]


def _whole_only(name: str) -> str:
    return (
        f"{method_title(name)} looks at the whole image at once, so it cannot read a "
        "slide tile by tile. Leave it out, or localize a part of the slide."
    )


def classifier_offset(model: Model, head: Head) -> float:
    """Network pixel under the centre of cell 0 of a classifier's class maps."""
    probe = _probe(model)
    return probe.offsets[head.map_index(probe)]


def _probe(model: Model) -> Features:
    """Features without values: strides and names are all that is asked of them."""
    encoder = model.encoder
    maps = tuple(torch.zeros(1, count, 1, 1) for count in encoder.channels)
    return Features(maps, encoder.strides, encoder.offsets, encoder.taps)


def read_planes(
    model: Model,
    planes: Sequence[Plane],
    features: Features,
    *,
    target: int | None = None,
) -> dict[str, Tensor]:
    """The values of a batch of windows.

    Args:
        model: gives heads and classes.
        planes: from :func:`planes_of`.
        features: of the windows.
        target: as there.

    Returns:
        By name of the plane, (N, channels, h, w) float32.
    """
    found: dict[str, Tensor] = {}
    for plane in planes:
        if plane.name == VECTORS:
            found[VECTORS] = features.last
        elif plane.name == CLASSIFIER:
            head = model.classifier
            if head is None:  # planes_of() has looked
                raise TypeError("This model has no classifier.")
            found[CLASSIFIER] = head.class_maps(features).float()
        else:
            method = get_method(plane.name)
            classes = [target or 0] if plane.channels == 1 else range(plane.channels)
            maps = [method.map(model, features, index) for index in classes]
            found[plane.name] = torch.stack(maps, dim=1)
    return found


def cut_core(
    values: Mapping[str, Tensor],
    planes: Sequence[Plane],
    tile: Tile,
    at: int = 0,
    origin: tuple[int, int] | None = None,
) -> dict[str, Array]:
    """A tile's own part of the values around it, as it is kept.

    Args:
        values: from :func:`read_planes`.
        planes: what is kept.
        tile: the tile.
        at: its place in the batch.
        origin: where the values begin, (y, x) on the grid; the tile's window without.
    """
    start_y, start_x = origin or (tile.window_y, tile.window_x)
    cores: dict[str, Array] = {}
    for plane in planes:
        top = (tile.y - start_y) // plane.stride
        left = (tile.x - start_x) // plane.stride
        _, rows, columns = plane.shape(tile)
        core = values[plane.name][at, :, top : top + rows, left : left + columns]
        cores[plane.name] = core.cpu().numpy().astype(plane.dtype)
    return cores


def unpack(data: bytes, planes: Sequence[Plane], tile: Tile) -> dict[str, Array]:
    """A tile's values from a log; empty where the slide was damaged there."""
    cores: dict[str, Array] = {}
    start = 0
    for plane in planes if data else ():
        shape = plane.shape(tile)
        count = shape[0] * shape[1] * shape[2]
        values = np.frombuffer(data, plane.dtype, count, start)
        cores[plane.name] = values.reshape(shape)
        start += values.nbytes
    return cores
