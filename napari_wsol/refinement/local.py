"""A refit on one image: the pixel head corrected everywhere, and near the strokes.

The two parts are learnt together (:mod:`napari_wsol.refinement.kernel_fit`). The global
one is linear and goes into the head, which may be used on other images; the local one
is a :class:`StrokeField` and belongs to this image. The refined logit is their sum.
Where a small network is to learn instead of the linear part
(:mod:`napari_wsol.refinement.stroke_network`), all but a shift belongs to this image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from napari_wsol.config import FinetuneConfig
from napari_wsol.encoders import sample_points
from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND
from napari_wsol.refinement.finetune import FinetuneStep, correct, finetune
from napari_wsol.refinement.kernel_fit import (
    LIKENESS,
    LOCAL,
    TEMPERATURE,
    MarkedPlaces,
    Variances,
    balanced,
    evenness,
    fit_places,
)
from napari_wsol.refinement.marked import labelled_places
from napari_wsol.refinement.stroke_field import StrokeField, beside, fit_space
from napari_wsol.refinement.stroke_network import StrokeNetwork, fit_network

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.marked import Labelled
    from napari_wsol.refinement.samples import Pooled
    from napari_wsol.refinement.surroundings import Superpixels, Surroundings

FAR = 1e4
"""Times the reach between images: the strokes of one say nothing about places of
another."""


@dataclass(frozen=True, slots=True, eq=False)
class Descriptors:
    """All that a refit needs of an image: what its marked places look like.

    Attributes:
        x: (n, C + c) float32 what the head's last layer reads there, then the colour.
        points: (n, 2) positions (y, x) in network input pixels.
        labels: (n,) 0 background, 1 foreground.
        mean: (C + c,) taken off ``x``, from :func:`fit_space`.
        projection: (C + c, d) applied behind it, from :func:`fit_space`.
        counts: (n,) how much each place weighs; once by default.
    """

    x: Tensor
    points: Tensor
    labels: Tensor
    mean: Tensor
    projection: Tensor
    counts: Tensor | None = None


def finetune_locally(
    head: PixelHead,
    features: Features,
    labelled: Labelled,
    config: FinetuneConfig | None = None,
    *,
    colour: Tensor | None = None,
    space: tuple[Tensor, Tensor] | None = None,
    superpixels: Superpixels | None = None,
    others: Pooled | None = None,
) -> Iterator[tuple[FinetuneStep, StrokeField]]:
    """Refits a copy of a head to strokes, and what the strokes say beside it.

    The head given is changed in place, at the end only, so that an iteration that is
    abandoned leaves it as it was.

    Args:
        head: the pixel head as the model has it, in evaluation mode; only its last
            layer is corrected.
        features: of the image, maps (1, C, h, w).
        labelled: where is what.
        config: steps, prior, reach, balance, caution, form of the head.
        colour: (1, c, h, w) of the image on the finest grid that the head reads.
        space: what :func:`fit_space` gives here, where it is known already.
        superpixels: of the image; strokes spread over theirs.
        others: what was marked on other images: it teaches the global part.

    Yields:
        Progress, and the field: empty until the last item, where it is finished.
    """
    with torch.no_grad():
        both = beside(head.hidden(features), colour)
        space = space or fit_space(both, colour=colour is not None)
        spots, counts = labelled_places(labelled), None
        if superpixels is not None:
            spots, counts = superpixels.spread(spots)
        x = sample_points(both, spots.points)
    known = Descriptors(x, spots.points, spots.labels, *space, counts)
    yield from learn_locally(head, known, config, others=others)


def taught(
    head: PixelHead,
    features: Features,
    labelled: Labelled,
    settings: FinetuneConfig,
    around: Surroundings | None,
    *,
    others: Pooled | None = None,
    heard: Callable[[FinetuneStep], None],
) -> StrokeField | None:
    """Refits a head in place, with a field beside it where the settings want one.

    Args:
        head: the pixel head as the model has it, in evaluation mode.
        features: of the image, maps (1, C, h, w).
        labelled: where is what.
        settings: of the refit.
        around: what the image itself says where the head reads it.
        others: what was marked on other images.
        heard: called with every step; may raise to stop.
    """
    field: StrokeField | None = None
    if not settings.corrects:
        for item in finetune(head, features, labelled, settings, others=others):
            heard(item)
        return None
    spreads = around is not None and settings.propagate
    for item, field in finetune_locally(  # noqa: B007 - the last one is finished
        head,
        features,
        labelled,
        settings,
        colour=None if around is None else around.colour,
        space=None if around is None else around.space,
        superpixels=around.superpixels if around and spreads else None,
        others=others,
    ):
        heard(item)
    return field


def learn_locally(
    head: PixelHead,
    known: Descriptors,
    config: FinetuneConfig | None = None,
    *,
    others: Pooled | None = None,
) -> Iterator[tuple[FinetuneStep, StrokeField]]:
    """Like :func:`finetune_locally`, where only the marked places are at hand.

    Args:
        head: changed in place, at the end.
        known: of the image.
        config: steps, prior, reach, balance, caution, form of the head.
        others: what was marked on other images.

    Yields:
        Progress, and the field: empty until the last item, where it is finished.
    """
    config = config or FinetuneConfig()
    x, mean, projection = known.x, known.mean, known.projection
    with torch.no_grad():
        width = head.affine()[0].shape[1]
        offset = head.difference(x[:, :width])
    looks = (x - mean) @ projection
    own = len(looks)
    places = MarkedPlaces(looks, known.points, offset, known.labels, known.counts)
    if others is not None:
        places = _beside_others(places, others, mean, projection, config)
    even = evenness(places) if config.cautious else 1.0
    variances = Variances.of(places) if config.cautious else Variances()
    if config.head != "linear":
        variances = replace(variances, linear=0.0)
    if config.balanced:
        places = balanced(places)
    # Without a stroke of its own one place that says nothing carries the colour.
    kind = StrokeNetwork if config.head == "mlp" else StrokeField
    field = kind(len(mean), projection.shape[1], max(own, 1))
    field.mean, field.projection = mean, projection
    field.lengths = torch.tensor([LIKENESS, config.reach])
    weights = torch.zeros(0)

    def solve() -> Iterator[float]:
        nonlocal weights
        weights = yield from _solved(places, field, config, even, variances)

    held: FinetuneStep | None = None  # The last one goes out with the field.
    for loss in solve():
        if held is not None:
            yield held, StrokeField()
        step = 1 if held is None else held.step + 1
        held = FinetuneStep(step, max(step, config.steps), loss)
    if own:
        field.looks, field.points = looks, known.points
        field.weights = (LOCAL / TEMPERATURE * weights[:own]).float()
    shift = float(variances.constant / TEMPERATURE * weights.sum())
    if config.head == "linear":
        direction = places.looks.double().T @ weights * variances.linear / TEMPERATURE
        linear = projection.double() @ direction
        field.tint[width:] = linear[width:].float()
        read = linear[:width]
        shift -= float(read @ mean[:width].double())
        correct(head, read.float(), shift)
    else:
        correct(head, torch.zeros(width), shift)
    if held is not None:
        yield held, field.eval()


def _solved(
    places: MarkedPlaces,
    field: StrokeField,
    config: FinetuneConfig,
    even: float,
    variances: Variances,
) -> Generator[float, None, Tensor]:
    """The network first, where there is one, and :func:`fit_places` on top of it.

    What the network learns holds everywhere, so from one kind it learns nothing.
    """
    if isinstance(field, StrokeNetwork) and even > 0:
        network = yield from fit_network(
            places, prior=config.prior, steps=config.steps, even=even
        )
        field.take(network)
        if not config.local:
            return torch.zeros(len(places.looks), dtype=torch.float64)
        said = network(places.looks.double()).float() / TEMPERATURE
        places = replace(places, offset=places.offset + said)
    return (
        yield from fit_places(
            places,
            prior=config.prior,
            reach=config.reach,
            steps=config.steps,
            variances=variances,
        )
    )


def _beside_others(
    own: MarkedPlaces,
    others: Pooled,
    mean: Tensor,
    projection: Tensor,
    config: FinetuneConfig,
) -> MarkedPlaces:
    """Places of this image and of others, seen through the directions of this one.

    Each image lies so far from all others that no stroke reaches over.
    """
    width = others.x.shape[1]
    away = mean[width:].expand(len(others.x), -1)  # a colour that was not read: any
    if others.colour.shape[1] == away.shape[1]:
        away = torch.where(others.colour.isnan(), away, others.colour)
    looks = (torch.cat([others.x, away], dim=1) - mean) @ projection
    # On the other side of 0: places of a slide may lie a hundred thousand pixels away.
    apart = FAR * config.reach * (1 + others.images).double()
    points = others.points - others.points.amax(0) - apart[:, None]
    return MarkedPlaces(
        torch.cat([own.looks, looks]),
        torch.cat([own.points, points]),
        torch.cat([own.offset, others.offset]),
        torch.cat([own.labels, others.labels]),
        torch.cat([own.weights, config.others * torch.ones(len(looks))]),
    )


def refined_map(
    head: PixelHead,
    features: Features,
    field: StrokeField | None = None,
    colour: Tensor | None = None,
) -> Tensor:
    """(h, w) foreground probability on the finest grid that the head reads."""
    with torch.inference_mode():
        read = head.read(features)
        logits = head(read)[0]
        total = logits[FOREGROUND] - logits[BACKGROUND]
        if field is not None and not field.is_empty:
            total = total + field(beside(head.hidden(features), colour))
        return total.sigmoid()
