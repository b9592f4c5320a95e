"""Whether strokes at proposed places teach more than strokes anywhere in the tissue.

    python benchmarks/where_next.py --data FOLDER [--split valcl] [--strokes 5]

FOLDER is GlaS with ``images/``, ``masks/`` and ``folds/fold-0/<split>/image_ids.txt``.
On each image a short line is drawn five times, each part of it labelled as the mask
says, and the head is refitted to all of them. The lines lie across the place that the
session proposes first, or across random places in the tissue (the same ones at every
run). It prints the mean IoU of the map at 0.5 after each line.

Where nothing is proposed no line is drawn, and the map stays as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_wsol import Session
from napari_wsol.guidance.factors import stroke_length
from napari_wsol.images.tissue import tissue_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Place = tuple[float, float, float]
    Truth = npt.NDArray[np.bool_]

LINE_SHARE = 0.7
"""Length of the line, in lengths of a stroke."""

LINE_WIDTH = 4.0


def draw(session: Session, truth: Truth, place: Place) -> None:
    """A line across a place, each part of it with its true label."""
    y, x, radius = place
    row = int(np.clip(round(y), 0, truth.shape[0] - 1))
    left = int(max(0, x - LINE_SHARE * radius))
    right = int(min(truth.shape[1] - 1, x + LINE_SHARE * radius))
    columns = np.arange(left, right + 1)
    turns = np.flatnonzero(np.diff(truth[row, columns].astype(int))) + 1
    for part in np.split(columns, turns):
        label = 2 if truth[row, part[0]] else 1
        session.brush([(row, part[0]), (row, part[-1])], label, LINE_WIDTH)


def iou(session: Session, truth: Truth) -> float:
    """Of the map that learns, at 0.5."""
    found = session.heatmap("pixelcam").resized(truth.shape) >= 0.5
    return float((found & truth).sum() / max(1, (found | truth).sum()))


def after_strokes(
    session: Session, truth: Truth, count: int, choose: Callable[[], Place | None]
) -> list[float]:
    """IoU before the first line, and after each."""
    session.clear()
    session.revert(0).result()
    found = [iou(session, truth)]
    for _ in range(count):
        place = choose()
        if place is not None:
            draw(session, truth, place)
            if min(session.stroke_counts) > 0:
                session.finetune().result()
        found.append(iou(session, truth))
    return found


def proposed(session: Session) -> Place | None:
    """The best place, as long as any is worth a stroke."""
    for place in session.propose(1):
        return place.y, place.x, place.radius
    return None


def anywhere(session: Session, rng: np.random.Generator) -> Place:
    """A random place in the tissue."""
    assert session.slide is not None
    tissue = tissue_mask(session.slide, 2.0)
    places = np.argwhere(tissue)
    y, x = 2.0 * places[rng.integers(len(places))]
    return y, x, stroke_length(session.slide.shape, session.mpp) / 2


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="valcl")
    parser.add_argument("--strokes", type=int, default=5)
    parser.add_argument("--draws", type=int, default=5, help="of random places")
    parser.add_argument("--model", default="glands-mobilenetv2")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    ids = options.data / "folds" / "fold-0" / options.split / "image_ids.txt"
    names = [line.split(",")[0].strip() for line in ids.read_text().splitlines()]
    session = Session(threads=options.threads, journals=False)
    session.use(options.model).result()
    best: list[list[float]] = []
    random: list[list[float]] = []
    for number, name in enumerate(names):
        truth = np.asarray(Image.open(options.data / "masks" / Path(name).name)) > 0
        session.open(options.data / name).result()
        session.localize().result()
        count = options.strokes
        best.append(after_strokes(session, truth, count, lambda: proposed(session)))
        draws: list[list[float]] = []
        for draw_number in range(options.draws):
            rng = np.random.default_rng([number, draw_number])
            found = after_strokes(
                session, truth, count, lambda rng=rng: anywhere(session, rng)
            )
            draws.append(found)
        random.append(np.mean(draws, axis=0).tolist())
    session.close(wait=True)
    report(np.array(best), np.array(random))


def report(best: npt.NDArray[np.float64], random: npt.NDArray[np.float64]) -> None:
    """Means over images, and of the difference its standard error."""
    apart = best - random
    error = apart.std(axis=0, ddof=1) / np.sqrt(len(apart))
    print(f"mean IoU at 0.5 of {len(best)} images")
    print("strokes  proposed  random  difference (standard error)")
    for count in range(best.shape[1]):
        print(
            f"{count:7}  {best[:, count].mean():8.3f}  {random[:, count].mean():6.3f}"
            f"  {apart[:, count].mean():+10.3f} ({error[count]:.3f})"
        )


if __name__ == "__main__":
    main()
