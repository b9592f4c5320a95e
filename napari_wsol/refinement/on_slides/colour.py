"""The colour of a slide's tiles, on the grid of their features.

It is averaged from the pixels when strokes first ask for it, which is quick beside
encoding a tile, but slow beside reading its features; so it stays in memory as far as
there is room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.images.resample import read_region
from napari_wsol.inference.encode import network_pixels
from napari_wsol.refinement.surroundings import colour_of_pixels
from napari_wsol.slides.run import around

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.images.slide import Slide
    from napari_wsol.images.tiling import Tile
    from napari_wsol.methods import Model
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.slides.plan import SlidePlan

COLOUR_BYTES = 128_000_000
"""Of what stays in memory: 140 tiles of 1024 pixels at stride 4."""


class KeptColour:
    """Colours of tiles, by their numbers, as far as there is room.

    Each round asks for all tiles: to make room by dropping the longest unused would
    drop the very tile that is asked for next. What came first stays.

    Args:
        budget: bytes.
    """

    def __init__(self, budget: int = COLOUR_BYTES) -> None:
        self._left = budget
        self._tiles: dict[int, Tensor] = {}

    def get(self, index: int) -> Tensor | None:
        """A tile's colour, if it is here."""
        return self._tiles.get(index)

    def add(self, index: int, colour: Tensor) -> None:
        """Keeps it, if there is room."""
        if colour.nbytes <= self._left and index not in self._tiles:
            self._left -= colour.nbytes
            self._tiles[index] = colour


class TileColour:
    """The colour of a slide where its tiles are.

    Args:
        slide: whose pixels are read.
        model: says how it sees them.
        plan: how the slide is cut.
        head: whose finest map gives the grid.
        kept: colours that were read before; those that are read now are added.

    Attributes:
        channels: of the colour.
        stride: network pixels a cell.
    """

    def __init__(
        self,
        slide: Slide,
        model: Model,
        plan: SlidePlan,
        head: PixelHead,
        *,
        kept: KeptColour | None = None,
    ) -> None:
        self._slide, self._model, self._plan = slide, model, plan
        self._kept = kept or KeptColour(0)
        self.channels = model.preprocessing.channels
        self.stride = int(model.encoder.strides[-len(head.channels)])

    def around(self, tile: Tile) -> Tensor:
        """(1, c, rows, columns) on the cells of the core with its margin.

        The core's own are those of the whole slide: the margin is wider than what is
        blurred, and it ends where the network's input would be mirrored.

        Raises:
            UnreadableImageError: the file is damaged there.
        """
        found = self._kept.get(tile.index)
        if found is None:
            found = self._read(tile)
            self._kept.add(tile.index, found)
        return found

    def _read(self, tile: Tile) -> Tensor:
        top, left, height, width = around(tile, self._plan)
        seen = self._plan.seen
        pixels = read_region(
            self._slide,
            tile.window_y + top + seen.origin[0],
            tile.window_x + left + seen.origin[1],
            height,
            width,
            seen.downsample[0],
        )
        seen_pixels = network_pixels(pixels, self._model)
        colour = colour_of_pixels(seen_pixels, self.stride)
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        return colour[..., :rows, :columns].clone()
