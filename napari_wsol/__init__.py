"""Weakly supervised localization: encode an image once, decode it often.

The names below are loaded when they are first used, so that ``import napari_wsol`` and
napari's list of plugins stay quick: neither torch nor Qt is imported here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_wsol import evaluation
    from napari_wsol.errors import WsolError
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.images.readers import open_slide
    from napari_wsol.inference.whole_image import localize
    from napari_wsol.methods import list_methods
    from napari_wsol.session.session import Session
    from napari_wsol.zoo import list_models, load_model

__version__ = "0.1.0"

__all__ = [
    "Heatmap",
    "Session",
    "WsolError",
    "evaluation",
    "list_methods",
    "list_models",
    "load_model",
    "localize",
    "open_slide",
]

_HOME = {
    "Heatmap": "napari_wsol.images.heatmap",
    "Session": "napari_wsol.session.session",
    "WsolError": "napari_wsol.errors",
    "list_methods": "napari_wsol.methods",
    "list_models": "napari_wsol.zoo",
    "load_model": "napari_wsol.zoo",
    "localize": "napari_wsol.inference.whole_image",
    "open_slide": "napari_wsol.images.readers",
}


def __getattr__(name: str) -> object:
    """Load a public name on its first use (PEP 562)."""
    if name == "evaluation":
        return import_module("napari_wsol.evaluation")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
