"""Slides that OpenSlide reads: MRXS, BIF, VMS, VMU, Sakura, Trestle and more.

Needs the extra ``slides``. It composes tiles as 8-bit RGBA, which is slower than our
own reading of TIFF; what it alone can do is to join tiles that overlap, and to read
formats that are no TIFF.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms
from typing_extensions import override

from napari_wsol.errors import UnreadableImageError, install
from napari_wsol.images import pixel_size
from napari_wsol.images.fingerprint import fingerprint_files
from napari_wsol.images.readers.base import FileSlide
from napari_wsol.images.readers.guard import ClosingGuard
from napari_wsol.images.readers.tiff_slide import tile_tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from openslide import OpenSlide

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.stacks import Pick


SUFFIXES = frozenset(
    {".mrxs", ".bif", ".vms", ".vmu", ".svslide", ".svs", ".ndpi", ".scn"}
)
"""Endings of formats that OpenSlide knows, beside TIFF and DICOM."""

_BLOCK = 512
_TILE_SIDES = range(128, 1025)


def vendor_of(path: Path) -> str | None:
    """The format as OpenSlide calls it (“mirax”), None where it cannot read it.

    Raises:
        UnreadableImageError: OpenSlide is not installed.
    """
    vendor = _library(path.name).OpenSlide.detect_format(path)
    return None if vendor is None else str(vendor)


class OpenSlideSlide(FileSlide):
    """A slide read by OpenSlide. See :class:`~napari_wsol.images.slide.Slide`.

    Levels are read in fixed blocks, so that pixels do not depend on how a region is
    cut: OpenSlide takes positions in whole level-0 pixels, and interpolates where a
    level's factor is not whole.
    """

    reader = "openslide"

    def _open(self) -> ClosingGuard:
        self._library = _library(self.name)
        self._reopening = threading.Lock()
        self._slide = self._opened()
        return ClosingGuard(self.name, self._close_slide)

    def _describe(self, pick: Pick) -> None:
        self._refuse(pick)
        slide = self._slide
        properties = dict(slide.properties)
        self._set_levels([(height, width) for width, height in slide.level_dimensions])
        self._factors = tuple(slide.level_downsamples)
        self._blocks = [_block(properties, at) for at in range(len(self.levels))]
        self._cut(self._blocks, self._load)
        size = _pixel_size(properties)
        self.mpp = size.mpp
        vendor = properties.get("openslide.vendor", "unknown")
        self.notes = (
            f"Read as Y×X×RGBA, transparent parts white, by OpenSlide ({vendor}).",
            *size.notes,
        )
        self.icc_profile = _icc_profile(slide)
        for name in slide.associated_images:
            self._pictures.add(name, partial(self._picture, name))

    def _picture(self, name: str) -> Rgb:
        try:
            return _on_white(self._slide.associated_images[name])
        except self._library.OpenSlideError as error:
            raise self._damaged(error) from error

    @override
    def _sources(self) -> Sequence[Path]:
        return _files(self.path)

    def _compute_fingerprint(self) -> str:
        return fingerprint_files(_files(self.path), tile_tables(self.path))

    def _close_slide(self) -> None:
        self._slide.close()  # The one that is open then: a failed one is replaced.

    def _opened(self) -> OpenSlide:
        try:
            return self._library.OpenSlide(self.path)
        except self._library.OpenSlideUnsupportedFormatError as error:
            raise UnreadableImageError(
                f"“{self.name}” is in no format that OpenSlide reads, or a part of it "
                "is missing (MRXS and VMS slides have files beside them): copy all of "
                "it again, or convert it to OME-TIFF, for instance with QuPath."
            ) from error
        except (self._library.OpenSlideError, OSError) as error:
            raise self._damaged(error) from error

    def _load(self, index: int, row: int, column: int) -> Rgb:
        level = self.levels[index]
        height, width = self._blocks[index]
        y, x = row * height, column * width
        size = (min(width, level.width - x), min(height, level.height - y))
        factor = self._factors[index]
        slide = self._slide
        try:
            at = (round(x * factor), round(y * factor))
            return _on_white(slide.read_region(at, index, size))
        except self._library.OpenSlideError as error:
            # A handle that failed once fails for ever; other parts may be sound.
            with self._reopening:
                if self._slide is slide:
                    self._slide = self._opened()
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> UnreadableImageError:
        return UnreadableImageError(
            f"“{self.name}” is damaged or incomplete: OpenSlide could not read it "
            f"({error}). Copy or download it again, or export it anew."
        )


def _library(name: str) -> ModuleType:
    try:
        import openslide
    except (ImportError, OSError) as error:  # OSError: its library is missing.
        raise UnreadableImageError(
            f"“{name}” is read with OpenSlide, which is not installed ({error}): "
            f"{install('slides')}, or convert it to OME-TIFF, for instance with QuPath."
        ) from error
    return openslide


def _on_white(image: Image.Image) -> Rgb:
    rgba = np.asarray(image.convert("RGBA"))
    if rgba[..., 3].min(initial=255) == 255:
        return np.ascontiguousarray(rgba[..., :3])
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return np.array(canvas)


def _icc_profile(slide: OpenSlide) -> bytes | None:
    try:
        profile = slide.color_profile
    except (ImageCms.PyCMSError, OSError):
        return None  # Damaged; it changes no pixel.
    return None if profile is None else profile.tobytes()


def _block(properties: Mapping[str, str], level: int) -> tuple[int, int]:
    """(height, width) read at once: the file's tiles where they have a fair size."""
    sides = [
        int(properties.get(f"openslide.level[{level}].tile-{side}", 0))
        for side in ("height", "width")
    ]
    fair = all(side in _TILE_SIDES for side in sides)
    return (sides[0], sides[1]) if fair else (_BLOCK, _BLOCK)


def _pixel_size(properties: Mapping[str, str]) -> pixel_size.PixelSize:
    x, y = (
        pixel_size.number(properties.get(f"openslide.mpp-{axis}", "")) for axis in "xy"
    )
    power = pixel_size.number(properties.get("openslide.objective-power", ""))
    return pixel_size.first_believed(
        [pixel_size.judge(x, y)], pixel_size.from_power(power)
    )


def _files(path: Path) -> list[Path]:
    """The slide's file, and the folder of the same name that MRXS keeps its data in."""
    folder = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and folder.is_dir():
        return [path, *sorted(item for item in folder.iterdir() if item.is_file())]
    return [path]


__all__ = ["SUFFIXES", "OpenSlideSlide", "vendor_of"]
