"""Localization methods: one paper a file, each with its equation and source."""

from napari_wsol.methods import cam, pcam, pixelcam
from napari_wsol.methods.base import (
    Method,
    get_method,
    list_methods,
    method_title,
    register,
    unavailable,
)
from napari_wsol.methods.model import HEADS, Model, ModelSpec, Raw, evaluating

__all__ = [
    "HEADS",
    "Method",
    "Model",
    "ModelSpec",
    "Raw",
    "cam",
    "evaluating",
    "get_method",
    "list_methods",
    "method_title",
    "pcam",
    "pixelcam",
    "register",
    "unavailable",
]
