"""Several seeds of one recipe: the mean of their figures, and how they spread."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean, stdev
from typing import cast


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
        values = [item[key] for item in every]
        figures[key] = {
            "mean": round(mean(values), 4),
            "std": round(stdev(values), 4) if len(values) > 1 else 0.0,
            "min": min(values),
            "max": max(values),
            "values": values,
        }
    return {"seeds": list(by_seed), "figures": figures}
