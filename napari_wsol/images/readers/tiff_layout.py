"""Chooses what in a TIFF is the image, its pyramid, and its pictures beside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from napari_wsol.errors import ImageError, UnreadableImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

    from napari_wsol.images.readers.tiff import TiffImage

_BESIDE = frozenset({"label", "macro", "thumbnail", "overview", "barcode"})
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR)
_PREMULTIPLIED, _STRAIGHT = 1, 2
_IMAGE_AXES = "YXS"
_MAX_SAMPLE_VALUE = 281


@dataclass(frozen=True, slots=True)
class Layout:
    """What is read from a TIFF.

    Attributes:
        levels: the pages of each level, largest level first; one page, or one page a
            colour.
        beside: pages of thumbnail, label, macro photo, by name.
        notes: sentences on what was chosen.
    """

    levels: list[list[TiffPage | TiffFrame]]
    beside: dict[str, list[TiffPage | TiffFrame]]
    notes: tuple[str, ...] = ()


def find_layout(tif: TiffFile, name: str, *, rgb: bool | None) -> Layout:
    """Finds the image in a TIFF.

    Args:
        tif: the open file.
        name: of the file, for messages.
        rgb: True takes three or four channels of a stack as red, green, blue (alpha).

    Raises:
        UnreadableImageError: there is no image, or it lies in other files.
        ImageError: it is a stack.
    """
    series = [one for one in tif.series if _is_picture(one)]
    if not series:
        raise UnreadableImageError(
            f"“{name}” holds no image: check that it is the right file."
        )
    mains = [one for one in series if not _is_beside(one)] or series
    main = max(mains, key=_area)
    _refuse_stack(main, name, rgb=rgb)
    levels = _levels(main)
    _refuse_scattered(levels, tif, name)
    notes: list[str] = []
    if len(mains) > 1:
        notes.append(
            f"The file holds {len(mains)} images; the largest "
            f"({main.name or 'unnamed'}) is shown."
        )
    beside = {
        one.name.lower(): _pages(one)
        for one in series
        if one is not main and _is_beside(one) and len(one.pages) == 1
    }
    return Layout(levels, beside, tuple(notes))


def _is_picture(series: TiffPageSeries) -> bool:
    return "Y" in series.axes and "X" in series.axes


def _is_beside(series: TiffPageSeries) -> bool:
    """Whether its name says thumbnail, label or macro photo ("macro image" too)."""
    name = series.name.lower()
    return name == "map" or not _BESIDE.isdisjoint(name.split())


def _area(series: TiffPageSeries) -> int:
    page = series.keyframe
    return int(page.imagelength) * int(page.imagewidth)


def _pages(series: TiffPageSeries) -> list[TiffPage | TiffFrame]:
    return [page for page in series.pages if page is not None]


def _levels(series: TiffPageSeries) -> list[list[TiffPage | TiffFrame]]:
    """Pages of each level that gets smaller and keeps the shape and the pixels."""
    first = series.levels[0]
    kept = [_pages(first)]
    for level in series.levels[1:]:
        page, finer = level.keyframe, kept[-1][0].keyframe
        if finer is not None and _continues(page, finer, first.keyframe):
            kept.append(_pages(level))
    return kept


def _continues(page: TiffPage, finer: TiffPage, first: TiffPage) -> bool:
    is_smaller = (
        page.imagelength < finer.imagelength and page.imagewidth <= finer.imagewidth
    ) or (page.imagelength <= finer.imagelength and page.imagewidth < finer.imagewidth)
    same_pixels = (page.dtype, page.samplesperpixel) == (
        first.dtype,
        first.samplesperpixel,
    )
    return is_smaller and same_pixels


def _refuse_stack(series: TiffPageSeries, name: str, *, rgb: bool | None) -> None:
    sizes = {
        axis: size
        for axis, size in zip(series.axes, series.shape, strict=True)
        if axis not in _IMAGE_AXES and size > 1
    }
    deep = int(series.keyframe.imagedepth) > 1
    if not sizes and not deep:
        return
    if rgb and not deep and list(sizes.values()) in ([3], [4]):
        return
    axes = ", ".join(f"{axis} = {size}" for axis, size in sizes.items()) or "depth"
    hint = (
        " If its channels are red, green and blue, open it with rgb=True."
        if list(sizes.values()) in ([3], [4])
        else ""
    )
    raise ImageError(
        f"“{name}” is a stack ({axes}), and one plane is needed: save the plane as "
        f"its own file, or pass it as an array, for instance stack[0].{hint}"
    )


def _refuse_scattered(
    levels: Sequence[Sequence[TiffPage | TiffFrame]], tif: TiffFile, name: str
) -> None:
    home = Path(tif.filehandle.path)
    for page in (page for level in levels for page in level):
        if Path(page.parent.filehandle.path) != home:
            raise UnreadableImageError(
                f"“{name}” keeps its pixels in other files: "
                "save it as one OME-TIFF file first."
            )


def colour_of_tiff(image: TiffImage, name: str) -> tuple[str, tuple[str, ...]]:
    """The kind of colour of ``pixels.COLOURS``, and notes on what is left out.

    Raises:
        ImageError: the colours are not grey, RGB(A), CMYK, YCbCr or a palette.
    """
    page, samples = image.keyframe, image.samples
    photometric = int(page.photometric)
    if photometric not in _COLOURS:
        raise ImageError(
            f"“{name}” has colours of a kind that is not supported "
            f"({page.photometric!s}): save it as RGB."
        )
    if photometric == _PALETTE:
        return "indexed", ()
    if photometric == _SEPARATED:
        if samples < 4:
            raise ImageError(
                f"“{name}” is made of {samples} inks, which are not cyan, magenta, "
                "yellow and black: save it as RGB."
            )
        return "cmyk", _ignored(samples - 4)
    if samples in (1, 2):
        colour = "inverted" if photometric == _WHITE_IS_ZERO else "grey"
        return colour, _ignored(samples - 1)
    if samples > 4 and photometric not in (_RGB, _YCBCR):
        raise ImageError(
            f"“{name}” has {samples} channels: save one of them, or three as red, "
            "green and blue, as its own file."
        )
    if image.is_ycbcr:
        return "ycbcr", _ignored(samples - 3)
    extra = int(page.extrasamples[0]) if page.extrasamples else 0
    alpha = {_PREMULTIPLIED: "premultiplied", _STRAIGHT: "rgba"}.get(extra)
    if samples >= 4 and alpha is not None:
        return alpha, _ignored(samples - 4)
    return "rgb", _ignored(samples - 3)


def told_bits(tif: TiffFile, page: TiffPage) -> int | None:
    """Significant bits of a sample, where OME or the tag of the largest value tell."""
    told = re.search(
        r'<(?:\w+:)?Pixels\s[^>]*SignificantBits="(\d{1,2})"', tif.ome_metadata or ""
    )
    if told is not None:
        return int(told[1]) or None
    largest = page.tags.valueof(_MAX_SAMPLE_VALUE)
    values = largest if isinstance(largest, tuple) else (largest,)
    if not all(isinstance(value, int) for value in values):
        return None
    top = max(cast("tuple[int, ...]", values))
    # Some programs put the largest value there is: only full bits tell a depth.
    return top.bit_length() if top > 0 and top & (top + 1) == 0 else None


def overlaps(page: TiffPage) -> bool:
    """Whether the scanner stores tiles that overlap: Ventana (BIF) and Trestle."""
    return bool(page.is_bif) or page.software.startswith("MedScan")


def _ignored(count: int) -> tuple[str, ...]:
    if count < 1:
        return ()
    return (f"{count} extra channel{'s' * (count > 1)} beside the colours is ignored.",)
