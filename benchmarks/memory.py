"""Does the work on a slide stay under the memory budget, strokes and rounds included?

    python benchmarks/memory.py [--side 24000] [--budget 1.0] [--rounds 6] [--threads 2]

Localizes a synthetic slide (tiles of real tissue, JPEG, 0.25 µm a pixel) with a bundled
model, draws strokes and refines round by round, in one process. Prints the size of the
features beside the share of the budget that may hold them in memory, the passes through
the encoder during the rounds (0: what did not fit came back from the disk), and the
peak of the process beyond the loaded model beside the budget. Exits with 1 where the
peak is above it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
import torch
from imagecodecs import jpeg8_encode
from skimage import data
from slides import peak_bytes

from napari_wsol import Session
from napari_wsol.config import InferenceConfig

TILE = 512


def write_slide(path: Path, side: int) -> None:
    """A pyramid whose tiles are all the same picture of tissue, halved to 2 500."""
    picture = data.immunohistochemistry()[:TILE, :TILE]
    encoded = jpeg8_encode(picture, level=85, subsampling="420")
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        level = side
        while True:
            count = (-(-level // TILE)) ** 2
            file.write(
                (encoded for _ in range(count)),
                shape=(level, level, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                resolution=(40000, 40000),
                resolutionunit="centimeter",
                subfiletype=int(level != side),
                metadata=None,
            )
            if level <= 2500:
                break
            level //= 2


def work(path: Path, budget: int, rounds: int, threads: int, model: str) -> int:
    """Prints what happens; bytes at the peak beyond the loaded model."""
    session = Session(
        InferenceConfig(memory_bytes=budget, device="cpu"), threads=threads
    )
    loaded = session.use(model).result()
    with torch.inference_mode():  # what torch allocates once, whatever the slide
        loaded.encoder(torch.zeros(1, 3, 64, 64))
    before = peak_bytes()
    slide = session.open(path).result()
    started = time.perf_counter()
    session.localize(["pixelcam"]).result()
    print(f"localized in {time.perf_counter() - started:.0f} s")
    kept = sum(
        item.stat().st_size
        for item in Path(os.environ["NAPARI_WSOL_HOME"]).rglob("*")
        if item.is_file()
    )
    share = session.config.tile_bytes
    print(f"kept on the disk: {kept / 1e6:.0f} MB; in memory {share / 1e6:.0f} MB")
    passes: list[int] = []
    loaded.encoder.register_forward_hook(lambda *_: passes.append(1))
    rng = np.random.default_rng(0)
    seconds: list[float] = []
    for _ in range(rounds):
        for label in (1, 2):
            y, x = rng.uniform(0.1, 0.9, 2) * min(slide.shape)
            session.brush([(y, x), (y + 300, x + 900)], label, 120.0)
        started = time.perf_counter()
        session.finetune().result()
        seconds.append(time.perf_counter() - started)
    print(f"{rounds} rounds, {np.median(seconds):.1f} s each (median)")
    print(f"passes through the encoder meanwhile: {len(passes)}")
    session.close(wait=True)
    return peak_bytes() - before


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=24_000)
    parser.add_argument("--budget", type=float, default=1.0, help="GB")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="glands-mobilenetv2")
    given = parser.parse_args()
    budget = round(given.budget * 1e9)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["NAPARI_WSOL_HOME"] = str(folder / "home")
        path = folder / "slide.tiff"
        write_slide(path, given.side)
        print(f"slide of {given.side}² px, {path.stat().st_size / 1e6:.0f} MB")
        peak = work(path, budget, given.rounds, given.threads, given.model)
    print(f"peak {peak / 1e9:.2f} GB of {budget / 1e9:.2f} GB: {peak / budget:.2f}")
    sys.exit(int(peak > budget))


if __name__ == "__main__":
    main()
