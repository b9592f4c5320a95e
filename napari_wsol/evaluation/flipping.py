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

from napari_wsol.evaluation.sanity import Trust
from napari_wsol.methods import evaluating, get_method
from napari_wsol.methods.mil import MilHead, as_bag, contrast, read_bag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from napari_wsol.methods import Model

STEPS = 50
"""Points of a curve at most; fewer tiles go one by one."""


def patch_flipping(
    model: Model, methods: Sequence[str], tiles: Callable[[], Tensor], seed: str = ""
) -> dict[str, Trust]:
    """How faithful read-outs of tiles are to the verdict on one bag; needs no pixels.

    Args:
        model: that has the methods.
        methods: names; those that read no tiles are left out.
        tiles: gives (n, D) float vectors, n ≥ 1; not called where all are left out.
        seed: of the order that is drawn; any text.

    Returns:
        By method "flipping", SRG in log odds, and "flipping_random" of a drawn order.

    Raises:
        NoResultError: a value is not finite.
    """
    picked = [name for name in methods if get_method(name).pools_tiles]
    if not picked:
        return {}
    with evaluating(model), torch.inference_mode():
        head, vectors = model.classifier, tiles().to(model.device).float()
        reading = read_bag(model, lambda: [vectors])
        target = int(model.to_probabilities(reading.logits[None].float()).argmax())
        embedded = head.embed(vectors) if isinstance(head, MilHead) else vectors

        def margin(rest: Tensor) -> float:
            own = embedded[rest]
            if isinstance(head, MilHead):
                parts = head.parts(own, head.weigh(reading.scores[rest]).to(own))
                logits = parts.float().sum(0) + head.bias()
            else:
                logits = model.image_logits(as_bag(own))[0]
            return float(logits.float().cpu() @ contrast(model, target))

        def gain(order: Tensor) -> float:
            points = np.linspace(0, len(order), min(len(order), STEPS), endpoint=False)
            both = [(order[k:], order.flip(0)[k:]) for k in points.astype(int)]
            return float(np.mean([margin(up) - margin(down) for up, down in both]))

        order = np.random.default_rng([*seed.encode()]).permutation(len(vectors))
        drawn, result = gain(torch.from_numpy(order)), dict[str, Trust]()
        for name in picked:
            own = gain(reading.values(name, model, target).argsort())
            figures = {"flipping": own, "flipping_random": drawn}
            result[name] = Trust(method=name, sanity={}, faithful=figures)
        return result
