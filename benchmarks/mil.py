"""What an epoch on the bags of many slides takes, beside what the disk and head do.

    python benchmarks/mil.py [--slides 1000] [--tiles 10000] [--width 1024]
        [--head attention_mil] [--batch 1] [--dtype float16] [--folder DIR]

Writes a bag a slide as TRIDENT does (1,000 slides of 10,000 × 1,024 float16 are 20 GB,
removed at the end), in folders of a thousand files, then, in one run:

* reads the files one after the other, as bytes: what the disk gives;
* trains one epoch of the recipe ``attention-mil-bags`` with the real training
  (``napari_wsol.training.run.train``) from the bags as they lie;
* trains some steps on bags that are in memory already: what the head takes.

Before the first two, the files are put out of the system's memory (posix_fadvise). The
system may still keep what a virtual disk holds; the bytes that Linux says came from the
disk are printed. Nothing is stored twice: the bytes that the training wrote, and the
folder's size before and after, are printed too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import torch
from slides import peak_bytes

from napari_wsol.data.datasets import load_images
from napari_wsol.training.batches import Batches, sampler_of
from napari_wsol.training.images_cache import load_training_images
from napari_wsol.training.optimizing import build_optimizer, set_rates
from napari_wsol.training.recipe import dump_recipe, read_recipe
from napari_wsol.training.run import train
from napari_wsol.training.trainer import Learner, Trainer

if TYPE_CHECKING:
    from napari_wsol.training.recipe import Recipe
    from napari_wsol.training.trainer import TrainStep

RECIPES = Path(__file__).parents[1] / "napari_wsol" / "training" / "published"
A_FOLDER = 1000
"""Files a folder: more make listing slow on shared disks."""
LESIONS = 100
"""Tiles of a positive slide that are shifted."""


def write_bags(root: Path, asked: argparse.Namespace) -> list[Path]:
    """Bags of noise, every second one with a lesion; and the table of their labels."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(asked.tiles, asked.width)).astype(asked.dtype)
    tiles: int = asked.tiles
    columns = int(np.ceil(np.sqrt(tiles)))
    number = np.arange(tiles)
    corners = np.stack([number % columns, number // columns], 1) * 512
    paths: list[Path] = []
    lines = ["slide,label,patient"]
    for at in range(asked.slides):
        path = root / "features" / f"{at // A_FOLDER:03d}" / f"s{at:06d}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        vectors = np.roll(noise, at, 0)  # new bytes for the disk, none for the CPU
        if at % 2:
            vectors[rng.choice(asked.tiles, LESIONS, replace=False), :4] += 3
        with h5py.File(path, "w") as file:
            chunks = (1, asked.width) if asked.rows else None
            file.create_dataset("features", data=vectors, chunks=chunks)
            coords = file.create_dataset("coords", data=corners)
            coords.attrs.update({"patch_size": 256, "patch_size_level0": 512})
        paths.append(path)
        lines.append(f"s{at:06d},{('normal', 'tumour')[at % 2]},p{at // 2}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return paths


def forget(paths: list[Path]) -> None:
    """Puts files out of the system's memory; only whole, written pages go."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def moved() -> tuple[int, int]:
    """Bytes that this process got from the disk, and gave to it."""
    told = dict(
        x.split(": ") for x in Path("/proc/self/io").read_text("ascii").splitlines()
    )
    return int(told["read_bytes"]), int(told["write_bytes"])


def read_bare(paths: list[Path]) -> float:
    """Seconds that reading the files one after the other takes."""
    forget(paths)
    buffer = bytearray(8 << 20)
    began, before = time.perf_counter(), moved()[0]
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass
    took = time.perf_counter() - began
    size = sum(path.stat().st_size for path in paths)
    share = (moved()[0] - before) / size
    print(
        f"disk: {size / 1e9:.2f} GB in {took:.1f} s, {size / took / 1e6:.0f} MB/s; "
        f"{share:.0%} of it came from the disk"
    )
    return took


class Clock:
    """When steps were done."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_step(self, _progress: TrainStep) -> None:
        """Called after every step."""
        self.at.append(time.perf_counter())


def say(_done: int, _total: int, _text: str) -> None:
    """Progress that nobody watches."""


def recipe_of(root: Path, asked: argparse.Namespace) -> Recipe:
    """The published recipe on these bags, for one epoch in which each is shown once."""
    recipe = read_recipe(RECIPES / "attention-mil-bags.toml")
    options = dict(recipe.model.options)
    if asked.head != "attention_mil":
        options.clear()
    recipe = replace(
        recipe,
        data=replace(recipe.data, train="labels.csv", validation=()),
        model=replace(
            recipe.model,
            encoder=f"vectors:{asked.width}",
            heads=(asked.head,),
            options=options,
        ),
        train=replace(
            recipe.train, epochs=1, batch=asked.batch, tiles=asked.cap, balanced=False
        ),
    )
    path = root / "recipe.toml"
    path.write_text(dump_recipe(recipe), "utf-8")
    return read_recipe(path)


def compute(root: Path, recipe: Recipe, steps: int) -> float:
    """Seconds a step, the median, on bags that are in memory."""
    classes = recipe.data.classes
    data = load_images(root / "labels.csv", classes=classes)
    data = replace(data, samples=data.samples[: 4 * recipe.train.batch])
    images = load_training_images(data, recipe, say)
    trainer = Trainer(recipe, images)
    sampler = sampler_of(recipe, trainer.labels)
    batches = Batches(
        recipe,
        trainer.model,
        images,
        trainer.labels,
        sampler=sampler,
        share=trainer.team,
    )
    ready = [batches.of_step(step) for step in range(2)]
    learner = Learner(trainer.model.train(), recipe)
    optimizer = build_optimizer(trainer.model, recipe.train)
    set_rates(optimizer, recipe.train, 0, 0)
    times: list[float] = []
    for step in range(steps + 1):  # the first warms up
        began = time.perf_counter()
        item = ready[step % 2]
        optimizer.zero_grad()
        losses, _ = learner(item.pixels, item.labels, item.labels, None, 1.0)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        times.append(time.perf_counter() - began)
    return float(np.median(times[1:]))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--head", default="attention_mil")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--cap", type=int, default=0, help="tiles a step; 0 for all")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--rows", action="store_true", help="chunks of one tile")
    parser.add_argument("--folder", help="on the disk that is measured")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        root = Path(folder)
        need = asked.slides * asked.tiles * asked.width * np.dtype(asked.dtype).itemsize
        if shutil.disk_usage(root).free < 1.2 * need:
            raise SystemExit(f"The disk lacks {1.2 * need / 1e9:.0f} GB; --slides?")
        began = time.perf_counter()
        paths = write_bags(root, asked)
        print(f"{asked.slides} bags written in {time.perf_counter() - began:.0f} s")
        bare = read_bare(paths)
        measure(root, paths, bare, asked)


def measure(
    root: Path, paths: list[Path], bare: float, asked: argparse.Namespace
) -> None:
    """Prints the figures of the training."""
    recipe, clock = recipe_of(root, asked), Clock()
    forget(paths)
    size, before = sum(path.stat().st_size for path in paths), moved()
    held, began = peak_bytes(), time.perf_counter()
    train(recipe, root, root / "out", device="cpu", say=say, step=clock.on_step)
    whole = time.perf_counter() - began
    read, written = (now - was for now, was in zip(moved(), before, strict=True))
    steps = len(clock.at)
    # The first step ends one step after the epoch began, as the others take.
    epoch = (clock.at[-1] - clock.at[0]) * steps / (steps - 1)
    alone = compute(root, recipe, min(steps, 20))
    print(
        f"epoch: {steps} steps in {epoch:.1f} s, {epoch / steps * 1000:.0f} ms each; "
        f"{whole - epoch:.1f} s before and after"
    )
    print(
        f"read: {size / epoch / 1e6:.0f} MB/s, {size / bare / 1e6:.0f} MB/s alone; "
        f"{read / size:.0%} came from the disk, {written / 1e6:.1f} MB were written"
    )
    print(
        f"head alone: {alone * 1000:.0f} ms a step; the training waits "
        f"{max(0.0, 1 - alone * steps / epoch):.0%} of its time for bags"
    )
    print(f"peak: {peak_bytes() / 1e6:.0f} MB, {held / 1e6:.0f} MB before the training")


if __name__ == "__main__":
    main()
