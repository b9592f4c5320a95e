"""Weakly supervised localization: encode an image once, decode it often.

The names below are loaded when they are first used, so that ``import napari_wsol`` and
napari's list of plugins stay quick: neither torch nor Qt is imported here. Their types
are in ``__init__.pyi``.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "Heatmap": "napari_wsol.images.heatmap",
    "Session": "napari_wsol.session.session",
    "WsolError": "napari_wsol.errors",
    "list_methods": "napari_wsol.methods",
    "list_models": "napari_wsol.zoo",
    "load_model": "napari_wsol.zoo",
    "localize": "napari_wsol.inference.whole_image",
    "open_slide": "napari_wsol.images.readers",
    "wrap": "napari_wsol.methods.wrap",
}

# pyright: reportUnsupportedDunderAll=false
__all__ = [*_HOME, "evaluation"]  # noqa: PLE0604


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
