"""The colours of the window: a pair for strokes, a pair for changes, one for evidence.

All that is drawn over an image can be told from all else that is, on light and dark
images and by colour-blind people.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import AVAILABLE_COLORMAPS
from napari.utils.theme import get_theme
from qtpy.QtGui import QColor

from napari_wsol.images.colours import between, two_sided

if TYPE_CHECKING:
    import numpy.typing as npt
    from napari.layers import Image

FOREGROUND = "#e69f00"
"""Orange of the Okabe-Ito set (safe for colour-blind readers): “this is it”."""

BACKGROUND = "#0072b2"
"""Blue of the same set: “this is not”."""

LESS, MORE = "#df410c", "#d05cff"
"""Red and violet: where a round has less or more evidence than the one before."""

SERIES = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2")
"""Colours of the same set for curves in one chart, told apart on dark and light."""

EVIDENCE = "evidence"
"""What our colormaps are called, with the method behind it."""

GREENS = ("#0b6b57", "#3fa564", "#5ff07a")
"""From little evidence to much; between them in CIE Lab. Green stands out from pink and
violet stains, from brown and from white glass, and is none of the other colours here:
``tests/gui/test_colours.py`` measures it, also as colour-blind people see them."""

LINE_ON_BRIGHT, LINE_ON_DARK = "#000000", "#ffffff"
"""Contours on stained tissue, and on fluorescence or film."""

WARNING = "#e3b617"
"""Amber: of what is odd, until the theme says its own."""

WAITING = (0.45, 0.47, 0.5, 0.32)
"""A grey veil (RGBA) over the part of a slide that is not computed yet."""

GUIDE_BLUE = "#9ecfff"
"""Light blue: where a stroke would teach most."""

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


def contour_colour(*, bright: bool) -> str:
    """The colour of contours over an image, light or dark on average."""
    return LINE_ON_BRIGHT if bright else LINE_ON_DARK


def evidence_colours(
    threshold: float, *, cut: bool, signed: bool = False
) -> npt.NDArray[np.float32]:
    """The colormap of a heatmap: (256, 4) RGBA for values from 0 to 1.

    With a cut nothing is shown below it, and all colours are spread over what lies
    above: most of a sure model's values there are close to each other. Without one
    evidence is a veil, the denser the stronger it is.

    Args:
        threshold: value of the cut.
        cut: whether nothing is shown below it.
        signed: whether one half is nothing, and below it lies what speaks against.
    """
    values = np.linspace(0, 1, 256)
    if signed:  # nothing at one half itself
        values = abs(np.arange(-255, 256, 2)) / 255
        threshold = max(2 * threshold - 1 - 1e-9, 1 / 128)  # by rounding
    low = min(threshold, 1 - 1e-6) if cut else 0.0
    colours = two_sided(low) if signed else np.ones((len(values), 4), np.float32)
    if not signed:
        shares = np.clip((values - low) / (1 - low), 0, 1)
        anchors = np.array([QColor(name).getRgbF()[:3] for name in GREENS])
        colours[:, :3] = between(anchors, shares)
        if not cut:
            colours[:, 3] = np.minimum(1.0, 1.4 * values)
    if cut:
        colours[values < threshold] = 0.0
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


def doubt_colours() -> npt.NDArray[np.float32]:
    """Of doubt from 0 to 1, perceptual: (256, 4) RGBA, clear at 0, dense from 0.5."""
    shares = np.linspace(0, 1, 256, dtype=np.float32)
    colours = AVAILABLE_COLORMAPS["inferno"].map(shares).astype(np.float32)
    colours[:, 3] = np.minimum(0.75, 1.5 * shares)
    return colours
