"""What a finished slide shows: scores from all its tiles, their class, its maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_wsol.errors import MethodUnavailableError
from napari_wsol.inference.bags import placed_heatmap
from napari_wsol.inference.whole_image import Localization
from napari_wsol.slides.bag import read_slide
from napari_wsol.slides.readouts import CLASSIFIER, VECTORS
from napari_wsol.slides.scores import slide_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.slides.bag import SlideBag
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
    bag = None
    if VECTORS in work.kept.named:
        bag = read_slide(work.model, work.kept, check=check)
        scores = bag.scores
    else:
        scores = slide_scores(work.model, work.kept, check=check)
    target = work.target or work.shown
    if work.target is None and scores.probabilities:
        target = max(scores.probabilities, key=scores.probabilities.__getitem__)
    if target != work.shown or not work.live:
        work.show(target)
    heatmaps = {name: work.heatmap(name) for name in work.live}
    if bag is not None:
        for name in work.methods:
            heatmaps[name] = bag_heatmap(work, bag, name, target)
    notes = (*work.notes, scores.note) if scores.note else work.notes
    return Localization(scores.probabilities, target, heatmaps, notes)


def bag_heatmap(work: SlideWork, bag: SlideBag, method: str, target: str) -> Heatmap:
    """What a read-out says of a slide's tiles as a map, one cell a tile of the bag."""
    stride = float(work.kept.named[VECTORS].stride)
    scale, translate = work.plan.seen.place((stride, stride))
    return placed_heatmap(
        work.model,
        bag.reading,
        method,
        target,
        on_grid=bag.on_grid,
        scale=scale,
        translate=translate,
        image_shape=work.slide.shape,
    )
