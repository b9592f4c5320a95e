"""X-ray films and other pictures in DICOM (CR, DX, MG, CT, MR, …), read with pydicom.

Needs the extra ``dicom``. Stored values become grey as the standard has it (PS3.3,
C.11.1 and C.11.2), by pydicom's own functions: rescale or modality table, then VOI
table or window; MONOCHROME1 is inverted at last. Only what is said of the pixels is
read of a file, so that nothing of a patient can leave by an error or a warning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, cast

import numpy as np

from napari_wsol.errors import UnreadableImageError, told_as
from napari_wsol.images.fingerprint import (
    file_states,
    fingerprint_files,
    fingerprint_part,
)
from napari_wsol.images.pixel_size import FILM_LIMITS_UM, UNKNOWN, PixelSize, judge
from napari_wsol.images.readers.arrays import DecodedFile
from napari_wsol.images.readers.dicom_files import (
    DEFLATED,
    INSTALL,
    check_library,
    meta_of,
    neutral_name,
    unheard,
)
from napari_wsol.images.readers.stacks import ANY, Stack, choose
from napari_wsol.images.readers.tiff_bounds import check_picture
from napari_wsol.images.readers.values import ValueRange, value_range

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydicom import Dataset

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.stacks import Pick
    from napari_wsol.images.readers.values import Pixels

PIXELS = 100_000_000
"""Of one picture, at most: the largest films have half as many."""

FRAMES = 100_000
"""Of one file, at most."""

RLE = "1.2.840.10008.1.2.5"

_SPACINGS = {
    "PixelSpacing": "PixelSpacing",
    "ImagerPixelSpacing": "ImagerPixelSpacing, which is that of the detector: what "
    "lies before it is smaller",
}
_HELD = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_TAGS = [
    "Modality", "BurnedInAnnotation", *_SPACINGS, "SamplesPerPixel", "Rows", "Columns",
    "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope",
    "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence", "WindowCenter",
    "WindowWidth", "VOILUTFunction", "ICCProfile",
    *(f"{colour}PaletteColorLookupTable{what}"
      for colour in ("Red", "Green", "Blue") for what in ("Descriptor", "Data")),
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", *_HELD,
]  # fmt: skip
"""All that is read. Of palettes no segments: they may unpack to any size."""

_BURNT_IN = (
    "Text is burnt into the pixels (BurnedInAnnotation is YES): it may tell who the "
    "patient is, and pictures that are passed on show it."
)
_INVERTED = "In the file 0 is white (MONOCHROME1): it is shown inverted."
_FEW = 4
"""Of the range that the file tells, pixels that fill no more than one part in so many
would be next to black: the range is then taken from them."""


class DicomFilm(DecodedFile):
    """A picture of a DICOM file that is no whole slide, held in memory.

    It has a neutral name, and its file is not told: that may name the patient.
    """

    hides_file = True

    def __init__(
        self,
        path: Path,
        *,
        name: str | None = None,
        mpp: float | None = None,
        pick: Pick = ANY,
    ) -> None:
        """Decodes one picture.

        Args:
            path: a file.
            name: shown to the user; by default as ``neutral_name`` gives it.
            mpp: µm a pixel, instead of what the file says.
            pick: the frame of a file of several, then the window of a film of several;
                the first window where none is given.

        Raises:
            UnreadableImageError: damaged, too large, without pixels, or what decodes
                it is not installed.
            StackError: it must be said which frame is shown.
            ImageError: too small.
        """
        check_library("pydicom", path.name)
        opened, found = file_states((path,)), fingerprint_files([path])
        title = name or neutral_name(path, found)
        with told_as(partial(_unread, title)), unheard():
            header = _header(path, title)
            looks, without = _looks(header)
            frame, window, notes = _chosen(header, looks, title, pick)
            look = looks[window] if looks else None
            pixels, more = _shown(header, _decoded(header, frame, title), look)
            size = _pixel_size(header)
            burnt = _BURNT_IN if header.get("BurnedInAnnotation") == "YES" else ""
        told = (*notes, *without, *more, burnt, *size.notes)
        super().__init__(
            pixels,
            name=title,
            mpp=size.mpp if mpp is None else mpp,
            pick=replace(pick, plane=()),
            reader="pydicom",
            path=path,
            notes=tuple(filter(None, told)),
            icc_profile=header.get("ICCProfile"),
            bits=int(header.BitsStored) if pixels.dtype == np.uint16 else None,
            axes=("y", "x", "c")[: pixels.ndim],
        )
        # The first window is the image, however it was chosen.
        several = (_frames(header) > 1, window > 0)
        planes = tuple(compress((frame, window), several))
        self._came_from(opened, replace(pick, plane=planes).key)
        self._fingerprint = fingerprint_part(found, self._part)
        self.check_files()  # or it would be that of other pixels than were opened


@dataclass(frozen=True, slots=True)
class _Look:
    """One way to see a film.

    Attributes:
        words: for people.
        apply: makes shown values of those after the rescale.
        ends: the shown values that are black and white; None of a window, which tells
            them.
    """

    words: str
    apply: Callable[[Pixels], Pixels]
    ends: tuple[float, float] | None = None


def _unread(title: str, error: Exception) -> UnreadableImageError:
    return UnreadableImageError(
        f"“{title}” could not be read as DICOM: the file is damaged, incomplete or of "
        f"a kind that is not supported ({error or type(error).__name__}). Copy or "
        "download it again, or convert it to PNG or OME-TIFF."
    )


def _header(path: Path, title: str) -> Dataset:
    """What is said of the pixels, and they as they are stored.

    Raises:
        UnreadableImageError: there are none, or more than may be decoded.
    """
    import pydicom

    if meta_of(path)[1] == DEFLATED:
        raise UnreadableImageError(
            f"“{title}” is DICOM that is deflated as a whole, which may unpack to any "
            "size and is not read: export it uncompressed, or with JPEG 2000."
        )
    header = pydicom.dcmread(path, specific_tags=list(_TAGS))
    if not any(key in header for key in _HELD):
        raise UnreadableImageError(
            f"“{title}” is DICOM without pixels: it holds no image, or is cut off. "
            "Choose another file, or copy it again."
        )
    count = int(header.Rows) * int(header.Columns)
    most = PIXELS if header.BitsAllocated <= 16 else PIXELS // 8
    is_sound = 0 < header.SamplesPerPixel <= 4 and 0 < _frames(header) <= FRAMES
    if not (0 < count <= most and is_sound):
        raise UnreadableImageError(
            f"“{title}” tells of {_frames(header)} pictures of "
            f"{header.Rows}×{header.Columns} pixels of {header.SamplesPerPixel} "
            f"samples, and up to {most // 1_000_000} million pixels are decoded in one "
            "piece: it is damaged, or is to be exported smaller."
        )
    return header


def _frames(header: Dataset) -> int:
    return int(header.get("NumberOfFrames") or 1)


def _chosen(
    header: Dataset, looks: list[_Look], title: str, pick: Pick
) -> tuple[int, int, tuple[str, ...]]:
    """Which frame and window are shown, and that in sentences.

    Raises:
        StackError: there are several frames and none was chosen; or windows, and they
            are asked for (``rgb=False`` takes nothing for granted).
    """
    plane, frames = pick.plane, _frames(header)
    is_asked = pick.rgb is False and not plane
    if len(looks) > 1 and len(plane) == (frames > 1) and not is_asked:
        plane = (*plane, 0)  # PS3.3 C.11.2.1.2: the first is the one to begin with
    places = {"window": tuple(look.words for look in looks)}
    shape = (frames, max(len(looks), 1), int(header.Rows), int(header.Columns))
    axes = ("frame", "window", "y", "x")
    stack = Stack(name=title, axes=axes, shape=shape, places=places)
    chosen = choose(stack, replace(ANY, plane=plane))
    only = f"Shown by its {looks[0].words}." if len(looks) == 1 else ""
    notes = tuple(filter(None, (*chosen.notes, only)))
    return chosen.planes.get("frame", 0), chosen.planes.get("window", 0), notes


def _looks(header: Dataset) -> tuple[list[_Look], tuple[str, ...]]:
    """The tables and windows of a grey film, and a note on those that are unusable."""
    from pydicom.pixels.processing import apply_voi, apply_windowing

    if not str(header.PhotometricInterpretation).startswith("MONOCHROME"):
        return [], ()
    looks: list[_Look] = []
    for index, item in enumerate(header.get("VOILUTSequence") or ()):
        if item.get("LUTDescriptor") and item.get("LUTData"):
            words = f"table of {item.LUTDescriptor[0] or 1 << 16} values"
            top = _widened(item, (8,) if item.LUTDescriptor[0] in range(1, 257) else ())
            apply = partial(apply_voi, ds=header, index=index)
            looks.append(_Look(words, apply, (0.0, top)))
    if not header.get("VOILUTFunction"):
        header.VOILUTFunction = "LINEAR"
    least = 1.0 if header.VOILUTFunction == "LINEAR" else np.nextafter(0, 1)
    centres, widths = _numbers(header, "WindowCenter"), _numbers(header, "WindowWidth")
    for index, (centre, width) in enumerate(zip(centres, widths, strict=False)):
        if np.isfinite(centre) and least <= width < np.inf:
            words = f"window, centre {centre:g} and width {width:g}"
            apply = partial(apply_windowing, ds=header, index=index)
            looks.append(_Look(words, apply))
    if widths and not looks:
        return [], ("Its window has no width, and is not used.",)
    return looks, ()


def _widened(item: Dataset, kept: tuple[int, ...]) -> float:
    """The highest value of a table of ``item``, by the bits that it tells.

    numpy has no integers of 12 bits, and an index of 8 bits reaches 256 values: where
    the bits are none of ``kept``, pydicom is told 16, which changes no value.
    """
    entries, first, bits = item.LUTDescriptor
    if bits not in kept:
        item.LUTDescriptor = [entries, first, 16]
    return float(2**bits - 1)


def _numbers(header: Dataset, key: str) -> list[float]:
    found = header.get(key)
    return [] if found is None else np.atleast_1d(np.array(found, float)).tolist()


def _decoded(header: Dataset, frame: int, title: str) -> Pixels:
    """(h, w) or (h, w, 3) of the stored dtype.

    Raises:
        UnreadableImageError: what decodes it is not installed.
        ValueError: the picture inside is larger than the header tells.
    """
    from pydicom.encaps import get_frame
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array

    syntax = header.file_meta.TransferSyntaxUID
    if not get_decoder(syntax).is_available:
        raise UnreadableImageError(
            f"“{title}” is compressed ({syntax.name}), and what decodes that is not "
            f"installed: {INSTALL}."
        )
    if syntax.is_encapsulated:
        count = _frames(header)
        data = get_frame(header.PixelData, frame, number_of_frames=count)
        check_picture(data, (int(header.Rows), int(header.Columns)))
    # In pylibjpeg-rle Rust panics on damaged files, which is no Exception.
    plugin = "pydicom" if syntax == RLE else ""
    pixels = cast("Pixels", pixel_array(header, index=frame, decoding_plugin=plugin))
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))


def _shown(
    header: Dataset, pixels: Pixels, look: _Look | None
) -> tuple[Pixels, tuple[str, ...]]:
    """Grey of (h, w) uint8, or colours as they are; and what was done, in sentences."""
    from pydicom.pixels.processing import apply_color_lut

    kind = str(header.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        bits = int(header.RedPaletteColorLookupTableDescriptor[2])
        top = ValueRange(0, 2**bits - 1)
        return _by_value(pixels, lambda x: top.to_uint8(apply_color_lut(x, header))), ()
    if pixels.ndim > 2 or not kind.startswith("MONOCHROME"):
        return pixels, ()
    grey, note = _grey(header, pixels, look)
    if kind != "MONOCHROME1":
        return grey, (note,)
    return ~grey, (note, _INVERTED)


def _grey(header: Dataset, pixels: Pixels, look: _Look | None) -> tuple[Rgb, str]:
    """(h, w) uint8, before it is inverted; and where its range comes from."""
    from pydicom.pixels.processing import apply_modality_lut

    tables = header.get("ModalityLUTSequence")
    top = _widened(tables[0], (8, 16)) if tables else 0.0
    rescaled = partial(apply_modality_lut, ds=header)
    note = ""
    if look is not None:
        # What lies beyond a window on either side is black and white.
        black, white = look.ends or look.apply(np.array([-np.inf, np.inf])).tolist()
    elif tables:
        black, white = 0.0, top
    else:
        told = _range(header, pixels)
        black, white = sorted(rescaled(np.array([told.low, told.high])).tolist())
        note = f"It has no window: {told.note}." if told.note else ""
    values = ValueRange(min(black, white), max(black, white))

    def to_grey(stored: Pixels) -> Rgb:
        found = rescaled(stored)
        grey = values.to_uint8(found if look is None else look.apply(found))
        return grey if black <= white else ~grey  # a slope below 0

    return _by_value(pixels, to_grey), note


def _range(header: Dataset, pixels: Pixels) -> ValueRange:
    """Which stored value is black and which white, where nothing in the file says it.

    The range of its bits; where the pixels fill little of that, as of other images.
    """
    kind, bits = pixels.dtype.kind, int(header.get("BitsStored") or 0)
    used = float(pixels.max()) - float(pixels.min()) + 1
    is_dim = pixels.dtype.itemsize > 1 and used * _FEW <= 1 << bits
    if is_dim or kind == "f":
        return value_range([pixels[..., None]])
    low = -(1 << bits - 1) if kind == "i" else 0
    return ValueRange(low, low + (1 << bits) - 1)


def _by_value(pixels: Pixels, convert: Callable[[Pixels], Rgb]) -> Rgb:
    """Converts each value that can be stored once, and not each pixel, where it can."""
    size = pixels.dtype.itemsize
    if pixels.dtype.kind not in "iu" or size > 2:
        return convert(pixels)
    places = np.dtype(f"u{size}")
    values = np.arange(1 << 8 * size, dtype=places).view(pixels.dtype)
    return convert(values.astype(np.int32))[pixels.view(places)]


def _pixel_size(header: Dataset) -> PixelSize:
    """From the first element that tells it, and which that was."""
    for key, words in _SPACINGS.items():
        spacing = _numbers(header, key)
        if len(spacing) == 2:
            down, across = (1000 * mm for mm in spacing)
            size = judge(across, down, limits=FILM_LIMITS_UM, what="detector")
            told = () if size.mpp is None else (f"{size.mpp:g} µm a pixel: {words}.",)
            return PixelSize(size.mpp, (*size.notes, *told))
    return UNKNOWN
