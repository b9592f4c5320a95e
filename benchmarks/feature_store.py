"""What it costs to keep the features of a slide, and to refine on them.

    python benchmarks/feature_store.py [--tiles 200] [--threads 2] [--folder DIR]

One tile of real tissue is encoded; its features are kept once for every tile of a large
slide, then read back and read by a refined head. Prints megabytes a megapixel of the
network's input, MB/s (of features as float32) written and read back through the disk's
cache, seconds of a round of strokes, and what bfloat16 changes on the maps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from skimage import data

from napari_wsol import load_model
from napari_wsol.config import FinetuneConfig, SlideConfig
from napari_wsol.encoders import Features
from napari_wsol.images.readers import open_slide
from napari_wsol.methods import get_method
from napari_wsol.refinement.finetune import warm_up
from napari_wsol.refinement.on_slides.descriptors import SlideDescriptors, SlideSpace
from napari_wsol.refinement.on_slides.refine import SlideRefinement
from napari_wsol.refinement.refine import RoundRequest
from napari_wsol.slides.feature_disk import FeatureDisk
from napari_wsol.slides.feature_store import FeatureStore
from napari_wsol.slides.localize import SlideWork
from napari_wsol.slides.plan import plan_slide
from napari_wsol.slides.run import SlideRun
from napari_wsol.slides.tile_log import TileLog
from napari_wsol.strokes.canvas import Canvas

if TYPE_CHECKING:
    from napari_wsol.images.slide import Slide
    from napari_wsol.methods import Model
    from napari_wsol.slides.plan import SlidePlan


class OneTile:
    """A store that remembers the tile that came last."""

    features: Features

    def __contains__(self, index: int) -> bool:
        return False

    def get(self, _index: int) -> None:
        """Has nothing to give."""
        return

    def put(self, _index: int, features: Features) -> None:
        """Remembers it."""
        self.features = features


@dataclass
class Case:
    """A large slide whose tiles all have the features of one."""

    model: Model
    config: SlideConfig
    slide: Slide
    plan: SlidePlan
    features: Features
    folder: Path

    def open(self) -> FeatureStore:
        """The store, with nothing in memory."""
        disk = FeatureDisk(self.folder / "cache", budget_bytes=1 << 60)
        return FeatureStore(self.slide, self.model, self.plan, disk, memory_bytes=1)


def encoded_tile(model: Model, config: SlideConfig) -> Features:
    """The features of one inner tile of real tissue."""
    picture, side = data.immunohistochemistry(), 3 * config.core
    count = -(-side // picture.shape[0])
    picture = np.tile(picture, (count, count, 1))[:side, :side]
    # Repeats would pack far better than tissue does.
    noise = np.random.default_rng(0).integers(-6, 7, picture.shape)
    slide = open_slide(np.clip(picture + noise, 0, 255).astype(np.uint8))
    plan = plan_slide(slide, model, config, mpp=model.spec.mpp)
    plan.wanted[:] = False
    plan.wanted[1, 1] = True
    kept = OneTile()
    with tempfile.TemporaryDirectory() as folder:
        log = TileLog(Path(folder) / "one.tiles", len(plan.grid), {})
        run = SlideRun(slide, model, plan, (), log=log, config=config, store=kept)
        start = time.perf_counter()
        list(run.tiles())
        print(f"encode one tile of {config.core}: {time.perf_counter() - start:.2f} s")
        log.close()
    return kept.features


def large_plan(
    model: Model, config: SlideConfig, tiles: int
) -> tuple[Slide, SlidePlan]:
    """A slide with so many inner tiles, which are all as large as the one encoded."""
    side = (int(np.ceil(np.sqrt(tiles))) + 2) * config.core
    slide = open_slide(np.zeros((side, side, 3), np.uint8))
    plan = plan_slide(slide, model, config, mpp=model.spec.mpp)
    rows, columns = np.indices(plan.wanted.shape)
    last = plan.grid.rows - 1
    inner = (rows > 0) & (rows < last) & (columns > 0) & (columns < last)
    plan.wanted[:] = False
    plan.wanted.reshape(-1)[np.flatnonzero(inner)[:tiles]] = True
    return slide, plan


def keep(case: Case) -> None:
    """Writes and reads; prints how quickly."""
    numbers = [int(item) for item in np.flatnonzero(case.plan.wanted)]
    megabytes = sum(item.nbytes for item in case.features.maps) * len(numbers) / 1e6
    megapixels = len(numbers) * case.plan.grid.core**2 / 1e6
    store = case.open()
    begun, start = time.process_time(), time.perf_counter()
    for index in numbers:
        store.put(index, case.features)
    store.close()
    seconds, cpu = time.perf_counter() - start, time.process_time() - begun
    kept = sum(item.nbytes for item in FeatureDisk(case.folder / "cache").slides())
    print(f"{len(numbers)} tiles, {megapixels:.0f} MP, {store.notes or 'all kept'}")
    print(f"on disk: {kept / 1e6:.0f} MB, {kept / 1e6 / megapixels:.2f} MB/MP")
    print(
        f"write: {megabytes / seconds:.0f} MB/s, {cpu / len(numbers):.4f} cpu-s a tile"
    )
    store = case.open()
    begun, start = time.process_time(), time.perf_counter()
    for index in numbers:
        store.get(index)
    seconds, cpu = time.perf_counter() - start, time.process_time() - begun
    print(
        f"read: {megabytes / seconds:.0f} MB/s, {cpu / len(numbers):.4f} cpu-s a tile"
    )
    store.close()


def refine(case: Case) -> None:
    """Times a round on features that are all kept."""
    canvas = Canvas.over(case.slide.shape)
    strokes = np.zeros(canvas.shape, np.uint8)
    numbers = np.flatnonzero(case.plan.wanted)
    for value, index in ((2, numbers[0]), (1, numbers[-1])):
        place = case.plan.level0(int(index))
        top, left, height, width = (int(item / canvas.scale[0]) for item in place)
        strokes[top + height // 2, left : left + width] = value
    warm_up()  # as a session does
    space, store = SlideSpace(), case.open()
    for name, settings in (
        ("the head alone", FinetuneConfig(local=False)),
        ("strokes where they are", FinetuneConfig()),
        ("the next round", FinetuneConfig(prior=1.01)),
    ):
        descriptors = SlideDescriptors(
            case.slide, case.model, case.plan, store, config=case.config, space=space
        )
        request = RoundRequest(
            scribbles=strokes,
            canvas=canvas,
            settings=settings,
            target=case.model.classes[0],
            index=1,
        )
        done = SlideRefinement(descriptors, request)
        begun, start = time.process_time(), time.perf_counter()
        list(done.learn())
        cpu, learnt = time.process_time() - begun, time.perf_counter()
        work = SlideWork(
            case.slide,
            done.model,
            ["pixelcam"],
            request.target,
            config=case.config,
            folder=case.folder / "rounds",
            plan=replace(case.plan, wanted=descriptors.kept),
            keep=lambda _plan, store=store: store,
            readout=done.readout,
        )
        running = work.tiles()
        next(running)
        seen = time.perf_counter()
        count = 1 + sum(1 for _ in running)
        print(f"{name}: learn {learnt - start:.2f} s ({cpu:.2f} cpu-s), ", end="")
        print(f"first tile after {seen - learnt:.2f} s, ", end="")
        print(f"{count} tiles after {time.perf_counter() - learnt:.1f} s ", end="")
        print(f"({time.process_time() - begun - cpu:.1f} cpu-s)")
        encoded = descriptors.encoded + work.run.encoded
        print(f"tiles encoded meanwhile: {encoded}")
        work.log.close()
    store.close()


def compare(case: Case) -> None:
    """Prints what bfloat16 changes on the maps."""
    features = case.features
    rounded = Features(
        tuple(item.bfloat16().float() for item in features.maps),
        features.strides,
        features.offsets,
        features.names,
    )
    for name in ("cam", "pcam", "pixelcam"):
        method = get_method(name)
        with torch.inference_mode():
            one, other = (method.map(case.model, x, 1) for x in (features, rounded))
        worst = float((one - other).abs().max())
        if not method.is_probability:
            worst /= float(one.max() - one.min())
        print(f"bfloat16 changes {name} by at most {worst:.4f}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tiles", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--core", type=int, default=1024)
    parser.add_argument("--model", default="glands-mobilenetv2")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.model, device="cpu")
    config = SlideConfig(core=options.core, tissue_only=False)
    features = encoded_tile(model, config)
    slide, plan = large_plan(model, config, options.tiles)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        case = Case(model, config, slide, plan, features, Path(folder))
        keep(case)
        refine(case)
        compare(case)


if __name__ == "__main__":
    main()
