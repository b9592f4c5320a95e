"""The maps of a slide as OME-Zarr 0.5: sharded, written while tiles are still coming.

A shard is written once, when the last of its tiles is in the log, and whole or not at
all; so one that is there is right, and a run that was killed goes on with the others.
Scores keep their own scale: they are brought to [0, 1] over the whole slide by whoever
shows them, never tile by tile.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BloscShuffle

from napari_wsol.export.ome import describe_levels
from napari_wsol.files import check_new, unwritable
from napari_wsol.slides.live import reduced

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsol.slides.kept_cells import KeptTiles
    from napari_wsol.slides.readouts import Plane

_CHUNK_CELLS = 256
_SHARD_CHUNKS = 8
_COARSEST = 1024
_WAITING = 4
"""Shards that may wait for the writer."""


class HeatmapStore:
    """One plane of a run as a sharded array (channels, rows, columns).

    Args:
        path: of the finished .zarr folder; while it is being written it has a hidden
            name beside that.
        kept: the finished tiles.
        plane: which of their planes is written.
        mpp: µm a level-0 pixel; positions are in level-0 pixels where it is not known.
        facts: kept in the attributes, for people and programs that read them.

    Raises:
        ExportError: it cannot be written there.
    """

    def __init__(
        self,
        path: Path,
        kept: KeptTiles,
        plane: Plane,
        *,
        mpp: float | None = None,
        facts: Mapping[str, object] | None = None,
    ) -> None:
        self.path = path
        self._draft = path.with_name(f".{path.name}.part")
        self._kept, self._plan, self._plane = kept, kept.plan, plane
        self._mpp, self._facts = mpp, dict(facts or {})
        cells = kept.plan.grid.core // plane.stride
        self._chunk = cells * max(1, _CHUNK_CELLS // cells)
        self._shard = self._chunk * _SHARD_CHUNKS
        self._tiles_a_shard = self._shard // cells
        rows, columns = (-(-side // plane.stride) for side in kept.plan.seen.shape)
        self.shape = (plane.channels, rows, columns)
        self._left = self._count_left()
        self._array = self._open()
        self._pool = ThreadPoolExecutor(1, "heatmap writer")
        self._jobs: list[Future[None]] = []
        for row, column in zip(*np.nonzero(self._left == 0), strict=True):
            self._submit(int(row), int(column))

    def _count_left(self) -> npt.NDArray[np.int64]:
        """Tiles that each shard still waits for; -1 where it has none at all."""
        waiting = self._plan.wanted.copy()
        count = _sums(waiting, self._tiles_a_shard)
        waiting.reshape(-1)[self._kept.log.done] = False
        left = _sums(waiting, self._tiles_a_shard)
        left[count == 0] = -1
        return left

    def _open(self) -> zarr.Array[Any]:
        check_new(self.path)
        with unwritable(f"“{self.path}” cannot be written", "."):
            if not self._draft.exists():
                self._draft.parent.mkdir(parents=True, exist_ok=True)
                zarr.create_group(self._draft, zarr_format=3)
            group = zarr.open_group(self._draft, mode="r+", zarr_format=3)
            if "0" in group:
                found = cast("zarr.Array[Any]", group["0"])
                if found.shape == self.shape and found.dtype == self._plane.dtype:
                    return found
            return self._create(group, "0", self.shape)

    def _create(
        self, group: zarr.Group, name: str, shape: tuple[int, ...]
    ) -> zarr.Array[Any]:
        return group.create_array(
            name,
            shape=shape,
            chunks=(1, self._chunk, self._chunk),
            shards=(1, self._shard, self._shard),
            dtype=self._plane.dtype,
            fill_value=float("nan"),
            compressors=[
                BloscCodec(cname="zstd", clevel=3, shuffle=BloscShuffle.shuffle)
            ],
            dimension_names=["c", "y", "x"],
            overwrite=True,
        )

    def add(self, index: int) -> None:
        """A tile is in the log: its shard is written when it was the last one.

        Raises:
            ExportError: an earlier shard could not be written.
        """
        row, column = divmod(index, self._plan.grid.columns)
        row, column = row // self._tiles_a_shard, column // self._tiles_a_shard
        self._left[row, column] -= 1
        if self._left[row, column] == 0:
            self._submit(row, column)

    def _submit(self, row: int, column: int) -> None:
        if self._is_there(row, column):
            return
        self._jobs = [job for job in self._jobs if not _ended(job)]
        while len(self._jobs) >= _WAITING:
            _ended(self._jobs.pop(0), wait=True)
        self._jobs.append(self._pool.submit(self._write, row, column))

    def _is_there(self, row: int, column: int) -> bool:
        last = self.shape[0] - 1  # channels are written in order
        return self._draft.joinpath(
            "0", "c", str(last), str(row), str(column)
        ).is_file()

    def _write(self, row: int, column: int) -> None:
        """Puts a shard together from the log."""
        top, left = row * self._shard, column * self._shard
        height = min(self._shard, self.shape[1] - top)
        width = min(self._shard, self.shape[2] - left)
        values = np.full((self.shape[0], height, width), np.nan, self._plane.dtype)
        for tile, core in self._kept.within(self._plane, top, left, height, width):
            y = tile.y // self._plane.stride - top
            x = tile.x // self._plane.stride - left
            values[:, y : y + core.shape[1], x : x + core.shape[2]] = core
        for channel in range(self.shape[0]):
            self._array[channel, top : top + height, left : left + width] = values[
                channel
            ]

    def finish(self) -> Path:
        """Waits for the writer, adds coarser levels and gives the folder its name.

        Shards whose tiles are not all finished are written as far as they are.

        Raises:
            ExportError: it cannot be written.
        """
        with self._pool, unwritable(f"“{self.path}” cannot be written", "."):
            for row, column in zip(*np.nonzero(self._left > 0), strict=True):
                self._jobs.append(self._pool.submit(self._write, int(row), int(column)))
            for job in self._jobs:
                _ended(job, wait=True)
            levels = self._add_levels()
            self._describe(levels)
            self._draft.replace(self.path)
        return self.path

    def close(self) -> None:
        """Stops writing; what is written stays for the next run."""
        self._pool.shutdown(cancel_futures=True)

    def _add_levels(self) -> int:
        """Halves the map until it fits a screen; how many levels there are."""
        group = zarr.open_group(self._draft, mode="r+", zarr_format=3)
        finer, count = self._array, 1
        while max(finer.shape[1:]) > _COARSEST:
            shape = (finer.shape[0], *(-(-side // 2) for side in finer.shape[1:]))
            coarser = self._create(group, str(count), shape)
            step = self._shard
            for channel in range(shape[0]):
                for y in range(0, shape[1], step):
                    for x in range(0, shape[2], step):
                        block = np.asarray(
                            finer[
                                channel, 2 * y : 2 * (y + step), 2 * x : 2 * (x + step)
                            ],
                            np.float32,
                        )
                        half = reduced(block, 2).astype(self._plane.dtype)
                        rows, columns = half.shape
                        coarser[channel, y : y + rows, x : x + columns] = half
            finer, count = coarser, count + 1
        return count

    def _describe(self, levels: int) -> None:
        stride = float(self._plane.stride)
        steps = [stride * 2**level for level in range(levels)]
        describe_levels(
            zarr.open_group(self._draft, mode="r+", zarr_format=3),
            self._plane.name,
            [self._plan.seen.place((step, step)) for step in steps],
            mpp=self._mpp,
            facts=self._facts,
            channels=True,
        )


def _ended(job: Future[None], *, wait: bool = False) -> bool:
    """Whether a job is over; raises what went wrong in it."""
    if not wait and not job.done():
        return False
    to_do = ": make room, then start again; the finished tiles are kept."
    with unwritable("The heatmap cannot be written", to_do):
        job.result()
    return True


def _sums(values: npt.NDArray[np.bool_], side: int) -> npt.NDArray[np.int64]:
    """How many are set in each square of ``side``; the last ones may be cut."""
    rows, columns = (-(-length // side) for length in values.shape)
    padded = np.zeros((rows * side, columns * side), np.int64)
    padded[: values.shape[0], : values.shape[1]] = values
    return padded.reshape(rows, side, columns, side).sum((1, 3))
