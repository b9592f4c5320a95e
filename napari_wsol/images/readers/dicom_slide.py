"""Whole slides in DICOM (VL Whole Slide Microscopy), read with wsidicom.

Needs the extra ``dicom``.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
from typing_extensions import override

from napari_wsol.images import pixel_size
from napari_wsol.images.fingerprint import file_states, fingerprint_files
from napari_wsol.images.readers.base import FileSlide
from napari_wsol.images.readers.dicom_files import (
    check_library,
    colours_of_slide,
    files_of_slide,
)
from napari_wsol.images.readers.guard import ClosingGuard
from napari_wsol.images.readers.pixels import colour_of, plan_reading, to_rgb8

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wsidicom import WsiDicom
    from wsidicom.group import Level as Group

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.dicom_files import Colours
    from napari_wsol.images.readers.pixels import PixelReading
    from napari_wsol.images.readers.stacks import Pick
    from napari_wsol.images.readers.values import Pixels

_SURVEY_TILES = 64


class DicomSlide(FileSlide):
    """A slide of DICOM files. See :class:`~napari_wsol.images.slide.Slide`."""

    reader = "wsidicom"
    _files: Sequence[Path] = ()

    def _open(self) -> ClosingGuard:
        check_library("wsidicom", self.name)
        from wsidicom import WsiDicom

        self._files = files_of_slide(self.path, self.name)
        self.opened_files = file_states(self._files)
        self._one_by_one = threading.Lock()
        self._slide = WsiDicom.open(list(self._files))
        return ClosingGuard(self.name, self._slide.close)

    def _describe(self, pick: Pick) -> None:
        self._refuse(pick)
        slide = self._slide
        groups: list[Group] = slide.levels.levels
        self._set_levels([(int(g.size.height), int(g.size.width)) for g in groups])
        self._numbers = [int(group.level) for group in groups]
        colours = colours_of_slide(list(self._files))
        self._reading = self._plan(groups, colours)
        tiles = [(int(g.tile_size.height), int(g.tile_size.width)) for g in groups]
        self._cut(tiles, self._load)
        size = pixel_size.judge(float(slide.mpp.width), float(slide.mpp.height))
        self.mpp = size.mpp
        self.notes = (self._reading.note, *_left_out(slide, groups[0]), *size.notes)
        self.icc_profile = colours.icc_profile
        pictures: dict[str, tuple[object, Callable[[], object]]] = {
            "thumbnail": (slide.pyramid.thumbnails, partial(_thumbnail, slide)),
            "label": (slide.labels, slide.read_label),
            "macro": (slide.overviews, slide.read_overview),
        }
        for name, (there, read) in pictures.items():
            if there:
                self._pictures.add(name, partial(self._picture, read))

    def _picture(self, read: Callable[[], object]) -> Rgb:
        with self._one_by_one:
            return to_rgb8(_cube(read()))

    @override
    def _sources(self) -> Sequence[Path]:
        return self._files

    def _compute_fingerprint(self) -> str:
        return fingerprint_files(self._files)

    def _plan(self, groups: list[Group], colours: Colours) -> PixelReading:
        """How pixels become RGB, judged by tiles of the coarsest level."""
        tiled = groups[-1].tiled_size
        across, down = int(tiled.width), int(tiled.height)
        count = 1 if colours.bits == 8 else min(_SURVEY_TILES, across * down)
        places = np.linspace(0, across * down - 1, count).astype(int)
        tiles = [
            self._tile(self._numbers[-1], *divmod(int(place), across))
            for place in places
        ]
        colour = "inverted" if colours.is_inverted else colour_of(tiles[0].shape)
        return plan_reading(tiles, colour, bits=colours.bits)

    def _tile(self, number: int, row: int, column: int) -> Pixels:
        # Of two tiles that wsidicom reads at once, one may come out wrong (0.36).
        with self._one_by_one:
            tile = self._slide.read_tile(
                number, (column, row), crop_to_image_boundary=False, as_array=True
            )
        return _cube(tile)

    def _load(self, index: int, row: int, column: int) -> Rgb:
        return self._reading.to_rgb8(self._tile(self._numbers[index], row, column))


def _cube(pixels: object) -> Pixels:
    array = cast("Pixels", np.asarray(pixels))
    return array[..., None] if array.ndim == 2 else array


def _thumbnail(slide: WsiDicom) -> object:
    """The stored thumbnail in its own size."""
    sizes = [thumbnail.size for thumbnail in slide.pyramid.thumbnails or ()]
    return slide.read_thumbnail((int(sizes[0].width), int(sizes[0].height)))


def _left_out(slide: WsiDicom, group: Group) -> tuple[str, ...]:
    """Sentences on what is not shown of several planes, dyes or images."""
    counts = {
        "images": len(slide.pyramids),
        "optical paths": len(group.optical_paths),
        "focal planes": len(group.focal_planes),
    }
    return tuple(
        f"The slide has {count} {what}; the first is shown."
        for what, count in counts.items()
        if count > 1
    )
