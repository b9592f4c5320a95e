"""What a journal says of the image that it belongs to."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from napari_wsol.errors import ConfigError
from napari_wsol.files.parsing import Count, Finite, Positive, typed
from napari_wsol.strokes.canvas import CANVAS_PIXELS

if TYPE_CHECKING:
    from collections.abc import Mapping

STEM_LENGTH = 24
"""Hexadecimal digits of a fingerprint that name its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image, and the grid that its strokes are painted on.

    Attributes:
        fingerprint: sha256 of the content; the only thing that an image is known by.
        name: for people.
        path: where it was last seen; None for an array, or a film in DICOM.
        shape: (h, w) of level 0.
        canvas_shape: rows and columns of the canvas.
        canvas_scale: level-0 pixels a cell, (y, x).
        canvas_translate: level-0 position of the centre of cell (0, 0).
        mpp: µm a level-0 pixel; None where it is not known.
    """

    fingerprint: str
    name: str
    path: str | None
    shape: tuple[Count, Count]
    canvas_shape: tuple[Count, Count]
    canvas_scale: tuple[Positive, Positive]
    canvas_translate: tuple[Finite, Finite]
    mpp: Positive | None

    def __post_init__(self) -> None:
        if not 0 < math.prod(self.canvas_shape) <= CANVAS_PIXELS:
            rows, columns = self.canvas_shape
            raise ConfigError(
                f"A canvas has up to {CANVAS_PIXELS} cells, not {rows}×{columns}."
            )

    @property
    def stem(self) -> str:
        """What the folder of its journal begins with."""
        return self.fingerprint[:STEM_LENGTH]

    def to_dict(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> ImageFacts:
        """The inverse of :meth:`to_dict`.

        Raises:
            MalformedError: these are not an image's values.
        """
        return typed(values, cls)
