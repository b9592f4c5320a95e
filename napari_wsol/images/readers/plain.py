"""PNG, JPEG, BMP and other plain images, read whole with Pillow."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, cast

import imagecodecs
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from typing_extensions import override

from napari_wsol.errors import ImageError, UnreadableImageError, told_as
from napari_wsol.images import pixel_size
from napari_wsol.images.readers.arrays import Decoded, DecodedFile
from napari_wsol.images.readers.base import UndecodedError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.images.readers.stacks import Pick
    from napari_wsol.images.readers.values import Pixels


_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH_AT = 24
_PIXEL_FORMATS = (
    "PNG", "JPEG", "MPO", "TIFF", "BMP", "DIB", "GIF", "WEBP", "JPEG2000", "PPM",
    "AVIF", "TGA", "PCX", "DCX", "SGI", "PSD", "ICO", "CUR", "ICNS", "QOI", "DDS",
    "SUN", "XBM", "XPM", "FITS", "SPIDER", "IM", "IMT", "MSP", "FLI", "PCD", "PIXAR",
    "BLP", "FTEX", "GBR", "MCIDAS", "XVTHUMB",
)  # fmt: skip
"""What Pillow reads by itself: no drawings (EPS, WMF), and no data that it leaves to
other programs (HDF5, GRIB, BUFR, IPTC, MPEG)."""

_KEPT_MODES = frozenset({"L", "RGB", "RGBA", "I", "F", "1", "I;16", "I;16B", "I;16L"})


class PlainSlide(DecodedFile):
    """A plain image file, upright as its EXIF tag says: one level, held in memory."""

    reader = "pillow"

    @override
    def _decode(self, path: Path, title: str, pick: Pick) -> Decoded:
        with told_as(partial(_undecoded, path.name)):
            with warnings.catch_warnings():
                # Pillow warns from 90 million pixels on and refuses at twice that: only
                # the refusal matters here.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(path, formats=_formats())
            with image:
                notes = _go_to(image, pick.plane, path.name)
                pixels, bits = _pixels(path, image)
        size = pixel_size.from_dpi(_dpi(image))
        profile = image.info.get("icc_profile")
        profile = profile if isinstance(profile, bytes) else None
        return Decoded(pixels, size, notes, profile, bits, pick.plane)


def _formats() -> list[str]:
    """Those that are pixels: Pillow would start Ghostscript for a drawing."""
    Image.init()
    return [name for name in _PIXEL_FORMATS if name in Image.OPEN]


def _undecoded(name: str, error: Exception) -> UnreadableImageError:
    if isinstance(error, UnidentifiedImageError):
        return UnreadableImageError(
            f"“{name}” is not an image that can be read: choose a PNG, JPEG, "
            "TIFF, OME-TIFF, SVS or NDPI file."
        )
    if isinstance(error, Image.DecompressionBombError):
        return UnreadableImageError(
            f"“{name}” is too large for its format, which must be decoded in one "
            "piece (up to 179 million pixels): convert it to a tiled, pyramidal TIFF "
            "first."
        )
    return UndecodedError(
        f"“{name}” is damaged or incomplete ({error}): copy or download it again."
    )


def _pixels(path: Path, image: Image.Image) -> tuple[Pixels, int | None]:
    """Upright, and how many bits of a sample are significant where the file tells."""
    deep = _deep_png(path)
    if deep is not None:
        return deep
    upright = ImageOps.exif_transpose(image)
    if upright.mode not in _KEPT_MODES:
        has_alpha = upright.mode in ("LA", "PA", "La", "RGBa") or (
            "transparency" in upright.info
        )
        upright = upright.convert("RGBA" if has_alpha else "RGB")
    elif "transparency" in upright.info and upright.mode in ("L", "RGB"):
        upright = upright.convert("RGBA")
    return np.array(upright), None


def _deep_png(path: Path) -> tuple[Pixels, int | None] | None:
    """A PNG of 16 bits a sample; Pillow would keep 8 of a colour one."""
    with path.open("rb") as file:
        head = file.read(_PNG_DEPTH_AT + 1)
        if not head.startswith(_PNG) or head[_PNG_DEPTH_AT:] != b"\x10":
            return None
        file.seek(0)
        data = file.read()
    pixels = cast("Pixels", imagecodecs.png_decode(data))
    if pixels.ndim == 3 and pixels.shape[2] == 2:
        grey, alpha = pixels[..., :1], pixels[..., 1:]
        pixels = np.concatenate([grey, grey, grey, alpha], axis=2)
    return pixels, _significant_bits(data)


def _significant_bits(png: bytes) -> int | None:
    """What the chunk sBIT tells, which comes before the pixels.

    PNG wants values spread over all 16 bits whatever this says; files whose values keep
    to the bits are those of programs that did not spread them.
    """
    before, is_there, behind = png.partition(b"IDAT")[0].partition(b"sBIT")
    count = int.from_bytes(before[-4:])
    return max(behind[:count]) if is_there and 0 < count <= len(behind) else None


def _go_to(image: Image.Image, frame: tuple[int, ...], name: str) -> tuple[str, ...]:
    """The picture that is wanted of several; the first by default."""
    count = int(getattr(image, "n_frames", 1))
    if not frame:
        few = f"The file holds {count} pictures; the first is shown."
        return (few,) if count > 1 else ()
    index, *more = frame
    if more or index >= count:
        raise ImageError(
            f"“{name}” has no plane {', '.join(map(str, frame))}: it holds {count} "
            "pictures, counted from 0."
        )
    image.seek(index)
    return (f"Plane {index} of {count} is shown.",)


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    dpi = image.info.get("dpi")
    if not isinstance(dpi, tuple):
        return None
    across, down = cast("tuple[float, float]", dpi)
    return (float(across), float(down))
