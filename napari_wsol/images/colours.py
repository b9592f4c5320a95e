"""The colours of signed maps, in the window and in what is written."""

from __future__ import annotations

import numpy as np

AGAINST = ((89, 141, 255), (0, 105, 238), (0, 78, 246))
FOR = ((159, 162, 90), (212, 221, 90), (255, 232, 58))
TWO_SIDED = np.array([*AGAINST, *FOR]) / 255
"""(6, 3) RGB in [0, 1]: blues from all against a class to little, then yellows from
little for it to all. ``tests/gui/test_colours.py`` measures that they are told apart,
and from tissue, also by colour-blind people."""
