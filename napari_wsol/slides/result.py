"""What a finished slide shows: scores from all its tiles, their class, its maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.errors import MethodUnavailableError
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.inference.whole_image import Localization
from napari_wsol.methods import get_method
from napari_wsol.methods.flat import flat_note
from napari_wsol.slides.attention import slide_attention
from napari_wsol.slides.readouts import CLASSIFIER, VECTORS
from napari_wsol.slides.scores import slide_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsol.slides.attention import SlideAttention
    from napari_wsol.slides.localize import SlideWork


def check_target(work: SlideWork) -> None:
    """Makes sure, before hours of work, that the class can be told at the end.

    Raises:
        MethodUnavailableError: the model cannot tell it from tiles; says what to do.
    """
    model = work.model
    named, head = work.kept.named, model.classifier
    if work.target is not None or len(model.classes) == 1 or VECTORS in named:
        return
    if head is None or CLASSIFIER not in named or head.pooling() is None:
        raise MethodUnavailableError(
            "This model cannot say from tiles which class a slide shows. Choose the "
            f"class yourself: {', '.join(model.classes)}."
        )


def slide_result(
    work: SlideWork, check: Callable[[], None] = lambda: None
) -> Localization:
    """Scores, class and maps from the tiles that are finished.

    Without a target the most probable class is localized, and ``work`` shows it.

    Args:
        work: of which some tiles are finished.
        check: called often; raises to stop.

    Raises:
        MethodUnavailableError: no target was given, and the model cannot tell it.
        NoResultError: a value is not finite.
    """
    check_target(work)
    attention = None
    if VECTORS in work.kept.named:
        attention = slide_attention(work.model, work.kept, check=check)
        scores = attention.scores
    else:
        scores = slide_scores(work.model, work.kept, check=check)
    target = work.target or work.shown
    if work.target is None and scores.probabilities:
        target = max(scores.probabilities, key=scores.probabilities.__getitem__)
    if target != work.shown or not work.live:
        work.show(target)
    heatmaps = {name: work.heatmap(name) for name in work.live}
    if attention is not None:
        for name in work.methods:
            heatmaps[name] = attention_heatmap(work, attention, name, target)
    notes = (*work.notes, scores.note) if scores.note else work.notes
    return Localization(scores.probabilities, target, heatmaps, notes)


def attention_heatmap(
    work: SlideWork, attention: SlideAttention, method: str, target: str
) -> Heatmap:
    """The attention of a slide's tiles as a map, one cell a tile of the bag."""
    stride = work.kept.named[VECTORS].stride
    values = attention.attention
    in_bag = values[np.isfinite(attention.instances)]
    scale, translate = work.plan.seen.place((float(stride), float(stride)))
    low = float(in_bag.min()) if in_bag.size else 0.0
    high = float(in_bag.max()) if in_bag.size else 0.0
    read_out = get_method(method)
    flat = flat_note(read_out, target, low, high)
    return Heatmap(
        values=values,
        scale=scale,
        translate=translate,
        image_shape=work.slide.shape,
        method=method,
        target=target,
        is_probability=False,
        raw_range=(low, high),
        notes=tuple(filter(None, (read_out.note, flat))),
    )
