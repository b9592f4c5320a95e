"""OME-Zarr images as slides, read by chunks with zarr itself."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from typing_extensions import override

from napari_wsol.errors import ImageError, UnreadableImageError, told_as
from napari_wsol.images.cache import TileCache
from napari_wsol.images.fingerprint import (
    file_states,
    fingerprint_bytes,
    fingerprint_files,
)
from napari_wsol.images.geometry import Level
from napari_wsol.images.readers.arrays import ArraySlide, PlaneView
from napari_wsol.images.readers.guard import in_words
from napari_wsol.images.readers.ome_zarr import METADATA, open_image
from napari_wsol.images.readers.stacks import ANY, Stack, choose
from napari_wsol.images.readers.tiled import TiledLevel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.ome_zarr import Array, OmeImage
    from napari_wsol.images.readers.stacks import Chosen, Pick
    from napari_wsol.images.readers.values import Pixels


_BLOCK = 512
_MOST_CHUNKS = 4096
"""In a block that is read at once: 8×8 pixels each."""


class ChunkedPlane(PlaneView):
    """The one plane of a zarr array; a chunk that cannot be decoded is told in words.

    zarr reads the chunks of a part when the part is indexed.
    """

    def __init__(self, array: Array, axes: str, chosen: Chosen, name: str) -> None:
        super().__init__(array, tuple(axes), chosen)
        self._path = array.path
        self._name = name
        sizes = dict(zip(axes, array.chunks, strict=True))
        self.chunk: tuple[int, int] = (sizes["y"], sizes["x"])
        """(height, width) of what zarr decodes at once."""

    @override
    def __getitem__(self, key: tuple[slice, ...], /) -> Pixels:
        """(h, w) or (h, w, n) of a part.

        Raises:
            UnreadableImageError: a chunk is damaged.
        """

        def told(error: Exception) -> UnreadableImageError:
            return UnreadableImageError(
                f"“{self._name}” is damaged: a chunk of {self._path or 'it'} "
                f"could not be decoded ({error}). Copy or download it again."
            )

        with told_as(told, but=ImageError):
            return super().__getitem__(key)


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
        pick: Pick = ANY,
        cache: TileCache | None = None,
    ) -> None:
        """Takes the folder or the metadata file in it, and what ``FileSlide`` takes.

        Reads the metadata, and pixels only where more than 8 bits must become 8.

        Raises:
            UnreadableImageError: no OME-Zarr image, damaged, or its chunks too large.
            StackError: it must be said which channel or plane is shown.
            ImageError: too small.
        """
        folder = path.parent if path.name in METADATA else path
        opened = file_states(_files(folder))
        image = open_image(folder)
        shown = name or folder.name
        chosen = choose(_stack(image, shown), pick)
        views = [
            ChunkedPlane(array, image.axes, chosen, shown) for array in image.arrays
        ]
        _check_chunks(views, shown)
        super().__init__(
            views,
            name=shown,
            mpp=image.size.mpp if mpp is None else mpp,
            reader="zarr",
            path=folder,
            notes=(
                *image.notes,
                *_guess_of_colours(image, chosen),
                *chosen.notes,
                *image.size.notes,
            ),
        )
        self._folder, self.opened_files = folder, opened
        self._part = pick.key
        self.levels = tuple(map(_with_scale, self.levels, _factors(image)))
        self._cache = cache or TileCache()
        shapes = [(level.height, level.width) for level in self.levels]
        self._tiled = [
            TiledLevel(shape, _block(view), partial(self._load, index), self._cache)
            for index, (shape, view) in enumerate(zip(shapes, views, strict=True))
        ]

    @override
    def read(self, level: int, y: int, x: int, height: int, width: int) -> Rgb:
        self._check_open()
        with in_words(self.name):
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

    @override
    def _sources(self) -> Sequence[Path]:
        return _files(self._folder)

    def _compute_fingerprint(self) -> str:
        """Of all files of the image: their names and sizes, then their bytes."""
        folder = self._folder
        files = _files(folder)
        listed = [
            [file.relative_to(folder).as_posix(), file.stat().st_size] for file in files
        ]
        head = json.dumps([listed, fingerprint_files(files)]).encode()
        return fingerprint_bytes(len(head), lambda at, size: head[at : at + size])


def _files(folder: Path) -> list[Path]:
    """Of the image itself, by name; labels beside it are no pixels of it."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and "labels" not in file.relative_to(folder).parts
    )


def _stack(image: OmeImage, name: str) -> Stack:
    shape = tuple(map(int, image.arrays[0].shape))
    count = dict(zip(image.axes, shape, strict=True)).get("c", 1)
    return Stack(
        name=name,
        axes=tuple(image.axes),
        shape=shape,
        channels="c",
        are_colours=image.is_colour is not False and count in (3, 4),
        names={"c": image.channels},
    )


def _guess_of_colours(image: OmeImage, chosen: Chosen) -> tuple[str, ...]:
    if chosen.channels is not None or image.is_colour is not None:
        return ()
    return ("Its channels were read as colours.",)


def _check_chunks(views: Sequence[ChunkedPlane], name: str) -> None:
    for view in views:
        height, width = view.chunk
        if _BLOCK**2 // min(height * width, _BLOCK**2) > _MOST_CHUNKS:
            raise UnreadableImageError(
                f"“{name}” is stored in chunks of {height}×{width} pixels, too small "
                "to read thousands of them for each look: save it again with chunks "
                "of about 512×512."
            )


def _block(view: ChunkedPlane) -> tuple[int, int]:
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
