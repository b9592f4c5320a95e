"""SAT: a token of a transformer that learns where to look.

Wu, Zhai, Cao, Luo, Zha: Spatial-Aware Token for Weakly Supervised Object Localization,
ICCV 2023, arXiv 2303.10438.

The token gates what the others take from each other in the last three blocks (see
:mod:`napari_wsol.encoders.deit`). With m_l (h, w) its gate at the patches in block l of
L, the map is their mean, whatever the class::

    M = 1/3 · Σ_(l > L - 3) m_l

Values lie in [0, 1], but they are no probabilities of foreground: training pulls their
mean to 0.35 whatever the image shows (:mod:`napari_wsol.training.objectives`). The map
is normalised per image, as the authors of PixelCAM do when they evaluate it.
"""

from __future__ import annotations

from typing import ClassVar

from napari_wsol.methods.base import TapMethod, register
from napari_wsol.methods.heads import register_head
from napari_wsol.methods.tscam import PatchHead


@register_head("sat")
class SatHead(PatchHead):
    """SAT's classifier, which has TS-CAM's form: a 3×3 convolution, then the mean."""


@register
class Sat(TapMethod):
    """The gate of the spatial-aware token, mean of the last three blocks."""

    name: ClassVar[str] = "sat"
    title: ClassVar[str] = "SAT"
    tap: ClassVar[str] = "mask"
    lacks: ClassVar[str] = (
        "SAT reads the spatial-aware token of a transformer, and this model's encoder "
        "has none. Choose a model with a deit_sat encoder."
    )
