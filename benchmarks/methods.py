"""What maps cost beside the encoder: six read-outs of one image, encoded once.

    python benchmarks/methods.py [--sides 224 1024] [--rounds 10] [--threads 2]

For each size it prints the medians of the rounds, and their ratios to one plain forward
pass of the same ResNet-50 on the same input:

* the encoder and then ``Method.map`` of CAM, Grad-CAM, Grad-CAM++, LayerCAM, PCAM and
  PixelCAM on its features, as ``localize()`` calls them (must be at most 1.2);
* the whole of ``localize()``, which also reads and normalises the image, looks for a
  cancellation before each layer, and makes heatmaps of the maps.

The three are measured in turn in every round, so that whatever else the machine does
falls on all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.encoders import preprocess
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec, get_method

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("cam", "gradcam", "gradcam++", "layercam", "pcam", "pixelcam")
ALLOWED = 1.2


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def measure(model: Model, side: int, rounds: int) -> None:
    """Prints the figures of one size."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (side, side, 3)).astype(np.uint8)
    how = model.preprocessing
    x = preprocess(torch.from_numpy(image)[None], how.mean, how.std)

    def plain() -> None:
        with torch.no_grad():
            model.encoder(x)

    def maps() -> None:
        with torch.no_grad():
            features = model.encoder(x)
            for name in NAMES:
                get_method(name).map(model, features, 1)

    def whole() -> None:
        localize(model, image, NAMES)

    calls = {"encoder": plain, "encoder and six maps": maps, "localize()": whole}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    print(f"{side} x {side}, {torch.get_num_threads()} threads, median of {rounds}")
    base = statistics.median(times["encoder"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:22} {1000 * median:9.1f} ms   ratio {median / base:.3f}")
    ratio = statistics.median(times["encoder and six maps"]) / base
    print(f"  at most {ALLOWED}: {'yes' if ratio <= ALLOWED else 'NO'}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sides", type=int, nargs="+", default=[224, 1024])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--encoder", default="resnet50")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder=options.encoder,
        classes=("absent", "present"),
        heads=("cam", "pcam", "pixelcam"),
    )
    model = Model(spec).eval()
    for side in options.sides:
        measure(model, side, options.rounds)


if __name__ == "__main__":
    main()
