"""What can be said of the maps of an image without a reference.

Adebayo et al.: Sanity Checks for Saliency Maps, NeurIPS 2018, arXiv 1810.03292: model
parameter randomization, cascading from the verdict down, told by the rank correlation
of a map with itself. What stays the same does not show why the verdict was given.
"""

from __future__ import annotations

import copy
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_wsol.errors import MalformedError
from napari_wsol.evaluation.faithfulness import insertion_deletion
from napari_wsol.evaluation.road import road
from napari_wsol.files.parsing import typed
from napari_wsol.inference.whole_image import localize
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods import evaluating, method_title
from napari_wsol.methods.heads import Head, list_heads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import nn

    from napari_wsol.evaluation.faithfulness import Pixels
    from napari_wsol.evaluation.settings import EvaluationConfig
    from napari_wsol.images.heatmap import FloatMap, Heatmap
    from napari_wsol.inference.view import ModelView
    from napari_wsol.inference.whole_image import Localization
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model
    from napari_wsol.methods.card import Card

PARTS = {"heads": 0.0, "last_stage": 0.25, "encoder": 1.0}
"""What is drawn anew: the heads that give the image's verdict (one of pixels gives
none, and stays), and this share of the encoder's layers, the deepest ones first."""

SAME, ALIKE = 0.9, 0.5
"""Rank correlations from which on maps are called so."""

AT_ONCE, ROAD_PIXELS = 2_000_000, 400_000
"""Pixels of inputs at a time, and of the largest input whose ROAD is measured."""

NO_ROAD = "ROAD is left out: the network sees more than 400 000 pixels of the image."


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What can be said of a method's map without a reference.

    Attributes:
        method: its name.
        sanity: rank correlation, -1 to 1, after each of ``PARTS`` was drawn anew.
        faithful: "insertion", "deletion" (0 to 1), "road" (-½ to ½), where measured.
        caveats: what these figures hide, a sentence each.
    """

    method: str
    sanity: Mapping[str, float]
    faithful: Mapping[str, float] = field(default_factory=dict[str, float])
    caveats: tuple[str, ...] = ()

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
        return level, f"{method_title(self.method)}: {said}"


def known_trust(card: Card) -> dict[str, Trust]:
    """What ``evaluate --sanity`` has written into a model's card, by method."""
    found: object = card.metrics.get("sanity", {})
    with suppress(MalformedError):
        rows = typed(found, dict[str, dict[str, float]])
        known = {name: one for name, one in rows.items() if one.keys() >= PARTS.keys()}
        return {name: Trust(method=name, sanity=one) for name, one in known.items()}
    return {}


def check_maps(
    view: ModelView,
    found: Localization,
    config: EvaluationConfig,
    report: Progress = ignore_progress,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Trust]:
    """All that the config wants to be measured of the maps of a class, by method.

    Args:
        view: the image under the model.
        found: its maps, as they come with the config's views.
        config: sanity, faithfulness, ROAD; others of its settings count for nothing.
        report: called with (done, total, what is being done).
        check: called often; raises to stop.
    """
    maps, parts = found.heatmaps, [*PARTS] if config.sanity else []
    total, result = len(parts) + len(maps), dict[str, Trust]()
    redrawn: dict[str, Mapping[str, Heatmap]] = {}
    for done, part in enumerate(parts):
        report(done, total, "drawing weights anew")
        redrawn[part] = localize(
            drawn_anew(view.model, part, config.seed),
            view.slide,
            list(maps),
            found.target,
            views=found.views,
            mpp=view.mpp,
            config=view.config,
            # The features of an encoder that is drawn anew are not wanted again.
            cache=view.cache if part == "heads" else None,
            check=check,
        ).heatmaps
    for done, (name, one) in enumerate(maps.items(), len(parts)):
        title, caveats = method_title(name), list[str]()
        report(done, total, title)
        others = {part: redrawn[part][name].values for part in parts}
        if flat := " or ".join(part for part in parts if not np.ptp(others[part])):
            where = f"the same everywhere with other weights of the {flat}: 0."
            caveats.append(f"{title} is {where.replace('_', ' ')}")
        faithful = _faithful(view, one, config, check)
        if config.road and "road" not in faithful:
            caveats.append(NO_ROAD)
        result[name] = Trust(
            method=name,
            sanity={p: rank_correlation(one.values, others[p]) for p in parts},
            faithful=faithful,
            caveats=tuple(caveats),
        )
    return result


def _faithful(
    view: ModelView,
    heatmap: Heatmap,
    config: EvaluationConfig,
    check: Callable[[], None],
) -> dict[str, float]:
    """Insertion, deletion and ROAD on the network's own input, as RISE does."""
    steps, found = config.faithfulness_steps, dict[str, float]()
    if not (steps or config.road):
        return found
    model, seen = view.model, view.geometry()
    place = model.class_index(heatmap.target)
    with torch.no_grad():
        pixels = view.pixels()[0].float().cpu().numpy()
    shape, down = (pixels.shape[1], pixels.shape[2]), seen.downsample
    values = heatmap.crop(
        (seen.origin[0] * down[0], seen.origin[1] * down[1]),
        (shape[0] * down[0], shape[1] * down[1]),
        shape,
    )

    def probability(batch: Pixels) -> Pixels:
        check()
        with evaluating(model), torch.no_grad():
            features = model.encoder(torch.from_numpy(batch).to(model.device))
            return model.probabilities(features, by_cut=False)[:, place].cpu().numpy()

    if steps:
        batch = max(1, min(16, AT_ONCE // values.size))
        curves = insertion_deletion(
            probability, pixels, values, steps=steps, batch=batch
        )
        found |= {"insertion": curves.insertion, "deletion": curves.deletion}
    if config.road and values.size <= ROAD_PIXELS:
        found["road"] = road(probability, pixels, values)
    return found


def rank_correlation(one: FloatMap, other: FloatMap) -> float:
    """Spearman's, of two maps of one shape, -1 to 1; 0 where one is constant."""
    from scipy import stats  # takes a while to load

    if not (np.ptp(one) and np.ptp(other)):
        return 0.0
    kit: Any = stats  # it has no types
    return float(kit.spearmanr(one, other, axis=None).statistic)


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
