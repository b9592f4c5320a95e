"""How long a slide's bag takes from the file to the verdict and three maps.

    python benchmarks/bags.py [--tiles 20000] [--width 1024] [--head attention_mil]

Writes a bag as TRIDENT does, then opens it, judges it and makes the maps of evidence,
attention and single tiles, several times: the first is that of a fresh process. Prints
seconds, and how much more memory the process held at its peak than before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch
from slides import peak_bytes

from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec

METHODS = ("mil_evidence", "attention_mil", "mil_tile")
SIDE = 512
RUNS = 5


def write_bag(path: Path, tiles: int, width: int) -> None:
    """Noise on a square of tiles, of 256 pixels at half of the scan's magnification."""
    rng = np.random.default_rng(0)
    columns = int(np.ceil(np.sqrt(tiles)))
    number = np.arange(tiles)
    corners = np.stack([number % columns, number // columns], 1) * SIDE
    with h5py.File(path, "w") as file:
        vectors = file.create_dataset("features", (tiles, width), np.float32)
        for start in range(0, tiles, 1000):  # what it holds shall not be the peak
            count = min(1000, tiles - start)
            vectors[start : start + count] = rng.normal(size=(count, width))
        coords = file.create_dataset("coords", data=corners)
        coords.attrs.update({"patch_size": 256, "patch_size_level0": SIDE})


def main() -> None:
    """Prints a line a run, and the peak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--head", default="attention_mil")
    asked = parser.parse_args()
    torch.manual_seed(0)
    model = Model(
        ModelSpec(
            encoder=f"vectors:{asked.width}",
            classes=("normal", "tumour"),
            heads=(asked.head,),
            tile=256,
        )
    ).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slide.h5"
        write_bag(path, asked.tiles, asked.width)
        size = path.stat().st_size / 1e6
        print(f"{asked.tiles} tiles of {asked.width} values, {size:.0f} MB")
        before = peak_bytes()
        for run in range(RUNS):
            began = time.perf_counter()
            found = localize(model, path, METHODS)
            took = time.perf_counter() - began
            print(f"run {run + 1}: verdict and {len(found.heatmaps)} maps {took:.2f} s")
        print(f"peak beyond the start: {(peak_bytes() - before) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
