"""How right a head is on strokes of images that are kept out of the learning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.samples import Samples

FEWEST_STROKES = 3
"""Strokes of each kind below which a score would be chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How right a head is on strokes that it did not learn from.

    Attributes:
        value: balanced accuracy in [0, 1]; None where there are too few strokes.
        images: images with strokes of both kinds.
        foreground: strokes of foreground on them.
        background: strokes of background on them.
    """

    value: float | None
    images: int
    foreground: int
    background: int


@torch.no_grad()
def logits_of(head: PixelHead, x: Tensor) -> Tensor:
    """(n,) logit difference that a head gives where (n, C) ``x`` was read."""
    weight, bias = (item.cpu() for item in head.affine())
    logits = x @ weight.T + bias
    return logits[:, FOREGROUND] - logits[:, BACKGROUND]


def score(head: PixelHead, samples: Sequence[Samples]) -> Score:
    """Balanced accuracy of a head on strokes, the mean over images.

    On an image every stroke weighs the same, however long it is, and so do both kinds.
    Images with one kind only tell nothing: marking nothing would be right there.
    """
    values: list[float] = []
    strokes = [0, 0]
    for item in samples:
        found = logits_of(head, item.x) > 0
        right = (found == (item.labels == FOREGROUND)).float()
        kinds: list[list[float]] = [[], []]
        for number in np.unique(item.strokes.numpy()):
            own = item.strokes == int(number)
            kinds[int(item.labels[own][0])].append(float(right[own].mean()))
        if all(kinds):
            values.append(sum(sum(kind) / len(kind) for kind in kinds) / 2)
            strokes = [a + len(b) for a, b in zip(strokes, kinds, strict=True)]
    known = min(strokes) >= FEWEST_STROKES
    return Score(
        value=sum(values) / len(values) if known else None,
        images=len(values),
        foreground=strokes[FOREGROUND],
        background=strokes[BACKGROUND],
    )
