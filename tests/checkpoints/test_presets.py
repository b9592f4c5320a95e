"""What needs no timm: the table, its command, and names of weights."""

import importlib.util

import pytest
import torch
from typer.testing import CliRunner

from napari_wsol.checkpoints.presets import timm_names
from napari_wsol.cli.app import app
from napari_wsol.encoders import list_encoders
from napari_wsol.encoders.presets import PRESETS
from napari_wsol.errors import ConfigError
from napari_wsol.zoo import import_model

STATE = {"cls_token": torch.zeros(1, 1, 8), "blocks.0.attn.qkv.weight": torch.ones(1)}


def test_presets_are_encoders_and_listed_with_their_licence():
    assert set(PRESETS) <= set(list_encoders())
    done = CliRunner().invoke(app, ["models", "presets"], env={"COLUMNS": "300"})
    for name, preset in PRESETS.items():
        assert f"{name}: {preset.title}; licence: {preset.license}" in done.output
        assert preset.weights in done.output
        assert preset.pooling in ("cls", "cls_mean")


@pytest.mark.skipif(
    importlib.util.find_spec("timm") is not None, reason="timm is installed"
)
def test_without_timm_the_import_says_how_to_get_it(tmp_path):
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=r"pip install timm\."):
        import_model(tmp_path / "pytorch_model.bin", answers={"preset": "uni"})


@pytest.mark.parametrize("shape", [(), (7,), (1, 3), (1, 1, 9), (0, 0, 0)])
def test_names_of_any_shape_are_only_renamed(shape):
    part, mine = torch.ones(shape), torch.ones(3)
    odd = {
        "embeddings.register_tokens": part,
        "embeddings.position_embeddings": part,
        "encoder.layer.0.attention.attention.query.weight": part,
        "encoder.layer.0.attention.attention.query.bias": part,
        "encoder.layer.0.attention.attention.key.weight": mine,
        "encoder.layer.0.attention.attention.value.weight": part,
        "blocks.1.attn.qkv.bias": part,
    }
    for is_dinov3 in (False, True):
        found = timm_names({**STATE, **odd}, is_dinov3=is_dinov3)
        assert {"reg_token", "pos_embed", "blocks.0.attn.q.weight"} <= set(found)
