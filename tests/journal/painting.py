"""An image and strokes that depend on their number only; also painted by a child."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from napari_wsol.journal import ImageFacts, JournalLibrary, StrokeMade
from napari_wsol.strokes.stroke import Stroke

FINGERPRINT = "0123456789abcdef" * 4
SHAPE = (40, 60)


def image_facts(fingerprint=FINGERPRINT, **changes):
    facts = {
        "name": "tissue.png",
        "path": "/images/tissue.png",
        "shape": SHAPE,
        "canvas_shape": SHAPE,
        "canvas_scale": (1.0, 1.0),
        "canvas_translate": (0.0, 0.0),
        "mpp": 0.5,
    }
    return ImageFacts(fingerprint=fingerprint, **{**facts, **changes})


def stroke_made(number, label=2, time="2026-01-02T03:04:05.678+00:00"):
    """A stroke that depends on its number only."""
    rng = np.random.default_rng(number)
    rows = rng.choice(SHAPE[0], 5, replace=False)
    first = rng.integers(0, SHAPE[1] - 10, 5)
    runs = np.stack([rows, first, first + 1 + number % 9, np.full(5, label)], axis=1)
    path = tuple((float(y), float(x)) for y, x in rng.uniform(0, 40, (7, 2)).round(2))
    stroke = Stroke(
        number=number,
        label=label,
        tool="brush",
        runs=runs.astype(np.int32),
        path=path,
        width=6.0,
        time=time,
        seconds=0.25,
    )
    return StrokeMade(stroke=stroke, time=time)


def plain(entries):
    return [entry.to_dict() for entry in entries]


def put(journal, *entries):
    for entry in entries:
        journal.append(entry)
    assert journal.flush(), journal.saved.problem


def paint(folder):
    """Paints for ever; says the number of each stroke that is on the disk."""
    sys.stdout.reconfigure(line_buffering=True)
    journal = JournalLibrary(Path(folder)).open(image_facts())
    number = len(journal.entries)
    sys.stdout.write("open\n")
    while True:
        burst = 1 + number % 3
        for _ in range(burst):
            number += 1
            journal.append(stroke_made(number))
        if journal.flush():
            sys.stdout.write(f"{number}\n")


if __name__ == "__main__":
    paint(sys.argv[1])
