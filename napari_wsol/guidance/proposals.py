"""Where the next stroke would teach most, and why, in words.

The mean of the scores (see :mod:`~napari_wsol.guidance.factors`) over a stroke's length
is the score of a place: a speck is not worth a stroke.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, cast

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from napari_wsol.guidance.factors import Floats, Guide, Mask
    from napari_wsol.images.heatmap import Heatmap

WORTH, WORTH_BESIDE = 0.15, 0.25
"""Score below which a place is not worth a stroke, and share of the best score below
which it is not worth one beside that: the rim of a place is no place of its own."""

STANDS_OUT = 0.3
"""Uncertainty or disagreement of a place from which on it is named as a reason."""

AMOUNTS = ((0.75, "strong"), (0.5, "some"), (0.25, "little"), (0.0, "none"))
"""What evidence is called by its rank; steps are less than ``STANDS_OUT`` apart."""

_TO_THE_MIDDLE = 1e-4

PLACES = (
    ("upper left", "top", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "bottom", "lower right"),
)

Circle = tuple[float, float, float]
"""Centre (y, x) and radius, in level-0 pixels."""

Window = tuple[slice, slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A place for a stroke.

    Attributes:
        y, x: its centre in level-0 pixels.
        radius: half the length of a stroke there, in level-0 pixels.
        score: how much it promises, in [0, 1].
        place: where it is on the image, “upper left”.
        short: the main reason in a few words, “methods disagree”.
        reason: a sentence: “Upper left: PixelCAM and CAM disagree, and there is no
            stroke within 800 µm.”
    """

    y: float
    x: float
    radius: float
    score: float
    place: str
    short: str
    reason: str

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Top, left, bottom and right in level-0 pixels."""
        reach = self.radius
        return self.y - reach, self.x - reach, self.y + reach, self.x + reach


def proposals(
    known: Guide,
    count: int,
    *,
    dismissed: Iterable[Circle] = (),
    titles: Mapping[str, str] | None = None,
) -> list[Proposal]:
    """The best places, the best first, none nearer to another than a stroke's length.

    The same input gives the same places.

    Args:
        known: of the image.
        count: how many at most; fewer where no more are worth a stroke.
        dismissed: circles in which nothing is proposed, nor so near that the places
            would overlap.
        titles: method → its name in the reasons.
    """
    radius = known.length / 2
    scores, is_open = known.scores, known.tissue.copy()
    for y, x, size in dismissed:
        _wipe(scores, _disc(known, y, x, size), 0.0)
        _wipe(is_open, _disc(known, y, x, size + radius), 0)
    places = np.where(is_open, _smoothed(scores, known), np.float32(0.0))
    found: list[Proposal] = []
    for at in islice(_peaks(places, known), count):
        score = float(places[at])
        least = max(WORTH, WORTH_BESIDE * found[0].score) if found else WORTH
        if score < least:
            break
        found.append(_proposal(known, at, score, titles or {}))
    return found


def disputes(
    known: Guide, heatmaps: Sequence[Heatmap], count: int, titles: Mapping[str, str]
) -> list[Proposal]:
    """The places where maps disagree most, whatever was stroked; as :func:`proposals`.

    Highest is the disagreement there, not in the middle of a ring, times its mean over
    a stroke's length; its reason says who sees what, with value and percentile: “PCAM
    sees strong evidence here (0.91, pct 98), LayerCAM none (0.05, pct 11)”. ``known``
    was made of the heatmaps; one alone does not disagree.
    """
    apart, found = known.disagreement * known.tissue, list[Proposal]()
    peaks = _peaks(apart * _smoothed(apart, known), known) if len(heatmaps) > 1 else ()
    for at in islice(peaks, count):
        place = _proposal(known, at, float(apart[at]), titles)
        told = [
            (known.ranks[one.key][at], titles[one.key], one, place)
            for one in heatmaps
            if known.ranks[one.key][at] >= 0
        ]
        if place.score >= STANDS_OUT:
            by = itemgetter(0, 1)
            most, least = _seen(*max(told, key=by)), _seen(*min(told, key=by))
            words = "{} sees {} evidence here {}, {} {} {}".format(*most, *least)
            found.append(replace(place, short="methods disagree", reason=words))
    return found


def _seen(
    rank: float, title: str, one: Heatmap, place: Proposal
) -> tuple[str, str, str]:
    amount = next(words for least, words in AMOUNTS if rank >= least)
    value = one.at(place.y, place.x) or 0.0
    if one.signed and value < 0.5:
        amount = "contrary"
    return title, amount, f"({one.words(value)}, pct {100 * rank:.0f})"


def _peaks(places: Floats, known: Guide) -> Iterator[tuple[int, int]]:
    """Cells, the highest first, none nearer to one before than a stroke's length."""
    # Where all is equal, the middle comes first rather than the first row.
    order = np.subtract(places, _TO_THE_MIDDLE * _from_the_middle(places.shape))
    while True:
        row, column = divmod(int(order.argmax()), places.shape[1])
        if order[row, column] < 0:
            return
        yield row, column
        _wipe(order, _disc(known, *_centre(known, (row, column)), known.length), -1.0)


def nothing_words(methods: int, strokes: bool) -> str:
    """What is said where no place is worth a stroke."""
    first = "the methods agree" if methods > 1 else "the map is decided"
    return f"Nothing stands out: {first}{' and strokes are close by' * strokes}."


# ------------------------------------------------------------------------------ places


def _smoothed(scores: Floats, known: Guide) -> Floats:
    """Weighted mean over about a stroke's length; outside the image nothing counts."""
    size = [max(1, round(known.length / 2 / step)) | 1 for step in known.cell]
    for _ in range(2):
        for axis, cells in enumerate(size):
            scores = cast(
                "Floats",
                ndimage.uniform_filter1d(scores, cells, axis, mode="constant"),
            )
    return np.clip(scores, 0.0, 1.0)


def _disc(known: Guide, y: float, x: float, radius: float) -> tuple[Window, Mask]:
    """The part of the grid that a circle reaches, and its cells with centres inside."""
    spans: list[slice] = []
    squares: list[npt.NDArray[np.float64]] = []
    for centre, step, count in zip((y, x), known.cell, known.tissue.shape, strict=True):
        first = math.floor((centre - radius + 0.5) / step)
        after = math.ceil((centre + radius + 0.5) / step)
        span = range(min(max(0, first), count), min(max(0, after), count))
        spans.append(slice(span.start, span.stop))
        offsets = (np.array(span, np.float64) + 0.5) * step - 0.5 - centre
        squares.append(offsets**2)
    inside = np.add(squares[0][:, None], squares[1][None]) <= radius**2
    return (spans[0], spans[1]), inside


def _wipe(
    values: npt.NDArray[np.float32 | np.bool_], disc: tuple[Window, Mask], to: float
) -> None:
    window, inside = disc
    values[window][inside] = to


def _from_the_middle(shape: tuple[int, ...]) -> Floats:
    """0 in the middle of the grid, 1 in its corners."""
    rows = np.linspace(-1, 1, shape[0], dtype=np.float32)
    columns = np.linspace(-1, 1, shape[1], dtype=np.float32)
    return ((rows[:, None] ** 2 + columns[None] ** 2) / 2).astype(np.float32)


def _centre(known: Guide, at: tuple[int, int]) -> tuple[float, float]:
    """The middle of a cell in level-0 pixels."""
    (row, column), (height, width) = at, known.cell
    return (row + 0.5) * height - 0.5, (column + 0.5) * width - 0.5


def _proposal(
    known: Guide, at: tuple[int, int], score: float, titles: Mapping[str, str]
) -> Proposal:
    y, x = _centre(known, at)
    radius = known.length / 2
    short, clauses = _clauses(known, (y, x), at, titles)
    height, width = known.tissue.shape
    place = PLACES[3 * at[0] // int(height)][3 * at[1] // int(width)]
    return Proposal(
        y=y,
        x=x,
        radius=radius,
        score=score,
        place=place,
        short=short,
        reason=f"{place[0].upper()}{place[1:]}: {_joined(clauses)}.",
    )


# ------------------------------------------------------------------------------- words


def _clauses(
    known: Guide,
    centre: tuple[float, float],
    at: tuple[int, int],
    titles: Mapping[str, str],
) -> tuple[str, list[str]]:
    """The main reason in a few words, and all that stand out as parts of a sentence."""
    window, inside = _disc(known, *centre, known.length / 2)
    inside &= known.tissue[window]

    def mean(values: Floats) -> float:
        return float(values[window][inside].mean())

    undecided = mean(known.uncertainty)
    how = "undecided" if undecided >= STANDS_OUT else "less sure than elsewhere"
    words = f"the map is {how} ({mean(known.values):.2f})"
    reasons = [(undecided, f"map {how}", words)]
    if len(known.ranks) > 1:
        means = {name: mean(ranks) for name, ranks in known.ranks.items()}
        words = _who_disagrees(means, titles)
        reasons.append((mean(known.disagreement), "methods disagree", words))
    reasons.sort(key=lambda item: -item[0])
    said = [item for item in reasons if item[0] >= STANDS_OUT]
    far = float(known.to_stroke[at])
    if known.length <= far < math.inf:
        words = f"there is no stroke within {_length_words(far, known.mpp)}"
        said.append((1.0, "no stroke near", words))
    said = said or reasons[:1]
    return said[0][1], [words for _, _, words in said]


def _who_disagrees(means: Mapping[str, float], titles: Mapping[str, str]) -> str:
    """The two methods that are furthest apart there."""
    order = sorted(
        (name for name in means if means[name] >= 0), key=lambda n: -means[n]
    )
    high, low = (titles.get(name, name) for name in (order[0], order[-1]))
    if len(order) > 2:
        return f"the methods disagree (most of all {high} and {low})"
    return f"{high} and {low} disagree"


def _joined(clauses: Sequence[str]) -> str:
    if len(clauses) < 3:
        return ", and ".join(clauses)
    return f"{', '.join(clauses[:-1])}, and {clauses[-1]}"


def _length_words(pixels: float, mpp: float | None) -> str:
    """A length, rounded down to two digits: “830 µm”, “1.2 mm”, “450 px”."""
    if mpp is None:
        return f"{_two_digits(pixels):,.0f} px".replace(",", "\u202f")
    microns = _two_digits(pixels * mpp)
    return f"{microns:.3g} µm" if microns < 1000 else f"{microns / 1000:.3g} mm"


def _two_digits(length: float) -> float:
    step = 10.0 ** max(0, math.floor(math.log10(max(length, 1.0))) - 1)
    return math.floor(length / step) * step
