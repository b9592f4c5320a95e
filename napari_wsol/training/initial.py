"""Before anything is learnt: the encoder's weights, and where its cells look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from napari_wsol.checkpoints import check_weights, places
from napari_wsol.encoders import BagEncoder, TileEncoder
from napari_wsol.errors import ModelError
from napari_wsol.methods import Model, evaluating
from napari_wsol.training.seeding import whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Encoder
    from napari_wsol.training.crops import TrainImage
    from napari_wsol.training.recipe import Recipe

PROBED = 8
"""Training images on which the geometry of the features is measured."""

CELLS = 3
"""Cells probed along each axis, about the middle of each image."""


def initial_model(recipe: Recipe, init: dict[str, Tensor] | None) -> Model:
    """What a training begins with; its random weights are those of the seed."""
    torch.manual_seed(recipe.train.seed)
    model = Model(recipe.model)
    if init is not None:
        load_encoder(model, init)
    return model


def load_encoder(model: Model, state: dict[str, Tensor]) -> None:
    """Puts initial weights into the encoder; other entries of the file are ignored.

    They belong to the network that reads each tile, where the encoder cuts images.

    Weights of a first layer for three colours are summed for an encoder of grey images,
    as PYLON's are: it then gives what the other gives of three equal colours.

    Raises:
        ModelError: an entry that the encoder needs is missing or of another shape.
    """
    encoder = model.encoder
    if isinstance(encoder, TileEncoder):
        encoder = encoder.backbone
    wanted = encoder.state_dict()
    # A file may hold a bare encoder, a whole model of ours, or anybody's network.
    prefix = max(
        places(state, next(iter(wanted))),
        key=lambda prefix: sum(prefix + key in state for key in wanted),
        default="",
    )
    found = {key: state[prefix + key] for key in wanted if prefix + key in state}
    found = {key: _greyed(value, wanted[key]) for key, value in found.items()}
    missing = sorted(set(wanted) - set(found))
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    wrong = [key for key in found if found[key].shape != wanted[key].shape]
    if missing or wrong:
        raise ModelError(
            f"These weights are not those of {model.spec.encoder}: "
            f"{(missing + wrong)[0]} is missing or has another shape."
        )
    check_weights(found, wanted, "The file of weights")
    encoder.load_state_dict(found, strict=False)


def _greyed(value: Tensor, wanted: Tensor) -> Tensor:
    """A kernel (C, 3, h, w) as (C, 1, h, w), where that is wanted."""
    is_kernel = value.ndim == 4 and wanted.ndim == 4
    if is_kernel and value.shape[1] == 3 and wanted.shape[1] == 1:
        return value.sum(1, keepdim=True)
    return value


def place_cells(model: Model, images: Sequence[TrainImage], recipe: Recipe) -> None:
    """Finds where the cells look under these weights, and writes it into the spec.

    Trained kernels may lean to one side of their receptive field, so the padding alone
    does not tell. Nothing is measured where the recipe tells, nor of tiles, windows or
    a fixed input, whose cells lie where they are drawn.
    """
    fixed = model.preprocessing.size is not None or model.encoder.window is not None
    fixed |= isinstance(model.encoder, BagEncoder)
    if recipe.model.offsets is not None or fixed:
        return
    some = [whole(model, x.pixels, recipe.augment.style) for x in images[:PROBED]]
    offsets = measure_offsets(model.encoder, some, seed=recipe.train.seed)
    model.encoder.offsets = offsets
    model.spec = replace(model.spec, offsets=offsets)


def measure_offsets(
    encoder: Encoder, images: Sequence[Tensor], *, seed: int = 0
) -> tuple[float, ...]:
    """The input pixel under the middle of what cell 0 of each tap responds to.

    For a few cells, a random combination of their channels is differentiated with
    respect to the input; the centroid of the gradient's magnitude is where the cell
    looks. Both axes count alike, since images are turned in training.

    Args:
        encoder: with the weights in question.
        images: each (1, 3, H, W) float, preprocessed; large enough for the receptive
            field, or the border pulls the centroid.
        seed: of the random combinations.

    Returns:
        One offset a tap, in input pixels.
    """
    generator = torch.Generator().manual_seed(seed)
    found: list[list[float]] = [[] for _ in encoder.taps]
    with evaluating(encoder), torch.enable_grad():
        for image in images:
            x = image.clone().requires_grad_()
            features = encoder(x)
            for at, values in enumerate(features.maps):
                for row, column in _middle(values):
                    mix = torch.randn(values.shape[1], generator=generator)
                    response = (mix * values[0, :, row, column]).sum()
                    (slope,) = torch.autograd.grad(response, x, retain_graph=True)
                    y, x0 = _centroid(slope[0].abs().sum(0))
                    found[at] += [
                        y - row * features.strides[at],
                        x0 - column * features.strides[at],
                    ]
    return tuple(round(sum(item) / len(item), 2) for item in found)


def _middle(values: Tensor) -> list[tuple[int, int]]:
    height, width = values.shape[-2:]
    return [
        (height // 2 + row - CELLS // 2, width // 2 + column - CELLS // 2)
        for row in range(min(CELLS, height))
        for column in range(min(CELLS, width))
    ]


def _centroid(weight: Tensor) -> tuple[float, float]:
    total = weight.sum().clamp_min(1e-12)
    rows = torch.arange(weight.shape[0], dtype=weight.dtype)
    columns = torch.arange(weight.shape[1], dtype=weight.dtype)
    return (
        float((weight.sum(1) * rows).sum() / total),
        float((weight.sum(0) * columns).sum() / total),
    )
