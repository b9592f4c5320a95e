"""Patch flipping: what is left of a bag's verdict as its tiles are taken away.

Symmetric relevance gain (Blücher, Vielhaben, Strodthoff 2024, arXiv 2401.06654), as
xMIL measures it on bags (Hense et al. 2024, arXiv 2406.04280). With m the log odds of
the bag's class by the head, of n tiles k of which were taken away::

    SRG = mean over k = 0 … n - 1 of m(least relevant first) - m(most relevant first)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.encoders import BagEncoder
from napari_wsol.methods import evaluating, get_method, list_methods
from napari_wsol.methods.mil import MilHead, contrast, read_bag

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_wsol.methods import Model

STEPS = 50
"""Points of a curve at most; fewer tiles go one by one."""


def patch_flipping(
    model: Model, tiles: Callable[[], Tensor], *, seed: int = 0
) -> dict[str, float]:
    """How faithful the read-outs of tiles are to the verdict on one bag; no pixels.

    Args:
        model: any.
        tiles: gives (n, D) float vectors, n ≥ 1, where the model pools tiles.
        seed: of the order that is drawn.

    Returns:
        SRG by method, and of a "random" order; empty where the model pools no tiles.

    Raises:
        NoResultError: a value is not finite.
    """
    encoder, head = model.encoder, model.classifier
    if not isinstance(encoder, BagEncoder) or head is None:
        return {}
    with evaluating(model), torch.inference_mode():
        vectors = tiles().to(model.device).float()
        reading = read_bag(model, lambda: [vectors])
        target = int(model.to_probabilities(reading.logits[None].float()).argmax())
        embedded = head.embed(vectors) if isinstance(head, MilHead) else vectors

        def margin(rest: Tensor) -> float:
            own = embedded[rest]
            if isinstance(head, MilHead):
                weights = head.weigh(reading.scores[rest]).to(own.device)
                logits = head.parts(own, weights).float().sum(0) + head.bias()
            else:
                logits = model.image_logits(encoder.of_vectors(own))[0]
            return float(logits.float().cpu() @ contrast(model, target))

        count = len(vectors)
        cuts = np.linspace(0, count, min(count, STEPS), endpoint=False, dtype=int)
        drawn = np.random.default_rng(seed).permutation(count)
        orders = {"random": torch.from_numpy(drawn)}
        for name in list_methods(model):
            if get_method(name).pools_tiles:
                orders[name] = reading.values(name, model, target).argsort(stable=True)
        return {
            name: float(np.mean([margin(x[k:]) - margin(x.flip(0)[k:]) for k in cuts]))
            for name, x in orders.items()
        }
