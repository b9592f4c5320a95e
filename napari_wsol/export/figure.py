"""A figure for print: image and maps in panels, drawn by matplotlib from plain arrays.

All lies on whole pixels of the figure's resolution, so that no image is resampled.
Text stays text: TrueType in PDF, in SVG letters of the reader's own font. The same
panels give the same bytes.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from string import ascii_lowercase
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_wsol.errors import ConfigError
from napari_wsol.images.colours import two_sided
from napari_wsol.images.heatmap import covering, cut_of
from napari_wsol.images.resample import read_region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    from napari_wsol.config import FigureConfig
    from napari_wsol.export.masks import BoolMap
    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.heatmap import FloatMap, Heatmap
    from napari_wsol.images.slide import Slide

_UNDATED = {"pdf": "CreationDate", "svg": "Date", "png": "Software"}
"""What a figure can be, by the file's ending, and what would date it."""
_STYLE = Path(__file__).with_name("figure.mplstyle")
_SETTINGS = Lock()
"""matplotlib's settings are the process's: one figure at a time changes them."""
_CONTOUR, _SMALL = "#56b4e9", 0.875
"""Sky blue of the Okabe-Ito set: no colour of magma, nor of a stain. Size of captions,
by that of titles."""
_LEAST_MM, _GAP_MM, _BAR_MM = 8.0, 2.0, 2.5
_OPACITY = 0.6
"""How strongly the colours of a map cover the grey image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture of a figure.

    Attributes:
        image: (H, W, 3) uint8.
        scores: (H, W) float32 in [0, 1], a map of it; its contour is at ``cut``.
        signed: whether one half is 0; then ``cut`` is a share of the strongest
            evidence, and what speaks against the class has a contour, too.
        reference: (H, W) bool; outlined in white dashes.
        title, caption: above the panel, and lines below it.
        pixel_um: µm a pixel of ``image``: gives a scale bar.
    """

    image: Rgb
    scores: FloatMap | None = None
    cut: float = 0.5
    signed: bool = False
    reference: BoolMap | None = None
    title: str = ""
    caption: tuple[str, ...] = ()
    pixel_um: float | None = None


def panels_of(
    slide: Slide,
    maps: Sequence[Heatmap],
    width: int,
    area: BoolMap | None = None,
    *,
    mpp: float | None = None,
    box: tuple[float, float, float, float] | None = None,
) -> list[Panel]:
    """The image and then each of its maps, no finer than they are drawn.

    Args:
        slide: the image.
        maps: of it.
        width: of a panel, in pixels.
        area: (h, w) the reference's foreground, over the whole image.
        mpp: µm a level-0 pixel, where the image shall have a scale bar.
        box: top, left, bottom, right of what is shown, in level-0 pixels [all].
    """
    whole = np.array(slide.shape, float)
    low, high = np.clip(np.reshape(box or (0, 0, *whole), (2, 2)), 0, whole)
    if (high - low).min() < 1:
        raise ConfigError("Nothing of the image is seen. Move it into the view.")
    step = float(high[1] - low[1]) / width
    y, x = (round(side / step) for side in low)
    shape = max(1, round((high[0] - low[0]) / step)), width
    where = (y * step, x * step), (shape[0] * step, width * step), shape
    panel = Panel(image=read_region(slide, y, x, *shape, step))
    if area is not None:
        scale, at = covering(slide.shape, area.shape[:2])
        mask = replace(maps[0], values=area * np.float32(1), scale=scale, translate=at)
        panel = replace(panel, reference=mask.crop(*where) >= 0.5)
    first = replace(panel, pixel_um=None if mpp is None else mpp * step)
    drawn = ({"scores": one.crop(*where), "signed": one.signed} for one in maps)
    return [first, *(replace(panel, **how) for how in drawn)]


class Sheet:
    """A figure that is to be drawn; ``panel`` is how wide an image it wants, in pixels.

    Raises ConfigError where that is too little.
    """

    def __init__(self, count: int, config: FigureConfig) -> None:
        self._config = config
        even = count if count <= 4 else math.ceil(math.sqrt(count))
        self._columns = min(config.columns or even, count)
        self._gap, self._text = self._mm(_GAP_MM), self._mm(config.font_size * 0.46)
        self._bar = 4 * self._text if config.colour_bar else 0
        room = self._mm(config.width_mm) - self._bar + self._gap
        self.panel = room // self._columns - self._gap
        if self.panel < self._mm(_LEAST_MM):
            raise ConfigError(
                f"{self._columns} panels beside each other do not fit into "
                f"{config.width_mm:g} mm. Choose fewer columns, or a wider figure."
            )

    def drawn(self, panels: Sequence[Panel], kind: str) -> bytes:
        """The content of a .pdf, .svg or .png; another ``kind`` raises a ConfigError.

        The panels come row by row; images of other widths are resampled.
        """
        config, name = self._config, kind[1:].lower()
        if name not in _UNDATED:
            raise ConfigError(f"A figure ends in .pdf, .svg or .png, not in “{kind}”.")
        from matplotlib import style  # takes a second
        from matplotlib.figure import Figure

        size, content = config.font_size, BytesIO()
        sizes = {"axes.titlesize": size, "font.size": size * _SMALL}
        # A letter that no font has is a box, of which matplotlib warns.
        no_warnings = warnings.catch_warnings(action="ignore", category=UserWarning)
        with _SETTINGS, no_warnings, style.context(["default", _STYLE, sizes]):
            # Paper may end within a pixel; a picture is made of whole ones.
            exact = config.width_mm / 25.4 * config.dpi
            wide = round(exact) + 0.01 if name == "png" else exact
            is_named = config.letters or any(one.title for one in panels)
            head = self._text if is_named else 0
            figure, tops = Figure(dpi=config.dpi), [head]
            rows = range(0, len(panels), self._columns)
            for row in (panels[at : at + self._columns] for at in rows):
                lines = max(len(one.caption) for one in row) if config.scores else 0
                below = max(map(self._side, row)) + lines * self._text
                tops.append(tops[-1] + below + self._gap + head)
            high = tops[-1] - head - self._gap + 0.01
            figure.set_size_inches(wide / config.dpi, high / config.dpi)
            for place, panel in enumerate(panels):
                row, column = divmod(place, self._columns)
                box = column * (self.panel + self._gap), tops[row], self.panel
                axes = self._axes(figure, *box, self._side(panel))
                self._draw(axes, panel, ascii_lowercase[place % 26])
            kinds = {one.signed for one in panels if one.scores is not None}
            for place, signed in enumerate(sorted(kinds) if self._bar else ()):
                left, width = round(exact) - self._bar + self._gap, self._mm(_BAR_MM)
                high = (self._side(panels[0]) + self._gap) // len(kinds)
                box = left, head + place * high, width, high - self._gap
                axes, shares = self._axes(figure, *box), np.linspace(1, 0, 256)[:, None]
                axes.imshow(shares, _colours(signed), aspect="auto", alpha=_OPACITY)
                ticks = ["for", "0", "against"] if signed else ["1", "0.5", "0"]
                axes.set_yticks([0, 127.5, 255], ticks)
                axes.set_ylabel("evidence")
                axes.yaxis.set_label_position("right")
            undated = {_UNDATED[name]: None}
            figure.savefig(content, format=name, dpi=config.dpi, metadata=undated)
        return content.getvalue()

    def _axes(
        self, figure: Figure, left: int, top: int, width: int, height: int
    ) -> Axes:
        wide, high = figure.get_size_inches() * self._config.dpi
        low = high - top - height
        place = (left / wide, low / high, width / wide, height / high)
        how: Any = {"xticks": [], "yticks": [], "frame_on": False}
        return figure.add_axes(place, **how)

    def _side(self, panel: Panel) -> int:
        return round(self.panel * panel.image.shape[0] / panel.image.shape[1])

    def _draw(self, axes: Axes, panel: Panel, letter: str) -> None:
        config, em = self._config, self._text / 1.3
        if panel.scores is None:
            axes.imshow(panel.image, aspect="auto")
        else:  # green alone: the grey in which stains are told from paper
            axes.imshow(panel.image[..., 1], "gray", aspect="auto", vmin=0, vmax=255)
            how: Any = {"vmin": 0, "vmax": 1, "alpha": _OPACITY}
            axes.imshow(panel.scores, _colours(panel.signed), aspect="auto", **how)
            cut = cut_of(panel.cut, signed=panel.signed)
            level = [np.nextafter(np.float32(cut), np.float32(-1))]
            level = [1 - cut, *level] if panel.signed else level
            axes.contour(panel.scores, level, colors="black", linewidths=1.3)
            axes.contour(panel.scores, level, colors=_CONTOUR)  # what equals is in
        indent = 1.3 * em / self.panel if config.letters else 0
        title, most = " ".join(panel.title.split()), int(self.panel / em / 0.6 - 2)
        title = title if len(title) <= most else f"{title[: most - 1]}…"
        axes.set_title(title, x=indent, parse_math=False)
        if config.letters:
            axes.set_title(letter, loc="right", x=0, ha="left", weight="bold")
        if config.scores:
            axes.set_xlabel("\n".join(panel.caption), loc="left", parse_math=False)
        if panel.reference is not None:
            axes.contour(panel.reference, [0.5], colors="black", linewidths=1.3)
            axes.contour(panel.reference, [0.5], colors="white", linestyles="dashed")
        if panel.pixel_um is not None:
            axes.add_artist(_scale_bar(axes, panel.image.shape[1], panel.pixel_um))

    def _mm(self, length: float) -> int:
        return round(length / 25.4 * self._config.dpi)


def _colours(signed: bool) -> str | Colormap:
    from matplotlib.colors import ListedColormap

    return ListedColormap(two_sided()) if signed else "magma"


def _scale_bar(axes: Axes, width: int, um: float) -> Artist:
    """White on a dark plate, in the lower right corner: seen on any image."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    most = 0.3 * width * um
    power = 10.0 ** math.floor(math.log10(most))
    told = max(step * power for step in (1, 2, 5) if step * power <= most)
    words = f"{told / 1000:g} mm" if told >= 1000 else f"{told:g} µm"
    high: Any = 0.015 * width  # a float, whatever its type says
    where = axes.transData, told / um, words, "lower right"
    bar = AnchoredSizeBar(*where, pad=0.3, size_vertical=high, label_top=True)
    bar.txt_label.get_children()[0].set(color="white")
    bar.size_bar.get_children()[0].set(gid="scale", lw=0, fill=True, fc="white")
    bar.patch.set(facecolor="black", alpha=0.55, linewidth=0)
    return bar
