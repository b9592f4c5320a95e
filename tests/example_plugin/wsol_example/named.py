"""A builder of encoders, which gets the name of its entry point."""

from napari_wsol.encoders import build_encoder


def named(**how):
    """A ResNet-18 that is cut short."""
    return build_encoder("resnet18", **{**how, "taps": ["layer1"]})
