"""What good and bad strokes do to one map: pairs of pictures, and a table.

    python benchmarks/good_and_bad_strokes.py [--picture FILE] [--page FILE]

The image is scikit-image's colon glands with DAB; what is brown is to be found. The
bundled model of H&E begins with a map that has missed some and found other things; each
move below starts from that map anew, is one round, and is judged at the threshold 0.5.
``--picture`` draws all moves, ``--page`` writes the table between the two marks of a
Markdown page (docs/how-to/teach-with-strokes.md); without either the table is printed.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scribbles import BLUE, ORANGE, THRESHOLD, brown_area
from skimage import data

from napari_wsol import Session, evaluation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_wsol.strokes.stroke import Point

    Mask = npt.NDArray[np.bool_]
    Move = Callable[[Session], object]

BACKGROUND, FOREGROUND = 1, 2
WIDTH = 8
"""Of the brush, in pixels."""
BEGIN, END = "<!-- strokes: begin -->", "<!-- strokes: end -->"
OUTLINE = "#ffe600"


def foreground(*path: Point) -> Move:
    """A stroke with F."""
    return lambda session: session.brush(path, FOREGROUND, WIDTH)


def background(*path: Point) -> Move:
    """A stroke with B."""
    return lambda session: session.brush(path, BACKGROUND, WIDTH)


def area(*corners: Point) -> Move:
    """An area of foreground, with A."""
    return lambda session: session.fill(corners, FOREGROUND)


def grown(y: float, x: float) -> Move:
    """A region of foreground that grows from a click, with W."""
    return lambda session: session.grow(y, x, FOREGROUND).result()


def zigzag() -> Move:
    """All of what was missed at the upper left, painted over."""
    sides = ((row, 8.0, min(35 + (row - 60) // 8, 60.0)) for row in range(60, 200, 10))
    turns = [
        [(row, left), (row, right)][:: 1 if index % 2 else -1]
        for index, (row, left, right) in enumerate(sides)
    ]
    return foreground(*(point for turn in turns for point in turn))


MISSED = foreground((130, 12), (180, 35))
LEFT = foreground((300, 45), (330, 60))
LUMEN = background((440, 445), (470, 448))
LOW = background((480, 185), (500, 195))


@dataclass(frozen=True, slots=True)
class Pair:
    """What to do, and what not; each after its words."""

    good: tuple[str, Sequence[Move]]
    bad: tuple[str, Sequence[Move]]


PAIRS = (
    Pair(
        ("one short stroke inside what was missed", [MISSED]),
        (
            "a stroke along a gland's border",
            [foreground((250, 75), (300, 115), (350, 145), (400, 158), (500, 158))],
        ),
    ),
    Pair(
        ("a short stroke on each of two faults", [MISSED, LUMEN]),
        ("all of one fault scribbled over", [zigzag()]),
    ),
    Pair(
        ("two strokes of each kind", [MISSED, LEFT, LUMEN, LOW]),
        (
            "four of foreground only",
            [
                MISSED,
                LEFT,
                foreground((60, 60), (100, 80)),
                foreground((400, 90), (430, 100)),
            ],
        ),
    ),
    Pair(
        ("a stroke that stays inside", [foreground((330, 60), (400, 100))]),
        ("one that crosses the border", [foreground((330, 70), (330, 250))]),
    ),
    Pair(
        ("background where the map is wrong", [MISSED, LUMEN]),
        (
            "background where it is right already",
            [MISSED, background((310, 390), (340, 405))],
        ),
    ),
    Pair(
        (
            "six strokes at six places",
            [
                MISSED,
                LEFT,
                foreground((390, 290), (410, 320)),
                LUMEN,
                LOW,
                background((430, 250), (460, 255)),
            ],
        ),
        (
            "six strokes at one place",
            [
                *(foreground((y, 110), (y + 10, 140)) for y in (400, 414, 428)),
                *(background((y, 185), (y + 10, 215)) for y in (400, 414, 428)),
            ],
        ),
    ),
    Pair(
        ("W: a click in the middle of a gland", [grown(320, 80)]),
        ("W: a click just past its border", [grown(300, 155)]),
    ),
    Pair(
        (
            "A: an area within the gland",
            [
                area(
                    (230, 30),
                    (310, 110),
                    (400, 140),
                    (505, 150),
                    (505, 50),
                    (330, 60),
                    (270, 15),
                )
            ],
        ),
        (
            "A: an area that takes in what lies around",
            [area((180, 0), (200, 100), (330, 200), (505, 210), (505, 0))],
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a move left.

    Attributes:
        iou: of the map with what is brown.
        painted: share of the image that was painted.
        right: share of the painted pixels whose kind is right.
        strokes: (H, W) 0 nothing, 1 background, 2 foreground.
        marked: (H, W) what is above the threshold.
    """

    iou: float
    painted: float
    right: float
    strokes: npt.NDArray[np.uint8]
    marked: Mask


def measure(
    image: npt.NDArray[np.uint8], threads: int | None = None
) -> tuple[float, list[tuple[Seen, Seen]]]:
    """IoU of the map as it is, and what each pair does to it."""
    truth = brown_area(image)
    with closing(Session(threads=threads, journals=False)) as session:
        session.open(image, name="glands").result()
        session.use("glands-mobilenetv2").result()
        session.localize(["pixelcam"]).result()

        def marked() -> Mask:
            values = session.heatmap("pixelcam").resized(truth.shape)
            return values >= THRESHOLD

        def after(moves: Sequence[Move]) -> Seen:
            session.revert(0).result()
            session.clear()
            for move in moves:
                move(session)
            session.finetune().result()
            strokes, found = session.scribbles.copy(), marked()
            drawn = strokes > 0
            right = (strokes == np.where(truth, FOREGROUND, BACKGROUND))[drawn].mean()
            iou = evaluation.iou(found, truth)
            return Seen(iou, float(drawn.mean()), float(right), strokes, found)

        before = evaluation.iou(marked(), truth)
        return before, [(after(p.good[1]), after(p.bad[1])) for p in PAIRS]


def table(before: float, found: Sequence[tuple[Seen, Seen]]) -> str:
    """The moves as Markdown, the good one of each pair first."""
    lines = [
        "| | strokes | painted, of the image | of that right | IoU |",
        "|---|---|---|---|---|",
        f"| | none | | | {before:.2f} |",
    ]
    for number, (pair, sides) in enumerate(zip(PAIRS, found, strict=True), 1):
        words = (("good", pair.good[0]), ("bad", pair.bad[0]))
        for (side, said), seen in zip(words, sides, strict=True):
            shares = f"{seen.painted:.1%} | {seen.right:.0%}".replace("%", " %")
            lines.append(f"| {number} {side} | {said} | {shares} | {seen.iou:.2f} |")
    return "\n".join(lines)


def draw(
    path: Path, image: npt.NDArray[np.uint8], found: Sequence[tuple[Seen, Seen]]
) -> None:
    """All moves with the outline of the map that they led to, two pairs a row."""
    from matplotlib.figure import Figure

    figure = Figure((10, 11), dpi=95, layout="constrained")
    panels = figure.subplots(len(found) // 2, 4).ravel()
    sides = [
        (f"{number} {side}", seen)
        for number, pair in enumerate(found, 1)
        for side, seen in zip(("good", "bad"), pair, strict=True)
    ]
    for axes, (title, seen) in zip(panels, sides, strict=True):
        picture = image.copy()
        picture[seen.strokes == FOREGROUND] = ORANGE
        picture[seen.strokes == BACKGROUND] = BLUE
        axes.imshow(picture)
        axes.contour(seen.marked, levels=[0.5], colors=[OUTLINE], linewidths=1.8)
        axes.set_title(f"{title}: IoU {seen.iou:.2f}", fontsize=10)
        axes.set_axis_off()
    figure.savefig(path, pil_kwargs={"quality": 74})


def with_table(page: str, made: str) -> str:
    """A page with the table between its marks.

    Raises:
        SystemExit: it has no marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"The page needs the lines {BEGIN} and {END}.")
    return f"{head}{begin}\n\n{made}\n\n{end}{tail}"


def main() -> None:
    """Measures, and writes what was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    image = data.immunohistochemistry()
    before, found = measure(image, options.threads)
    made = table(before, found)
    if options.picture is not None:
        draw(options.picture, image, found)
    if options.page is not None:
        page = options.page.read_text("utf-8")
        options.page.write_text(with_table(page, made), "utf-8")
    if options.picture is None and options.page is None:
        print(made)


if __name__ == "__main__":
    main()
