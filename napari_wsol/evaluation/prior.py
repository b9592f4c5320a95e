"""Maps without a network: where a class usually lies, the centre, and darkness.

What a network's map is worth shows beside them. On chest films a location prior alone
points into the box of nearly every large heart.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import DatasetError
from napari_wsol.evaluation.scores import squash
from napari_wsol.evaluation.settings import FIELD_SIZE

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_wsol.evaluation.scores import BoolArray
    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.heatmap import FloatMap

    PackedBits = npt.NDArray[np.uint8]


class LocationPrior:
    """For each class the mean of the references of other images, as filled areas.

    Each area is laid on a square grid over the whole image, so that images of any size
    count alike. One bit a cell of each is kept.

    Args:
        side: rows and columns of the grid.
    """

    def __init__(self, side: int = FIELD_SIZE) -> None:
        self.side = side
        self._sums: dict[str, npt.NDArray[np.int64]] = {}
        self._groups: dict[str, Counter[str]] = {}
        self._areas: dict[tuple[str, str], list[PackedBits]] = {}

    def add(self, name: str, group: str, area: BoolArray) -> None:
        """Adds a reference.

        Args:
            name: of its class.
            group: of its image; what belongs together, for example a patient.
            area: (H, W) what it covers of the whole image, on any grid.
        """
        cells = squash(area, (self.side, self.side))
        empty = np.zeros(cells.shape, np.int64)
        self._sums[name] = self._sums.get(name, empty) + cells
        self._groups.setdefault(name, Counter())[group] += 1
        self._areas.setdefault((name, group), []).append(np.packbits(cells))

    def require(self, name: str, group: str) -> None:
        """Whether there is a map for an image of a group.

        Raises:
            DatasetError: no other group has a reference of the class.
        """
        counts = self._groups.get(name, Counter[str]())
        if counts.total() > counts[group]:
            return
        raise DatasetError(
            f"There is no location prior for “{name}” in images of the group "
            f"“{group}”: no image of another group has a mask or box of it. Give more "
            "images, or leave the prior out."
        )

    def values(self, name: str, group: str) -> FloatMap:
        """The map for every image of a group.

        Args:
            name: of the class.
            group: whose own references are left out.

        Returns:
            (side, side) float32, at each cell the share of the references of other
            groups that cover it.

        Raises:
            DatasetError: no other group has a reference of the class.
        """
        self.require(name, group)
        counts = self._groups[name]
        total = self._sums[name].copy()
        for bits in self._areas.get((name, group), ()):
            own = np.unpackbits(bits, count=self.side**2)
            total -= own.reshape(self.side, self.side)
        return (total / (counts.total() - counts[group])).astype(np.float32)


def centre_values(side: int = FIELD_SIZE) -> FloatMap:
    """A Gaussian about the middle; its standard deviation is half a side.

    The baseline "Center-gaussian" of Choe et al., CVPR 2020 (arXiv 2001.07437).

    Returns:
        (side, side) float32 in (0, 1].
    """
    at = (np.arange(side) + 0.5) / side * 2 - 1
    fall = np.exp(-(at**2) / 2)
    return np.outer(fall, fall).astype(np.float32)


def darkness_values(pixels: Rgb) -> FloatMap:
    """How dark an image is, from its luma (ITU-R BT.601): darker is more evidence.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (H, W) float32 in [0, 1]; 1 is black.
    """
    luma = pixels @ np.array([0.299, 0.587, 0.114]) / 255
    return np.clip(1 - luma, 0, 1).astype(np.float32)
