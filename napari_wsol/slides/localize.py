"""A slide, a model and some methods: the work from the first look to the result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np

from napari_wsol.config import SlideConfig
from napari_wsol.export.files import stem_of
from napari_wsol.images.heatmap import Heatmap, on_scale
from napari_wsol.inference.whole_image import Localization, check_methods
from napari_wsol.methods import get_method
from napari_wsol.methods.flat import flat_note
from napari_wsol.slides.coarse import first_look
from napari_wsol.slides.heatmap_store import HeatmapStore
from napari_wsol.slides.kept_cells import KeptTiles
from napari_wsol.slides.live import LiveMap, LogArray
from napari_wsol.slides.plan import cells_on, plan_slide
from napari_wsol.slides.readouts import CLASSIFIER, VECTORS, planes_of
from napari_wsol.slides.run import SlideRun, Store
from napari_wsol.slides.tile_log import TileLog

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_wsol.images.slide import Slide
    from napari_wsol.methods import Model
    from napari_wsol.slides.plan import Bools, SlidePlan
    from napari_wsol.slides.readouts import Plane
    from napari_wsol.slides.run import CoreReadout, TileDone


class Kept(Store, Protocol):
    """A store that says what went wrong."""

    @property
    def notes(self) -> Sequence[str]:
        """A sentence each."""
        ...


Keep = Callable[["SlidePlan"], Kept | None]
"""Opens what keeps the features of a plan's tiles."""


class SlideWork:
    """Everything about one slide, one model and some methods.

    What is finished stays in ``folder``; made again with the same arguments, the work
    goes on where it stopped.

    Args:
        slide: the slide.
        model: from :func:`napari_wsol.load_model`, on its device.
        methods: names; those that the model was made for by default; () for vectors.
        target: class to localize; the most probable by default.
        mpp: µm a level-0 pixel, where the person knows better than the file.
        tissue: (h, w) bool over the whole slide: where to look; found without.
        config: how the slide is cut and read.
        folder: of the log; made if it is not there.
        plan: the tiles, where they were planned before; ``tissue`` is not asked then.
        keep: opens what keeps the features of a plan's tiles; none are kept without.
        readout: gives a method's maps in the model's place.
        layers: of the encoder, whose maps are to be kept beside those of its taps.
        check: called often; raises to stop.

    Attributes:
        plan: the tiles.
        planes: what is kept of each.
        log: the finished ones.
        kept: the same with all that it takes to read them.
        run: the loop over the others.
        live: the maps as they arrive, by method, of the class ``shown``.
        shown: name of the class that ``live`` shows.
        first: the first look, once there was one.

    Raises:
        MethodUnavailableError: a method needs the whole image at once.
        UnknownNameError: no such method or class.
        ExportError: the folder cannot be written.
    """

    def __init__(
        self,
        slide: Slide,
        model: Model,
        methods: Sequence[str] | None = None,
        target: str | None = None,
        *,
        mpp: float | None = None,
        tissue: Bools | None = None,
        config: SlideConfig | None = None,
        folder: Path,
        plan: SlidePlan | None = None,
        keep: Keep = lambda _plan: None,
        readout: CoreReadout | None = None,
        layers: Sequence[str] = (),
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.slide, self.model, self.target = slide, model, target
        self.methods = [] if methods == () else check_methods(model, methods)
        self.mpp, self.folder = mpp or slide.mpp, folder
        self._check = check
        chosen = None if target is None else model.class_index(target)
        config = config or SlideConfig()
        self.planes = planes_of(model, self.methods, chosen)
        self.plan = plan or plan_slide(slide, model, config, mpp=mpp, tissue=tissue)
        self.key = self._identify()
        if readout is not None:
            self.key["readout"] = [readout.name, readout.digest]
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(json.dumps(self.key, sort_keys=True).encode()).hexdigest()
        self.log = TileLog(folder / f"{name[:16]}.tiles", len(self.plan.grid), self.key)
        self.kept = KeptTiles(self.plan, self.planes, self.log, slide.shape)
        self._features = keep(self.plan)
        self.run = SlideRun(
            slide,
            model,
            self.plan,
            self.planes,
            log=self.log,
            config=config,
            target=chosen,
            store=self._features,
            readout=readout,
            layers=layers,
            check=check,
        )
        self.shown = target or model.classes[0]
        self.live: dict[str, LiveMap] = {}
        self.first: Localization | None = None
        self._beneath: dict[str, npt.NDArray[np.float32]] = {}
        self._stores: dict[str, HeatmapStore] = {}

    def _identify(self) -> dict[str, object]:
        """What the finished tiles depend on, and nothing else."""
        grid, seen = self.plan.grid, self.plan.seen
        return {
            "slide": self.slide.fingerprint(),
            "encoder": self.model.encoder_fingerprint(),
            "heads": self.model.heads_fingerprint(),
            "preprocessing": repr(self.model.preprocessing),
            "planes": [
                [item.name, item.channels, item.stride, item.dtype]
                for item in self.planes
            ],
            "target": self.target,
            "downsample": [round(item, 9) for item in seen.downsample],
            "origin": list(seen.origin),
            "shape": list(seen.shape),
            "core": grid.core,
            "halo": grid.halo,
        }

    @property
    def count(self) -> int:
        """Tiles in all."""
        return self.plan.count

    @property
    def done(self) -> int:
        """Tiles that are finished, of those that are wanted."""
        return int(np.count_nonzero(self.plan.wanted.reshape(-1)[self.log.done]))

    @property
    def is_finished(self) -> bool:
        """Whether all tiles are."""
        return self.done == self.count

    def look(self) -> Localization:
        """The whole slide at low resolution, in seconds; chooses what ``live`` shows.

        Raises:
            UnreadableImageError: the file is damaged there.
        """
        self.first = first_look(
            self.slide,
            self.model,
            self.methods,
            self.target,
            mpp=self.mpp,
            check=self._check,
        )
        self.show(self.first.target)
        return self.first

    def show(self, target: str) -> None:
        """Makes ``live`` show a class, with all tiles that are finished."""
        self.shown, self._beneath = target, {}
        self.live = {
            plane.name: LiveMap(
                self.plan, plane, self._channel(plane), self.slide.shape
            )
            for plane in self.planes
            if plane.name not in (CLASSIFIER, VECTORS)
        }
        for number in self.log.done:
            self._check()
            index = int(number)
            found = self.kept.read(index)
            for name, live in self.live.items():
                if found:
                    live.put(self.plan.grid[index], found[name])

    def _channel(self, plane: Plane) -> int:
        if plane.channels == 1:
            return 0
        return self.model.class_index(self.shown)

    def tiles(self, folder: Path | None = None) -> Generator[TileDone]:
        """Encodes what is missing, and yields each tile once it is kept.

        Args:
            folder: where to write the maps as OME-Zarr while tiles come; see
                :meth:`finish`.

        Raises:
            ExportError: what is finished cannot be kept.
            UnreadableImageError: no part of the slide can be read.
        """
        if not self.live:
            self.show(self.shown)
        if folder is not None:
            self._open_stores(folder)
        try:
            for item in self.run.tiles():
                for name, live in self.live.items():
                    if item.maps:
                        live.put(item.tile, item.maps[name])
                for store in self._stores.values():
                    store.add(item.tile.index)
                yield item
        except BaseException:
            self.close()
            raise
        self.log.sync()

    def _open_stores(self, folder: Path) -> None:
        for plane in self.planes:
            if plane.name not in (CLASSIFIER, VECTORS, *self._stores):
                self._stores[plane.name] = HeatmapStore(
                    folder / f"{self.stem(plane.name)}_heatmap.zarr",
                    self.kept,
                    plane,
                    mpp=self.mpp,
                    facts=self._facts(plane),
                )

    def stem(self, method: str) -> str:
        """How the names of a method's files begin."""
        return stem_of(self.slide.name, method, self.target or "all")

    def _facts(self, plane: Plane) -> dict[str, object]:
        names = self.model.classes if plane.channels > 1 else [self.target or ""]
        return {
            "method": plane.name,
            "classes": list(names),
            "is_probability": get_method(plane.name).is_probability,
            "image": self.slide.name,
            "made_from": self.key,
        }

    def finish(self, folder: Path) -> dict[str, Path]:
        """Writes the maps as OME-Zarr; by name of the method, where each is.

        Raises:
            ExportError: they cannot be written, or are there already.
        """
        self._open_stores(folder)
        return {name: store.finish() for name, store in self._stores.items()}

    def result(self) -> Localization:
        """Scores and maps as far as they are finished.

        The scores are those of the first look until all tiles are there.
        """
        scores = dict(self.first.scores) if self.first is not None else {}
        heatmaps = {name: self.heatmap(name) for name in self.live}
        return Localization(scores, self.shown, heatmaps, self.notes)

    def close(self) -> None:
        """Stops writing; what is finished stays."""
        for store in self._stores.values():
            store.close()
        self._stores = {}

    def detail(self, heatmap: Heatmap) -> Detail | None:
        """The finished tiles of a map, where they hold more than it; else None."""
        live = self.live.get(heatmap.method)
        if live is None or heatmap.round > 0 or heatmap.target != self.shown:
            return None
        if live.step == 1 or live.values.shape != heatmap.values.shape:
            return None
        cells = self.plan.grid.core // live.plane.stride
        return Detail(self, heatmap, live.step, cells)

    def full(self, method: str) -> LogArray:
        """A method's map at full resolution, read where it is looked at."""
        plane = self.kept.named[method]
        return LogArray(self.kept, plane, self._channel(plane))

    def heatmap(self, method: str) -> Heatmap:
        """A method's map as far as it is finished.

        Tiles that are not yet show the first look, if there was one; what was left out
        is 0, and so is glass, of which no model was taught. Scores are brought to
        [0, 1] over the finished part of the slide.
        """
        live, read_out = self.live[method], get_method(method)
        low, high = live.low, live.high
        if not np.isfinite(low):
            low, high = 0.0, 1.0
        values = live.values
        if not read_out.is_probability:
            values = on_scale(values, low, high, from_zero=read_out.from_zero)
        stride = float(live.plane.stride * live.step)
        scale, translate = self.plan.seen.place((stride, stride))
        values = np.where(np.isfinite(values), values, self._under(method))
        flat = flat_note(read_out, self.shown, low, high) if self.is_finished else ""
        return Heatmap(
            values=np.clip(values, 0.0, 1.0).astype(np.float32),
            scale=scale,
            translate=translate,
            image_shape=self.slide.shape,
            method=method,
            target=self.shown,
            is_probability=read_out.is_probability,
            raw_range=(low, high),
            notes=tuple(filter(None, (read_out.note, flat))),
        )

    def _under(self, method: str) -> npt.NDArray[np.float32] | float:
        """What is shown where no tile is finished."""
        first = self.first
        if first is None or first.target != self.shown or self.is_finished:
            return 0.0
        if method not in self._beneath:
            live, coarse = self.live[method], first.heatmaps[method]
            stride = live.plane.stride * live.step
            (down_y, down_x), (top, left) = (
                self.plan.seen.downsample,
                self.plan.seen.origin,
            )
            rows, columns = live.values.shape
            values = coarse.crop(
                (top * down_y, left * down_x),
                (rows * stride * down_y, columns * stride * down_x),
                (rows, columns),
            )
            cells = self.plan.grid.core // stride
            wanted = self.plan.wanted.repeat(cells, 0).repeat(cells, 1)
            plan, shape = self.plan, self.slide.shape
            shown = cells_on(plan.section, plan.seen, stride, shape)
            self._beneath[method] = values * (wanted[:rows, :columns] & shown)
        return self._beneath[method]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the result, a sentence each."""
        found = [*self.slide.notes, *self.plan.notes, *self.run.notes]
        if self._features is not None:
            found.extend(self._features.notes)
        if not self.is_finished:
            rest = "; the others show the first look" if self.first else ""
            found.append(f"{self.done} of {self.count} tiles are finished{rest}.")
        elif self.count < len(self.plan.grid):
            found.append(
                f"{len(self.plan.grid) - self.count} of {len(self.plan.grid)} tiles "
                "show no tissue and were left out."
            )
        if self.run.damaged:
            found.append(
                f"{self.run.damaged} tiles could not be read: the file is damaged "
                "there."
            )
        return tuple(dict.fromkeys(found))


class Detail:
    """A slide's map at full resolution, as far as its tiles are finished.

    Args:
        work: with the finished tiles.
        heatmap: the map, coarser than they are.
        step: cells along a cell of the map.
        cells: along a tile.

    Attributes:
        source: what the tiles are of; two details of the same have the same tiles.
    """

    def __init__(
        self, work: SlideWork, heatmap: Heatmap, step: int, cells: int
    ) -> None:
        self.step, self.cells = step, cells
        self.source = (work, heatmap.target)
        self._work = work
        self._full = work.full(heatmap.method)
        low, high = heatmap.raw_range
        self._low, self._range = 0.0, 1.0
        if not heatmap.is_probability:
            self._low = 0.0 if get_method(heatmap.method).from_zero else low
            self._range = max(high - self._low, 1e-12)

    def has(self, row: int, column: int) -> bool:
        """Whether a tile is finished."""
        grid = self._work.plan.grid
        inside = row < grid.rows and column < grid.columns
        return inside and row * grid.columns + column in self._work.log

    def tile(self, row: int, column: int) -> npt.NDArray[np.float32]:
        """(h, w) float32 raw values of a tile that is finished, read from the disk."""
        cells, (height, width) = self.cells, self._full.shape
        return self._full[
            row * cells : min((row + 1) * cells, height),
            column * cells : min((column + 1) * cells, width),
        ]

    def scaled(self, raw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Raw values on the scale of the map, in [0, 1]; NaN where they are."""
        return np.clip((raw - self._low) / self._range, 0.0, 1.0)
