"""What a journal says of the image that it belongs to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STEM_LENGTH = 24
"""Hexadecimal digits of a fingerprint that name its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """An image, and the grid that its strokes are painted on.

    Attributes:
        fingerprint: sha256 of the content; the only thing that an image is known by.
        name: for people.
        path: where it was last seen; None for an array.
        shape: (h, w) of level 0.
        canvas_shape: rows and columns of the canvas.
        canvas_scale: level-0 pixels a cell, (y, x).
        canvas_translate: level-0 position of the centre of cell (0, 0).
        mpp: µm a level-0 pixel; None where it is not known.
    """

    fingerprint: str
    name: str
    path: str | None
    shape: tuple[int, int]
    canvas_shape: tuple[int, int]
    canvas_scale: tuple[float, float]
    canvas_translate: tuple[float, float]
    mpp: float | None

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
            KeyError, TypeError, ValueError: these are not an image's values.
        """
        path, mpp = values["path"], values["mpp"]
        height, width = cast("Sequence[int]", values["shape"])
        rows, columns = cast("Sequence[int]", values["canvas_shape"])
        scale_y, scale_x = cast("Sequence[float]", values["canvas_scale"])
        y, x = cast("Sequence[float]", values["canvas_translate"])
        return cls(
            fingerprint=str(values["fingerprint"]),
            name=str(values["name"]),
            path=None if path is None else str(path),
            shape=(int(height), int(width)),
            canvas_shape=(int(rows), int(columns)),
            canvas_scale=(float(scale_y), float(scale_x)),
            canvas_translate=(float(y), float(x)),
            mpp=None if mpp is None else float(cast("float", mpp)),
        )
