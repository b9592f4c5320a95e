"""How nearly Score-CAM in groups is Score-CAM, and how many runs each takes.

    python benchmarks/scorecam.py --images FOLDER [--model MODEL ...] [--count 20]
        [--longest 256] [--class predicted|other|both] [--threads 2]

MODEL is a bundled one's name or a folder (glands-mobilenetv2 by default; a ResNet-50 of
yours shows the most). Images are made smaller to the longest side, since Score-CAM runs
the network once a channel. For each class it prints Spearman's rank correlation of the
two maps, cell by cell: mean, median and least of the images.

The class that a sure model predicts says little: its probability is 1 under every mask,
so that both maps are the sum of the channels. The other one's varies by orders of
magnitude from mask to mask.
"""

from __future__ import annotations

import argparse
import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr

import napari_wsol as wsol
from napari_wsol.config import InferenceConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("scorecam", "scorecam_groups")
ENOUGH = 0.9


def seen(path: Path, longest: int) -> np.ndarray:
    """(H, W, 3) uint8, made smaller."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((longest, longest))
    return np.array(image)


def measure(name: str, images: Sequence[np.ndarray], classes: str) -> None:
    """Prints the figures of one model."""
    model = wsol.load_model(name, device="cpu")
    found: dict[str, list[float]] = {}
    runs: dict[str, int] = {}

    def count(key: str, done: int, *_: object) -> None:
        runs[key] = max(runs.get(key, 0), done)

    for image in images:
        scores = wsol.localize(model, image, ["eigencam"]).scores
        ranked = sorted(scores, key=lambda key: -scores[key])
        for kind, target in (("predicted", ranked[0]), ("other", ranked[1])):
            if classes not in (kind, "both"):
                continue
            maps = [
                wsol.localize(
                    model,
                    image,
                    [key],
                    target,
                    config=InferenceConfig(device="cpu"),
                    report=partial(count, key),
                ).heatmaps[key]
                for key in NAMES
            ]
            one, other = (item.values.ravel() for item in maps)
            found.setdefault(kind, []).append(float(spearmanr(one, other).statistic))
    told = ", ".join(f"{key} at most {value} runs" for key, value in runs.items())
    print(f"{name}, {len(images)} images: {told}")
    for kind, values in found.items():
        mean, median, least = np.mean(values), np.median(values), min(values)
        print(f"  {kind:10} mean {mean:.3f}  median {median:.3f}  least {least:.3f}")
        print(f"  at least {ENOUGH} on average: {'yes' if mean >= ENOUGH else 'NO'}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=["glands-mobilenetv2"])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--longest", type=int, default=256)
    parser.add_argument("--class", dest="classes", default="both")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    paths = sorted(options.images.glob("*.png"))
    random.Random(0).shuffle(paths)
    images = [seen(path, options.longest) for path in paths[: options.count]]
    for name in options.model:
        measure(name, images, options.classes)


if __name__ == "__main__":
    main()
