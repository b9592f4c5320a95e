"""Several seeds of one recipe: the mean of their figures, and how they spread."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean, stdev
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence


def numbers(metrics: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """All numbers of a card's metrics by their path, e.g. "pxap_percent.cam"."""
    found: dict[str, float] = {}
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            inner = cast("Mapping[str, object]", value)
            found |= numbers(inner, f"{prefix}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{key}"] = float(value)
    return found


def summarize(by_seed: Mapping[int, Mapping[str, object]]) -> dict[str, object]:
    """Mean and spread of every figure that all seeds have.

    Args:
        by_seed: metrics of a card, by seed.

    Returns:
        "seeds"; and under "figures", by path, "mean", "std" (of a sample; 0 of one
        seed), "min", "max" and "values" in the order of the seeds.
    """
    every = [numbers(metrics) for metrics in by_seed.values()]
    shared = [key for key in every[0] if all(key in item for item in every)]
    figures: dict[str, object] = {}
    for key in shared:
        figures[key] = spread([item[key] for item in every])
    return {"seeds": list(by_seed), "figures": figures}


def spread(values: Sequence[float]) -> dict[str, object]:
    """Mean and spread of one figure.

    Args:
        values: one a training; at least one.

    Returns:
        "mean", "std" (of a sample; 0 of one value), "min", "max" and "values".
    """
    return {
        "mean": round(mean(values), 4),
        "std": round(stdev(values), 4) if len(values) > 1 else 0.0,
        "min": min(values),
        "max": max(values),
        "values": list(values),
    }
