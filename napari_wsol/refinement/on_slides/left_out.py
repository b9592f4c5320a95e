"""Each stroke on a slide judged by the others, as on an image in one piece.

What the marked places look like is gathered once
(:mod:`napari_wsol.refinement.left_out` reads the whole image instead); each refit then
leaves out those of one stroke.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from napari_wsol.methods.pixelcam import FOREGROUND
from napari_wsol.refinement.finetune import copied
from napari_wsol.refinement.left_out import judgeable
from napari_wsol.refinement.local import Descriptors, learn_locally
from napari_wsol.refinement.marked import MOST_PLACES, Labelled, labelled_places
from napari_wsol.refinement.stroke_field import StrokeField

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.left_out import Marked
    from napari_wsol.refinement.on_slides.descriptors import SlideDescriptors


def left_out_on_slide(
    looks: SlideDescriptors,
    marked: Marked,
    settings: FinetuneConfig,
    *,
    check: Callable[[], None] = lambda: None,
) -> dict[int, float]:
    """Share of each stroke's places on which a head agrees that learnt from all others.

    Args:
        looks: reads the slide.
        marked: the strokes.
        settings: of the refit; where strokes teach the head alone nothing is judged.
        check: called between two refits; raises to stop.

    Returns:
        Stroke → agreement in [0, 1], where there are enough strokes of its kind. The
        newest 40 at most.
    """
    known = judgeable(marked.labels, marked.owners)
    if not known or not settings.corrects:
        return {}
    parts = [
        (int(owner), labelled_places(marked.cut(marked.owners == owner)))
        for owner in np.unique(marked.owners)
    ]
    spots = Labelled(
        torch.cat([part.points for _, part in parts]),
        torch.cat([part.labels for _, part in parts]),
    )
    owners = torch.cat([torch.full((len(part.points),), at) for at, part in parts])
    gathered, readable = looks.places(spots)
    owners = owners[readable]
    found: dict[int, float] = {}
    for owner in known:
        check()
        own, rest = owners == owner, torch.nonzero(owners != owner)[:, 0]
        kinds = {*cast("list[int]", gathered.labels[rest].tolist())}
        if not bool(own.any()) or len(kinds) < 2:  # the slide is damaged there
            continue
        if len(rest) > MOST_PLACES:
            keep = torch.linspace(0, len(rest) - 1, MOST_PLACES).round().long()
            rest = rest[keep]
        logits = _learnt(
            looks.head, _cut(gathered, rest), _cut(gathered, own), settings, check
        )
        wanted = gathered.labels[own] == FOREGROUND
        found[owner] = float(((logits >= 0) == wanted).float().mean())
    return found


def _cut(known: Descriptors, which: Tensor) -> Descriptors:
    return Descriptors(
        known.x[which],
        known.points[which],
        known.labels[which],
        known.mean,
        known.projection,
    )


def _learnt(
    start: PixelHead,
    rest: Descriptors,
    own: Descriptors,
    settings: FinetuneConfig,
    check: Callable[[], None],
) -> Tensor:
    """(m,) logit differences at some places, learnt from others."""
    head, field = copied(start), StrokeField()
    for _, field in learn_locally(head, rest, settings):  # noqa: B007 - the last one
        check()
    with torch.inference_mode():
        width = head.affine()[0].shape[1]
        total = head.difference(own.x[:, :width])
        return total if field.is_empty else field.corrected(total, own.x, own.points)
