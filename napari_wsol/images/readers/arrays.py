"""Arrays in memory or on disk (numpy, dask, zarr) as slides."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from typing_extensions import override

from napari_wsol.errors import ImageError
from napari_wsol.images.fingerprint import (
    WHOLE_BYTES,
    file_states,
    fingerprint_bytes,
    fingerprint_files,
    neutral_name,
)
from napari_wsol.images.geometry import check_size, paste
from napari_wsol.images.readers.base import SlideBase
from napari_wsol.images.readers.pixels import colour_of, plan_reading
from napari_wsol.images.readers.stacks import ANY, Stack, choose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.pixel_size import PixelSize
    from napari_wsol.images.readers.stacks import Chosen, Pick
    from napari_wsol.images.readers.values import Pixels


_COLOURS = (1, 3, 4)
_SURVEY_BYTES = 64 << 20
_SURVEY_WINDOW = 512
_SURVEY_GRID = 5
_SAMPLED_ROWS = 64
_SAMPLED_COLUMNS = 4096


@runtime_checkable
class ArrayLike(Protocol):
    """What numpy, dask and zarr arrays have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each axis."""
        ...

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Type of the values."""
        ...

    def __getitem__(self, key: tuple[slice, ...], /) -> object: ...


ArraySource = ArrayLike | Sequence[ArrayLike]
"""An array, or the arrays of a pyramid, largest first."""


class PlaneView:
    """The chosen plane of an array, seen as (height, width) or (height, width, n).

    Nothing is copied; a lazy array reads the chunks of a part when it is indexed.
    """

    def __init__(self, array: ArrayLike, axes: tuple[str, ...], chosen: Chosen) -> None:
        self._array = array
        self._axes = axes
        self._chosen = chosen
        sizes = dict(zip(axes, array.shape, strict=True))
        letters = {axis.lower(): axis for axis in axes}
        self._y, self._x = letters["y"], letters["x"]
        count = sizes.get(chosen.axis, 1)
        depth = count if chosen.channels is None else len(chosen.channels)
        plane = (int(sizes[self._y]), int(sizes[self._x]))
        self.shape = (*plane, int(depth)) if chosen.axis else plane
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: tuple[slice, ...], /) -> Pixels:
        """(h, w) or (h, w, n) of a part."""
        rows, columns = (*key, slice(None), slice(None))[:2]
        channels = self._chosen.channels
        if not self._chosen.axis or channels is None:
            return self._part(rows, columns, slice(None))
        parts = [self._part(rows, columns, slice(at, at + 1)) for at in channels]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)

    def _part(self, rows: slice, columns: slice, channels: slice) -> Pixels:
        spans = {
            self._y: rows,
            self._x: columns,
            **self._chosen.planes,
            self._chosen.axis: channels,
        }
        key = tuple(spans.get(axis, 0) for axis in self._axes)
        # Of an axis that is left out one place is taken, which all arrays know.
        part = np.asarray(self._array[cast("tuple[slice, ...]", key)])
        wanted = [self._y, self._x, self._chosen.axis]
        order = [axis for axis in self._axes if axis in wanted]
        return part.transpose([order.index(axis) for axis in wanted if axis in order])


class ArraySlide(SlideBase):
    """An array as a slide. See :class:`~napari_wsol.images.slide.Slide`."""

    _is_closed = False

    def __init__(
        self,
        source: ArraySource,
        *,
        name: str | None = None,
        mpp: float | None = None,
        pick: Pick = ANY,
        reader: str = "array",
        path: Path | None = None,
        notes: tuple[str, ...] = (),
        icc_profile: bytes | None = None,
        bits: int | None = None,
        axes: tuple[str, ...] | None = None,
    ) -> None:
        """Looks at the shape, and at values where they are not 8-bit.

        Args:
            source: (H, W), (H, W, 3) or (H, W, 4) of any real dtype, with the colours
                first, or a stack of such; or a list of them, largest first.
            name: shown to the user.
            mpp: µm a pixel, where known.
            pick: what of it is shown; what is colour, the length of its axes tells.
            reader: who read the pixels.
            path: the file they came from.
            notes: sentences to keep.
            icc_profile: of the file.
            bits: significant bits of a sample, where the file tells.
            axes: "y", "x" and "c" in the order of the array, where they are known.

        Raises:
            StackError: it must be said which channel or plane is shown.
            ImageError: empty, NaN, too small.
        """
        super().__init__()
        self.name = name or (path.name if path else "array")
        self.path = path
        self.reader = reader
        self.mpp = mpp
        self.icc_profile = icc_profile
        given = _as_levels(source, self.name)
        seen = [seen_plane(array, self.name, pick, axes) for array in given]
        self._arrays = [array for array, _ in seen]
        shapes = [(int(array.shape[0]), int(array.shape[1])) for array in self._arrays]
        for shape in shapes:
            check_size(shape, self.name)
        _check_pyramid(self._arrays, shapes, self.name)
        self._set_levels(shapes)
        colour = colour_of(self._arrays[0].shape)
        self._reading = plan_reading(list(self._survey()), colour, bits=bits)
        self.notes = (self._reading.note, *seen[0][1], *notes)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Rgb:
        """(height, width, 3) uint8 of a level; white outside. Thread-safe.

        Raises:
            UnreadableImageError: the file is damaged there.
            ImageError: the pixels there are not numbers, or the slide is closed.
        """
        result = np.full((max(height, 0), max(width, 0), 3), 255, np.uint8)
        size = self.levels[level]
        y0, x0 = max(y, 0), max(x, 0)
        y1, x1 = min(y + height, size.height), min(x + width, size.width)
        if y1 > y0 and x1 > x0:
            stored = self._stored(level, slice(y0, y1), slice(x0, x1))
            paste(result, (y, x), self._reading.to_rgb8(stored), (y0, x0))
        return result

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Of the values, before they became 8-bit colours."""
        return np.dtype(self._arrays[0].dtype)

    @property
    def is_lazy(self) -> bool:
        """Whether the array is not in memory: nobody paints into it."""
        return not isinstance(self._arrays[0], np.ndarray)

    def stored(self, rows: slice, columns: slice) -> Pixels:
        """(h, w, samples) of level 0, as they are stored."""
        return self._stored(0, rows, columns)

    def close(self) -> None:
        """Lets the array go."""
        self._is_closed = True
        self._arrays = []

    def _check_open(self) -> None:
        if self._is_closed:
            raise ImageError(f"“{self.name}” has been closed: open it again.")

    def _stored(self, level: int, rows: slice, columns: slice) -> Pixels:
        """(h, w, samples) of the stored dtype."""
        self._check_open()
        array = self._arrays[level]
        key = (rows, columns, slice(None))[: len(array.shape)]
        pixels: Pixels = np.asarray(array[key])
        return pixels[..., None] if pixels.ndim == 2 else pixels

    def _survey(self) -> Iterator[Pixels]:
        """The pixels by which values are judged: all, or windows spread evenly."""
        first = self._arrays[0]
        height, width = first.shape[:2]
        is_small = int(np.prod(first.shape)) * first.dtype.itemsize <= _SURVEY_BYTES
        if first.dtype == np.uint8:
            yield self._stored(0, slice(0, 1), slice(0, 1))
        elif is_small or isinstance(first, np.ndarray):
            yield self._stored(0, slice(None), slice(None))
        else:
            side = _SURVEY_WINDOW
            for y in np.linspace(0, max(0, height - side), _SURVEY_GRID).astype(int):
                for x in np.linspace(0, max(0, width - side), _SURVEY_GRID).astype(int):
                    yield self._stored(0, slice(y, y + side), slice(x, x + side))

    def _compute_fingerprint(self) -> str:
        """Of shape, dtype and pixels of level 0.

        Above 64 MB, pieces of rows spread over the image stand for all of it.
        """
        array = self._arrays[0]
        height = array.shape[0]
        row_bytes = int(np.prod(array.shape[1:])) * array.dtype.itemsize
        head = f"{array.shape} {array.dtype.str}".encode()
        if height * row_bytes <= WHOLE_BYTES:
            pixels = self._stored(0, slice(None), slice(None)).tobytes()
        else:
            rows = np.unique(np.linspace(0, height - 1, _SAMPLED_ROWS).astype(int))
            spare = max(0, array.shape[1] - _SAMPLED_COLUMNS)
            # Pieces of rows, scattered in a fixed way: whole rows of a lazy array of
            # many GB would take it minutes.
            lefts = [spare * (index * 3 % 8) // 7 for index in range(len(rows))]
            pixels = b"".join(
                self._stored(
                    0, slice(row, row + 1), slice(left, left + _SAMPLED_COLUMNS)
                ).tobytes()
                for row, left in zip(rows, lefts, strict=True)
            )
        content = head + pixels
        return fingerprint_bytes(
            len(content), lambda start, size: content[start : start + size]
        )


class Decoded(NamedTuple):
    """What a file holds, as :class:`ArraySlide` takes it; ``plane`` is that shown."""

    pixels: Pixels
    size: PixelSize
    notes: tuple[str, ...]
    icc_profile: bytes | None
    bits: int | None
    plane: tuple[int, ...]


class DecodedFile(ArraySlide):
    """A file that is decoded whole and held in memory; a subclass decodes it."""

    path: Path
    reader: str

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        mpp: float | None = None,
        pick: Pick = ANY,
    ) -> None:
        """Decodes the whole image.

        Raises:
            UnreadableImageError: not an image, damaged, or too large to hold.
            StackError: it must be said which plane is shown.
            ImageError: too small.
        """
        opened = file_states((path,))
        title = name or (neutral_name(path) if self.hides_file else path.name)
        found = self._decode(path, title, pick)
        super().__init__(
            found.pixels,
            name=title,
            mpp=found.size.mpp if mpp is None else mpp,
            pick=replace(pick, plane=()),
            reader=self.reader,
            path=path,
            notes=found.notes + found.size.notes,
            icc_profile=found.icc_profile,
            bits=found.bits,
            axes=("y", "x", "c")[: found.pixels.ndim],
        )
        self.opened_files = opened
        self._part = replace(pick, plane=found.plane).key

    @abstractmethod
    def _decode(self, path: Path, title: str, pick: Pick) -> Decoded: ...

    @override
    def _sources(self) -> Sequence[Path]:
        return (self.path,)

    @override
    def _compute_fingerprint(self) -> str:
        """Of the file, so that any tool can compute it again."""
        return fingerprint_files([self.path])


def _as_levels(source: ArraySource, name: str) -> list[ArrayLike]:
    # A napari pyramid is a Sequence that also has a shape, so this comes first.
    levels: list[object] = (
        list(cast("Sequence[object]", source))
        if isinstance(source, Sequence)
        else [source]
    )
    arrays = [level for level in levels if isinstance(level, ArrayLike)]
    if not levels or len(arrays) != len(levels):
        raise ImageError(
            f"“{name}” is not an image: give an array of shape (height, width) or "
            "(height, width, 3), or a list of such arrays, largest first."
        )
    return arrays


def seen_plane(
    array: ArrayLike, name: str, pick: Pick, axes: tuple[str, ...] | None
) -> tuple[ArrayLike, tuple[str, ...]]:
    """The array as (H, W) or (H, W, 1 | 3 | 4), and how it was made so in words."""
    shape = tuple(int(size) for size in array.shape)
    if 0 in shape or not shape:
        raise ImageError(f"“{name}” is empty: choose an image that has pixels.")
    if len(shape) == 1:
        raise ImageError(
            f"“{name}” is a list of {shape[0]} numbers: "
            "give an array of shape (height, width) or (height, width, 3)."
        )
    axes = axes or _axes(shape, pick.rgb)
    are_colours = "c" in axes and shape[axes.index("c")] != 2
    deep = ", ".join(["0"] * (len(shape) - len(axes[-3:]) + ("c" not in axes)))
    stack = Stack(
        name=name,
        axes=axes,
        shape=shape,
        channels="c" if "c" in axes else "",
        are_colours=are_colours,
        example="image[..., 0]" if not deep else f"image[{deep}]",
    )
    chosen = choose(stack, pick)
    is_whole = chosen.channels is None or shape[2:] in ((), (1,))
    if axes in (("y", "x"), ("y", "x", "c")) and is_whole:
        return array, chosen.notes
    first = axes == ("c", "y", "x") and chosen.channels is None
    moved = ("Its first axis was read as colours.",) if first else ()
    return PlaneView(array, axes, chosen), moved + chosen.notes


def _axes(shape: tuple[int, ...], rgb: bool | None) -> tuple[str, ...]:
    """What the axes of an array are, told by their lengths."""
    outer = tuple(f"axis {index}" for index in range(len(shape) - 2))
    last, first = shape[-1], shape[0]
    is_last = last in _COLOURS and rgb is not False
    if len(shape) > 2 and (is_last or (len(shape) == 3 and last == 2)):
        return (*outer[:-1], "y", "x", "c")
    if len(shape) == 3 and first in (3, 4) and rgb is not False:
        return ("c", "y", "x")
    return (*outer, "y", "x")


def _check_pyramid(
    arrays: list[ArrayLike], shapes: list[tuple[int, int]], name: str
) -> None:
    first = arrays[0]
    for array in arrays[1:]:
        if array.shape[2:] != first.shape[2:] or array.dtype != first.dtype:
            raise ImageError(
                f"The levels of “{name}” differ in colours or type: "
                "give arrays of one kind, largest first."
            )
    for finer, coarser in pairwise(shapes):
        if coarser == finer or coarser[0] > finer[0] or coarser[1] > finer[1]:
            raise ImageError(
                f"The levels of “{name}” do not get smaller "
                f"({finer[0]}×{finer[1]}, then {coarser[0]}×{coarser[1]}): "
                "give them largest first."
            )
