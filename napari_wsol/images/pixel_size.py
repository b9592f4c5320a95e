"""How large a pixel is, in µm, and whether to believe it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

Limits = tuple[float, float]
LIMITS_UM: Limits = (0.05, 20.0)
"""Smallest and largest µm a pixel that a microscope or slide scanner gives."""

TOLD_UM: Limits = (0.01, 10_000.0)
"""What a person may say, of whatever image."""

FILM_LIMITS_UM = (5.0, 20_000.0)
"""Those of X-ray detectors and scanned films, of CT, MR and nuclear medicine."""

UM_PER_UNIT = {
    "pm": 1e-6,
    "Å": 1e-4,
    "nm": 1e-3,
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "\\u00B5m": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "inch": 25_400.0,
    "in": 25_400.0,
}
UM_PER_NAME = UM_PER_UNIT | {
    "angstrom": 1e-4,
    "picometer": 1e-6,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}
"""µm in a unit, by the names that OME-Zarr spells out too."""

_INCH, _CENTIMETRE = 2, 3
_NDPI_POWER = 65421
_NUMBER = r"([-+.\deE]+)"


@dataclass(frozen=True, slots=True)
class PixelSize:
    """A believed pixel size, or why there is none.

    Attributes:
        mpp: µm a level-0 pixel, None where not known.
        notes: sentences for the user.
    """

    mpp: float | None
    notes: tuple[str, ...] = ()


UNKNOWN = PixelSize(
    None,
    (
        "The image does not say how large a pixel is: "
        "give the pixel size in µm if you know it.",
    ),
)


def judge(x_um: float, y_um: float, *, limits: Limits = LIMITS_UM) -> PixelSize:
    """Believes a pixel size that a microscope, or what has those limits, can have.

    Print resolutions (72 dpi is 352.8 µm a pixel) are the usual nonsense.
    """
    if not (math.isfinite(x_um) and math.isfinite(y_um) and min(x_um, y_um) > 0):
        return UNKNOWN
    low, high = limits
    mpp = math.sqrt(x_um * y_um)
    if not low <= mpp <= high:
        return PixelSize(
            None,
            (
                f"The image claims {mpp:.4g} µm a pixel, which no "
                f"{'microscope' if limits is LIMITS_UM else 'detector'} gives "
                "(it is often a print resolution), so it is ignored: "
                "give the pixel size in µm if you know it.",
            ),
        )
    if abs(x_um - y_um) > 0.01 * mpp:
        return PixelSize(
            mpp,
            (
                f"Pixels are {x_um:.4g} µm wide and {y_um:.4g} µm high; "
                f"{mpp:.4g} µm is used for both.",
            ),
        )
    return PixelSize(mpp)


def from_power(power: float) -> PixelSize:
    """A guess from the power of the objective: 10 µm divided by it, as scanners have.

    Args:
        power: 20 for 20×; NaN where not known.
    """
    guess = judge(10.0 / power, 10.0 / power) if power > 0 else UNKNOWN
    if guess.mpp is None:
        return UNKNOWN
    return PixelSize(
        guess.mpp,
        (
            f"The pixel size is not given, only {power:g}×: {guess.mpp:.4g} µm a pixel "
            "is a guess. Correct it if you know better.",
        ),
    )


def first_believed(judged: list[PixelSize], guess: PixelSize = UNKNOWN) -> PixelSize:
    """The first size that is believed, else a guess, else why the first is not."""
    believed = [size for size in (*judged, guess) if size.mpp is not None]
    return [*believed, *judged, UNKNOWN][0]


def from_dpi(dpi: tuple[float, float] | None) -> PixelSize:
    """From dots an inch, (x, y)."""
    if dpi is None or min(dpi) <= 0:
        return UNKNOWN
    return judge(25_400.0 / dpi[0], 25_400.0 / dpi[1])


def from_tiff(
    tif: TiffFile, page: TiffPage, *, is_on_its_side: bool = False
) -> PixelSize:
    """From what a TIFF says: OME, Aperio, ImageJ, then the resolution tags.

    Where none says it, the power of the objective gives a guess.

    Args:
        tif: the open file.
        page: the page of level 0.
        is_on_its_side: whether its rows are shown as columns.
    """
    sources = (_from_ome, _from_aperio, _from_imagej, _from_resolution)
    sizes = [size for size in (source(tif, page) for source in sources) if size]
    upright = [size[::-1] if is_on_its_side else size for size in sizes]
    return first_believed([judge(*size) for size in upright], _guess(tif, page))


def _from_ome(tif: TiffFile, _page: TiffPage) -> tuple[float, float] | None:
    pixels = re.search(r"<(?:\w+:)?Pixels\s[^>]*>", tif.ome_metadata or "")
    if pixels is None:
        return None
    x = _ome_length(pixels[0], "X")
    y = _ome_length(pixels[0], "Y")
    if x is None and y is None:
        return None
    return (x or y or 0.0, y or x or 0.0)


def _ome_length(pixels: str, axis: str) -> float | None:
    size = re.search(rf'PhysicalSize{axis}="{_NUMBER}"', pixels)
    unit = re.search(rf'PhysicalSize{axis}Unit="([^"]*)"', pixels)
    um = UM_PER_UNIT.get(unit[1].replace("&#181;", "µ") if unit else "µm")
    return None if size is None or um is None else number(size[1]) * um


def _from_aperio(tif: TiffFile, page: TiffPage) -> tuple[float, float] | None:
    if not tif.is_svs:
        return None
    mpp = re.search(rf"\|\s*MPP\s*=\s*{_NUMBER}", page.description)
    return None if mpp is None else (number(mpp[1]), number(mpp[1]))


def _guess(tif: TiffFile, page: TiffPage) -> PixelSize:
    """From the objective that Aperio, OME or Hamamatsu name."""
    texts = [page.description if tif.is_svs else "", tif.ome_metadata or ""]
    found = [
        re.search(rf"\|\s*AppMag\s*=\s*{_NUMBER}", texts[0]),
        re.search(rf'NominalMagnification="{_NUMBER}"', texts[1]),
    ]
    powers = [number(match[1]) for match in found if match]
    tag = page.tags.get(_NDPI_POWER) if tif.is_ndpi else None
    if tag is not None:
        powers.append(float(tag.value))
    return from_power(next((power for power in powers if power > 0), math.nan))


def _from_imagej(tif: TiffFile, page: TiffPage) -> tuple[float, float] | None:
    unit = str((tif.imagej_metadata or {}).get("unit", ""))
    return _per_pixel(page, UM_PER_UNIT.get(unit))


def _from_resolution(_tif: TiffFile, page: TiffPage) -> tuple[float, float] | None:
    unit = {_INCH: 25_400.0, _CENTIMETRE: 10_000.0}.get(int(page.resolutionunit))
    return _per_pixel(page, unit)


def _per_pixel(page: TiffPage, unit_um: float | None) -> tuple[float, float] | None:
    # (1, 1) is what writers put where they know nothing.
    if unit_um is None or page.resolution == (1.0, 1.0) or 0 in page.resolution:
        return None
    return (unit_um / page.resolution[0], unit_um / page.resolution[1])


def number(text: str) -> float:
    """A number in a header, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
