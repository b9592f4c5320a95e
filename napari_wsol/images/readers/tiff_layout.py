"""Chooses what in a TIFF is the image, its pyramid, and its pictures beside."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, cast

from napari_wsol.errors import ImageError, UnreadableImageError
from napari_wsol.images.readers.stacks import Stack, choose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tifffile import TiffFile, TiffFrame, TiffPage, TiffPageSeries

    from napari_wsol.images.readers.stacks import Chosen, Pick
    from napari_wsol.images.readers.tiff import TiffImage

_BESIDE = frozenset({"label", "macro", "thumbnail", "overview", "barcode"})
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR)
_PREMULTIPLIED, _STRAIGHT = 1, 2
_CHANNELS, _SAMPLES = "C", "S"
_RED_GREEN_BLUE = (0xFF0000, 0x00FF00, 0x0000FF)
_MAX_SAMPLE_VALUE = 281


@dataclass(frozen=True, slots=True)
class Layout:
    """What is read from a TIFF.

    Attributes:
        levels: the pages of each level, largest level first; one page, or one page a
            colour.
        beside: pages of thumbnail, label, macro photo, by name.
        picked: samples of a pixel that are read; None for all.
        skipped: images without a header between each page and its pixels.
        notes: sentences on what was chosen.
    """

    levels: list[list[TiffPage | TiffFrame]]
    beside: dict[str, list[TiffPage | TiffFrame]]
    picked: tuple[int, ...] | None = None
    skipped: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def find_layout(tif: TiffFile, name: str, pick: Pick) -> Layout:
    """Finds the image in a TIFF.

    Args:
        tif: the open file.
        name: of the file, for messages.
        pick: what is shown of a stack.

    Raises:
        UnreadableImageError: there is no image, or it lies in other files.
        StackError: it must be said which channel or plane is shown.
    """
    series = [one for one in tif.series if _is_picture(one)]
    if not series:
        raise UnreadableImageError(
            f"“{name}” holds no image: check that it is the right file."
        )
    mains = [one for one in series if not _is_beside(one)] or series
    main = max(mains, key=_area)
    stack = _stack(main, tif, name)
    chosen = choose(stack, pick)
    places = _places(main, chosen)
    skipped = places if main.is_truncated else ()
    levels = [
        _pages_at(level, (0,) * len(places) if skipped else places, name)
        for level in _levels(main)
    ]
    _refuse_scattered(levels, tif, name)
    notes = [*chosen.notes]
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
    of_pixel = chosen.axis == _SAMPLES and _SAMPLES not in _outer(main)
    is_one_of_many = of_pixel and stack.sizes.get(_SAMPLES, 1) > 1
    return Layout(
        levels,
        beside,
        picked=chosen.channels if is_one_of_many else None,
        skipped=skipped,
        notes=tuple(notes),
    )


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


def _levels(series: TiffPageSeries) -> list[TiffPageSeries]:
    """Levels that get smaller and keep the shape and the pixels."""
    first = series.levels[0]
    kept = [first]
    for level in series.levels[1:]:
        if _continues(level.keyframe, kept[-1].keyframe, first.keyframe):
            kept.append(level)
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


def _outer(series: TiffPageSeries) -> dict[str, int]:
    """The axes along which its pages lie, and their lengths; twins get a number."""
    inner = "YXS" if int(series.keyframe.samplesperpixel) > 1 else "YX"
    sizes = zip(series.axes, series.shape, strict=True)
    outer = [(axis, int(size)) for axis, size in sizes if axis not in inner]
    letters = [axis for axis, _ in outer]
    return {
        axis if letters.count(axis) == 1 else f"{axis}{index}": size
        for index, (axis, size) in enumerate(outer)
    }


def _stack(series: TiffPageSeries, tif: TiffFile, name: str) -> Stack:
    """What the axes of a series are, with the samples of a pixel last.

    Raises:
        ImageError: a volume whose tiles are blocks.
    """
    page = series.keyframe
    if int(page.imagedepth) > 1:
        raise ImageError(
            f"“{name}” is a volume (depth = {page.imagedepth}) stored in blocks, and "
            "one plane is needed: save its planes as pages, or pass one as an array, "
            "for instance stack[0]."
        )
    sizes = _outer(series)
    samples = int(page.samplesperpixel)
    has_dyes = sizes.get(_CHANNELS, 1) > 1
    if samples > 1 and not has_dyes:
        sizes[_SAMPLES] = samples
    told = _told_channels(tif, series)
    are_colours = (
        has_dyes and tuple(told.values()) == _RED_GREEN_BLUE
        if has_dyes
        else samples <= 4 or int(page.photometric) in (_RGB, _SEPARATED, _YCBCR)
    )
    sizes |= {"Y": int(page.imagelength), "X": int(page.imagewidth)}
    return Stack(
        name=name,
        axes=tuple(sizes),
        shape=tuple(sizes.values()),
        channels=_CHANNELS if has_dyes else _SAMPLES,
        are_colours=are_colours,
        names={_CHANNELS if has_dyes else _SAMPLES: tuple(told)},
    )


def _told_channels(tif: TiffFile, series: TiffPageSeries) -> dict[str, int]:
    """Names of the channels, and their colours as 0xRRGGBB, as OME tells."""
    images = re.split(r"<(?:\w+:)?Pixels\s", tif.ome_metadata or "")[1:]
    number = next(at for at, one in enumerate(tif.series) if one is series)
    if len(images) <= number:
        return {}
    told: dict[str, int] = {}
    channels = re.split(r"<(?:\w+:)?Channel\s", images[number])[1:]
    for index, words in enumerate(channels):
        tag = words.partition(">")[0]
        named = re.search(r'\bName="([^"]*)"', tag)
        colour = re.search(r'\bColor="(-?\d{1,10})"', tag)
        name = named[1] if named else ""
        name = name if name not in told else f"{name} {index}".strip()
        told[name] = int(colour[1]) >> 8 & 0xFFFFFF if colour else -1
    return told


def _places(series: TiffPageSeries, chosen: Chosen) -> tuple[int, ...]:
    """Numbers of the pages that are read, among all of a series."""
    outer = _outer(series)
    shape = tuple(outer.values())
    spans = [
        chosen.channels or tuple(range(size))
        if axis == chosen.axis
        else (chosen.planes.get(axis, 0),)
        for axis, size in outer.items()
    ]
    return tuple(
        sum(at * math.prod(shape[index + 1 :]) for index, at in enumerate(place))
        for place in product(*spans)
    )


def _pages_at(
    series: TiffPageSeries, places: Sequence[int], name: str
) -> list[TiffPage | TiffFrame]:
    found = [series.pages[at] if at < len(series.pages) else None for at in places]
    pages = [page for page in found if page is not None]
    if len(pages) < len(found):
        raise UnreadableImageError(
            f"“{name}” has not all the planes that it names: it is incomplete. "
            "Copy or download it again, or choose another plane."
        )
    return pages


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
    if image.is_picked:
        return ("rgb" if samples > 1 else "grey"), ()
    if photometric == _SEPARATED:
        if samples < 4:
            raise ImageError(
                f"“{name}” is made of {samples} inks, which are not cyan, magenta, "
                "yellow and black: save it as RGB."
            )
        return "cmyk", _ignored(samples - 4)
    if samples in (1, 2):
        return _kind_of_grey(image)
    return _kind_of_rgb(image)


def _kind_of_grey(image: TiffImage) -> tuple[str, tuple[str, ...]]:
    if int(image.keyframe.photometric) == _WHITE_IS_ZERO:
        return "inverted", _ignored(image.samples - 1)
    with_alpha = {_PREMULTIPLIED: "premultiplied grey", _STRAIGHT: "grey with alpha"}
    colour = with_alpha.get(_extra(image)) if image.samples == 2 else None
    return (colour, ()) if colour else ("grey", _ignored(image.samples - 1))


def _extra(image: TiffImage) -> int:
    """What the first sample beside the colours is."""
    extra = image.keyframe.extrasamples
    return int(extra[0]) if extra else 0


def _kind_of_rgb(image: TiffImage) -> tuple[str, tuple[str, ...]]:
    samples = image.samples
    if image.is_ycbcr:
        return "ycbcr", _ignored(samples - 3)
    alpha = {_PREMULTIPLIED: "premultiplied", _STRAIGHT: "rgba"}.get(_extra(image))
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
    largest: object = page.tags.valueof(_MAX_SAMPLE_VALUE)
    values = cast(
        "tuple[object, ...]", largest if isinstance(largest, tuple) else (largest,)
    )
    numbers = [value for value in values if isinstance(value, int)]
    top = max(numbers, default=0)
    # Some programs put the largest value there is: only full bits tell a depth.
    return top.bit_length() if top > 0 and top & (top + 1) == 0 else None


def overlaps(page: TiffPage) -> bool:
    """Whether the scanner stores tiles that overlap: Ventana (BIF) and Trestle."""
    return bool(page.is_bif) or page.software.startswith("MedScan")


def _ignored(count: int) -> tuple[str, ...]:
    if count < 1:
        return ()
    return (f"{count} extra channel{'s' * (count > 1)} beside the colours is ignored.",)
