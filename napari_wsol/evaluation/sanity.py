"""Whether a map changes when the weights that it shall explain are drawn anew.

Adebayo et al.: Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292: model
parameter randomization, cascading from the verdict down, told by the rank correlation
of a map with itself. What stays the same does not show why the verdict was given.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.methods.heads import Head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from napari_wsol.images.heatmap import FloatMap
    from napari_wsol.methods import Model

PARTS = {"heads": 0.0, "last_stage": 0.25, "encoder": 1.0}
"""What is drawn anew: the heads that give the image's verdict (one of pixels gives
none, and stays), and this share of the encoder's layers, the deepest ones first."""


def rank_correlation(one: FloatMap, other: FloatMap) -> float:
    """Spearman's, of two maps of one shape, -1 to 1; 0 where one is constant."""
    from scipy.stats import spearmanr  # takes a while to load

    if not (np.ptp(one) and np.ptp(other)):
        return 0.0
    return float(spearmanr(one, other, axis=None).statistic)


def drawn_anew(model: Model, part: str, seed: int = 0) -> Model:
    """A copy of a model with a part of it untrained; the model itself stays.

    Layers begin as their ``reset_parameters`` says, norms with mean 0 and variance 1;
    weights of which no module says how they begin are shuffled.

    Args:
        model: on any device; what is drawn is the same on all.
        part: one of ``PARTS``.
        seed: of what is drawn.
    """
    other, device = copy.deepcopy(model).cpu(), model.device
    heads = [head for head in other.heads.values() if isinstance(head, Head)]
    below = _layers([other.encoder])
    # A network of others' has its classifier inside.
    above = _layers(head for head in heads if head.classifies) or below[-1:]
    below = [layer for layer in below if layer not in above]
    kept = round(len(below) * (1 - PARTS[part]))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        for layer in (*above, *below[kept:]):
            if callable(reset := getattr(layer, "reset_parameters", None)):
                reset()
                continue
            for values in layer.parameters(recurse=False):
                order = torch.randperm(values.numel())
                values.copy_(values.flatten()[order].view_as(values))
    return other.with_encoder(other.encoder).to(device)


def _layers(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those that have weights themselves, in the order in which they were built."""
    every = (part for module in modules for part in module.modules())
    return [part for part in every if [*part.parameters(recurse=False)]]
