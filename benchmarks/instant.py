"""What a person must not notice, beside what it cannot be quicker than.

    python benchmarks/instant.py [--strokes 1000] [--files 1000]

Each line is one figure, the one it is compared with in the same run, and their ratio:

- an entry taken by a journal, as the person feels it, beside the line on the disk;
- a journal of many strokes opened and read_back, beside parsing its lines as JSON;
- a folder of many images listed, beside asking the system for its names;
- napari's list of plugins with this one in it, beside one with it left out.

How soon Cancel takes effect, and what a stroke on a large slide costs, is measured in
the window: ``responsiveness.py``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.journal import ImageFacts, JournalLibrary, StrokeMade, replayed
from napari_wsol.strokes.canvas import Canvas
from napari_wsol.strokes.raster import Drawing, brushed, changed
from napari_wsol.strokes.stroke import StrokeList
from napari_wsol.worklist.items import WorkList

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (2000, 3000)

LIST = """
import time
import npe2
start = time.perf_counter()
manager = npe2.PluginManager()
if OURS:
    manager.register(npe2.PluginManifest.from_distribution("napari-wsol"))
list(manager.iter_widgets())
print(time.perf_counter() - start)
"""


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strokes", type=int, default=1000)
    parser.add_argument("--files", type=int, default=1000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        entries = strokes(asked.strokes)
        image = facts()
        library = JournalLibrary(Path(folder, "journals"))
        appended(library, image, entries)
        read_back(library, image)
        listed(Path(folder, "images"), asked.files)
    plugins()


def say(what: str, seconds: float, beside: str, other: float) -> None:
    """One line."""
    ratio = seconds / other if other else float("inf")
    print(
        f"{what}: {1e3 * seconds:.3f} ms; {beside}: {1e3 * other:.3f} ms; "
        f"ratio {ratio:.3f}"
    )


def best(work: Callable[[], object], count: int = 5) -> float:
    """Seconds of the quickest of some runs: others use the machine, too."""
    seconds: list[float] = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def facts() -> ImageFacts:
    """An image without pixels."""
    canvas = Canvas.over(SHAPE)
    return ImageFacts(
        fingerprint="0123456789abcdef" * 4,
        name="image.png",
        path=None,
        shape=SHAPE,
        canvas_shape=canvas.shape,
        canvas_scale=canvas.scale,
        canvas_translate=canvas.translate,
        mpp=None,
    )


def strokes(count: int) -> list[StrokeMade]:
    """As many strokes of 200 pixels, here and there."""
    rng, canvas = np.random.default_rng(0), Canvas.over(SHAPE)
    done, made = StrokeList.empty(canvas.shape), []
    while len(made) < count:
        y, x = (float(rng.uniform(0, side - 210)) for side in SHAPE)
        path = ((y, x), (y + 40, x + 200))
        part, origin = brushed(path, 9, canvas)
        stroke = changed(done, part, origin, Drawing(2, "brush", path, 9))
        if stroke is not None:
            done = done.add(stroke)
            made.append(StrokeMade(stroke=stroke))
    return made


def appended(
    library: JournalLibrary, image: ImageFacts, entries: list[StrokeMade]
) -> None:
    """What an entry costs who makes it, and until it is on the disk."""
    journal = library.open(image)
    taken, kept = [], []
    for entry in entries:
        start = time.perf_counter()
        journal.append(entry)
        taken.append(time.perf_counter() - start)
        if len(kept) < 100:
            journal.flush()
            kept.append(time.perf_counter() - start)
    journal.close()
    say(
        "an entry taken (median)",
        statistics.median(taken),
        "on the disk (median)",
        statistics.median(kept),
    )


def read_back(library: JournalLibrary, image: ImageFacts) -> None:
    """A journal read and replayed."""
    count = 0

    def read() -> None:
        nonlocal count
        journal = library.open(image)
        count = len(replayed(image.canvas_shape, journal.entries).strokes.strokes)
        journal.close()

    def parse() -> None:
        for path in library.folder.rglob("*.jsonl"):
            for line in path.read_bytes().splitlines():
                json.loads(line.partition(b" ")[2])

    seconds = best(read)
    say(f"{count} strokes opened and read_back", seconds, "parsed as JSON", best(parse))


def listed(folder: Path, count: int) -> None:
    """A folder of files that nobody opens."""
    folder.mkdir()
    for number in range(count):
        (folder / f"case {number}.svs").touch()
    say(
        f"{count} files listed",
        best(lambda: WorkList.of_folder(folder)),
        "their names",
        best(lambda: sorted(path.name for path in folder.iterdir())),
    )


def plugins() -> None:
    """What this plugin adds to napari's start, each time in a new process."""

    def run(*, ours: bool) -> float:
        code = f"OURS = {ours}\n{LIST}"
        found = [
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True
            ).stdout
            for _ in range(3)
        ]
        return min(map(float, found))

    say("plugins listed with ours", run(ours=True), "without", run(ours=False))


if __name__ == "__main__":
    main()
