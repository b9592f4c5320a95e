"""What marked places on a slide look like, read from the tiles that hold them.

Beside those tiles a sample of others is read, once for all rounds. Where their features
are kept, nothing is encoded.

The sample gives the directions to which features are reduced (:class:`SlideSpace`), as
on an image in one piece (:func:`~napari_wsol.refinement.stroke_field.fit_space`):
the same cells, where all tiles are kept and there are few enough of them. A slide is
too large to be read at every stroke, and its cells do not change with the strokes, so
what was read of them stays until the slide is left.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.config import SlideConfig
from napari_wsol.encoders import nominal_offset, sample_points
from napari_wsol.errors import UnreadableImageError
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods.pixelcam import PLAIN
from napari_wsol.refinement.finetune import copied, untrained_head
from napari_wsol.refinement.heads import own_head
from napari_wsol.refinement.local import Descriptors
from napari_wsol.refinement.on_slides.colour import KeptColour, TileColour
from napari_wsol.refinement.stroke_field import LEAST_STD, beside, sample_step, space_of
from napari_wsol.slides.run import SlideRun, around
from napari_wsol.slides.tile_log import TileLog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.images.slide import Slide
    from napari_wsol.images.tiling import Tile
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.marked import Labelled
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.slides.run import Store

SPREAD_TILES = 64
"""Tiles from which mean and standard deviation of the features are taken, where the
head does not bring them."""

FEW_TILES = 4
"""Tiles that are encoded to learn from others' strokes, where nothing is kept."""

SAMPLE_TILES = 32
"""Tiles at most in which the cells lie: reading them takes a second or two, once."""


class SlideDescriptors:
    """Reads places of one slide for the pixel head of one model.

    Args:
        slide: the slide.
        model: on its device; without a pixel head it gets a new one.
        plan: how the slide was cut when its features were kept.
        store: keeps features; tiles under places that are not there are encoded.
        config: how tiles are read.
        space: what was read of the slide before; goes on from there.
        check: called often; raises to stop.

    Attributes:
        slide, model, plan, store, config, check: as they were given.
        head: as it is before the first stroke. One that is new knows the spread of the
            features once something was read.
        encoded: tiles that went through the network.
    """

    def __init__(
        self,
        slide: Slide,
        model: Model,
        plan: SlidePlan,
        store: Store,
        *,
        config: SlideConfig | None = None,
        space: SlideSpace | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.slide, self.model, self.plan = slide, model, plan
        self.store, self.config = store, config or SlideConfig()
        self._space, self.check = space or SlideSpace(), check
        own = own_head(model)
        self._is_new = own is None
        self.head = _untrained(model) if own is None else copied(own)
        self.encoded = 0

    def vectors(
        self, points: Tensor, report: Progress = ignore_progress
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """What the head alone learns from.

        Args:
            points: (n, 2) positions (y, x) in network input pixels.
            report: called with (tiles read, tiles, "").

        Returns:
            (n, C) features, (n,) bool where they could be read, and (C,) mean and
            standard deviation of the features.
        """
        own = None if self._is_new else self.head.statistics
        sample = None if own else spread_evenly(np.flatnonzero(self.kept), SPREAD_TILES)
        reader = DescriptorReader(
            self.head, self.plan, points, self.store, spread_of=sample
        )
        self._gather(reader, report)
        spread = own or reader.spread()
        if self._is_new:
            self.head.standardize_to(*spread)
        return reader.vectors, reader.found, spread

    def places(
        self, spots: Labelled, report: Progress = ignore_progress
    ) -> tuple[Descriptors, Tensor]:
        """What head and field learn from.

        Args:
            spots: where is what.
            report: called with (tiles read, tiles, "").

        Returns:
            What the places look like, and (n,) bool: those that could be read, which
            alone are in it.

        Raises:
            UnreadableImageError: nothing at all could be read.
        """
        space, colour = self._space, self.colour()
        under = np.unique(tiles_under(spots.points.numpy(), self.plan))
        tiles = (
            spread_evenly(np.flatnonzero(self.kept), SAMPLE_TILES)
            or [int(item) for item in under]
            or spread_evenly(np.flatnonzero(self.plan.wanted), FEW_TILES)
        )
        unknown = space.wants(tiles, self.plan, colour.stride)
        points = torch.cat([spots.points, *unknown.values()])
        reader = DescriptorReader(
            self.head, self.plan, points, self.store, colour=colour
        )
        self._gather(reader, report)
        counts = [len(spots.points), *map(len, unknown.values())]
        found = torch.split(reader.found, counts)
        vectors = torch.split(reader.vectors, counts)
        for index, there, values in zip(unknown, found[1:], vectors[1:], strict=True):
            if bool(there.any()):  # what is damaged is in no sample
                space.add(index, values[there].clone())
        if not len(space.vectors):
            raise UnreadableImageError(
                f"No tile of “{self.slide.name}” could be read to learn from: the "
                "file is damaged. Copy or download it again."
            )
        mean, projection = space.reduction([*self._channels, colour.channels])
        if self._is_new:
            width = sum(self._channels)
            std = space.vectors[:, :width].std(0).clamp_min(LEAST_STD)
            self.head.standardize_to(mean[:width], std)
        known = Descriptors(
            vectors[0][found[0]],
            spots.points[found[0]],
            spots.labels[found[0]],
            mean,
            projection,
        )
        return known, found[0]

    def colour(self) -> TileColour:
        """The colour of the slide on the grid of what the head reads."""
        return TileColour(
            self.slide, self.model, self.plan, self.head, kept=self._space.colour
        )

    @property
    def kept(self) -> npt.NDArray[np.bool_]:
        """(rows, columns) bool: wanted tiles whose features are kept."""
        kept = np.zeros_like(self.plan.wanted)
        numbers = np.flatnonzero(self.plan.wanted)
        kept.reshape(-1)[[item for item in numbers if int(item) in self.store]] = True
        return kept

    @property
    def _channels(self) -> list[int]:
        """Of each map that the head's last layer reads."""
        if self.head.form == PLAIN:
            return [*self.head.channels]
        return [self.head.affine()[0].shape[1]]

    def _gather(self, reader: DescriptorReader, report: Progress) -> None:
        """Sends the tiles that are needed past the reader."""
        plan = replace(self.plan, wanted=reader.wanted)
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            log = TileLog(Path(folder) / "strokes.tiles", len(plan.grid), {})
            run = SlideRun(
                self.slide,
                self.model,
                plan,
                (),
                log=log,
                config=self.config,
                store=reader,
                check=self.check,
            )
            try:
                for done, _ in enumerate(run.tiles(), 1):
                    report(done, plan.count, "")
            finally:
                log.close()
                self.encoded += run.encoded


def _untrained(model: Model) -> PixelHead:
    """One that reads features as they are, until their spread is known."""
    channels = model.encoder.channels
    width = sum(channels)
    return untrained_head(channels, torch.zeros(width), torch.ones(width))


class DescriptorReader:
    """A store that reads the features that pass through it, and holds none itself.

    Args:
        head: whose last layer's input is wanted.
        plan: how the slide is cut.
        points: (n, 2) float32 positions (y, x) in network input pixels.
        store: where features come from and go to.
        spread_of: numbers of tiles whose mean and standard deviation are wanted too;
            where the list is empty, of those under the points.
        colour: of the slide, where it is wanted too.

    Attributes:
        wanted: (rows, columns) bool: the tiles to send past it.
        vectors: (n, C) float32 what the last layer reads at the points, then the
            colour.
        found: (n,) bool: the points whose tile has passed.
    """

    def __init__(
        self,
        head: PixelHead,
        plan: SlidePlan,
        points: Tensor,
        store: Store,
        *,
        spread_of: Sequence[int] | None = None,
        colour: TileColour | None = None,
    ) -> None:
        self._head, self._plan, self._store = head, plan, store
        self._points, self._colour = points, colour
        self._tiles = tiles_under(points.numpy(), plan)
        under = np.unique(self._tiles)
        chosen: list[int] = []
        if spread_of is not None:
            chosen = [*spread_of] or [int(item) for item in under]
        self._spread_of = {*chosen}
        self.wanted = np.zeros((plan.grid.rows, plan.grid.columns), np.bool_)
        self.wanted.reshape(-1)[under] = True
        self.wanted.reshape(-1)[chosen] = True
        width = head.affine()[0].shape[1] + (colour.channels if colour else 0)
        self.vectors = torch.zeros(len(points), width)
        self.found = torch.zeros(len(points), dtype=torch.bool)
        self._sums: list[tuple[int, Tensor, Tensor]] = []

    def __contains__(self, index: int) -> bool:
        return index in self._store

    def get(self, index: int) -> Features | None:
        """The features of a tile, which are read on the way."""
        features = self._store.get(index)
        if features is not None:
            self._read(index, features)
        return features

    def put(self, index: int, features: Features) -> None:
        """Reads features and passes them on."""
        self._read(index, features)
        self._store.put(index, features)

    def spread(self) -> tuple[Tensor, Tensor]:
        """(C,) mean and standard deviation over the cells of the tiles chosen."""
        means = [total / count for count, total, _ in self._sums]
        stds = [
            ((squares - total * total / count) / max(1, count - 1)).clamp_min(0).sqrt()
            for count, total, squares in self._sums
        ]
        return (
            torch.cat(means).float(),
            torch.cat(stds).float().clamp_min(LEAST_STD),
        )

    @torch.no_grad()
    def _read(self, index: int, features: Features) -> None:
        tile = self._plan.grid[index]
        read = self._head.hidden(features.to(torch.device("cpu")))
        top, left, _, _ = around(tile, self._plan)
        origin = (tile.window_y + top, tile.window_x + left)
        rows = np.flatnonzero(self._tiles == index)
        if len(rows):
            points = self._points[rows] - torch.tensor(origin)
            try:
                colour = self._colour.around(tile) if self._colour else None
            except UnreadableImageError:
                return  # as a tile that was damaged when it was to be encoded
            self.vectors[rows] = sample_points(beside(read, colour), points)
            self.found[rows] = True
        if index in self._spread_of:
            self._add(read, tile, origin)

    def _add(self, read: Features, tile: Tile, origin: tuple[int, int]) -> None:
        """Counts the cells of a tile's core, each once."""
        found: list[tuple[int, Tensor, Tensor]] = []
        for values, stride in zip(read.maps, map(int, read.strides), strict=True):
            top, left = (tile.y - origin[0]) // stride, (tile.x - origin[1]) // stride
            bottom = top - (-tile.height // stride)
            right = left - (-tile.width // stride)
            cells = values[0, :, top:bottom, left:right].flatten(1).double()
            count, squares = cells.shape[1], (cells * cells).sum(1)
            found.append((count, cells.sum(1), squares))
        before = self._sums or [(0, 0 * total, 0 * total) for _, total, _ in found]
        self._sums = [
            (old[0] + new[0], old[1] + new[1], old[2] + new[2])
            for old, new in zip(before, found, strict=True)
        ]


def tiles_under(
    points: npt.NDArray[np.float32], plan: SlidePlan
) -> npt.NDArray[np.intp]:
    """(n,) number of the tile that each point lies in, or next to beyond the rim."""
    cells = np.floor((points + 0.5) / plan.grid.core).astype(np.intp)
    last = np.array([plan.grid.rows - 1, plan.grid.columns - 1])
    rows, columns = np.clip(cells, 0, last).T
    return rows * plan.grid.columns + columns


class SlideSpace:
    """The sampled cells of one slide, for one model; empty at first.

    Attributes:
        tiles: numbers of the tiles in which the cells lie.
        colour: of tiles that were read before, as far as there was room.
    """

    def __init__(self) -> None:
        self.tiles: tuple[int, ...] = ()
        self.colour = KeptColour()
        self._step = 0
        self._vectors: dict[int, Tensor] = {}
        self._space: tuple[Tensor, Tensor] | None = None

    def wants(
        self, tiles: Sequence[int], plan: SlidePlan, stride: int
    ) -> dict[int, Tensor]:
        """Chooses the tiles; the cells whose features are not known yet.

        Args:
            tiles: their numbers.
            plan: how the slide is cut.
            stride: network pixels a cell.

        Returns:
            By number of the tile, (n, 2) positions (y, x) in network input pixels.
        """
        height, width = plan.seen.shape
        shape = (-(-height // stride), -(-width // stride))
        chosen = [plan.grid[index] for index in tiles]
        area = sum(tile.height * tile.width for tile in chosen)
        step = sample_step(shape, area / (height * width))
        if (step, (*tiles,)) != (self._step, self.tiles):
            kept = self._vectors if step == self._step else {}
            self._vectors = {at: found for at, found in kept.items() if at in tiles}
            self._step, self.tiles, self._space = step, (*tiles,), None
        return {
            tile.index: _cells(tile, stride, step)
            for tile in chosen
            if tile.index not in self._vectors
        }

    def add(self, index: int, vectors: Tensor) -> None:
        """Keeps what was read of a tile's cells, (n, C) with the colour."""
        self._vectors[index], self._space = vectors, None

    @property
    def vectors(self) -> Tensor:
        """(n, C) of all cells, tile by tile; (0,) where nothing was read yet."""
        return (
            torch.zeros(0)
            if not self._vectors
            else torch.cat([self._vectors[index] for index in sorted(self._vectors)])
        )

    def reduction(self, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(C,) mean and (C, d) projection.

        Args:
            sizes: channels of each map, the colour last.
        """
        if self._space is None:
            self._space = space_of(self.vectors, sizes, colour=True)
        return self._space


def spread_evenly(numbers: npt.NDArray[np.intp], most: int) -> list[int]:
    """At most so many of some numbers, spread evenly."""
    at = np.linspace(0, len(numbers) - 1, min(most, len(numbers)))
    return [int(item) for item in numbers[at.round().astype(np.intp)]]


def _cells(tile: Tile, stride: int, step: int) -> Tensor:
    """Centres of every ``step``-th cell of the whole slide that lie in a core."""
    axes: list[Tensor] = []
    for start, length in ((tile.y, tile.height), (tile.x, tile.width)):
        first, stop = start // stride, -(-(start + length) // stride)
        first += (step // 2 - first) % step
        cells = torch.arange(first, stop, step) if first < stop else torch.zeros(0)
        axes.append(cells.float() * stride + nominal_offset(stride))
    return torch.cartesian_prod(*axes).view(-1, 2)
