"""Localization methods: one paper a file, each with its equation and source."""

from napari_wsol.methods import cam, pcam, pixelcam
from napari_wsol.methods.base import (
    HeadMethod,
    Method,
    NetworkInput,
    get_method,
    list_methods,
    method_title,
    register,
    unavailable,
)
from napari_wsol.methods.heads import Head, build_head, list_heads, register_head
from napari_wsol.methods.model import Model, Raw, evaluating
from napari_wsol.methods.spec import ModelSpec

__all__ = [
    "Head",
    "HeadMethod",
    "Method",
    "Model",
    "ModelSpec",
    "NetworkInput",
    "Raw",
    "build_head",
    "cam",
    "evaluating",
    "get_method",
    "list_heads",
    "list_methods",
    "method_title",
    "pcam",
    "pixelcam",
    "register",
    "register_head",
    "unavailable",
]
