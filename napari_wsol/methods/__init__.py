"""Localization methods: one paper a file, each with its equation and source."""

# pyright: reportUnusedImport=false

from napari_wsol.methods import (  # noqa: F401 - each puts itself into the tables
    acol,
    additive_mil,
    adl,
    attention_mil,
    cam,
    chefer,
    clam,
    deepmil,
    eigencam,
    finercam,
    gap,
    gradcam,
    gradcampp,
    hirescam,
    instance_mil,
    layercam,
    li2018,
    linear,
    lse,
    maxmin,
    maxpool,
    mil,
    negev,
    occlusion,
    pcam,
    pixelcam,
    prm,
    pylon,
    rollout,
    sat,
    scorecam,
    smoothgradcampp,
    spg,
    tscam,
    wildcat,
    xgradcam,
)
from napari_wsol.methods.base import (
    HeadMethod,
    Method,
    NetworkInput,
    get_method,
    list_methods,
    method_title,
    own_methods,
    register,
    unavailable,
)
from napari_wsol.methods.gradients import map_of
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
    "evaluating",
    "get_method",
    "list_heads",
    "list_methods",
    "map_of",
    "method_title",
    "own_methods",
    "register",
    "register_head",
    "unavailable",
]
