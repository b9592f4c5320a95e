"""How fast and how lean a slide goes through a network, in one run.

    python benchmarks/slides.py [--side 40000] [--tiles 12] [--device auto]

Makes a synthetic JPEG pyramid (tiles of noise in tissue colours) and prints

- tiles/s of the pipeline (reading, encoding, maps, log, OME-Zarr) ÷ tiles/s of the
  same encoder on the same windows, ready in memory: the two take turns, medians count;
- the first look at the whole slide: from opening the file to the map;
- peak memory beyond the loaded model, in fresh processes, for three sizes of slide.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import tifffile
import torch
from imagecodecs import jpeg8_encode

from napari_wsol.config import SlideConfig
from napari_wsol.devices import choose_device
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import read_window, to_network
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.slides.localize import SlideWork

TILE = 256
KINDS = 64
"""Different tiles; they repeat over the slide."""


def write_slide(path: Path, side: int) -> None:
    """A tiled JPEG BigTIFF of side × side pixels with levels halved to 2 500."""
    rng = np.random.default_rng(0)
    kinds: list[bytes] = []
    for _ in range(KINDS):
        coarse = rng.normal(0, 30, (TILE // 8, TILE // 8, 1)).repeat(8, 0).repeat(8, 1)
        noise = rng.normal(0, 8, (TILE, TILE, 3))
        tile = np.clip(np.array([190, 120, 170]) + coarse + noise, 0, 255)
        kinds.append(jpeg8_encode(tile.astype(np.uint8), level=80, subsampling="420"))
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        level = side
        while True:
            count = (-(-level // TILE)) ** 2
            order = rng.integers(0, KINDS, count)
            file.write(
                (kinds[at] for at in order),
                shape=(level, level, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                resolution=(20000, 20000),
                resolutionunit="centimeter",
                subfiletype=int(level != side),
                metadata=None,
            )
            if level <= 2500:
                break
            level //= 2


def resnet(device: str) -> Model:
    """A ResNet-50 with two heads and random weights: only its speed matters."""
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="resnet50", classes=("benign", "malignant"), heads=("cam", "pcam")
    )
    return Model(spec).eval().to(choose_device(device))


def throughput(path: Path, folder: Path, tiles: int, device: str) -> None:
    """Prints tiles/s of both, and their ratio."""
    model = resnet(device)
    config = SlideConfig()
    with closing(open_slide(path)) as slide:
        work = SlideWork(slide, model, config=config, folder=folder / "log")
        inner = [at for at in range(len(work.plan.grid)) if _is_inner(work, at)]
        windows = [
            read_window(slide, work.plan.seen, work.plan.grid[at]) for at in inner[:4]
        ]
        ready = [to_network(item, model) for item in windows]
        running = work.tiles(folder / "maps")
        for _ in range(3):
            next(running)  # networks are slow to start
        ours, bare = [], []
        for turn in range(tiles):
            start = time.perf_counter()
            while not _is_inner(work, next(running).tile.index):
                start = time.perf_counter()
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            half = model.device.type == "cuda"
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, half):
                model.encoder(ready[turn % 4]).last.sum().item()
            bare.append(time.perf_counter() - start)
        running.close()
    a_tile, alone = statistics.median(ours), statistics.median(bare)
    side = work.plan.grid.core + 2 * work.plan.grid.halo
    print(f"windows of {side} px, cores of {work.plan.grid.core} px, {model.device}")
    print(f"pipeline {1 / a_tile:.3f} tiles/s, encoder alone {1 / alone:.3f} tiles/s")
    print(f"ratio {alone / a_tile:.2f}")


def _is_inner(work: SlideWork, index: int) -> bool:
    """Whether a tile's window is cut by no border."""
    tile, grid = work.plan.grid[index], work.plan.grid
    side = grid.core + 2 * grid.halo
    return tile.window_height == side == tile.window_width


def first_look(path: Path, folder: Path, device: str) -> None:
    """Prints how long it takes from the file to a map of the whole slide."""
    model = resnet(device)
    start = time.perf_counter()
    with closing(open_slide(path)) as slide:
        opened = time.perf_counter()
        work = SlideWork(slide, model, folder=folder / "look")
        planned = time.perf_counter()
        work.look()
        seen = time.perf_counter()
    print(
        f"first look {seen - start:.1f} s: open {opened - start:.2f}, fingerprint and "
        f"tissue {planned - opened:.1f}, network {seen - planned:.1f}"
    )


def memory(path: Path, folder: Path, tiles: int, device: str) -> None:
    """Prints the peak beyond the loaded model, in MB."""
    model = resnet(device)
    with torch.inference_mode():  # what torch allocates once, whatever the slide
        model.encoder(torch.zeros(1, 3, 64, 64, device=model.device))
    before = peak_bytes()
    with closing(open_slide(path)) as slide:
        work = SlideWork(slide, model, folder=folder / "log")
        work.look()
        running = work.tiles(folder / "maps")
        for _ in range(tiles):
            next(running)
        running.close()
        work.result()
    print(f"{(peak_bytes() - before) / 2**20:.0f}")


def peak_bytes() -> int:
    """The most memory that this process has had so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: getrusage() also counts the process that started it
        line = next(
            x for x in status.read_text("utf-8").splitlines() if x.startswith("VmHWM")
        )
        return int(line.split()[1]) * 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 2**10


def main() -> None:
    """Runs all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=40_000)
    parser.add_argument("--tiles", type=int, default=12)
    parser.add_argument(
        "--sides", type=int, nargs="*", default=(20_000, 40_000, 80_000)
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.memory_of is not None:
            memory(given.memory_of, folder, given.tiles, given.device)
            return
        path = folder / "slide.tiff"
        write_slide(path, given.side)
        print(f"slide of {given.side}² px, {path.stat().st_size / 1e6:.0f} MB")
        first_look(path, folder, given.device)
        throughput(path, folder, given.tiles, given.device)
        path.unlink()
        for side in given.sides:
            other = folder / f"{side}.tiff"
            write_slide(other, side)
            command = [sys.executable, __file__, "--memory-of", str(other)]
            command += ["--tiles", str(given.tiles), "--device", given.device]
            found = subprocess.run(command, check=True, capture_output=True, text=True)
            print(f"peak memory at {side}² px: {found.stdout.strip()} MB")
            other.unlink()


if __name__ == "__main__":
    main()
