"""What a training does beside learning: the real one against a bare loop.

    python benchmarks/training.py [--device cpu] [--rounds 12] [--block 2] [--batch 16]
        [--threads 2]

A real training (``napari_wsol.training.run.train``: images decoded, cropped, turned and
recoloured, seeds drawn, weights averaged, a log, checkpoints) stops after every few
steps for as many of a bare loop: the same network, losses and optimiser on batches that
are in memory already. The two alternate in one run, so that whatever else the machine
does falls on both. Printed is the throughput of the real one as a share of the bare
one's, the median of the turns (must be at least 0.90), for two cases:

* decoded images are kept in memory, as by default;
* they are not, so that every image of every batch is decoded anew.

Every turn of the real one writes a checkpoint, which is oftener than recipes ask for.
Behind the ratio stands that of the processor time that this process used, which other
processes hardly change: what the training would lose if its batches were made on the
core that learns.

The images are made here: PNG and JPEG of 775 × 522 pixels, as GlaS has.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from napari_wsol.devices import choose_device
from napari_wsol.training.batches import Batches, sampler_of
from napari_wsol.training.images_cache import load_training_images
from napari_wsol.training.measuring import split_images
from napari_wsol.training.optimizing import build_optimizer, set_rates
from napari_wsol.training.recipe import dump_recipe, read_recipe
from napari_wsol.training.run import train
from napari_wsol.training.trainer import Learner, Trainer

if TYPE_CHECKING:
    from napari_wsol.training.recipe import Recipe
    from napari_wsol.training.trainer import TrainStep

RECIPE = Path(__file__).parents[1] / "models" / "glands-mobilenetv2" / "recipe.toml"
NEEDED = 0.90
COUNT, SHAPE = 24, (522, 775)
BATCHES = 4
"""Batches of the bare loop, shown in turn."""


Times = tuple[float, float]


class EnoughError(Exception):
    """All rounds are done."""


def write_images(folder: Path) -> None:
    """Images with texture, so that they take as long to decode as real ones."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    names: list[str] = []
    for index in range(COUNT):
        noise = rng.normal(0, 1, (*SHAPE, 3))
        texture = ndimage.gaussian_filter(noise, (2, 2, 0)) * 150 + noise * 4 + 190
        name = f"{index}.{'png' if index % 2 else 'jpg'}"
        Image.fromarray(texture.clip(0, 255).astype(np.uint8)).save(folder / name)
        names.append(name)
    (folder / "image_ids.txt").write_text("".join(f"{name}\n" for name in names))
    labels = "".join(f"{name},{index % 2}\n" for index, name in enumerate(names))
    (folder / "class_labels.txt").write_text(labels)


def write_recipe(folder: Path, recipe: Recipe, cache_mb: int) -> Recipe:
    """The recipe on these images, without a validation."""
    data = replace(recipe.data, train="train", validation=(), cache_mb=cache_mb)
    path = folder / "recipe.toml"
    path.write_text(dump_recipe(replace(recipe, data=data)), "utf-8")
    return read_recipe(path)


def say(_done: int, _total: int, _text: str) -> None:
    """Progress that nobody watches."""


class BareLoop:
    """The same network, losses and optimiser, on batches in memory."""

    def __init__(self, recipe: Recipe, data: Path, device: torch.device) -> None:
        images = load_training_images(split_images(recipe, data, "train"), recipe, say)
        trainer = Trainer(recipe, images, device=device)
        batches = Batches(
            recipe,
            trainer.model,
            trainer.images,
            trainer.labels,
            sampler=sampler_of(recipe, trainer.labels),
            share=trainer.team,
        )
        self._batches = []
        for step in range(BATCHES):
            item = batches.of_step(step)
            labels = item.labels.to(device)
            seeds = None if item.seeds is None else item.seeds.to(device)
            self._batches.append((item.pixels.to(device), labels, labels, seeds, 1.0))
        self._learner = Learner(trainer.model.train(), recipe)
        self._optimizer = build_optimizer(trainer.model, recipe.train)
        set_rates(self._optimizer, recipe.train, 0, 0)
        self._device = device

    def run(self, steps: int) -> None:
        """Some steps."""
        for step in range(steps):
            self._optimizer.zero_grad()
            losses, _ = self._learner(*self._batches[step % BATCHES])
            torch.stack(list(losses.values())).sum().backward()
            self._optimizer.step()
        if self._device.type == "cuda":
            torch.cuda.synchronize()


def now() -> Times:
    """Seconds by the clock, and of the processors' time that this process used."""
    return time.perf_counter(), time.process_time()


def passed(since: Times, steps: int) -> Times:
    """What a step took, the mean of several."""
    clock, used = now()
    return (clock - since[0]) / steps, (used - since[1]) / steps


def until_quiet() -> None:
    """Waits until the threads of this process have nothing left to do."""
    while True:
        before = time.process_time()
        time.sleep(0.1)
        if time.process_time() - before < 0.02:
            return


class Turns:
    """Takes the time of the real training, and gives the bare loop its turns.

    Args:
        bare: the bare loop.
        rounds: how many turns each gets.
        block: steps a turn. The first of the real training is not measured: its batch
            was made during the turn before.
    """

    def __init__(self, bare: BareLoop, rounds: int, block: int) -> None:
        self._bare, self._rounds, self._block = bare, rounds, block
        self._started: Times = (0.0, 0.0)
        self.real: list[Times] = []
        self.alone: list[Times] = []

    def on_step(self, progress: TrainStep) -> None:
        """Called by the training after every step."""
        place = (progress.step - 1) % (self._block + 1)
        if place == 0:
            self._started = now()
        if place < self._block:
            return
        self.real.append(passed(self._started, self._block))
        until_quiet()
        started = now()
        self._bare.run(self._block)
        self.alone.append(passed(started, self._block))
        # One turn more than are counted: the first warms both up.
        if len(self.real) > self._rounds:
            raise EnoughError


def measure(root: Path, name: str, cache_mb: int, options: argparse.Namespace) -> None:
    """Prints the figures of one case."""
    device = choose_device(options.device)
    turn = options.block + 1
    recipe = read_recipe(RECIPE)
    how = replace(
        recipe.train,
        steps=(options.rounds + 1) * turn + 1,
        batch=options.batch,
        checkpoint_every=turn,
    )
    recipe = write_recipe(root, replace(recipe, train=how), cache_mb)
    turns = Turns(BareLoop(recipe, root, device), options.rounds, options.block)
    out = root / f"out-{cache_mb}"
    with suppress(EnoughError):
        train(recipe, root, out, device=options.device, say=say, step=turns.on_step)
    real, alone = np.array(turns.real[1:]), np.array(turns.alone[1:])
    wall, used = np.median(alone / real, 0)
    print(
        f"{name}: real {1000 * np.median(real, 0)[0]:.0f} ms a step, bare "
        f"{1000 * np.median(alone, 0)[0]:.0f} ms, ratio {wall:.3f} (of the processor "
        f"time {used:.3f}); at least {NEEDED}: {'yes' if wall >= NEEDED else 'NO'}"
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--block", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root / "train")
        print(
            f"{choose_device(options.device)}, {options.threads} threads, "
            f"median of {options.rounds} turns of {options.block} steps"
        )
        measure(root, "images kept in memory", 2000, options)
        measure(root, "images decoded at every step", 1, options)


if __name__ == "__main__":
    main()
