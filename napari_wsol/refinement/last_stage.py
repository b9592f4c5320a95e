"""Strokes that teach the encoder's last stage too, not the pixel head alone.

For images that the frozen features cannot tell apart. The stage behind the second
deepest tap is trained on a copy of the encoder, through the model's own pixel head, by
Adam on the balanced partial cross-entropy at the strokes, held near its own weights
(L2-SP, Li et al. 2018, arXiv 1802.01483)::

    L = partial cross-entropy + ½ λ Σ (θ - θ₀)²

Normalisation keeps its statistics: one image must not set them. The features up to that
stage come from the cache, so that a step costs the last stage alone.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from napari_wsol.encoders import TileEncoder
from napari_wsol.errors import MethodUnavailableError, ModelError
from napari_wsol.inference.encode import interruptible
from napari_wsol.methods import evaluating
from napari_wsol.methods.partial_loss import partial_cross_entropy
from napari_wsol.refinement.finetune import FinetuneStep
from napari_wsol.refinement.heads import own_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from napari_wsol.config import FinetuneConfig
    from napari_wsol.encoders import Encoder, Features
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.marked import Labelled

HOLD = 1e-2
"""λ at ``prior = 1``: strokes move the weights by a few percent at most."""


STEPS = 20
"""Of Adam in a round. With 20 and a learning rate of 2e-5, on 6 training images of
GlaS, the mean IoU after 1, 3, 5 and 10 rounds is 0.67, 0.80, 0.86 and 0.91; with 1e-4
it is 0.59, 0.72, 0.77 and 0.88, and with the encoder frozen 0.70, 0.83, 0.86 and 0.92.
"""


def stage_start(encoder: Encoder) -> str:
    """The layer behind which the last stage begins: the second deepest tap.

    Raises:
        MethodUnavailableError: the encoder has no such place.
    """
    if isinstance(encoder, TileEncoder) or len(encoder.map_taps) < 2:
        raise MethodUnavailableError(
            "This model's last stage cannot be trained by strokes: its pixel head "
            "reads one depth only. Keep the encoder frozen."
        )
    start = encoder.taps[-2]
    if start not in encoder.readable_layers or encoder.is_traced:
        raise MethodUnavailableError(
            f"This model cannot go on from its layer {start}. Keep the encoder frozen."
        )
    return start


def adapted_features(encoder: Encoder, features: Features) -> Features:
    """All maps with those of the last stage made anew from the ones before it.

    Good enough to learn from; near the image's lower and right border they are not
    quite what encoding it anew gives, as the padding there is not kept.

    Args:
        encoder: with its last stage as it is now.
        features: of the image, maps (1, C, h, w); the second deepest is read.
    """
    start = stage_start(encoder)
    later = encoder.resume(start, features.maps[-2])
    maps = (*features.maps[:-1], later.maps[-1])
    return type(features)(maps, features.strides, features.offsets, features.names)


def train_last_stage(
    model: Model,
    head: PixelHead,
    features: Features,
    points: Tensor,
    labels: Tensor,
    *,
    steps: int,
    rate: float,
    prior: float = 1.0,
    check: Callable[[], None] = lambda: None,
) -> Iterator[tuple[FinetuneStep, Encoder]]:
    """Trains a copy of the encoder; the model stays as it is.

    Args:
        model: on its device.
        head: reads the features; only its gradient is used. On the same device.
        features: of the image, maps (1, C, h, w), on the same device.
        points: (n, 2) labelled positions (y, x) in network input pixels.
        labels: (n,) int64, 0 background, 1 foreground.
        steps: of Adam.
        rate: its learning rate.
        prior: how strongly the weights are held.
        check: called at every layer, forwards and backwards; raises to stop.

    Yields:
        Progress, and the encoder as it is by then; the last one is finished.

    Raises:
        MethodUnavailableError: the encoder cannot.
    """
    stage_start(model.encoder)
    encoder = copy.deepcopy(model.encoder)

    def passed(_gradient: Tensor) -> None:
        check()

    with evaluating(model), interruptible(encoder, check):
        encoder.eval()
        trained = _last_stage(encoder)
        before = [item.detach().clone() for item in trained]
        for item in trained:
            item.register_hook(passed)
        optimizer = torch.optim.Adam(trained, lr=rate)
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            seen = head.read(adapted_features(encoder, features))
            logits = head.at_points(seen, points)
            loss = partial_cross_entropy(logits, labels, balanced=True)
            moved = [
                (now - then).square().sum()
                for now, then in zip(trained, before, strict=True)
            ]
            loss = loss + prior * HOLD / 2 * torch.stack(moved).sum()
            torch.autograd.backward(loss, inputs=trained)
            optimizer.step()
            yield FinetuneStep(step, steps, float(loss.detach())), encoder
    for item in encoder.parameters():
        item.requires_grad_(False)


def taught_stage(
    model: Model,
    features: Features,
    labelled: Labelled,
    settings: FinetuneConfig,
    *,
    report: Progress,
    check: Callable[[], None],
) -> dict[str, Tensor]:
    """What the strokes make of the last stage: its weights by name, on the CPU.

    Args:
        model: on its device; it stays as it is.
        features: of the image, maps (1, C, h, w), on the CPU.
        labelled: where is what.
        settings: learning rate, prior.
        report: called with (steps done, steps, message).
        check: called often; raises to stop.

    Raises:
        MethodUnavailableError: the model's last stage cannot learn.
    """
    head = own_head(model)
    if head is None:
        raise MethodUnavailableError(
            "This model has no pixel head through which strokes could teach its "
            "encoder. Keep the encoder frozen."
        )
    encoder = model.encoder
    for item, encoder in train_last_stage(  # noqa: B007 - the last one is finished
        model,
        head,
        features.to(model.device),
        labelled.points.to(model.device),
        labelled.labels.to(model.device),
        steps=STEPS,
        rate=settings.learning_rate,
        prior=settings.prior,
        check=check,
    ):
        report(item.step, item.steps, "teaching the encoder")
    return stage_state(model, encoder)


def _last_stage(encoder: Encoder) -> list[Tensor]:
    """The parameters that :func:`adapted_features` reads; the others are frozen."""
    start, last = stage_start(encoder), encoder.taps[-1]
    behind = False
    found: list[Tensor] = []
    for name, module in encoder.stages():
        wanted = behind
        for parameter in module.parameters():
            parameter.requires_grad_(wanted)
            if wanted:
                found.append(parameter)
        behind = (behind or name == start) and name != last
    if not found:
        raise MethodUnavailableError(
            "This model's last stage has no weights to train. Keep the encoder frozen."
        )
    return found


def stage_state(model: Model, encoder: Encoder) -> dict[str, Tensor]:
    """The weights of a trained copy that differ from the model's own, by name."""
    own = model.encoder.state_dict()
    return {
        name: value.detach().cpu().contiguous().clone()
        for name, value in encoder.state_dict().items()
        if not torch.equal(value.cpu(), own[name].cpu())
    }


def adapted_model(model: Model, state: Mapping[str, Tensor]) -> Model:
    """The model with a last stage trained before; all else is shared, not copied.

    Args:
        model: the one that the stage was trained on.
        state: from :func:`stage_state`.

    Raises:
        ModelError: the weights belong to another model.
    """
    encoder = copy.deepcopy(model.encoder)
    merged = encoder.state_dict()
    for name, value in state.items():
        if name not in merged or merged[name].shape != value.shape:
            raise ModelError(
                "The encoder's last stage of a round belongs to another model "
                f"({name!r}). Refine again: the strokes are there."
            )
        merged[name] = value
    encoder.load_state_dict(merged)
    return model.with_encoder(encoder.eval())
