"""ROAD: pixels go, and are guessed from those around them, so that no edge tells of it.

Rong et al.: A Consistent and Efficient Evaluation Strategy for Attribution Methods,
ICML 2022, arXiv 2202.00449. Noisy linear imputation (section 4.2): a removed pixel is
the mean of its neighbours, 1/6 of each beside it and 1/12 of each across a corner,
which for all together is a sparse linear system.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from napari_wsol.evaluation.faithfulness import Pixels, Probability
    from napari_wsol.evaluation.scores import BoolArray
    from napari_wsol.images.heatmap import FloatMap

SHARES = tuple(k / 10 for k in range(1, 10))
NOISE = 0.01
"""Standard deviation, in units of the network's input."""


def road(
    probability: Probability, pixels: Pixels, heatmap: FloatMap, seed: int = 0
) -> float:
    """Half of the probability without the least relevant pixels minus the most.

    The mean over ``SHARES`` of pixels that go: pytorch-grad-cam's ROADCombined.

    Args:
        probability: of the class; called with one (1, C, H, W) input at a time.
        pixels: (C, H, W) the network's input.
        heatmap: (H, W) on the same grid; only its order counts.
        seed: of the noise.

    Returns:
        -½ to ½: high is good, an order by chance gets 0.
    """
    noise = np.random.default_rng(seed).normal(0, NOISE, pixels.shape)
    order, total = np.argsort(heatmap, axis=None, kind="stable"), 0.0
    for ranked, sign in ((order, 1), (order[::-1], -1)):
        for share in SHARES:
            gone = np.zeros(heatmap.shape, np.bool_)
            gone.flat[ranked[: round(share * heatmap.size)]] = True
            left = (imputed(pixels, gone) + noise * gone).astype(np.float32)
            total += sign * float(np.ravel(probability(left[None]))[0])
    return total / len(SHARES) / 2


def imputed(pixels: Pixels, gone: BoolArray) -> Pixels:
    """(C, H, W) with the pixels of an (H, W) mask, never all, guessed from the rest."""
    kit: Any = sparse  # it has no types
    sides = [kit.eye(n, k=1) + kit.eye(n, k=-1) for n in gone.shape]
    weights = (kit.kronsum(*sides[::-1]) / 6 + kit.kron(*sides) / 12).tocsr()
    system = kit.diags(np.ravel(weights.sum(1))) - weights
    away, values = gone.ravel(), pixels.reshape(len(pixels), -1).astype(np.float64)
    known = weights[away][:, ~away] @ values[:, ~away].T
    # It is symmetric: told so, the elimination fills in far less.
    how = {"permc_spec": "MMD_AT_PLUS_A", "options": {"SymmetricMode": True}}
    solved = kit.linalg.splu(system[away][:, away].tocsc(), **how)
    values[:, away] = solved.solve(known).T
    return values.reshape(pixels.shape).astype(np.float32)
