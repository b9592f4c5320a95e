"""Slides and images stored as TIFF: SVS, NDPI, OME-TIFF and their many relatives."""

from __future__ import annotations

import logging
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from tifffile import TiffFile

from napari_wsol.errors import ImageError, UnreadableImageError, install, told_as
from napari_wsol.images import pixel_size
from napari_wsol.images.cache import TileCache
from napari_wsol.images.fingerprint import fingerprint_bytes
from napari_wsol.images.readers.base import FileSlide
from napari_wsol.images.readers.pixels import plan_reading
from napari_wsol.images.readers.positioned import PositionedFile
from napari_wsol.images.readers.stacks import ANY
from napari_wsol.images.readers.tiff import TiffImage, TiffLevel
from napari_wsol.images.readers.tiff_bounds import check_directories
from napari_wsol.images.readers.tiff_layout import (
    colour_of_tiff,
    find_layout,
    overlaps,
    told_bits,
)
from napari_wsol.images.readers.turned import upright

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tifffile import TiffPage

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.guard import ClosingGuard
    from napari_wsol.images.readers.pixels import PixelReading
    from napari_wsol.images.readers.stacks import Pick
    from napari_wsol.images.readers.tiff_layout import Layout
    from napari_wsol.images.readers.values import Pixels


logger = logging.getLogger(__name__)

_ICC_TAG = 34675
_SURVEY_BYTES = 64 << 20
_OVERLAPS = (
    "Its tiles overlap and are not joined, so tissue is doubled at their rims: "
    "{}, which joins them."
)
_PACKED_BITS = frozenset({2, 4, 6, 10, 12, 14})


class TiffSlide(FileSlide):
    """A TIFF of any kind as a slide. See :class:`~napari_wsol.images.slide.Slide`."""

    reader = "tifffile"
    overlaps = False
    """Whether neighbouring tiles show the same tissue twice, as Ventana's do."""
    tables: tuple[tuple[int, ...], ...]
    """Offsets and byte counts of the tiles of level 0."""

    def _open(self) -> ClosingGuard:
        self._file = PositionedFile(self.path)
        return self._file.guard

    def _describe(self, pick: Pick) -> None:
        with told_as(partial(_no_tiff, self.path)):
            self._look(pick)

    def _look(self, pick: Pick) -> None:
        check_directories(self._file.read, self.path.stat().st_size, self.name)
        with TiffFile(self.path) as tif:
            layout = find_layout(tif, self.name, pick)
            images = [
                TiffImage(pages, self._file, layout.picked, layout.skipped)
                for pages in layout.levels
            ]
            first = images[0].keyframe
            bits = told_bits(tif, first)
            turn = images[0].turn
            size = pixel_size.from_tiff(tif, first, is_on_its_side=turn.swaps)
            self.icc_profile = _icc_profile(first)
            self.overlaps = overlaps(first)
            self._find_pictures(layout)
        self._set_levels([turn.shape(image.shape) for image in images])
        images[0].check_decodes()
        reading, notes = _plan(images, self.name, bits)
        levels = [TiffLevel(image, reading, self._cache) for image in images]
        self._levels = [upright(level, turn) for level in levels]
        self.tables, self._part = images[0].tables, pick.key
        self.mpp = size.mpp
        joins = (_OVERLAPS.format(install("slides")),) if self.overlaps else ()
        self.notes = (reading.note, *notes, *layout.notes, *joins, *size.notes)

    def _find_pictures(self, layout: Layout) -> None:
        """Takes those that could be read; their pixels are not touched."""
        for name, pages in layout.beside.items():
            try:
                image = TiffImage(pages, self._file)
            except UnreadableImageError as error:
                logger.info("skipping the %s of %s: %s", name, self.name, error)
            else:
                self._pictures.add(name, partial(_picture, image, self.name))

    def _compute_fingerprint(self) -> str:
        size = self.path.stat().st_size
        return fingerprint_bytes(size, self._file.read, self.tables)


def _picture(image: TiffImage, name: str) -> Rgb:
    reading, _ = _plan([image], name)
    level = TiffLevel(image, reading, TileCache(0))
    return upright(level, image.turn).read(0, 0, *image.turn.shape(image.shape))


def _plan(
    images: Sequence[TiffImage], name: str, bits: int | None = None
) -> tuple[PixelReading, tuple[str, ...]]:
    """How pixels become RGB, decided once so that all tiles are treated alike."""
    image = images[0]
    colour, notes = colour_of_tiff(image, name)
    # Whatever its annotation says, it is a tuple where samples differ (RGB 565).
    packed = image.keyframe.bitspersample
    bits = packed if packed in _PACKED_BITS else bits
    samples: list[Pixels] = []
    if bits is not None or image.keyframe.dtype != np.uint8:
        samples += image.sample_tiles(_SURVEY_BYTES)
        if len(images) > 1:
            samples += images[-1].sample_tiles(_SURVEY_BYTES // 4)
        if not samples:
            raise ImageError(
                f"“{name}” has no pixels in it: check that it is complete."
            )
        if image.native_bytes > _SURVEY_BYTES:
            notes += ("Its range of values was taken from parts of the image.",)
    reading = plan_reading(samples, colour, bits=bits, palette=image.palette)
    return reading, notes


def _icc_profile(page: TiffPage) -> bytes | None:
    tag = page.tags.get(_ICC_TAG)
    return bytes(tag.value) if tag is not None else None


def is_pyramid(path: Path) -> bool:
    """Whether a file is one picture at several resolutions; reads no pixels.

    Several channels or planes of which one must be chosen are none.
    """
    try:
        with told_as(partial(_no_tiff, path)), checked_tiff(path) as tif:
            return len(find_layout(tif, path.name, ANY).levels) > 1
    except ImageError:
        return False


def checked_tiff(path: Path) -> TiffFile:
    """Opens a TIFF with tifffile, once its directories are known to be bounded.

    Raises:
        UnreadableImageError: they are not.
        OSError: it cannot be opened.
    """
    with closing(PositionedFile(path)) as file:
        check_directories(file.read, path.stat().st_size, path.name)
    return TiffFile(path)


def _no_tiff(path: Path, error: Exception) -> UnreadableImageError:
    return UnreadableImageError(
        f"“{path.name}” could not be read as a TIFF ({error}): the file is damaged or "
        "incomplete. Copy or download it again."
    )


def tile_tables(path: Path) -> tuple[tuple[int, ...], ...]:
    """Tile offsets and byte counts of level 0, none where this is no TIFF of ours.

    Other readers take them so that a file has one fingerprint, whoever reads it.
    """
    try:
        slide = TiffSlide(path)
    except ImageError:
        return ()
    try:
        return slide.tables
    finally:
        slide.close()
