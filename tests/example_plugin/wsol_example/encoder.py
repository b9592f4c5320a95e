"""An encoder of two convolutions."""

from torch import nn

from napari_wsol.encoders import Encoder, register_encoder


@register_encoder("example-tiny")
class Tiny(Encoder):
    """Maps of 8 channels, of 2 and of 8 pixels a cell."""

    def __init__(self, *, output_stride=None, taps=None, in_channels=3):
        super().__init__()
        self.checked_stride(output_stride, 8)
        self.one = nn.Sequential(nn.Conv2d(in_channels, 8, 3, 2, 1), nn.ReLU())
        self.two = nn.Sequential(nn.Conv2d(8, 8, 3, 4, 1), nn.ReLU())
        self.choose(taps, {"one": 8, "two": 8})

    def stages(self):
        """From the image to the deepest map."""
        yield "one", self.one
        yield "two", self.two
