"""A slide's levels as arrays that are read where they are indexed."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, SupportsIndex

import numpy as np

from napari_wsol.errors import ImageError
from napari_wsol.images.geometry import Rgb, region_shape
from napari_wsol.images.overviews import computed_downsamples
from napari_wsol.images.resample import read_region

if TYPE_CHECKING:
    from types import EllipsisType

    import numpy.typing as npt

    from napari_wsol.images.slide import Slide

_Span = tuple[slice, int | slice]
"""What to read along an axis, and how to index what was read."""

_ReadRectangle = Callable[[int, int, int, int], Rgb]
_WHOLE_READ_BYTES = 4 << 30


class LevelArray:
    """One level as an array that is read where it is indexed; made for napari.

    Shape (height, width, 3), dtype uint8. Takes integers, slices and ``...``.
    """

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        shape: tuple[int, int],
        read: _ReadRectangle,
    ) -> None:
        """``read(y, x, height, width)`` gives the pixels of a rectangle."""
        self.shape = (shape[0], shape[1], 3)
        self._read = read

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1] * 3

    @property
    def nbytes(self) -> int:
        """Bytes if it were all in memory."""
        return self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"LevelArray(shape={self.shape})"

    def __getitem__(
        self,
        key: SupportsIndex
        | slice
        | EllipsisType
        | tuple[SupportsIndex | slice | EllipsisType, ...],
    ) -> Rgb:
        (y, y_key), (x, x_key), (colour, colour_key) = self._expand(key)
        height, width = y.stop - y.start, x.stop - x.start
        if height * width * 3 > _WHOLE_READ_BYTES:
            raise ImageError(
                f"{height}×{width} pixels are too many to hold at once: "
                "read a part of them, or a coarser level."
            )
        block = self._read(y.start, x.start, height, width)
        return block[:, :, colour][y_key, x_key, colour_key]

    def __array__(
        self,
        dtype: npt.DTypeLike | None = None,
        copy: bool | None = None,
    ) -> npt.NDArray[np.generic]:
        del copy  # Always a fresh array.
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype)

    def _expand(self, key: object) -> tuple[_Span, _Span, _Span]:
        keys: list[object] = [*key] if isinstance(key, tuple) else [key]
        if keys.count(Ellipsis) > 1 or len(keys) - keys.count(Ellipsis) > self.ndim:
            raise IndexError(f"Too many indices for an array of shape {self.shape}.")
        if Ellipsis not in keys:
            keys.append(Ellipsis)
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        y = _span(keys[0], self.shape[0])
        x = _span(keys[1], self.shape[1])
        return y, x, _span(keys[2], 3)


def _integer(key: object) -> int:
    if isinstance(key, SupportsIndex):
        return operator.index(key)
    raise IndexError(f"A level is indexed with integers and slices, not {key!r}.")


def _span(key: object, size: int) -> _Span:
    """What to read along one axis, and how to index what was read."""
    if not isinstance(key, slice):
        at = _integer(key)
        if not -size <= at < size:
            raise IndexError(f"Index {at} is outside an axis of {size} pixels.")
        return slice(at % size, at % size + 1), 0
    wanted = range(*key.indices(size))
    if not wanted:
        return slice(0, 0), slice(None)
    return slice(min(wanted), max(wanted) + 1), slice(None, None, wanted.step)


def level_arrays(slide: Slide) -> list[LevelArray]:
    """The slide's levels as lazy arrays, largest first, as napari's Image takes them.

    Each level is (height, width, 3) uint8; nothing is read until it is indexed. A slide
    whose coarsest level is larger than a screen can show gets computed levels after it,
    each 4 times smaller. The first that memory can hold is computed once, when it or a
    coarser one is first looked at, and kept.
    """
    arrays = [
        LevelArray((level.height, level.width), _level_reader(slide, index))
        for index, level in enumerate(slide.levels)
    ]
    for downsample in computed_downsamples(slide):
        shape = region_shape(slide.shape, downsample)
        arrays.append(LevelArray(shape, _computed_reader(slide, downsample)))
    return arrays


def _level_reader(slide: Slide, index: int) -> _ReadRectangle:
    def read(y: int, x: int, height: int, width: int) -> Rgb:
        return slide.read(index, y, x, height, width)

    return read


def _computed_reader(slide: Slide, downsample: float) -> _ReadRectangle:
    def read(y: int, x: int, height: int, width: int) -> Rgb:
        return read_region(slide, y, x, height, width, downsample)

    return read
