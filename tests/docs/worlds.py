"""The files that a page speaks of: a folder in which its blocks can be run.

A function here makes the files of a page; ``@world("how-to/film.md")`` says of which.
All are synthetic and small, so that a page takes seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tifffile
from PIL import Image

import napari_wsol as wsol

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORLDS: dict[str, Callable[[Path], None]] = {}
"""What makes the files of a page, by its name."""

SLOW: dict[str, str] = {
    "reference/data-sets.md": "boxes at a hundred thresholds: half a minute",
    "reference/headless.md": "slides, bags, a journal and a report: half a minute",
}
"""Pages that run as slow tests only, with the reason."""

NOT_RUN: dict[str, str] = {
    "how-to/plugins.md": "tests/test_plugins.py runs it: what is registered stays",
}
"""Pages whose blocks are read and checked, but not run, with the reason."""


def world(page: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Registers what makes the files of a page in the folder that it is given."""

    def keep(make: Callable[[Path], None]) -> Callable[[Path], None]:
        WORLDS[page] = make
        return make

    return keep


@world("concepts/pxap.md")
@world("concepts/thresholds.md")
@world("concepts/what-a-cam-can-say.md")
@world("concepts/why-strokes-have-a-prior.md")
def nothing(_: Path) -> None:
    """These pages bring their own arrays, or an image of scikit-image."""
