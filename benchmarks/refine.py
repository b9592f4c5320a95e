"""Seconds from strokes to the refreshed map on a 2048 × 2048 image, features cached.

    python benchmarks/refine.py [--side 2048] [--rounds 10] [--threads 2]

Prints the median of the rounds, the passes through the encoder meanwhile (must be 0),
and the time beside that of one encoding of the same image.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
from skimage import data

from napari_wsol import Session


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="glands-mobilenetv2")
    options = parser.parse_args()
    tile = data.immunohistochemistry()
    count = -(-options.side // tile.shape[0])
    image = np.tile(tile, (count, count, 1))[: options.side, : options.side]
    session = Session(threads=options.threads, journals=False)
    session.open(image, name="tissue")
    model = session.use(options.model).result()
    started = time.perf_counter()
    session.localize().result()
    encoding = time.perf_counter() - started
    passes: list[int] = []
    model.encoder.register_forward_hook(lambda *_: passes.append(1))
    rng = np.random.default_rng(0)
    labels = np.zeros(image.shape[:2], np.uint8)
    seconds: list[float] = []
    for _ in range(options.rounds):
        for value in (1, 2):
            y, x = rng.integers(50, options.side - 250, 2)
            labels[y : y + 9, x : x + 200] = value
        started = time.perf_counter()
        session.set_scribbles(labels).result()
        session.finetune().result()
        session.heatmap("pixelcam")
        seconds.append(time.perf_counter() - started)
    session.close(wait=True)
    median = statistics.median(seconds)
    print(f"image {image.shape[0]} x {image.shape[1]}, {options.threads} threads")
    print(f"localize (encode once, all methods): {encoding:.2f} s")
    print(f"strokes -> map: median {median:.3f} s, worst {max(seconds):.3f} s")
    print(f"ratio to localizing: {median / encoding:.3f}")
    print(f"passes through the encoder meanwhile: {len(passes)}")


if __name__ == "__main__":
    main()
