"""Features of a slide's tiles, kept in memory and on the disk.

On the disk they are a zarr array a tap, one chunk a tile: the tile's core with its
margin, (channels, rows, columns), compressed. Tiles at the end of a slide fill only
part of their chunk. Beside the arrays a small file says of each tile how large its maps
are, 0 × 0 while it is not there. It is written after the chunks, so a process that is
killed leaves a tile whole or not at all; chunks carry a checksum, so a disk that lies
is found out.

Like the features of images in memory (:mod:`napari_wsol.inference.cache`), those of a
small slide are kept as float32, and those of a large one as bfloat16, which moves
probabilities by less than 0.003. Keeping fewer channels (principal components) was
measured and left out: on glands-mobilenetv2 and other images than those that gave the
components, 256 of 320 channels move PixelCAM by up to 0.19, and save a tenth.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
import uuid
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec

from napari_wsol.encoders import Features
from napari_wsol.inference.cache import SMALL_BYTES
from napari_wsol.slides.feature_disk import ABOUT, FeatureDisk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.config import SlideConfig
    from napari_wsol.images.slide import Slide
    from napari_wsol.methods import Model
    from napari_wsol.slides.feature_disk import Hold
    from napari_wsol.slides.plan import SlidePlan

Maps = tuple["Tensor", ...]


ARRAYS, SIZES = "features.zarr", "tiles"
_TYPE = np.dtype("<u2")
VERSION = 1
"""Of the layout: other versions are not read."""
_PENDING = 2
"""Tiles that may wait to be written: more would only take memory."""
_FILLED = {"uint16": 0x7FC0, "float32": float("nan")}
"""What a chunk that is not there reads as: not a number, which features never are."""


class FeatureStore:
    """The features of one slide for one network.

    A :class:`~napari_wsol.slides.run.Store`. Any thread may call it; tiles are written
    on a thread of its own.

    Args:
        slide: whose fingerprint it is kept under.
        model: whose encoder's fingerprint it is kept under.
        plan: how the slide is cut.
        disk: where it is kept beyond this object's life; in memory only without.
        memory_bytes: budget of what is held in memory; the longest unused go first.

    Attributes:
        notes: what went wrong, a sentence each.
        damaged: tiles that could not be read back.
    """

    def __init__(
        self,
        slide: Slide,
        model: Model,
        plan: SlidePlan,
        disk: FeatureDisk | None,
        *,
        memory_bytes: int = 256_000_000,
    ) -> None:
        encoder = model.encoder
        self.notes: list[str] = []
        self.damaged = 0
        self._taps = (encoder.strides, encoder.offsets, encoder.taps)
        self._plan, self._channels = plan, encoder.channels
        self._dtype = _dtype(plan, encoder.channels, encoder.strides)
        self._memory_bytes, self._held_bytes = memory_bytes, 0
        self._memory: OrderedDict[int, Maps] = OrderedDict()
        self._writing: dict[int, Maps] = {}
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(_PENDING)
        self._pool = ThreadPoolExecutor(1, "features")
        self._futures: list[Future[None]] = []
        self._disk = disk
        self._hold: Hold | None = None
        self._arrays: list[zarr.Array[Any]] = []  # a chunk each index of axis 0
        self._sizes = TileSizes(None, len(plan.grid), len(encoder.taps))
        about = belongs_to(slide, model, plan)
        about["features"] = str(self._dtype).removeprefix("torch.")
        self.key = hashlib.sha256(
            json.dumps(about, sort_keys=True).encode()
        ).hexdigest()[:32]
        if disk is not None:
            try:
                self._open(disk, {"name": slide.name, **about})
            except OSError as error:
                self._stop(f"{disk.folder} cannot be written: {error.strerror}")

    def __contains__(self, index: int) -> bool:
        return index in self._memory or index in self._writing or index in self._sizes

    def __len__(self) -> int:
        with self._lock:
            fleeting = {*self._memory, *self._writing}
        return len(self._sizes) + sum(item not in self._sizes for item in fleeting)

    def get(self, index: int) -> Features | None:
        """The features of a tile's core with its margin; None if there are none.

        Returns:
            Maps (1, C, h, w) float32 on the CPU.
        """
        with self._lock:
            maps = self._memory.get(index) or self._writing.get(index)
            if index in self._memory:
                self._memory.move_to_end(index)
        if maps is None:
            maps = self._read(index)
            if maps is None:
                return None
            self._remember(index, maps)
        return Features(tuple(item.float()[None] for item in maps), *self._taps)

    def put(self, index: int, features: Features) -> None:
        """Keeps them; waits only while earlier tiles are still being written."""
        maps = tuple(_copied(item[0], self._dtype) for item in features.maps)
        self._remember(index, maps)
        if self._disk is None or index in self._sizes:
            return
        self._slots.acquire()
        with self._lock:
            self._writing[index] = maps
            done = [item for item in self._futures if item.done()]
            self._futures = [item for item in self._futures if item not in done]
            self._futures.append(self._pool.submit(self._write, index, maps))
        for item in done:
            item.result()  # an error that nobody expected must not vanish

    def flush(self) -> None:
        """Waits until everything is written."""
        with self._lock:
            futures = list(self._futures)
        for future in futures:
            future.result()

    def close(self) -> None:
        """Writes what waits and lets others remove it; harmless when called again."""
        self.flush()
        self._pool.shutdown()
        with self._lock:
            self._memory.clear()
            self._held_bytes = 0
        if self._hold is not None:
            self._hold.release()

    def _open(self, disk: FeatureDisk, about: dict[str, object]) -> None:
        """Opens what is kept, or begins anew."""
        folder, count = disk.folder / self.key, len(self._channels)
        if _arrays_in(folder, count) is None:
            shutil.rmtree(folder, ignore_errors=True)
            # Made aside: nobody finds half of it.
            aside = disk.folder / f".{uuid.uuid4().hex}"
            self._make(aside, about)
            with contextlib.suppress(OSError):  # another process was quicker
                aside.rename(folder)
            shutil.rmtree(aside, ignore_errors=True)
        arrays = _arrays_in(folder, count)
        if arrays is None:
            raise OSError(0, "what was written cannot be read back")
        self._arrays = arrays
        self._hold = disk.hold(self.key)
        self._sizes = TileSizes(folder / SIZES, len(self._plan.grid), count)

    def _make(self, folder: Path, about: dict[str, object]) -> None:
        folder.mkdir(parents=True)
        (folder / ABOUT).write_text(json.dumps(about, indent=1), "utf-8")
        # zarr knows no bfloat16: its bits are kept.
        dtype = "uint16" if self._dtype == torch.bfloat16 else "float32"
        group = zarr.create_group(folder / ARRAYS)
        group.attrs["features"] = str(self._dtype).removeprefix("torch.")
        for at, (stride, offset, tap) in enumerate(zip(*self._taps, strict=True)):
            chunk = (self._channels[at], *_chunk(self._plan, int(stride)))
            group.create_array(
                str(at),
                shape=(len(self._plan.grid), *chunk),
                chunks=(1, *chunk),
                dtype=dtype,
                fill_value=_FILLED[dtype],
                serializer=BytesCodec(),
                compressors=(
                    # Three times as quick as zstd, and a tenth larger.
                    BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
                    Crc32cCodec(),
                ),
                chunk_key_encoding={"name": "default", "separator": "."},
                attributes={"tap": tap, "stride": stride, "offset": offset},
            )

    def _write(self, index: int, maps: Maps) -> None:
        try:
            if self._disk is None:  # it was full when an earlier tile came
                return
            nbytes = sum(item.nbytes for item in maps)
            if not self._disk.make_room(nbytes, self.key):
                self._stop(f"there is no more room in {self._disk.folder}")
                return
            for array, values in zip(self._arrays, maps, strict=True):
                bits = _bits(values)
                sides = zip(array.shape[1:], bits.shape, strict=True)
                array[index] = np.pad(
                    bits, [(0, whole - part) for whole, part in sides]
                )
            self._sizes.mark(index, [_shape(item) for item in maps])
            folder = self._disk.folder / self.key
            chunks = (
                folder / ARRAYS / str(at) / f"c.{index}.0.0.0"
                for at in range(len(maps))
            )
            self._disk.added(sum(chunk.stat().st_size for chunk in chunks))
        except OSError as error:
            self._stop(f"they cannot be written: {error.strerror or error}")
        finally:
            with self._lock:
                self._writing.pop(index, None)
            self._slots.release()

    def _read(self, index: int) -> Maps | None:
        sizes = self._sizes.of(index)
        if sizes is None:
            return None
        try:
            return tuple(
                _tensor(np.asarray(array[index]), size)
                for array, size in zip(self._arrays, sizes, strict=True)
            )
        except Exception:  # noqa: BLE001 - zarr raises any; the tile is made anew
            self.damaged += 1
            with contextlib.suppress(OSError):
                self._sizes.unmark(index)
            return None

    def _remember(self, index: int, maps: Maps) -> None:
        with self._lock:
            before = self._memory.pop(index, ())
            self._held_bytes -= sum(item.nbytes for item in before)
            self._memory[index] = maps
            self._held_bytes += sum(item.nbytes for item in maps)
            while self._memory and self._held_bytes > self._memory_bytes:
                _, gone = self._memory.popitem(last=False)
                self._held_bytes -= sum(item.nbytes for item in gone)

    def _stop(self, why: str) -> None:
        """Goes on without the disk; what is there already stays readable."""
        self._disk = None
        self.notes.append(
            f"Features are not kept on the disk any more: {why}. Maps are not touched "
            "by it, but another method or round reads these tiles from the slide "
            "again. “napari-wsol cache clear” makes room."
        )


def keep_features(
    slide: Slide,
    model: Model,
    plan: SlidePlan,
    config: SlideConfig,
    folder: Path | None = None,
) -> FeatureStore:
    """The features of a slide, under the budgets of a configuration.

    Args:
        slide: the slide.
        model: on any device.
        plan: how the slide is cut.
        config: gives the budgets; a disk budget of 0 keeps features in memory only.
        folder: where they are kept; the user's cache folder by default.
    """
    disk = FeatureDisk(folder, config.disk_bytes) if config.disk_bytes else None
    return FeatureStore(slide, model, plan, disk, memory_bytes=config.memory_bytes)


def belongs_to(slide: Slide, model: Model, plan: SlidePlan) -> dict[str, object]:
    """What features belong to: of anything else they would be wrong."""
    seen, grid = plan.seen, plan.grid
    return {
        "version": VERSION,
        "slide": slide.fingerprint(),
        "encoder": model.encoder_fingerprint(),
        "input": repr(model.preprocessing),
        "downsample": [round(item, 6) for item in seen.downsample],
        "origin": list(seen.origin),
        "shape": list(seen.shape),
        "core": grid.core,
        "halo": grid.halo,
        "margin": plan.margin,
    }


def _dtype(
    plan: SlidePlan, channels: Sequence[int], strides: Sequence[float]
) -> torch.dtype:
    area = plan.seen.shape[0] * plan.seen.shape[1]
    both = zip(channels, strides, strict=True)
    values = sum(count * area / stride**2 for count, stride in both)
    return torch.float32 if 4 * values <= SMALL_BYTES else torch.bfloat16


def _chunk(plan: SlidePlan, stride: int) -> tuple[int, int]:
    """Rows and columns that hold any tile's core with its margin."""
    side, deepest = plan.grid.core + 2 * plan.margin, plan.grid.stride
    rows, columns = (
        -(-min(side, -(-length // deepest) * deepest) // stride)
        for length in plan.seen.shape
    )
    return rows, columns


def _arrays_in(folder: Path, count: int) -> list[zarr.Array[Any]] | None:
    """The arrays of a subfolder; None where it is not whole."""
    try:
        group = zarr.open_group(folder / ARRAYS, mode="r+")
        return [cast("zarr.Array[Any]", group[str(at)]) for at in range(count)]
    except Exception:  # noqa: BLE001 - zarr raises any; the features are made anew
        return None


def _copied(values: Tensor, dtype: torch.dtype) -> Tensor:
    """A (C, h, w) copy that keeps nothing else alive, outside of inference mode."""
    with torch.inference_mode(mode=False):
        kept = torch.empty(values.shape, dtype=dtype)
    return kept.copy_(values)


def _bits(values: Tensor) -> npt.NDArray[np.generic]:
    if values.dtype == torch.bfloat16:
        values = values.view(torch.uint16)
    return values.numpy()


def _shape(values: Tensor) -> tuple[int, int]:
    return int(values.shape[-2]), int(values.shape[-1])


def _tensor(block: npt.NDArray[np.generic], size: tuple[int, int]) -> Tensor:
    """(C, h, w) of a chunk; refuses one that is not there, or smaller than it was."""
    values = torch.from_numpy(block)
    if values.dtype == torch.uint16:
        values = values.view(torch.bfloat16)
    values = values[:, : size[0], : size[1]]
    if _shape(values) != size or bool(values[0, 0, 0].isnan()):
        raise ValueError("A chunk of features is damaged.")
    return values.contiguous()


class TileSizes:
    """The small file: rows and columns of the maps of each tile; 0 × 0 for none.

    Of a million tiles with four maps it takes 16 MB, in memory and on the disk (less
    where the file system leaves holes), and any tile is found at once.

    Args:
        path: made if it is not there; None for memory alone.
        count: how many tiles there are.
        maps: how many maps a tile has.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path | None, count: int, maps: int) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._sizes = np.zeros((count, maps, 2), _TYPE)
        if path is not None:
            wanted = self._sizes.nbytes
            with path.open("a+b") as file:
                if file.seek(0, os.SEEK_END) != wanted:
                    file.truncate(0)
                    file.truncate(wanted)
                file.seek(0)
                kept = np.frombuffer(file.read(wanted), _TYPE)
            self._sizes[...] = kept.reshape(self._sizes.shape)
        self._kept: npt.NDArray[np.bool_] = np.all(self._sizes, axis=(1, 2))
        self._count = int(np.count_nonzero(self._kept))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, index: int) -> bool:
        return bool(self._kept[index])

    def of(self, index: int) -> list[tuple[int, int]] | None:
        """(rows, columns) of each map of a tile; None if it is not kept."""
        if index not in self:
            return None
        return [(int(rows), int(columns)) for rows, columns in self._sizes[index]]

    def mark(self, index: int, sizes: Sequence[tuple[int, int]]) -> None:
        """Says that a tile is kept."""
        self._set(index, np.array(sizes, _TYPE))

    def unmark(self, index: int) -> None:
        """Says that a tile is not kept any more."""
        self._set(index, np.zeros(self._sizes.shape[1:], _TYPE))

    def _set(self, index: int, sizes: np.ndarray) -> None:
        with self._lock:
            if self._path is not None:
                with self._path.open("r+b") as file:
                    file.seek(index * sizes.nbytes)
                    file.write(sizes.tobytes())
            self._count -= index in self
            self._sizes[index] = sizes
            self._kept[index] = sizes.all()
            self._count += index in self
