"""Rounds in a person's words."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.gui.widgets.job_bar import grouped
from napari_wsol.refinement.rounds import odd_map_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.refinement.rounds import LeftOut, Round

NAMED = 3
"""Strokes that are named at most."""

KINDS = {1: "background", 2: "foreground"}


def round_words(item: Round) -> str:
    """What is said of a round when the mouse rests on it, and when it is finished."""
    if item.index == 0:
        return "Round 0: the model as it was loaded, before any stroke."
    words = [f"Round {item.index}: {strokes_words(item)}", seconds_words(item.seconds)]
    if item.loss:
        words.append(f"loss {item.loss[0]:.2f} → {item.loss[-1]:.2f}")
    words += [agreement_words(item), prediction_words(item)]
    return ", ".join(word for word in words if word) + "."


def round_line(item: Round, rounds: Sequence[Round]) -> str:
    """“round 4 of 9 · 7 strokes · 0.11 s · left-out strokes: 92 % agree”."""
    words = [f"round {item.index} of {rounds[-1].index}"]
    if item.index == 0:
        words.append("the model as it was loaded")
    else:
        words += [strokes_words(item), seconds_words(item.seconds)]
    words += [agreement_words(item), prediction_words(item)]
    return " · ".join(word for word in words if word)


def strokes_words(item: Round) -> str:
    """“7 strokes”."""
    return f"{grouped(item.strokes)} stroke{'' if item.strokes == 1 else 's'}"


def seconds_words(seconds: float) -> str:
    """“0.11 s”, “2.4 s”, “38 s”."""
    digits = 2 if seconds < 1 else 1 if seconds < 10 else 0
    return f"{seconds:.{digits}f} s"


def agreement_words(item: Round) -> str:
    """“left-out strokes: 92 % agree”; empty where too few are left out."""
    if item.agreement is None:
        return ""
    return f"left-out strokes: {item.agreement:.0%} agree".replace("%", " %")


def prediction_words(item: Round) -> str:
    """“malignant 0.93 → 0.91”, and the class that is the most probable one instead."""
    name, before, after = item.heatmap.target, item.before, item.after
    if name not in before or name not in after:
        return ""
    words = f"{name} {before[name]:.2f} → {after[name]:.2f}"
    first, now = max(before, key=before.__getitem__), max(after, key=after.__getitem__)
    if now not in (first, name):
        words += f", now {now} {after[now]:.2f}"
    return words


def warning_words(item: Round) -> str:
    """What is odd about a round, as rich text; strokes are links with their number."""
    sentences = [words for words in (item.warning, odd_map_words(item)) if words]
    named = disagreeing(item) if item.warning else ()
    if named:
        links = ", ".join(
            f'<a href="{one.number}">{KINDS[one.label]} stroke {one.number}</a> '
            f"({one.agreement:.0%})".replace("%", " %")
            for one in named
        )
        sentences.append(f"Least in line with the others: {links}.")
    return " ".join(sentences)


def disagreeing(item: Round) -> tuple[LeftOut, ...]:
    """The strokes that the others contradict, the worst first."""
    against = [one for one in item.left_out if one.agreement < 0.5]
    return tuple(sorted(against, key=lambda one: one.agreement)[:NAMED])
