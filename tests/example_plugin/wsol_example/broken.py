"""Registers one thing, and then another under a name that is taken."""

from torch import nn

from napari_wsol.encoders import register_encoder

register_encoder("example-half")(nn.Identity)
register_encoder("resnet18")(nn.Identity)
