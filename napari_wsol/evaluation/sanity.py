"""Whether a map changes when the weights that it shall explain are drawn anew.

Adebayo et al.: Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292: model
parameter randomization, cascading from the verdict down, told by the rank correlation
of a map with itself. What stays the same does not show why the verdict was given.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.errors import MalformedError
from napari_wsol.files.parsing import typed
from napari_wsol.methods import method_title
from napari_wsol.methods.heads import Head, list_heads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt
    from torch import nn

    from napari_wsol.images.heatmap import FloatMap
    from napari_wsol.methods import Model
    from napari_wsol.methods.card import Card

PARTS = {"heads": 0.0, "last_stage": 0.25, "encoder": 1.0}
"""What is drawn anew: the heads that give the image's verdict (one of pixels gives
none, and stays), and this share of the encoder's layers, the deepest ones first."""

SAME, ALIKE = 0.9, 0.5
"""Rank correlations from which on maps are called so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What can be said of a method's map without a reference.

    Attributes:
        method: its name.
        sanity: rank correlation, -1 to 1, after each of ``PARTS`` was drawn anew.
        constant: parts that left the map the same everywhere, which counts as 0.
        faithful: "insertion", "deletion" (0 to 1), "road" (-½ to ½), where measured.
    """

    method: str
    sanity: Mapping[str, float]
    constant: tuple[str, ...] = ()
    faithful: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def verdict(self) -> tuple[str, str]:
        """A level ("good", "partly", "bad"), and a sentence."""
        heads, every = self.sanity["heads"], self.sanity["encoder"]
        level, said = "good", f"changes with the verdict's weights ({heads:.2f})."
        if abs(every) >= ALIKE:
            level = "bad"
            said = f"hardly changes when all weights are drawn anew ({every:.2f}): it "
            said += "shows the image, not what the model learnt."
        elif abs(heads) >= ALIKE:
            how = "does not change" if abs(heads) >= SAME else "changes little"
            what = "its own head" if self.method in list_heads() else "the encoder"
            level, said = "partly", f"{how} when the verdict's weights are drawn anew "
            said += f"({heads:.2f}): it shows what {what} learnt, not why the image "
            said += "got its verdict."
        return level, " ".join((f"{method_title(self.method)}: {said}", *self.caveats))

    @property
    def caveats(self) -> tuple[str, ...]:
        """What its figures hide, a sentence each."""
        title, parts = method_title(self.method), " or ".join(self.constant)
        words = f"{title} is the same everywhere with other weights of the {parts}: 0."
        return (words.replace("_", " "),) if parts else ()


def known_trust(card: Card) -> dict[str, Trust]:
    """What ``evaluate --sanity`` has written into a model's card, by method."""
    found: object = card.metrics.get("sanity", {})
    with suppress(MalformedError):
        rows = typed(found, dict[str, dict[str, float]])
        known = {name: one for name, one in rows.items() if one.keys() >= PARTS.keys()}
        return {name: Trust(method=name, sanity=one) for name, one in known.items()}
    return {}


def rank_correlation(one: FloatMap, other: FloatMap) -> float:
    """Spearman's, of two maps of one shape, -1 to 1; 0 where one is constant."""
    ranks = np.stack([_ranks(item.ravel()) for item in (one, other)])
    ranks -= ranks.mean(1, keepdims=True)
    scale = float(np.sqrt((ranks**2).sum(1).prod()))
    return float(ranks[0] @ ranks[1]) / scale if scale else 0.0


def _ranks(values: FloatMap) -> npt.NDArray[np.float64]:
    """Of equal values the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


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
