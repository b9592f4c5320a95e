"""Which stored value becomes black and which white: told by the file, or by its pixels.

No extreme pixel decides. A hot one, one of metal or one that a filter pushed beyond the
range is clipped, and all others stay what they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from napari_wsol.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsol.images.geometry import Rgb

Pixels = npt.NDArray[np.generic]

_NOT_FINITE = (
    "The image has pixels that are not numbers (NaN or infinite): replace them first, "
    "for instance with numpy.nan_to_num(image)."
)
_DEPTHS = (10, 12, 14, 16)

_OUTLIERS = 8
_OUTLIER_SHARE = 100_000
"""That many values, and one in so many, say nothing of the depth of an image."""

_CUT = 40
_CUT_SHARE = 1000
"""What is stretched loses one value in so many at either end, and at least that many:
with fewer, values next to each other in rank may be further apart than a grey level."""

_LARGEST_SHARE = 50
"""Of few values, no more than one in so many is left out."""

_SURVEYED = 1 << 24
"""Values of one array that are looked at for ranks (all are, for NaN)."""

_UNDER, _OVER = 0.05, 1.1
"""How far resampling and sharpening push real numbers beyond 0 to 1, or 0 to 255."""

_DIMMEST = 8
"""Real numbers of 0 to 255 with none above this would be black: they are stretched."""


@dataclass(frozen=True)
class ValueRange:
    """Which stored value becomes black and which becomes white.

    Attributes:
        low: value that becomes 0, as all below.
        high: value that becomes 255, as all above.
        note: how values are converted, as a part of a sentence; empty where as is.
    """

    low: float
    high: float
    note: str = ""

    @cached_property
    def _table(self) -> Rgb:
        values = np.arange(1 << 16, dtype=np.float64)
        return _scaled(values, self.low, self.high)

    def to_uint8(self, pixels: Pixels) -> Rgb:
        """Pixels of any shape and real dtype as uint8.

        Raises:
            ImageError: a value is NaN or infinite.
        """
        if pixels.dtype == np.uint8 and (self.low, self.high) == (0, 255):
            return pixels.astype(np.uint8, copy=False)
        if pixels.dtype == np.uint16:
            return self._table[pixels.astype(np.uint16, copy=False)]
        if pixels.dtype.kind == "f" and not np.isfinite(_real(pixels)).all():
            raise ImageError(_NOT_FINITE)
        # float32 holds integers to 2**24 only.
        wide = np.float64 if pixels.dtype.itemsize > 2 else np.float32
        return _scaled(pixels.astype(wide), self.low, self.high)


def _real(pixels: Pixels) -> npt.NDArray[np.float64]:
    return pixels.astype(np.float64, copy=False)


def _scaled(values: npt.NDArray[np.floating], low: float, high: float) -> Rgb:
    if high <= low:
        return np.where(values > high, np.uint8(255), np.uint8(0))
    scaled = (values - low) * (255.0 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def value_range(samples: Iterable[Pixels], *, bits: int | None = None) -> ValueRange:
    """Decides the conversion from pixels that stand for the whole image.

    Bits that the file tells decide, where they are fewer than those of the dtype and
    the pixels keep to them. Else integers up to 255 are kept, and those of 10, 12, 14
    or 16 bits taken as such; real numbers up to 1 are multiplied by 255, up to 255
    kept. All others are stretched between the ranks at which one value in a
    thousand is left out at either end. Few outliers decide nothing: they are clipped.

    Args:
        samples: arrays of one dtype; all of the image, or parts spread over it.
        bits: significant bits where the file tells; as many as the dtype has tell
            nothing, programs write that of any image.

    Raises:
        ImageError: a value is NaN or infinite, or values are not real numbers.
    """
    parts: list[Pixels] = []
    dtype = np.dtype(np.uint8)
    for sample in samples:
        dtype = sample.dtype
        if dtype.kind not in "buif":
            raise ImageError(
                f"Pixels of type {dtype} cannot be shown as an image: "
                "convert them to integers or real numbers first."
            )
        if dtype in (np.dtype(np.uint8), np.dtype(np.bool_)):
            break
        if sample.size:
            parts.append(_thinned(sample))
    if dtype == np.uint8:
        top = 255 if bits is None else (1 << bits) - 1
        return ValueRange(0, top, "" if top == 255 else f"taken as {bits}-bit")
    if dtype == np.bool_:
        return ValueRange(0, 1, "true is white")
    if not parts:
        return ValueRange(0, 0, f"{dtype} without a value")
    values = np.concatenate(parts)
    values.sort()
    return _with_cut(_range(values, bits), values)


def _thinned(sample: Pixels) -> Pixels:
    """Values spread over an array, as a list; of real numbers all are looked at first.

    Raises:
        ImageError: a value is NaN or infinite.
    """
    if (
        sample.dtype.kind == "f"
        and not np.isfinite([float(np.min(sample)), float(np.max(sample))]).all()
    ):
        raise ImageError(_NOT_FINITE)
    pixels = sample.reshape(-1, sample.shape[-1])
    return pixels[:: -(-sample.size // _SURVEYED)].reshape(-1)


def _range(values: Pixels, bits: int | None) -> ValueRange:
    """Of sorted values."""
    low, high = _without(values, _outliers(values.size))
    if values.dtype.kind == "f":
        found = _range_of_reals(values.dtype, low, high)
    else:
        found = _range_of_integers(values.dtype, low, high, bits)
    return found or _stretched(values)


def _range_of_reals(
    dtype: np.dtype[np.generic], low: float, high: float
) -> ValueRange | None:
    if _fills(low, high, 1):
        return ValueRange(0, 1, f"{dtype} multiplied by 255")
    if _fills(low, high, 255) and high > _DIMMEST:
        return ValueRange(0, 255, f"{dtype} values kept as they are")
    return None


def _range_of_integers(
    dtype: np.dtype[np.generic], low: float, high: float, bits: int | None
) -> ValueRange | None:
    if low < 0:
        return None
    if bits is not None and bits < 8 * dtype.itemsize and high < 1 << bits:
        return ValueRange(0, (1 << bits) - 1, f"{dtype} taken as {bits}-bit")
    if high <= 255:
        return ValueRange(0, 255, f"{dtype} values kept as they are")
    depth = next((depth for depth in _DEPTHS if high < 1 << depth), None)
    if depth is None:
        return None
    how = "divided by 257" if depth == 16 else f"taken as {depth}-bit"
    return ValueRange(0, (1 << depth) - 1, f"{dtype} {how}")


def _fills(low: float, high: float, full: float) -> bool:
    """Whether real values are meant to go from 0 to ``full``."""
    if low >= 0 and high <= full:
        return True
    return low >= -_UNDER * full and full / 2 <= high <= _OVER * full


def _stretched(values: Pixels) -> ValueRange:
    """Between ranks of sorted values; a background that fills half counts once."""
    background = values[values.size // 2]
    rest = values[values != background]
    if rest.size > values.size // 2:
        low, high = _without(values, _cut(values.size))
    elif rest.size <= _outliers(values.size):
        low = high = float(cast("float", background))
    else:
        low, high = _without(rest, _cut(rest.size))
        level = float(cast("float", background))
        low, high = min(low, level), max(high, level)
    return ValueRange(
        low,
        high,
        f"{values.dtype} stretched from {low:.6g} (black) to {high:.6g} (white)",
    )


def _outliers(count: int) -> int:
    return min(_OUTLIERS, count // _LARGEST_SHARE) + count // _OUTLIER_SHARE


def _cut(count: int) -> int:
    return max(count // _CUT_SHARE, min(_CUT, count // _LARGEST_SHARE))


def _without(values: Pixels, count: int) -> tuple[float, float]:
    """Lowest and highest of sorted values when so many are left out at either end."""
    low, high = values[count], values[values.size - 1 - count]
    return float(cast("float", low)), float(cast("float", high))


def _with_cut(found: ValueRange, values: Pixels) -> ValueRange:
    """The range, and in words that sorted values lie beyond it."""
    least, most = _without(values, 0)
    if found.low <= least and most <= found.high:
        return found
    words = f"{found.note}, values beyond ({least:.6g} to {most:.6g}) cut off"
    return ValueRange(found.low, found.high, words)
