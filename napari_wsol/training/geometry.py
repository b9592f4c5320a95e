"""Where the cells of a feature map look, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_wsol.methods import evaluating

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Encoder

CELLS = 3
"""Cells probed along each axis, about the middle of each image."""


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
