"""A figure of single cases: image, map, and both outlines, one case a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage import color

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.evaluation.scores import BoolArray
    from napari_wsol.images.heatmap import FloatMap

Rgb = npt.NDArray[np.uint8]

PANEL_SIDE = 320
"""Pixels of a panel's longer side."""

REFERENCE, PREDICTION = (0, 114, 178), (230, 159, 0)
"""Blue and orange of the Okabe-Ito set, safe for colour-blind readers."""

_MAGMA = (
    (0, 0, 4),
    (81, 18, 124),
    (183, 55, 121),
    (252, 137, 97),
    (252, 253, 191),
)
_GAP, _TEXT, _WORDS = 12, 15, 150
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One case.

    Attributes:
        image: (H, W, 3) uint8.
        scores: (H, W) in [0, 1].
        area: (H, W) reference; None where there is none.
        threshold: where the map is cut.
        lines: what stands beside it; the first is its title.
    """

    image: Rgb
    scores: FloatMap
    area: BoolArray | None
    threshold: float
    lines: tuple[str, ...]


def heat(values: npt.NDArray[np.floating]) -> Rgb:
    """(H, W, 3) uint8: magma's colours, interpolated in CIE Lab.

    Args:
        values: (H, W) in [0, 1].
    """
    anchors = np.array(_MAGMA, np.float64)[None] / 255
    lab = np.asarray(color.rgb2lab(anchors), np.float64)[0]
    at = np.linspace(0, 1, 256)
    stops = np.linspace(0, 1, len(lab))
    table = np.empty((len(at), 3))
    for channel in range(3):
        table[:, channel] = np.interp(at, stops, lab[:, channel])
    colours = np.asarray(color.lab2rgb(table[None]), np.float64)[0]
    places = np.clip(np.rint(values * 255), 0, 255).astype(np.int64)
    return np.rint(colours * 255).astype(np.uint8)[places]


def outlined(image: Rgb, area: BoolArray, colour: tuple[int, int, int]) -> Rgb:
    """A copy of an image with the outline of an area, two pixels wide."""
    result = image.copy()
    edges = ndimage.maximum_filter(area, 3) != ndimage.minimum_filter(area, 3)
    result[edges] = colour
    return result


def draw_panels(panels: Sequence[Panel], title: str) -> Image.Image:
    """The figure.

    Args:
        panels: one a row; at least one.
        title: stands above.
    """
    wide = max(panel.image.shape[1] for panel in panels)
    heights = [panel.image.shape[0] for panel in panels]
    top = 3 * _GAP + 3 * _TEXT
    width = _WORDS + 3 * (wide + _GAP) + _GAP
    height = top + sum(heights) + _GAP * (len(panels) + 1) + 2 * _TEXT
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, (_GAP, _GAP), title, _TEXT + 3)
    lefts = [_WORDS + place * (wide + _GAP) for place in range(3)]
    for left, name in zip(lefts, ("image", "map", "outlines"), strict=True):
        _write(pen, (left, top - _TEXT - _GAP // 2), name, _TEXT)
    y = top
    for panel in panels:
        for left, pixels in zip(lefts, _pictures(panel), strict=True):
            sheet.paste(Image.fromarray(pixels), (left, y))
        for place, line in enumerate(panel.lines):
            size = _TEXT + 2 if place == 0 else _TEXT - 1
            _write(pen, (_GAP, y + place * (_TEXT + 6)), _fitted(line, size), size)
        y += panel.image.shape[0] + _GAP
    _legend(sheet, pen, (lefts, y), any(p.area is not None for p in panels))
    return sheet


def _pictures(panel: Panel) -> tuple[Rgb, Rgb, Rgb]:
    both = panel.image
    if panel.area is not None:
        both = outlined(both, panel.area, REFERENCE)
    both = outlined(both, panel.scores >= panel.threshold, PREDICTION)
    return panel.image, heat(panel.scores), both


def _legend(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    at: tuple[list[int], int],
    has_reference: bool,
) -> None:
    lefts, y = at
    bar = heat(np.broadcast_to(np.linspace(0, 1, 140), (_TEXT, 140)))
    sheet.paste(Image.fromarray(bar), (lefts[1] + 14, y))
    _write(pen, (lefts[1], y - 1), "0", _TEXT)
    _write(pen, (lefts[1] + 160, y - 1), "1", _TEXT)
    names = [("prediction", PREDICTION)]
    if has_reference:
        names.insert(0, ("reference", REFERENCE))
    for place, (name, colour) in enumerate(names):
        x = lefts[2] + place * 125
        pen.line((x, y + _TEXT // 2, x + 24, y + _TEXT // 2), fill=colour, width=4)
        _write(pen, (x + 30, y - 1), name, _TEXT)


def _write(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int) -> None:
    pen.text(at, text, fill=_INK, font=ImageFont.load_default(size))


def _fitted(text: str, size: int) -> str:
    """The text, cut where it would run into the pictures."""
    font = ImageFont.load_default(size)
    room = _WORDS - 2 * _GAP
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1]
    return f"{text}…"
