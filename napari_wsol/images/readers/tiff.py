"""Reads tiles and strips of a TIFF straight from the file, with tifffile's codecs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from tifffile import TIFF

from napari_wsol.errors import UnreadableImageError, told_as
from napari_wsol.images.readers.base import UndecodedError
from napari_wsol.images.readers.tiff_bounds import check_picture
from napari_wsol.images.readers.tiled import TiledLevel
from napari_wsol.images.readers.turned import turn_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    from tifffile import TiffFrame, TiffPage

    from napari_wsol.images.cache import TileCache
    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.pixels import PixelReading
    from napari_wsol.images.readers.positioned import PositionedFile
    from napari_wsol.images.readers.values import Pixels


_APERIO_YCBCR = 33003
_JPEG = frozenset({6, 7, 34892, 33007})
_ORIENTATION = 274
_ROWS_BYTES = 1 << 20
_SEGMENT_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class _Plane:
    """Where the tiles of one sample plane of an image lie in the file."""

    offsets: Sequence[int]
    counts: Sequence[int]
    first: int
    tables: bytes | None


class TiffImage:
    """One resolution of a TIFF: finds, reads and decodes its tiles (or strips).

    Everything that needs tifffile's own handle happens here in the constructor, so
    that reading needs the positioned file alone.

    Attributes:
        keyframe: the page that describes this image.
        shape: (height, width).
        tile_shape: (height, width) of a tile; strips are tiles as wide as the image.
        grid: rows and columns of tiles.
        samples: samples a pixel.
        is_ycbcr: whether decoded pixels are YCbCr, which most codecs convert.
        is_picked: whether only some of its samples are read.
        palette: (n, 3) uint8 colours of an indexed image, or None.
        turn: how it comes to stand upright.
    """

    def __init__(
        self,
        pages: Sequence[TiffPage | TiffFrame],
        file: PositionedFile,
        picked: tuple[int, ...] | None = None,
        skipped: tuple[int, ...] = (),
    ) -> None:
        """One page, or one page for each of the colours.

        Args:
            pages: where the pixels lie.
            file: to read from.
            picked: of the samples of a pixel, those that are read; all by default.
            skipped: for each page, how many images of its size lie between it and the
                pixels: ImageJ leaves out the headers of all but the first.

        Raises:
            UnreadableImageError: the compression or tile layout is not supported.
        """
        keyframe = pages[0].keyframe
        if keyframe is None:
            raise UnreadableImageError(
                f"“{file.path.name}” has a page without a header: the file is "
                "incomplete. Copy or download it again."
            )
        self._file = file
        self.keyframe = keyframe
        self.shape = (int(keyframe.imagelength), int(keyframe.imagewidth))
        self._check()
        self._is_raw = not keyframe.is_tiled and all(map(_is_one_piece, pages))
        self.tile_shape = self._tile_shape()
        self.grid = (
            -(-self.shape[0] // self.tile_shape[0]),
            -(-self.shape[1] // self.tile_shape[1]),
        )
        planes = self._find_planes(pages, skipped or (0,) * len(pages))
        self.is_picked = picked is not None
        apart = picked is not None and self._plane_samples == 1 < len(planes)
        self._planes = [planes[at] for at in picked or ()] if apart else planes
        self._picked = None if apart else picked
        read = picked or range(len(planes) * self._plane_samples)
        self.samples = len(read)
        self._decode = keyframe.decode
        self.is_ycbcr = self._is_ycbcr()
        self.palette = _palette(keyframe)
        self.turn = turn_of(keyframe.tags.valueof(_ORIENTATION))

    @property
    def native_bytes(self) -> int:
        """Bytes of the decoded image."""
        return self.shape[0] * self.shape[1] * self.samples * self._dtype.itemsize

    @property
    def _dtype(self) -> np.dtype[np.generic]:
        return np.dtype(self.keyframe.dtype or np.uint8)

    @property
    def _plane_samples(self) -> int:
        separate = int(self.keyframe.planarconfig) == 2
        return 1 if separate else int(self.keyframe.samplesperpixel)

    @property
    def tables(self) -> tuple[tuple[int, ...], ...]:
        """Offsets and byte counts of all tiles."""
        return tuple(
            tuple(table)
            for plane in self._planes
            for table in (plane.offsets, plane.counts)
        )

    def read_tile(self, row: int, column: int) -> Pixels | None:
        """One tile as it is stored, or None where the file left it out.

        Returns:
            (tile height, tile width, samples), smaller at the lower edge of strips.

        Raises:
            UnreadableImageError: the tile is damaged.
        """
        index = row * self.grid[1] + column
        read = self._read_rows if self._is_raw else self._read_segment
        parts = [read(plane, index) for plane in self._planes]
        found = [part for part in parts if part is not None]
        if not found:
            return None
        if len(parts) == 1:
            tile = found[0]
        else:
            blank = np.zeros_like(found[0])
            joined = [blank if part is None else part for part in parts]
            tile = np.concatenate(joined, axis=2)
        return tile if self._picked is None else tile[..., list(self._picked)]

    def check_decodes(self) -> None:
        """Reads a tile at both ends and in the middle, until one can be decoded.

        Raises:
            UndecodedError: none can: its kind is not known, or all is damaged.
        """
        rows, columns = self.grid
        count = rows * columns
        failed: list[UndecodedError] = []
        for at in dict.fromkeys((0, count // 2, count - 1)):
            try:
                tile = self.read_tile(*divmod(at, columns))
            except UndecodedError as error:
                failed.append(error)
            else:
                if tile is not None:
                    return
        if not failed:
            return  # All three were left out.
        keyframe = self.keyframe
        raise UndecodedError(
            f"“{self._file.path.name}” is compressed or packed in a way that is not "
            f"supported (compression {_word(keyframe.compression)}, colours "
            f"{_word(keyframe.photometric)}): "
            "save it again as RGB with JPEG, LZW, deflate or zstd compression."
        ) from failed[0]

    def sample_tiles(self, budget_bytes: int) -> Iterator[Pixels]:
        """Decoded tiles spread evenly over the image, all of them if they fit."""
        rows, columns = self.grid
        tile_bytes = max(1, self.native_bytes // (rows * columns))
        count = max(1, min(rows * columns, budget_bytes // tile_bytes))
        for at in np.linspace(0, rows * columns - 1, count).astype(int):
            row, column = divmod(int(at), columns)
            tile = self.read_tile(row, column)
            if tile is not None:
                yield self._inside(tile, row, column)

    def _inside(self, tile: Pixels, row: int, column: int) -> Pixels:
        """The part of a tile that lies in the image: what is beyond is anything."""
        return tile[
            : self.shape[0] - row * self.tile_shape[0],
            : self.shape[1] - column * self.tile_shape[1],
        ]

    def _check(self) -> None:
        keyframe, name = self.keyframe, self._file.path.name
        compression = int(keyframe.compression)
        if compression != 1 and compression not in TIFF.DECOMPRESSORS:
            raise UnreadableImageError(
                f"“{name}” is compressed in a way that is not supported "
                f"(TIFF compression {compression}): save it again with JPEG, LZW, "
                "deflate or zstd compression."
            )
        if keyframe.is_subsampled and compression == 1:
            raise UnreadableImageError(
                f"“{name}” keeps its colours uncompressed at half size (subsampled "
                "YCbCr), which is not supported: save it again as RGB."
            )
        if keyframe.dtype is None or not keyframe.dataoffsets:
            raise UnreadableImageError(
                f"“{name}” has pixels of a kind that is not supported: "
                "save it again as 8-bit or 16-bit TIFF."
            )

    def _tile_shape(self) -> tuple[int, int]:
        keyframe = self.keyframe
        if keyframe.is_tiled:
            shape = (int(keyframe.tilelength), int(keyframe.tilewidth))
        elif self._is_raw:
            shape = (max(1, _ROWS_BYTES // self._row_bytes()), self.shape[1])
        else:
            shape = (min(int(keyframe.rowsperstrip), self.shape[0]), self.shape[1])
        tile_bytes = shape[0] * self._row_bytes() * shape[1] // self.shape[1]
        if min(shape) < 1 or tile_bytes > _SEGMENT_BYTES:
            raise UnreadableImageError(
                f"“{self._file.path.name}” is stored in pieces of {shape[0]}×{shape[1]}"
                " pixels, too large to read one by one: save it again as a tiled TIFF."
            )
        return shape

    def _row_bytes(self) -> int:
        return self.shape[1] * self._plane_samples * self._dtype.itemsize

    def _find_planes(
        self, pages: Sequence[TiffPage | TiffFrame], skipped: tuple[int, ...]
    ) -> list[_Plane]:
        samples = int(self.keyframe.samplesperpixel) // self._plane_samples
        tiles = self.grid[0] * self.grid[1]
        image_bytes = self.shape[0] * self._row_bytes() * samples
        planes = [
            _Plane(
                [offset + images * image_bytes for offset in page.dataoffsets]
                if images
                else page.dataoffsets,
                page.databytecounts,
                sample * tiles,
                page.jpegtables,
            )
            for page, images in zip(pages, skipped, strict=True)
            for sample in range(samples)
        ]
        short = [
            plane
            for plane in planes
            if not self._is_raw and len(plane.offsets) < plane.first + tiles
        ]
        if short:
            raise UnreadableImageError(
                f"“{self._file.path.name}” lists fewer tiles than its size needs: "
                "the file is incomplete. Copy or download it again."
            )
        return planes

    def _is_ycbcr(self) -> bool:
        keyframe = self.keyframe
        compression = int(keyframe.compression)
        if compression == _APERIO_YCBCR:
            # The codec converts only where the colours are stored at half width, which
            # byte 46 of the stream (XRsiz of the second component) tells.
            head = self._file.read(self._planes[0].offsets[0], 48)
            return head[46] == 1
        return compression not in _JPEG and int(keyframe.photometric) == 6

    def _read_rows(self, plane: _Plane, index: int) -> Pixels:
        """Rows of an uncompressed image, however many rows its strips have."""
        start = index * self.tile_shape[0]
        count = min(self.tile_shape[0], self.shape[0] - start)
        row_bytes = self._row_bytes()
        skipped = (plane.first // (self.grid[0] * self.grid[1])) * self.shape[0] + start
        offset = plane.offsets[0] + skipped * row_bytes
        data = self._file.read(offset, count * row_bytes)
        stored = self._dtype.newbyteorder(self.keyframe.parent.byteorder)
        rows = np.frombuffer(data, stored).astype(self._dtype, copy=False)
        return rows.reshape(count, self.shape[1], self._plane_samples)

    def _read_segment(self, plane: _Plane, index: int) -> Pixels | None:
        at = plane.first + index
        if plane.counts[at] == 0:
            return None
        data = self._file.read(plane.offsets[at], plane.counts[at])

        def told(error: Exception) -> UndecodedError:
            return UndecodedError(
                f"“{self._file.path.name}” is damaged: a piece of the image "
                f"(number {at}) could not be decoded ({error}). "
                "Copy or download the file again, or export it anew."
            )

        with told_as(told):
            if self.keyframe.jpegheader is None:  # else the head is not in the tile
                check_picture(data, self.tile_shape)
            tile, _, _ = self._decode(
                data,
                at,
                jpegtables=plane.tables,
                jpegheader=self.keyframe.jpegheader,
            )
        if tile is None:
            return None
        # The fax codecs give 0 and 1 as bytes, which would be two shades of black.
        is_bits = self._dtype == np.bool_
        return tile[0].astype(np.bool_, copy=False) if is_bits else tile[0]


def _word(value: object) -> str:
    """What a tag says: its name in TIFF, or a number that has none."""
    return str(getattr(value, "name", value))


def _is_one_piece(page: TiffPage | TiffFrame) -> bool:
    """Whether rows lie uncompressed one after the other, across all strips."""
    if len(page.dataoffsets) != len(page.databytecounts):
        return False
    pieces = zip(page.dataoffsets, page.databytecounts, strict=True)
    ends = [offset + count for offset, count in pieces]
    return page.is_contiguous and ends[:-1] == list(page.dataoffsets[1:])


def _palette(page: TiffPage) -> npt.NDArray[np.uint8] | None:
    if page.colormap is None:
        return None
    colours = np.asarray(page.colormap).T
    return (colours >> 8 if colours.max() > 255 else colours).astype(np.uint8)


class TiffLevel(TiledLevel):
    """One resolution of a TIFF as RGB rectangles; left-out tiles are white."""

    def __init__(
        self, image: TiffImage, reading: PixelReading, cache: TileCache
    ) -> None:
        super().__init__(image.shape, image.tile_shape, self._load_tile, cache)
        self.image = image
        self._reading = reading

    def _load_tile(self, row: int, column: int) -> Rgb:
        tile = self.image.read_tile(row, column)
        if tile is None:
            return np.full((*self.image.tile_shape, 3), 255, np.uint8)
        return self._reading.to_rgb8(tile)
