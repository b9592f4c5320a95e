"""Boxes that people drew around findings, as lists of them say it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsol.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A reference box: pixel j of a row is covered where x <= j < x + width.

    Attributes:
        xywh: x, y, width, height in pixels of ``frame``.
        name: of its class; None where the image has only one.
        frame: (H, W) that it was drawn in; None is the image file's own.
        where: the line it comes from, for messages.
    """

    xywh: tuple[float, float, float, float]
    name: str | None
    frame: tuple[int, int] | None
    where: str

    def on(
        self, image: tuple[int, int], grid: tuple[int, int]
    ) -> tuple[float, float, float, float]:
        """The box on a grid that covers the whole image.

        Args:
            image: (H, W) of the image file.
            grid: rows and columns.

        Raises:
            DatasetError: it ends more than a pixel outside its frame.
        """
        height, width = self.frame or image
        x, y, w, h = self.xywh
        if x + w > width + 1 or y + h > height + 1:
            raise DatasetError(
                f"{self.where} has a box that ends at ({x + w:g}, {y + h:g}), outside "
                f"the {width}×{height} pixels of its image. If it was drawn in an "
                "image of another size, give that size as the frame."
            )
        across, down = grid[1] / width, grid[0] / height
        return x * across, y * down, w * across, h * down


def sides_of(
    fields: Sequence[str], where: str, *, corners: bool = False
) -> tuple[float, float, float, float]:
    """Four numbers of a box.

    Args:
        fields: x, y, w, h.
        where: the line they stand in, for messages.
        corners: they are x0, y0, x1, y1 instead.

    Raises:
        DatasetError: they are no box.
    """
    try:
        a, b, c, d = (float(item) for item in fields)
    except ValueError:
        a = b = c = d = math.nan
    is_box = (c >= a and d >= b) if corners else (c > 0 and d > 0)
    if not is_box or not all(map(math.isfinite, (a, b, c, d))):
        order = "x0, y0, x1, y1" if corners else "x, y, w, h"
        raise DatasetError(
            f"{where} has “{','.join(fields)}”, which is no box: {order} are four "
            "numbers, and a box is larger than nothing."
        )
    return a, b, c, d
