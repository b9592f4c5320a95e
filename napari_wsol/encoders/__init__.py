"""Networks that turn an image into feature maps; state-dict names as published."""

# pyright: reportUnusedImport=false

from napari_wsol.encoders import (  # noqa: F401 - each puts itself into the table
    amil,
    deit,
    densenet,
    inception,
    mobilenet,
    presets,
    resnet,
    spg,
    timm_tokens,
    vgg,
)
from napari_wsol.encoders.base import Encoder, preprocess
from napari_wsol.encoders.features import (
    Features,
    nominal_offset,
    on_grid,
    sample_points,
)
from napari_wsol.encoders.registry import (
    build_encoder,
    list_encoders,
    register_encoder,
)
from napari_wsol.encoders.tiles import BagEncoder, TileEncoder, VectorEncoder
from napari_wsol.encoders.tokens import TokenEncoder

__all__ = [
    "BagEncoder",
    "Encoder",
    "Features",
    "TileEncoder",
    "TokenEncoder",
    "VectorEncoder",
    "build_encoder",
    "list_encoders",
    "nominal_offset",
    "on_grid",
    "preprocess",
    "register_encoder",
    "sample_points",
]
