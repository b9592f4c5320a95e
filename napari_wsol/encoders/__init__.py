"""Networks that turn an image into feature maps; state-dict names as published."""

from napari_wsol.encoders import (
    amil,
    deit,
    densenet,
    inception,
    mobilenet,
    resnet,
    spg,
    timm_backbone,
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
from napari_wsol.encoders.tiles import TileEncoder

__all__ = [
    "Encoder",
    "Features",
    "TileEncoder",
    "amil",
    "build_encoder",
    "deit",
    "densenet",
    "inception",
    "list_encoders",
    "mobilenet",
    "nominal_offset",
    "on_grid",
    "preprocess",
    "register_encoder",
    "resnet",
    "sample_points",
    "spg",
    "timm_backbone",
    "vgg",
]
