"""A slide's levels as arrays that are read where they are indexed."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from typing_extensions import override

from napari_wsol.errors import ImageError
from napari_wsol.images.geometry import region_shape
from napari_wsol.images.overviews import computed_downsamples
from napari_wsol.images.resample import read_region

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.slide import Slide

_WHOLE_READ_BYTES = 4 << 30


class LazyArray(ABC):
    """An array that is read where it is indexed; made for napari.

    Takes integers, slices and ``...``.

    Attributes:
        shape: (height, width, …); of further axes all is read.
        dtype: of the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @abstractmethod
    def _read(self, y: int, x: int, height: int, width: int) -> npt.NDArray[Any]:
        """The values of a rectangle."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes if it were all in memory."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape})"

    def __getitem__(self, key: object) -> npt.NDArray[Any]:
        spans = list(map(_span, self._expand(key), self.shape))
        (y, _), (x, _), *rest = spans
        block = self._read(y.start, x.start, y.stop - y.start, x.stop - x.start)
        block = block[:, :, *(read for read, _ in rest)]
        return block[tuple(inner for _, inner in spans)]

    def __array__(
        self,
        dtype: npt.DTypeLike | None = None,
        copy: bool | None = None,
    ) -> npt.NDArray[np.generic]:
        del copy  # always a fresh array
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype)

    def _expand(self, key: object) -> list[object]:
        keys: list[object] = [*key] if isinstance(key, tuple) else [key]
        if keys.count(Ellipsis) > 1 or len(keys) - keys.count(Ellipsis) > self.ndim:
            raise IndexError(f"Too many indices for an array of shape {self.shape}.")
        if Ellipsis not in keys:
            keys.append(Ellipsis)
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (self.ndim - len(keys) + 1)
        return keys


def _span(key: object, size: int) -> tuple[slice, int | slice]:
    """What to read along one axis, and how to index what was read."""
    if not isinstance(key, slice):
        if not isinstance(key, SupportsIndex):
            raise IndexError(
                f"A level is indexed with integers and slices, not {key!r}."
            )
        at = operator.index(key)
        if not -size <= at < size:
            raise IndexError(f"Index {at} is outside an axis of {size} pixels.")
        return slice(at % size, at % size + 1), 0
    wanted = range(*key.indices(size))
    if not wanted:
        return slice(0, 0), slice(None)
    return slice(min(wanted), max(wanted) + 1), slice(None, None, wanted.step)


class LevelArray(LazyArray):
    """One level of a slide: (height, width, 3) uint8."""

    dtype = np.dtype(np.uint8)

    def __init__(
        self, shape: tuple[int, int], pixels: Callable[[int, int, int, int], Rgb]
    ) -> None:
        """``pixels(y, x, height, width)`` gives those of a rectangle."""
        self.shape = (*shape, 3)
        self._pixels = pixels

    @override
    def _read(self, y: int, x: int, height: int, width: int) -> Rgb:
        if height * width * 3 > _WHOLE_READ_BYTES:
            raise ImageError(
                f"{height}×{width} pixels are too many to hold at once: "
                "read a part of them, or a coarser level."
            )
        return self._pixels(y, x, height, width)


def level_arrays(slide: Slide) -> list[LevelArray]:
    """The slide's levels as lazy arrays, largest first, as napari's Image takes them.

    Each level is (height, width, 3) uint8; nothing is read until it is indexed. A slide
    whose coarsest level is larger than a screen can show gets computed levels after it,
    each 4 times smaller. The first that memory can hold is computed once, when it or a
    coarser one is first looked at, and kept.
    """
    arrays = [
        LevelArray((level.height, level.width), partial(slide.read, index))
        for index, level in enumerate(slide.levels)
    ]
    for downsample in computed_downsamples(slide):
        shape = region_shape(slide.shape, downsample)
        pixels = partial(read_region, slide, downsample=downsample)
        arrays.append(LevelArray(shape, pixels))
    return arrays
