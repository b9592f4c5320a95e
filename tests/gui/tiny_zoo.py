"""A real model with known answers: bright is foreground, dark is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from napari_wsol.encoders import Encoder, list_encoders, register_encoder
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.card import Card
from napari_wsol.zoo import save_model
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path

NAME = "tiny-brightness"


class Brightness(Encoder):
    """Mean colour of 4 × 4 pixels: three channels at stride 4."""

    def __init__(self, *, output_stride=4, taps=None):
        super().__init__()
        del output_stride
        self.pool = nn.AvgPool2d(4, ceil_mode=True, count_include_pad=False)
        self.choose(taps, {"pool": 3})

    def stages(self):
        yield "pool", self.pool

    def path(self):
        yield "pool", (4, 4, 1), 0


def install(folder: Path) -> Card:
    """Write the model into a zoo folder."""
    if NAME not in list_encoders():
        register_encoder(NAME)(Brightness)
    spec = ModelSpec(
        encoder=NAME, classes=("dark", "bright"), heads=("cam", "pixelcam")
    )
    model = Model(spec)
    with torch.no_grad():
        cam = model.heads["cam"].fc
        cam.weight.copy_(torch.tensor([[-1.0] * 3, [1.0] * 3]))
        cam.bias.copy_(torch.tensor([0.0, 6.0]))
        pixel = model.heads["pixelcam"].conv4
        pixel.weight.copy_(torch.tensor([[-1.0] * 3, [1.0] * 3])[:, :, None, None])
        pixel.bias.zero_()
    card = Card(
        name="tiny",
        title="Tiny brightness",
        summary="Finds bright things. Made for tests.",
        spec=spec,
        methods=("pixelcam", "cam"),
        primary="pixelcam",
        finds="a bright thing",
        license="CC0",
        limits=("Knows nothing but brightness.",),
    )
    return save_model(model, card, folder)
