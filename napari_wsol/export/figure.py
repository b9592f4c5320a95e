"""A figure for print: image and maps in panels, drawn by matplotlib from plain arrays.

All lies on whole pixels of the figure's resolution, so that no image is resampled.
Text stays text: TrueType in PDF, in SVG letters of the reader's own font. The same
panels give the same bytes.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from io import BytesIO
from string import ascii_lowercase
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from skimage.measure import find_contours

from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from napari_wsol.config import FigureConfig
    from napari_wsol.export.masks import BoolMap
    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.heatmap import FloatMap

_UNDATED = {"pdf": "CreationDate", "svg": "Date", "png": "Software"}
"""What a figure can be, by the file's ending, and what would date it."""

_STYLE = {
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "napari-wsol",
    "image.composite_image": False,  # it would resample them
}
_SETTINGS = Lock()
"""matplotlib's settings are the process's: one figure at a time changes them."""

_CONTOUR, _REFERENCE = ("#56b4e9", "solid"), ("white", (0, (3, 2)))
"""Colour and dashes. Sky blue (Okabe-Ito): no colour of magma, nor of a stain."""
_LINE_CELLS = 1500
"""Along the grid that lines are found on: finer ones look the same."""
_LEAST_MM, _GAP_MM, _BAR_MM, _PAD_MM = 8.0, 2.0, 2.5, 0.8
_SMALL = 0.875
"""Size of captions, by that of titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture of a figure.

    Attributes:
        image: (H, W, 3) uint8.
        scores: (H, W) float32 in [0, 1] over the same place; None for the image alone.
        cut: value of the map that its contour follows.
        reference: (H, W) bool; outlined in white dashes.
        title: above the panel.
        caption: pieces that stand below it, in as many lines as they need.
        pixel_um: µm a pixel of ``image``: gives a scale bar. None for none.
    """

    image: Rgb
    scores: FloatMap | None = None
    cut: float = 0.5
    reference: BoolMap | None = None
    title: str = ""
    caption: tuple[str, ...] = ()
    pixel_um: float | None = None


class Sheet:
    """A figure that is to be drawn; its units are pixels from the upper left corner.

    Args:
        count: of panels, at least one.
        config: of the figure.

    Attributes:
        panel: width of a panel: how large an image is wanted.

    Raises:
        ConfigError: the panels would be too narrow.
    """

    def __init__(self, count: int, config: FigureConfig) -> None:
        self._config = config
        even = count if count <= 4 else math.ceil(math.sqrt(count))
        self._columns = min(config.columns or even, count)
        self._gap, self._pad = self._mm(_GAP_MM), self._mm(_PAD_MM)
        self._text = round(1.3 * config.font_size / 72 * config.dpi)
        self._bar = round(3.8 * self._text) if config.colour_bar else 0
        room = self._mm(config.width_mm) - self._bar + self._gap
        self.panel = room // self._columns - self._gap
        if self.panel < self._mm(_LEAST_MM):
            raise ConfigError(
                f"{self._columns} panels beside each other do not fit into "
                f"{config.width_mm:g} mm. Choose fewer columns, or a wider figure."
            )

    def drawn(self, panels: Sequence[Panel], kind: str) -> bytes:
        """The content of a file.

        Args:
            panels: row by row; an image of another width than ``panel`` is resampled.
            kind: ".pdf", ".svg" or ".png".

        Raises:
            ConfigError: another kind.
        """
        config, name = self._config, kind[1:].lower()
        if name not in _UNDATED:
            told = f"not “{kind}”" if kind else "which is missing"
            raise ConfigError(f"A figure's name ends in .pdf, .svg or .png, {told}.")
        from matplotlib import style  # takes a second
        from matplotlib.figure import Figure

        # A letter that no font has is a box, of which matplotlib warns.
        no_warnings = warnings.catch_warnings(action="ignore", category=UserWarning)
        with _SETTINGS, no_warnings, style.context(["default", _STYLE]):
            starts = range(0, len(panels), self._columns)
            rows = [self._row(panels[at : at + self._columns]) for at in starts]
            wide, gap = self._mm(config.width_mm), self._gap
            high = sum(row[-1] for row in rows) + gap * (len(rows) - 1) + 0.01
            # Paper may end within a pixel; a picture is made of whole ones.
            exact = config.width_mm / 25.4 * config.dpi
            exact = wide + 0.01 if name == "png" else exact
            figure = Figure((exact / config.dpi, high / config.dpi), config.dpi)
            self._axes = figure.add_axes((0, 0, 1, 1), xlim=(0, exact), ylim=(high, 0))
            self._axes.axis("off")
            letters = iter(ascii_lowercase * len(panels) if config.letters else "")
            top = self._text
            for row, lines, side, height in rows:
                for column, panel in enumerate(row):
                    left = column * (self.panel + gap)
                    self._draw(panel, left, top, next(letters, ""))
                    for place, line in enumerate(lines[column], start=1):
                        below = top + side + place * self._text
                        self._write(left, below, line, small=True)
                top += height + gap
            maps = [panel for panel in panels if panel.scores is not None]
            if maps and self._bar:
                self._draw_bar(wide - self._bar + gap, rows[0][2], maps[0])
            content, undated = BytesIO(), {_UNDATED[name]: None}
            figure.savefig(content, format=name, dpi=config.dpi, metadata=undated)
        return content.getvalue()

    def _row(
        self, row: Sequence[Panel]
    ) -> tuple[Sequence[Panel], list[list[str]], int, int]:
        """Panels, lines of their captions, height of the images, and of all."""
        lines = [self._lines(panel) for panel in row]
        side = max(map(self._side, row))
        return row, lines, side, side + self._text * (1 + max(map(len, lines)))

    def _side(self, panel: Panel) -> int:
        return round(self.panel * panel.image.shape[0] / panel.image.shape[1])

    def _draw(self, panel: Panel, left: int, top: int, letter: str) -> None:
        """A panel, and its title above it."""
        config, width, height = self._config, self.panel, self._side(panel)
        begin = left + (self._width(f"{letter}n", bold=True) if letter else 0)
        self._write(left, top, letter, weight="bold")
        self._write(begin, top, self._fitted(panel.title, left + width - begin))
        self._show(blended(panel, config.opacity), left, top, width, height)
        scale = width / panel.image.shape[1]
        lines: list[tuple[FloatMap, float, tuple[str, object]]] = []
        if panel.scores is not None and config.contours:  # what equals the cut is in
            level = float(np.nextafter(np.float32(panel.cut), np.float32(-1)))
            lines.append((panel.scores, level, _CONTOUR))
        if panel.reference is not None:
            lines.append((panel.reference.astype(np.float32), 0.5, _REFERENCE))
        for values, level, (color, dashes) in lines:
            for x, y in outlines(values, level):
                at = left + x * scale, top + y * scale
                self._axes.plot(*at, color="black", lw=1.3)
                self._axes.plot(*at, color=color, lw=0.8, ls=dashes)
        if panel.pixel_um is not None and config.scale_bar:
            self._draw_scale(left + width, top + height, panel.pixel_um / scale)

    def _draw_scale(self, right: int, bottom: int, um: float) -> None:
        """White on a dark plate, in the lower right corner: seen on any image."""
        pad = self._pad
        length_um, words = scale_length(0.3 * self.panel * um)
        length, wide = round(length_um / um), self._width(words, small=True)
        room = max(length, round(wide))
        left, top = right - room - 3 * pad, bottom - self._text - 4 * pad
        self._fill(left, top, right - pad, bottom - pad, "#0000008c")
        bar, low = left + pad + (room - length) // 2, bottom - 2 * pad
        self._fill(bar, low - pad, bar + length, low, "white")
        at = left + pad + (room - wide) / 2
        self._write(at, low - pad, words, small=True, color="white")

    def _draw_bar(self, left: int, height: int, panel: Panel) -> None:
        """What the colours mean, over the mean grey of an image."""
        grey = np.full((256, 1, 3), round(float(panel.image.mean())), np.uint8)
        scores = np.linspace(1, 0, 256, dtype=np.float32)[:, None]
        colours = blended(Panel(image=grey, scores=scores), self._config.opacity)
        width, top = self._mm(_BAR_MM), self._text
        self._show(colours, left, top, width, height)
        self._write(left, top, "evidence", small=True)
        for share, words in ((0, "1"), (0.5, "0.5"), (1, "0")):
            below = top + share * height + (1 - share) * 0.8 * self._text
            self._write(left + width + self._pad, below, words, small=True)

    def _write(
        self, left: float, bottom: float, words: str, *, small: bool = False, **how: str
    ) -> None:
        """A line whose letters stand a little above ``bottom``."""
        size = self._config.font_size * (_SMALL if small else 1)
        up = bottom - self._text / 4
        self._axes.text(left, up, words, fontsize=size, parse_math=False, **how)

    def _show(self, pixels: Rgb, left: int, top: int, width: int, height: int) -> None:
        extent = (left, left + width, top + height, top)
        self._axes.imshow(pixels, extent=extent, interpolation="none", aspect="auto")

    def _fill(self, left: int, top: int, right: int, bottom: int, color: str) -> None:
        corners = [left, right, right, left], [top, top, bottom, bottom]
        self._axes.fill(*corners, color=color, lw=0, aa=False, zorder=2.5, gid="scale")

    def _mm(self, length: float) -> int:
        """Pixels of a length in mm."""
        return round(length / 25.4 * self._config.dpi)

    def _width(self, words: str, *, bold: bool = False, small: bool = False) -> float:
        """Of a line of text."""
        from matplotlib.font_manager import FontProperties
        from matplotlib.textpath import text_to_path

        size = self._config.font_size * (_SMALL if small else 1)
        font = FontProperties(size=size, weight="bold" if bold else "normal")
        points = text_to_path.get_text_width_height_descent(words, font, ismath=False)
        return points[0] / 72 * self._config.dpi

    def _fitted(self, words: str, room: float) -> str:
        """A line, cut where it would run into the next panel."""
        words = whole = " ".join(words.split())
        while words and self._width(words) > room:
            whole = whole[:-1]
            words = f"{whole}…" if whole else ""
        return words

    def _lines(self, panel: Panel) -> list[str]:
        """The caption, in lines that fit."""
        found: list[str] = []
        for piece in panel.caption if self._config.scores else ():
            longer = " · ".join((*found[-1:], piece))
            if found and self._width(longer, small=True) <= self.panel:
                found[-1] = longer
            else:
                found.append(self._fitted(piece, self.panel / _SMALL))
        return found


def blended(panel: Panel, opacity: float) -> Rgb:
    """(H, W, 3) uint8: magma's colours over the grey image; the image without a map."""
    if panel.scores is None:
        return panel.image
    from matplotlib import colormaps

    heat = Image.fromarray(colormaps["magma"](panel.scores, bytes=True)[..., :3])
    under = Image.fromarray(panel.image).convert("L").convert("RGB")
    return np.asarray(Image.blend(under, heat, opacity))


def outlines(
    values: FloatMap, level: float
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Lines around what is above a level, closed along the border.

    Args:
        values: (H, W), not below 0.
        level: of the lines.

    Yields:
        x and y in pixels, where pixel 0 covers [0, 1].
    """
    step = math.ceil(max(values.shape) / _LINE_CELLS)
    thin = np.pad(values[::step, ::step], 1, constant_values=-1)
    for line in find_contours(thin, level):
        y, x = np.clip((line - 1) * step + 0.5, 0, values.shape).T
        yield x, y


def scale_length(most_um: float) -> tuple[float, str]:
    """The longest round length up to ``most_um``, in µm, and its words: “200 µm”."""
    power = 10.0 ** math.floor(math.log10(most_um))
    length = max(step * power for step in (1, 2, 5) if step * power <= most_um)
    words = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    return length, words
