"""The colours of signed maps, in the window and in what is written."""

from __future__ import annotations

import numpy as np

TWO_SIDED = np.array(
    [
        *((172, 166, 255), (0, 170, 237), (0, 83, 240)),
        *((166, 72, 85), (205, 93, 72), (242, 119, 123)),
    ]
)
"""(6, 3) RGB from all evidence against a class to little, and from little for it to
all: blues, then reds. ``tests/gui/test_colours.py`` measures that they are told apart,
and from tissue, also by colour-blind people."""
