"""The loop: windows in, maps of every method out, each finished tile kept at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from napari_wsol.devices import give_memory_back, leave_device
from napari_wsol.errors import UnreadableImageError
from napari_wsol.images.readers import check_files
from napari_wsol.inference.encode import interruptible, read_window, to_network
from napari_wsol.methods import evaluating
from napari_wsol.slides.order import TileQueue
from napari_wsol.slides.readouts import cut_core, read_planes
from napari_wsol.slides.windows import Window, read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from napari_wsol.config import SlideConfig
    from napari_wsol.encoders import Features
    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.slide import Slide
    from napari_wsol.images.tiling import Tile
    from napari_wsol.methods import Model
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.slides.readouts import Array, Plane
    from napari_wsol.slides.tile_log import TileLog

MAX_BATCH = 64


class Store(Protocol):
    """Where the features of tiles are kept between runs."""

    def __contains__(self, index: int) -> bool:
        """Whether a tile's features are there."""
        ...

    def get(self, index: int) -> Features | None:
        """The features of a tile's core with its margin, (1, C, h, w); or None."""
        ...

    def put(self, index: int, features: Features) -> None:
        """Keeps them."""
        ...


class CoreReadout(Protocol):
    """Gives a plane of a tile that the model alone does not give."""

    @property
    def name(self) -> str:
        """Of the plane, which the model is not asked for then."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of what it depends on beside the model."""
        ...

    def core(self, features: Features, tile: Tile) -> Array:
        """(channels, rows, columns) of a tile's core, as it is kept.

        Args:
            features: of the core with its margin, on the model's device.
            tile: which.

        Raises:
            UnreadableImageError: the file is damaged there.
        """
        ...


@dataclass(frozen=True, slots=True)
class TileDone:
    """A finished tile.

    Attributes:
        tile: which.
        maps: by name of the plane, (channels, rows, columns); empty where the slide is
            damaged.
        was_kept: whether its features came from the store.
    """

    tile: Tile
    maps: Mapping[str, npt.NDArray[np.generic]]
    was_kept: bool = False


class SlideRun:
    """One pass over the tiles of a slide that are not finished yet.

    Every batch is encoded once and read by all methods. The next windows are read on
    threads meanwhile. A tile is in the log before it is yielded: closed or killed at
    any moment, the next run goes on from there and gives the same values.

    Args:
        slide: the slide.
        model: on its device.
        plan: its tiles.
        planes: what is kept of each.
        log: the finished tiles.
        config: batch and threads.
        target: index of the class to localize; None for all.
        store: keeps features; none are kept without.
        readout: gives one of the planes in the model's place.
        layers: of the encoder, whose maps the store gets beside those of its taps.
        check: called often; raises to stop.

    Attributes:
        queue: what waits; look_at() changes the order while it runs.
        notes: what went another way than planned, a sentence each.
        damaged: how many tiles could not be read.
        encoded: how many tiles went through the network.
    """

    def __init__(
        self,
        slide: Slide,
        model: Model,
        plan: SlidePlan,
        planes: Sequence[Plane],
        *,
        log: TileLog,
        config: SlideConfig,
        target: int | None = None,
        store: Store | None = None,
        readout: CoreReadout | None = None,
        layers: Sequence[str] = (),
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.queue = TileQueue(plan.wanted, log.done, plan.last)
        self.notes: list[str] = []
        self.damaged = self.encoded = 0
        self._slide, self._model, self._plan = slide, model, plan
        self._planes, self._log, self._config = tuple(planes), log, config
        self._target, self._store, self._check = target, store, check
        self._readout = readout
        self._layers = tuple(layers)
        own = readout.name if readout is not None else None
        self._of_model = tuple(item for item in planes if item.name != own)
        self._batch = config.batch or (1 if model.device.type == "cpu" else 4)
        self._may_grow = config.batch is None and model.device.type != "cpu"

    def tiles(self) -> Iterator[TileDone]:
        """Encodes what waits, and yields each tile when it is kept.

        Raises:
            ExportError: the log cannot be written.
            UnreadableImageError: no tile at all could be read.
            ImageChangedError: the file was overwritten; no tile of it is kept.
        """
        windows = read_ahead(
            self._slide,
            self._plan,
            self.queue,
            readers=self._config.readers,
            ahead=max(self._config.ahead, self._batch + 1),
            is_kept=lambda at: self._store is not None and at in self._store,
        )
        try:
            for batch in self._batches(windows):
                # Not around the loop: whoever consumes this is no part of it.
                with (
                    evaluating(self._model),
                    torch.inference_mode(),
                    interruptible(self._model.encoder, self._check),
                ):
                    done = self._finish(batch)
                yield from done
        finally:
            windows.close()  # type: ignore[attr-defined]
        if self.damaged and not self.encoded and self.damaged == len(self._log):
            raise UnreadableImageError(
                f"No part of “{self._slide.name}” could be read: the file is damaged. "
                "Copy or download it again."
            )

    def _batches(self, windows: Iterator[Window]) -> Iterator[list[Window]]:
        """Neighbours in the queue with windows of one size; others alone."""
        group: list[Window] = []
        for window in windows:
            if group and not _shape(group[0]) == _shape(window) is not None:
                yield group
                group = []
            group.append(window)
            if len(group) >= self._batch:
                yield group
                group = []
        if group:
            yield group

    def _finish(self, group: list[Window]) -> list[TileDone]:
        """Encodes, reads out and keeps windows of one size."""
        self._check()
        pixels = [item.pixels for item in group if item.pixels is not None]
        if not pixels:
            return [self._without_pixels(item) for item in group]
        features = self._encode(pixels)
        done = self._read(features, [item.tile for item in group])
        self._keep(done)
        if self._store is not None:
            # Only now: a tile that is not in the log is read from its pixels again, so
            # that a run that was killed here ends with the same values.
            for at, item in enumerate(group):
                self._store.put(item.tile.index, self._around(features, item.tile, at))
        return done

    def _keep(self, done: list[TileDone]) -> None:
        check_files(self._slide)  # tiles of another image would be found under its name
        for item in done:
            self._log.append(item.tile.index, item.maps.values())

    def _read(self, features: Features, tiles: list[Tile]) -> list[TileDone]:
        """The maps of windows that were just encoded."""
        values = self._planes_of(features)
        done: list[TileDone] = []
        for at, tile in enumerate(tiles):
            cores = cut_core(values, self._of_model, tile, at)
            own = self._around(features, tile, at) if self._readout else features
            done.append(TileDone(tile, self._completed(cores, own, tile)))
        return done

    def _planes_of(self, features: Features) -> dict[str, torch.Tensor]:
        own = features.select(self._model.encoder.taps)
        return read_planes(self._model, self._of_model, own, target=self._target)

    def _completed(
        self, cores: dict[str, Array], around: Features, tile: Tile
    ) -> dict[str, Array]:
        """With the plane that the model does not give; empty where it is damaged."""
        if self._readout is None:
            return cores
        try:
            cores[self._readout.name] = self._readout.core(around, tile)
        except UnreadableImageError:
            self.damaged += 1
            return {}
        return {plane.name: cores[plane.name] for plane in self._planes}

    def _without_pixels(self, window: Window) -> TileDone:
        """A tile that is damaged, or whose features are kept."""
        tile = window.tile
        if window.is_damaged:
            self.damaged += 1
            done = TileDone(tile, {})
            self._keep([done])
            return done
        kept = self._store.get(tile.index) if self._store is not None else None
        if kept is None:  # the store has dropped it meanwhile
            pixels = read_window(self._slide, self._plan.seen, tile)
            return self._finish([Window(tile, pixels)])[0]
        kept = kept.to(self._model.device)
        values = self._planes_of(kept)
        top, left, _, _ = around(tile, self._plan)
        origin = (tile.window_y + top, tile.window_x + left)
        cores = cut_core(values, self._of_model, tile, origin=origin)
        done = TileDone(tile, self._completed(cores, kept, tile), was_kept=True)
        self._keep([done])
        return done

    def _encode(self, windows: list[Rgb]) -> Features:
        """The features of windows of one size, split where memory does not suffice."""
        try:
            x = to_network(np.stack(windows), self._model)
            half = self._model.device.type == "cuda"
            if half:  # the layout that its 16-bit units read
                x = x.contiguous(memory_format=torch.channels_last)
            with (
                self._model.encoder.also(self._layers),
                torch.autocast("cuda", torch.bfloat16, enabled=half),
            ):
                features: Features = self._model.encoder(x)
        except torch.OutOfMemoryError:
            return self._encode_less(windows)
        self.encoded += len(windows)
        if self._may_grow and len(windows) == self._batch < MAX_BATCH:
            self._batch *= 2
        return features

    def _encode_less(self, windows: list[Rgb]) -> Features:
        self._may_grow = False
        give_memory_back()
        if len(windows) > 1:
            # The batch may get smaller again in the middle of this.
            self._batch = half = max(1, len(windows) // 2)
            parts = [
                self._encode(windows[at : at + half])
                for at in range(0, len(windows), half)
            ]
            return joined(parts)
        leave_device(self._model)
        self.notes.append(
            "The graphics card has not enough memory for one tile, so the processor "
            "did the work: slower, with the same result. A smaller core needs less."
        )
        self._batch = 1
        return self._encode(windows)

    def _around(self, features: Features, tile: Tile, at: int) -> Features:
        """The features of a tile's core with the margin that maps read beyond it."""
        one = replace(features, maps=tuple(x[at : at + 1] for x in features.maps))
        return one.part(*around(tile, self._plan))


def around(tile: Tile, plan: SlidePlan) -> tuple[int, int, int, int]:
    """Top, left, height and width, in its window, of a core with its margin."""
    top = max(0, tile.y - tile.window_y - plan.margin)
    left = max(0, tile.x - tile.window_x - plan.margin)
    bottom = min(tile.window_height, tile.y - tile.window_y + tile.height + plan.margin)
    right = min(tile.window_width, tile.x - tile.window_x + tile.width + plan.margin)
    return top, left, bottom - top, right - left


def joined(parts: Sequence[Features]) -> Features:
    """Batches as one."""
    maps = zip(*(part.maps for part in parts), strict=True)
    return replace(parts[0], maps=tuple(map(torch.cat, maps)))


def _shape(window: Window) -> tuple[int, ...] | None:
    return None if window.pixels is None else window.pixels.shape
