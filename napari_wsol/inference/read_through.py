"""What the image shows, read through a map: a guard against strokes that contradict it.

A network trained with image-level labels says what an image shows by pooling its cells.
Pooled over the cells alone that a map marks, its own classifier says what the marked
part shows. Where strokes move that from one class to another, or leave nothing that
shows the class, either the strokes or the class is wrong, and a person is told.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

import torch

from napari_wsol.images.heatmap import MARKED
from napari_wsol.methods import evaluating

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.encoders import Features
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.methods import Model

SURE = 0.6
"""From this probability on a prediction is worth a warning."""


def prediction_through(
    model: Model, features: Features, seen: Geometry, heatmap: Heatmap
) -> dict[str, float]:
    """Probability of each class, pooled over the cells that a map marks.

    Args:
        model: whose classifier pools single cells.
        features: of the image, maps (1, C, h, w).
        seen: how the network saw it.
        heatmap: probabilities.

    Returns:
        Class name → probability; empty where the model cannot say, or where nothing is
        marked.
    """
    head = model.classifier
    if head is None or not head.has_maps:
        return {}
    with evaluating(model), torch.no_grad():
        maps = head.class_maps(features.to(model.device))[0].float().cpu()
        index = head.map_index(features)
        stride, offset = features.strides[index], features.offsets[index]
        rows, columns = int(maps.shape[1]), int(maps.shape[2])
        # Beyond the image, in the padding up to whole cells, nothing is marked.
        first = offset + 0.5 - stride / 2
        (down_y, down_x), (top, left) = seen.downsample, seen.origin
        values = heatmap.crop(
            ((first + top) * down_y, (first + left) * down_x),
            (rows * stride * down_y, columns * stride * down_x),
            (rows, columns),
        )
        marked = torch.from_numpy(values >= MARKED)
        if not bool(marked.any()):
            return {}
        logits = head.pool_maps(maps[:, marked])
        if logits is None or not bool(torch.isfinite(logits).all()):
            return {}
        found = model.to_probabilities(logits[None].float())[0]
    return dict(zip(model.classes, (float(value) for value in found), strict=True))


def contradiction(
    before: Mapping[str, float],
    after: Mapping[str, float],
    heatmap: Heatmap,
    finds: str,
) -> str:
    """A sentence where strokes contradict the image's prediction; empty otherwise.

    Args:
        before: read through the unrefined map.
        after: read through the refined map.
        heatmap: the refined map.
        finds: what the model finds, “a gland”.
    """
    if not bool((heatmap.values >= MARKED).any()):
        seen = max(before.items(), key=itemgetter(1), default=None)
        if seen is None:
            return ""
        return (
            f"After your strokes nothing is marked as {finds} any more, but the model "
            f"saw “{seen[0]}” there ({seen[1]:.2f}). Check the strokes."
        )
    if not before or not after:
        return ""
    first, now = (max(found.items(), key=itemgetter(1)) for found in (before, after))
    if first[0] == now[0] or min(first[1], now[1]) < SURE:
        return ""
    return (
        f"Read through your strokes the image shows “{now[0]}” ({now[1]:.2f}), before "
        f"them “{first[0]}” ({first[1]:.2f}). Check the strokes, or the class."
    )
