"""What strokes say of their surroundings, on a slide: tile by tile.

The field of the strokes (:mod:`napari_wsol.refinement.stroke_field`) depends on each
cell alone: on its features, its colour, and where on the slide it lies. Far from all
strokes little is left of it, the tint, and most tiles of a slide are far from them.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_wsol.encoders import Features, nominal_offset
from napari_wsol.methods.model import weight_bytes
from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND, PixelCam
from napari_wsol.refinement.stroke_field import beside
from napari_wsol.slides.run import around

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from napari_wsol.images.tiling import Tile
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.on_slides.colour import TileColour
    from napari_wsol.refinement.stroke_field import StrokeField
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.slides.readouts import Array


BLOCK = 64
"""Side, in cells, of what is looked at as one: strokes far from it are left out."""


class LocalMap:
    """Reads the refined map of tiles: pixel head and field of the strokes together.

    A :class:`~napari_wsol.slides.run.CoreReadout`.

    Args:
        head: refined; on the device of the features.
        field: of the strokes.
        colour: of the slide.
        plan: how it is cut.
        check: called often; raises to stop.

    Attributes:
        name: of the plane that it gives.
        digest: sha256 of the field: other strokes give another map.
    """

    name = PixelCam.name

    def __init__(
        self,
        head: PixelHead,
        field: StrokeField,
        colour: TileColour,
        plan: SlidePlan,
        *,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        digest = hashlib.sha256()
        for part in weight_bytes(field):
            digest.update(part)
        self.digest = digest.hexdigest()
        # A copy: the round keeps its own where it is.
        self._head, device = head, head.conv4.weight.device
        self._field = copy.deepcopy(field).to(device)
        self._colour, self._plan, self._check = colour, plan, check

    @torch.inference_mode()
    def core(self, features: Features, tile: Tile) -> Array:
        """(1, rows, columns) float16 foreground probability of a tile's core.

        Args:
            features: of the core with its margin, maps (1, C, h, w).
            tile: which.

        Raises:
            UnreadableImageError: the file is damaged there.
        """
        colour = self._colour.around(tile).to(features.maps[0].device)
        stride = self._colour.stride
        top, left, _, _ = around(tile, self._plan)
        # The core on the grid of the features, and on that of the slide.
        top = (tile.y - tile.window_y - top) // stride
        left = (tile.x - tile.window_x - left) // stride
        rows, columns = -(-tile.height // stride), -(-tile.width // stride)
        logits = self._head(features)[0]
        total = logits[FOREGROUND] - logits[BACKGROUND] + self._field.tinted(colour)
        total = total[top : top + rows, left : left + columns].contiguous()
        blocks = self._blocks(tile, rows, columns)
        if blocks:
            both = beside(self._head.hidden(features), colour)
            self._add(total, both, blocks, tile, (top, left))
        values = total.sigmoid()[None]
        return values.cpu().numpy().astype("float16")

    def _blocks(self, tile: Tile, rows: int, columns: int) -> list[Block]:
        """The parts of a core of which strokes near by say something."""
        found: list[Block] = []
        for y in range(0, rows, BLOCK):
            for x in range(0, columns, BLOCK):
                block = Block(y, x, min(y + BLOCK, rows), min(x + BLOCK, columns))
                points = block.points(tile, self._colour.stride)
                points = points.to(self._field.points.device)
                if self._field.reaches(points[0], points[-1]):
                    found.append(block)
        return found

    def _add(
        self,
        total: Tensor,
        both: Features,
        blocks: list[Block],
        tile: Tile,
        start: tuple[int, int],
    ) -> None:
        """Adds what strokes near by say to the core, which begins at a cell of both."""
        stride, margin = self._colour.stride, self._plan.margin
        deepest = self._plan.grid.stride
        corner = min(item.top for item in blocks), min(item.left for item in blocks)
        end = max(item.bottom for item in blocks), max(item.right for item in blocks)
        first = [
            max(0, (at + begin) * stride - margin) // deepest * deepest
            for at, begin in zip(corner, start, strict=True)
        ]
        last = [
            (at + begin) * stride + margin for at, begin in zip(end, start, strict=True)
        ]
        cells = self._field.cells(_cut(both, first, last))[:-1]
        down, across = (
            begin - at // stride for begin, at in zip(start, first, strict=True)
        )
        for block in blocks:
            self._check()
            looks = cells[
                :,
                block.top + down : block.bottom + down,
                block.left + across : block.right + across,
            ]
            points = block.points(tile, stride).to(total.device)
            found = self._field.correction(looks.flatten(1).T.contiguous(), points)
            part = total[block.top : block.bottom, block.left : block.right]
            part += found.view(part.shape)


@dataclass(frozen=True, slots=True)
class Block:
    """Some cells of a tile's core, by their rows and columns."""

    top: int
    left: int
    bottom: int
    right: int

    def points(self, tile: Tile, stride: int) -> Tensor:
        """(n, 2) centres (y, x) on the whole slide, in network input pixels."""
        rows, columns = (
            (begin + torch.arange(first, last) * stride).float()
            + nominal_offset(stride)
            for begin, first, last in (
                (tile.y, self.top, self.bottom),
                (tile.x, self.left, self.right),
            )
        )
        return torch.cartesian_prod(rows, columns).view(-1, 2)


def _cut(features: Features, first: Sequence[int], last: Sequence[int]) -> Features:
    """Between two points (y, x); the first lies on whole cells of all maps."""
    maps = tuple(
        item[
            ...,
            first[0] // int(stride) : -(-last[0] // int(stride)),
            first[1] // int(stride) : -(-last[1] // int(stride)),
        ]
        for item, stride in zip(features.maps, features.strides, strict=True)
    )
    return Features(maps, features.strides, features.offsets)
