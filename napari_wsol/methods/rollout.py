"""Attention rollout: how much of each patch reaches a transformer's class token.

Abnar, Zuidema: Quantifying Attention Flow in Transformers, ACL 2020, arXiv 2005.00928.
The equation is in :mod:`napari_wsol.encoders.attention`, where the encoder applies it;
this is its row of the class token, at the patches. It needs no class and no training
of its own, so that it says what the network looked at, not what for.
"""

from __future__ import annotations

from typing import ClassVar

from napari_wsol.methods.base import TapMethod, register


@register
class Rollout(TapMethod):
    """Attention of the class token, followed through all blocks."""

    name: ClassVar[str] = "rollout"
    title: ClassVar[str] = "Attention rollout"
    tap: ClassVar[str] = "rollout"
    lacks: ClassVar[str] = (
        "Attention rollout follows the class token of a transformer, and this model's "
        "encoder has none. Choose a model with a DeiT."
    )
