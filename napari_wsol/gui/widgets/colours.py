"""The colours of the window: one pair for strokes, one map for evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import ensure_colormap
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Image

FOREGROUND = "#e69f00"
"""Orange of the Okabe-Ito set (safe for colour-blind readers): “this is it”."""

BACKGROUND = "#0072b2"
"""Blue of the same set: “this is not”."""

LESS, MORE = "#56b4e9", FOREGROUND
"""Blue and orange of the same set: where a round has less or more evidence than the one
before. The blue is the lighter one, which is also seen over dark tissue."""

SERIES = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2")
"""Colours of the same set for curves in one chart, told apart on dark and light."""

EVIDENCE = "magma"
"""Perceptually uniform, dark where there is no evidence; unlike inferno it never takes
the orange of the strokes and contours."""


WAITING = (0.45, 0.47, 0.5, 0.32)
"""A grey veil (RGBA) over the part of a slide that is not computed yet."""

GUIDE_YELLOW = "#f0e442"
"""Yellow of the Okabe-Ito set: where a stroke would teach most."""

TISSUE_GREEN = "#009e73"
"""Green of the Okabe-Ito set: where a slide is looked at."""


def theme_colour(theme_id: str, role: str) -> str:
    """A colour of napari's theme as ``#rrggbb``; ``role`` as in ``napari.Theme``."""
    colour = getattr(get_theme(theme_id), role)
    return QColor(*colour.as_rgb_tuple()[:3]).name()


def readable_on(background: str) -> str:
    """Black or white, whichever reads better on ``background``."""
    colour = QColor(background)
    light = 0.299 * colour.red() + 0.587 * colour.green() + 0.114 * colour.blue()
    return "#000000" if light > 140 else "#ffffff"


def is_bright(image: Image) -> bool:
    """Whether an image is light on average, as all bright-field slides are."""
    thumbnail = np.asarray(image.thumbnail)
    shown = thumbnail[thumbnail[..., 3] > 0]
    return bool(shown.size) and float(shown[:, :3].mean()) > 90


def evidence_colours(
    threshold: float, *, cut: bool, bright: bool
) -> npt.NDArray[np.float32]:
    """The colormap of a heatmap: (256, 4) RGBA for values from 0 to 1.

    Added to a bright-field slide every colour ends in white, and the tissue is gone.
    So over bright images evidence is laid as a veil, the denser the stronger it is;
    over dark ones (fluorescence) it is added.

    Args:
        threshold: value of the cut.
        cut: whether nothing is shown below it.
        bright: which kind of image it lies on.
    """
    colours = np.array(ensure_colormap(EVIDENCE).colors, np.float32)
    values = np.linspace(0, 1, len(colours))
    if bright:
        colours[:, 3] = 1.0 if cut else np.minimum(1.0, 1.4 * values)
    if cut:
        colours[values < threshold] = (0, 0, 0, 0)
    return colours


def change_colours() -> npt.NDArray[np.float32]:
    """The colormap of a difference: (256, 4) RGBA for values from -1 to 1.

    Nothing at 0; the denser, the more has changed, and full from 0.4 on, so that it is
    told from the map below it.
    """
    change = np.linspace(-1, 1, 256, dtype=np.float32)
    colours = np.empty((256, 4), np.float32)
    for side, name in ((change < 0, LESS), (change >= 0, MORE)):
        colours[side, :3] = QColor(name).getRgbF()[:3]
    colours[:, 3] = np.minimum(1.0, 2.5 * np.abs(change))
    colours[127:129, 3] = 0.0
    return colours
