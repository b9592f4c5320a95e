"""OME-Zarr images as slides, read by chunks with zarr itself."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from napari_wsol.errors import ImageError, UnreadableImageError
from napari_wsol.images.cache import TileCache
from napari_wsol.images.fingerprint import fingerprint_bytes, fingerprint_files
from napari_wsol.images.geometry import Level
from napari_wsol.images.readers.arrays import ArraySlide
from napari_wsol.images.readers.ome_zarr import CHUNK_ERRORS, METADATA, open_image
from napari_wsol.images.readers.tiled import TiledLevel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.ome_zarr import Array, OmeImage
    from napari_wsol.images.readers.values import Pixels


_BLOCK = 512
_CHUNK_BYTES = 2 << 30


class PlaneView:
    """The one plane of a zarr array, seen as (height, width, colours).

    Nothing is copied; zarr reads the chunks of a part when the part is indexed.
    """

    def __init__(self, array: Array, axes: str, name: str) -> None:
        self._array = array
        self._axes = axes
        self._name = name
        sizes = dict(zip(axes, array.shape, strict=True))
        self.shape = (sizes["y"], sizes["x"], sizes.get("c", 1))
        self.dtype = np.dtype(array.dtype)

    @property
    def chunk(self) -> tuple[int, int]:
        """(height, width) of what zarr decodes at once."""
        sizes = dict(zip(self._axes, self._array.chunks, strict=True))
        return (sizes["y"], sizes["x"])

    @property
    def chunk_bytes(self) -> int:
        """Bytes of a decoded chunk."""
        return int(np.prod(self._array.chunks)) * self.dtype.itemsize

    def __getitem__(self, key: tuple[slice, ...], /) -> Pixels:
        """(h, w, colours) of a part.

        Raises:
            UnreadableImageError: a chunk is damaged.
        """
        spans = dict(zip("yxc", (*key, slice(None), slice(None))[:3], strict=True))
        whole = tuple(spans.get(axis, 0) for axis in self._axes)
        try:
            part = np.asarray(self._array[whole])
        except CHUNK_ERRORS as error:
            raise UnreadableImageError(
                f"“{self._name}” is damaged: a chunk of {self._array.path or 'it'} "
                f"could not be decoded ({error}). Copy or download it again."
            ) from error
        order = [axis for axis in self._axes if axis in "yxc"]
        if "c" not in order:
            return part.transpose([order.index(axis) for axis in "yx"])[..., None]
        return part.transpose([order.index(axis) for axis in "yxc"])


class ZarrSlide(ArraySlide):
    """An OME-Zarr image. See :class:`~napari_wsol.images.slide.Slide`.

    Chunks that were never written hold the array's fill value, as zarr defines it.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        mpp: float | None = None,
        rgb: bool | None = None,
        cache: TileCache | None = None,
    ) -> None:
        """Takes the folder or the metadata file in it, and what ``FileSlide`` takes.

        Reads the metadata, and pixels only where more than 8 bits must become 8.

        Raises:
            UnreadableImageError: no OME-Zarr image, damaged, or its chunks too large.
            ImageError: a stack, several channels, or too small.
        """
        folder = path.parent if path.name in METADATA else path
        image = open_image(folder)
        shown = name or folder.name
        _refuse_stack(image, shown, rgb=rgb)
        views = [PlaneView(array, image.axes, shown) for array in image.arrays]
        _check_chunks(views, shown)
        super().__init__(
            views,
            name=shown,
            mpp=image.size.mpp if mpp is None else mpp,
            rgb=True,
            reader="zarr",
            path=folder,
            notes=image.notes + _guess_of_colours(image) + image.size.notes,
        )
        self.levels = tuple(map(_with_scale, self.levels, _factors(image)))
        self._cache = cache or TileCache()
        self._tiled = [
            TiledLevel(
                view.shape[:2], _block(view), partial(self._load, index), self._cache
            )
            for index, view in enumerate(views)
        ]

    @override
    def read(self, level: int, y: int, x: int, height: int, width: int) -> Rgb:
        self._check_open()
        return self._tiled[level].read(y, x, height, width)

    @override
    def close(self) -> None:
        super().close()
        self._cache.clear()

    def _load(self, index: int, row: int, column: int) -> Rgb:
        height, width = self._tiled[index].tile_shape
        rows = slice(row * height, (row + 1) * height)
        columns = slice(column * width, (column + 1) * width)
        return self._reading.to_rgb8(self._stored(index, rows, columns))

    def _compute_fingerprint(self) -> str:
        """Of all files of the image: their names and sizes, then their bytes."""
        folder = self.path or Path()
        files = sorted(
            file
            for file in folder.rglob("*")
            if file.is_file() and "labels" not in file.relative_to(folder).parts
        )
        listed = [
            [file.relative_to(folder).as_posix(), file.stat().st_size] for file in files
        ]
        head = json.dumps([listed, fingerprint_files(files)]).encode()
        return fingerprint_bytes(len(head), lambda at, size: head[at : at + size])


def _refuse_stack(image: OmeImage, name: str, *, rgb: bool | None) -> None:
    sizes = dict(zip(image.axes, image.arrays[0].shape, strict=True))
    deep = {axis: n for axis, n in sizes.items() if axis not in "yxc" and n > 1}
    if deep:
        axes = ", ".join(f"{axis} = {size}" for axis, size in deep.items())
        raise ImageError(
            f"“{name}” is a stack ({axes}), and one plane is needed: save the plane as "
            "its own image, or pass it as an array, for instance stack[0]."
        )
    channels = sizes.get("c", 1)
    is_colour = image.is_colour is not False if rgb is None else rgb
    if channels == 1 or (channels in (3, 4) and is_colour):
        return
    hint = (
        " If they are red, green and blue, open it with rgb=True."
        if channels in (3, 4)
        else ""
    )
    raise ImageError(
        f"“{name}” has {channels} channels, and one or the three colours are needed: "
        f"save one of them as its own image, or pass it as an array.{hint}"
    )


def _guess_of_colours(image: OmeImage) -> tuple[str, ...]:
    channels = dict(zip(image.axes, image.arrays[0].shape, strict=True)).get("c", 1)
    if channels == 1 or image.is_colour is not None:
        return ()
    return ("Its channels were read as colours.",)


def _check_chunks(views: Sequence[PlaneView], name: str) -> None:
    for view in views:
        if view.chunk_bytes > _CHUNK_BYTES:
            raise UnreadableImageError(
                f"“{name}” is stored in chunks of {view.chunk[0]}×{view.chunk[1]} "
                "pixels, too large to read one by one: save it again with chunks of "
                "about 512×512."
            )


def _block(view: PlaneView) -> tuple[int, int]:
    """(height, width) read at once: whole chunks, about 512 pixels."""
    height, width = (chunk * max(1, _BLOCK // chunk) for chunk in view.chunk)
    return (height, width)


def _factors(image: OmeImage) -> list[tuple[float, float] | None]:
    """Level-0 pixels a pixel of each level, as the scales tell."""
    first = image.scales[0]
    return [
        None
        if first is None or scale is None or 0 in first
        else (scale[0] / first[0], scale[1] / first[1])
        for scale in image.scales
    ]


def _with_scale(level: Level, factor: tuple[float, float] | None) -> Level:
    """The level with the factor that is told, where it fits the sizes."""
    if factor is None or any(
        abs(told / found - 1) > 0.02
        for told, found in zip(factor, level.downsample, strict=True)
    ):
        return level
    return Level(level.height, level.width, factor)
