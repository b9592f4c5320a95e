"""X-ray films and other single pictures in DICOM (CR, DX, MG, …), read with pydicom.

Needs the extra ``dicom``. Stored values become grey as the standard has it (PS3.3,
C.11.1 and C.11.2), by pydicom's own functions: rescale or modality table, then VOI
table or window; MONOCHROME1 is inverted at last. Only what is said of the pixels is
read of a file, so that nothing of a patient can leave by an error or a warning.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from typing_extensions import override

from napari_wsol.errors import UnreadableImageError
from napari_wsol.images.pixel_size import FILM_LIMITS_UM, UNKNOWN, PixelSize, judge
from napari_wsol.images.readers.arrays import Decoded, DecodedFile
from napari_wsol.images.readers.dicom_files import check_library, quietly
from napari_wsol.images.readers.stacks import Pick, Stack, choose
from napari_wsol.images.readers.tiff_bounds import check_picture
from napari_wsol.images.readers.values import ValueRange, value_range

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt
    from pydicom import Dataset

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.readers.values import Pixels

PIXELS = 100_000_000
"""Of one picture, at most: the largest films have half as many."""

_GROUPS = (0x0028, 0x7FE0)
"""Of elements on how pixels are stored and shown, and of the pixels."""

_SPACINGS = {"PixelSpacing": "", "ImagerPixelSpacing": ", which is at the detector"}
_BURNT_IN = (
    "Text is burnt into the pixels (BurnedInAnnotation is YES): it may tell who the "
    "patient is, and pictures that are passed on show it."
)


class DicomFilm(DecodedFile):
    """A picture of a DICOM file that is no whole slide, held in memory.

    Its name is neutral, and its file is not told: that may name the patient. The plane
    of a pick is a window or VOI table; the first where none is given.
    """

    hides_file = True
    reader = "pydicom"

    @override
    def _decode(self, path: Path, title: str, pick: Pick) -> Decoded:
        check_library("pydicom", title)
        with quietly(title):
            header, pixels = _decoded(path, title)
            bits = int(header.BitsStored) if pixels.dtype == np.uint16 else None
            looks = _looks(header, pixels)
            index, notes = _chosen(looks, title, pick)
            if looks:
                pixels, bits = _grey(header, pixels, looks[index]), None
            elif header.PhotometricInterpretation == "PALETTE COLOR":
                from pydicom.pixels.processing import apply_color_lut

                colours = apply_color_lut(pixels, header)
                most = np.iinfo(colours.dtype).max
                pixels, bits = ValueRange(0, most).to_uint8(colours), None
            if header.get("BurnedInAnnotation") == "YES":
                notes = (*notes, _BURNT_IN)
            plane = (index,) if index else ()  # the first is the image, however chosen
            profile = header.get("ICCProfile")
            return Decoded(pixels, _pixel_size(header), notes, profile, bits, plane)


class _Look(NamedTuple):
    """One way to see a film: makes shown values of those after the rescale.

    ``ends`` are the shown values that are black and white.
    """

    words: str
    apply: Callable[[Pixels], Pixels]
    ends: tuple[float, float]


def _decoded(path: Path, title: str) -> tuple[Dataset, Pixels]:
    """What is said of the pixels; and they, (h, w) or (h, w, 3) of the stored dtype.

    Raises:
        UnreadableImageError: more or fewer than one picture, or it is too large.
        ValueError: the picture inside is larger than the header tells.
    """
    import pydicom
    from pydicom import filereader, uid
    from pydicom.datadict import keyword_dict
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import pixel_array

    meta = filereader.read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") == uid.DeflatedExplicitVRLittleEndian:
        raise UnreadableImageError(
            f"“{title}” is DICOM that is deflated as a whole, which may unpack to any "
            "size and is not read: export it uncompressed, or with JPEG 2000."
        )
    names = [name for name, tag in keyword_dict.items() if tag >> 16 in _GROUPS]
    # Segments of palettes may unpack to any size.
    tags = [name for name in names if not name.startswith("Segmented")]
    header = pydicom.dcmread(path, specific_tags=[*tags, "ImagerPixelSpacing"])
    shape = (int(header.get("Rows") or 0), int(header.get("Columns") or 0))
    frames, samples = header.get("NumberOfFrames") or 1, header.get("SamplesPerPixel")
    most = PIXELS if header.get("BitsAllocated", 8) <= 16 else PIXELS // 8
    if not (0 < shape[0] * shape[1] <= most and frames == 1 and samples in (1, 3, 4)):
        raise UnreadableImageError(
            f"“{title}” is DICOM of {frames} × {shape[0]}×{shape[1]} pixels, and one "
            f"picture of up to {most // 1_000_000} million is read: choose another "
            "file, copy it again, or export a single or smaller picture."
        )
    syntax = header.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        check_picture(get_frame(header.PixelData, 0, number_of_frames=1), shape)
    # In pylibjpeg-rle Rust panics on damaged files, which is no Exception.
    plugin = "pydicom" if syntax == uid.RLELossless else ""
    return header, cast("Pixels", pixel_array(header, decoding_plugin=plugin))


def _chosen(looks: list[_Look], title: str, pick: Pick) -> tuple[int, tuple[str, ...]]:
    """Which way to see it is taken, and that in sentences.

    Raises:
        StackError: there are several, and they are asked for (``rgb=False`` takes
            nothing for granted).
    """
    plane = pick.plane
    if len(looks) > 1 and not plane and pick.rgb is not False:
        plane = (0,)  # PS3.3 C.11.2.1.2: the first is the one to begin with
    words = [look.words for look in looks]
    axes, shape = ("window", "y", "x"), (max(len(looks), 1), 1, 1)
    stack = Stack(name=title, axes=axes, shape=shape, names={"window": words})
    chosen = choose(stack, Pick(plane=plane))
    index = chosen.planes.get("window", 0)
    return index, chosen.notes or tuple(f"Shown by its {item}." for item in words)


def _looks(header: Dataset, pixels: Pixels) -> list[_Look]:
    """Of a grey film its tables, then its windows; its range where it has none."""
    from pydicom.pixels import processing

    if not str(header.PhotometricInterpretation).startswith("MONOCHROME"):
        return []
    looks: list[_Look] = []
    tables = header.get("ModalityLUTSequence")
    top = _widened(tables[0]) if tables else 0.0
    for index, item in enumerate(header.get("VOILUTSequence") or ()):
        if item.get("LUTData"):
            words = f"table of {item.LUTDescriptor[0] or 1 << 16} values"
            apply = partial(processing.apply_voi, ds=header, index=index)
            looks.append(_Look(words, apply, (0.0, _widened(item))))
    header.VOILUTFunction = header.get("VOILUTFunction") or "LINEAR"
    centres, widths = _numbers(header, "WindowCenter"), _numbers(header, "WindowWidth")
    for index, (centre, width) in enumerate(zip(centres, widths, strict=False)):
        if width >= 1 and np.isfinite(centre + width):
            words = f"window, centre {centre:g} and width {width:g}"
            apply = partial(processing.apply_windowing, ds=header, index=index)
            # What lies beyond a window on either side is black and white.
            black, white = apply(np.array([-np.inf, np.inf])).tolist()
            looks.append(_Look(words, apply, (black, white)))
    if not looks:
        found = ValueRange(0, top) if tables else _range(header, pixels)
        ends = np.array([found.low, found.high])
        if not tables:
            ends = np.sort(processing.apply_modality_lut(ends, header))
        words = f"values, no window: {found.note or 'as they are'}"
        looks.append(_Look(words, np.asarray, (float(ends[0]), float(ends[1]))))
    return looks


def _widened(item: Dataset) -> float:
    """The highest value of a table, by the bits that it tells.

    numpy has no integers of 12 bits, and an index of 8 bits reaches 256 values: pydicom
    is told 16, which changes no value.
    """
    entries, first, bits = item.LUTDescriptor
    item.LUTDescriptor = [entries, first, 16]
    return 2.0**bits - 1


def _numbers(header: Dataset, key: str) -> list[float]:
    found = header.get(key)
    return [] if found is None else np.atleast_1d(np.array(found, float)).tolist()


def _range(header: Dataset, pixels: Pixels) -> ValueRange:
    """Which stored value is black and which white, where nothing in the file says it.

    As of other images; of signed values the ends of their bits, unless the pixels fill
    little of that and would be grey.
    """
    bits = header.get("BitsStored")
    if pixels.dtype.kind == "i":
        half = 1 << bits - 1
        if float(pixels.max()) - float(pixels.min()) > half / 2:
            return ValueRange(-half, half - 1)
    return value_range([pixels[..., None]], bits=bits)


def _grey(header: Dataset, values: Pixels, look: _Look) -> Rgb:
    """Stored values of any shape as uint8."""
    from pydicom.pixels.processing import apply_modality_lut

    if values.dtype.kind in "iu" and values.dtype.itemsize < 4:
        # Each value that can be stored once; those below 0 are at the end of the list.
        every = np.arange(1 << 8 * values.dtype.itemsize).astype(values.dtype)
        table = _grey(header, every.astype(np.int32), look)
        return table[cast("npt.NDArray[np.integer]", values)]
    black, white = look.ends
    shown = look.apply(apply_modality_lut(values, header))
    grey = ValueRange(min(look.ends), max(look.ends)).to_uint8(shown)
    is_inverted = header.PhotometricInterpretation == "MONOCHROME1"
    return ~grey if is_inverted != (black > white) else grey  # a slope below 0


def _pixel_size(header: Dataset) -> PixelSize:
    """From the first element that tells it, and which that was."""
    for key, words in _SPACINGS.items():
        spacing = _numbers(header, key)
        if len(spacing) == 2:
            size = judge(1000 * spacing[1], 1000 * spacing[0], limits=FILM_LIMITS_UM)
            told = (f"{size.mpp:g} µm a pixel: {key}{words}.",) if size.mpp else ()
            return PixelSize(size.mpp, (*size.notes, *told))
    return UNKNOWN
