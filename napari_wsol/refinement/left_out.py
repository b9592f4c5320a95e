"""Each stroke judged by the others: a number that means something.

A head fits the strokes that it learnt from, so how well it does there says little. A
stroke that was left out was not seen: where the map agrees with it, the others taught
something that holds; where it does not, the stroke is either new information or wrong,
and a person is shown which one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.encoders import sample_points
from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND
from napari_wsol.refinement.finetune import copied, refined_copy
from napari_wsol.refinement.heads import own_head
from napari_wsol.refinement.local import taught
from napari_wsol.refinement.marked import Labelled
from napari_wsol.refinement.stroke_field import beside

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.encoders import Features
    from napari_wsol.methods import Model
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.surroundings import Surroundings

MOST_JUDGED = 40
"""Strokes that are judged, the newest: the earlier ones were judged before."""

FEWEST = 2
"""Strokes of a kind from which on one may be left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Marked:
    """Labelled pixels, and which stroke labelled them.

    Attributes:
        points: (n, 2) float32 positions (y, x) in network input pixels.
        labels: (n,) int64, 0 background, 1 foreground.
        owners: (n,) int64 strokes by number, later ones higher.
    """

    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]

    def cut(self, where: npt.NDArray[np.bool_]) -> Labelled:
        """Those of a mask, to learn from."""
        return Labelled(
            torch.from_numpy(self.points[where]), torch.from_numpy(self.labels[where])
        )


def left_out(
    model: Model,
    features: Features,
    marked: Marked,
    settings: FinetuneConfig,
    *,
    around: Callable[[PixelHead], Surroundings] | None = None,
    check: Callable[[], None] = lambda: None,
) -> dict[int, float]:
    """Share of each stroke on which a head agrees that learnt from all others.

    Args:
        model: whose pixel head is refitted; on its device.
        features: of the image, maps (1, C, h, w), on the CPU.
        marked: the strokes.
        settings: of the refit. Edges are not followed, as they are no stroke's; and
            the features stay as given, so that no stroke that is left out has taught
            the encoder.
        around: gives what the image itself says where the head reads it; asked for
            once, and only where strokes teach more than the head.
        check: called between two refits; raises to stop.

    Returns:
        Stroke → agreement in [0, 1], where there are enough strokes of its kind. The
        newest 40 at most.
    """
    known = judgeable(marked.labels, marked.owners)
    if not known:
        return {}
    start = refined_copy(own_head(model), features)
    seen: Surroundings | None = None
    if settings.corrects and around is not None:
        seen = around(start)
    found: dict[int, float] = {}
    for owner in known:
        check()
        out = marked.owners == owner
        rest, own = marked.cut(~out), marked.cut(out)
        head = copied(start)
        field = taught(head, features, rest, settings, seen, heard=lambda _: check())
        with torch.inference_mode():
            both = head.at_points(features, own.points)
            logits = both[:, FOREGROUND] - both[:, BACKGROUND]
            if field is not None and not field.is_empty:
                colour = None if seen is None else seen.colour
                x = sample_points(beside(head.hidden(features), colour), own.points)
                logits = field.corrected(logits, x, own.points)
        wanted = own.labels == FOREGROUND
        found[owner] = float(((logits >= 0) == wanted).float().mean())
    return found


def judgeable(
    labels: npt.NDArray[np.int64], owners: npt.NDArray[np.int64]
) -> list[int]:
    """Strokes that others of the same kind stand beside, the newest last."""
    kinds: dict[int, int] = {}
    for owner in np.unique(owners):
        kinds[int(owner)] = int(labels[owners == owner][0])
    counts = {
        kind: list(kinds.values()).count(kind) for kind in (BACKGROUND, FOREGROUND)
    }
    if min(counts.values()) < 1:
        return []
    fitting = [owner for owner, kind in kinds.items() if counts[kind] >= FEWEST]
    return fitting[-MOST_JUDGED:]
