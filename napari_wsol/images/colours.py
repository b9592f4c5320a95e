"""The colours of signed maps, in the window and in what is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from skimage import color

if TYPE_CHECKING:
    import numpy.typing as npt

    Colours = npt.NDArray[np.float32]

AGAINST = ((89, 141, 255), (0, 105, 238), (0, 78, 246))
FOR = ((159, 162, 90), (212, 221, 90), (255, 232, 58))
TWO_SIDED = np.array([*AGAINST, *FOR]) / 255
"""(6, 3) RGB in [0, 1]: blues from all against a class to little, then yellows from
little for it to all. ``tests/gui/test_colours.py`` measures that they are told apart,
and from tissue, also by colour-blind people."""


def two_sided(low: float = 0.0) -> Colours:
    """The colormap of a signed map: (256, 4) RGBA, clear at one half, which is 0.

    Args:
        low: share of the strongest from which on colours change.
    """
    strength = np.abs(np.linspace(-1, 1, 256))
    shares, colours = np.clip((strength - low) / (1 - low), 0, 1), np.ones((256, 4))
    colours[:128, :3] = between(TWO_SIDED[2::-1], shares[:128])
    colours[128:, :3] = between(TWO_SIDED[3:], shares[128:])
    colours[:, 3] = np.minimum(1.0, 1.4 * strength)
    return colours.astype(np.float32)


def between(
    anchors: npt.NDArray[np.floating], shares: npt.NDArray[np.floating]
) -> Colours:
    """(n, 3) RGB of evidence from 0, little, to 1, much: (m, 3) RGB and between."""
    space: Any = color  # whose types are partly unknown
    lab = np.asarray(space.rgb2lab(anchors[None]), np.float64)[0]
    at = np.linspace(0, 1, len(lab))
    mixed: Any = [np.interp(shares, at, channel) for channel in lab.T]
    rgb = space.lab2rgb(np.stack(mixed, axis=1)[None])[0]
    return np.clip(rgb, 0, 1).astype(np.float32)
