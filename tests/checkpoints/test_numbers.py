"""Weights that are no finite real numbers are refused, not turned into maps."""

from __future__ import annotations

import pytest
import torch

from napari_wsol.encoders import build_encoder
from napari_wsol.errors import ModelError
from napari_wsol.zoo import load_model


def with_value(value: float):
    def spoil(tensor: torch.Tensor) -> torch.Tensor:
        spoilt = tensor.clone()
        spoilt.view(-1)[-1] = value
        return spoilt

    return spoil


SPOILT = {
    "NaN": (with_value(float("nan")), "NaN"),
    "infinite": (with_value(float("-inf")), "infinite"),
    "integers": (lambda tensor: tensor.to(torch.int32), "int32"),
    "truth": (lambda tensor: tensor > 0, "bool"),
    "complex": (lambda tensor: tensor.to(torch.complex64), "complex64"),
    "sparse": (lambda tensor: tensor.to_sparse(), "sparse"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_weights_that_are_no_numbers_are_refused(tmp_path, kind):
    spoil, says = SPOILT[kind]
    state = dict(build_encoder("resnet18").state_dict())
    state["layer1.0.conv1.weight"] = spoil(state["layer1.0.conv1.weight"])
    path = tmp_path / "resnet18.pth"
    torch.save(state, path)
    with pytest.raises(ModelError, match=says):
        load_model(path, device="cpu")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_real_numbers_of_any_precision_are_weights(tmp_path, dtype):
    state = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in build_encoder("resnet18").state_dict().items()
    }
    path = tmp_path / "resnet18.pth"
    torch.save(state, path)
    model = load_model(path, device="cpu")
    assert torch.equal(
        model.encoder.state_dict()["conv1.weight"], state["conv1.weight"].float()
    )
