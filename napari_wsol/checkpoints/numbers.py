"""Weights are finite real numbers: what else a file holds would be maps of nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_wsol.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

_REAL = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_SHOWN = 3


def check_weights(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], name: str
) -> None:
    """Refuses weights that a network cannot work with.

    Args:
        weights: as they were read; those that the network lacks are not looked at.
        wanted: the network's own, whose real numbers must stay real numbers.
        name: of the file, for messages.

    Raises:
        ModelError: integers, truth values, complex, quantized or sparse ones where real
            numbers belong, or NaN or infinite values.
    """
    bad = list(_problems(weights, wanted))
    if not bad:
        return
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    raise ModelError(
        f"{name} cannot be used: {'; '.join(bad[:_SHOWN])}{more}. Take an earlier "
        "checkpoint of that training, or save the weights as real numbers "
        "(model.float().state_dict())."
    )


def _problems(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> Iterable[str]:
    for key, own in wanted.items():
        if key not in weights or not own.is_floating_point():
            continue
        tensor = weights[key]
        if tensor.layout != torch.strided:
            yield f"{key} is sparse"
        elif tensor.dtype not in _REAL:
            yield f"{key} holds {str(tensor.dtype).removeprefix('torch.')}"
        elif not bool(torch.isfinite(tensor).all()):
            yield f"{key} holds values that are not numbers (NaN or infinite)"
