"""Score-CAM.

Wang, Wang, Du, Yang, Zhang, Ding, Mardziel, Hu: Score-CAM: Score-Weighted Visual
Explanations for Convolutional Neural Networks, CVPR Workshops 2020, arXiv 1910.01279.

Each channel of the layer, min–max normalised and brought to the size of the input, is a
mask on the image X; it weighs as much as the class is probable when only that much of
the image is seen (equations 5 to 8)::

    H_k = mm(A_k)        w_k = p_c(X ⊙ up(H_k))        M_c = ReLU(Σ_k w_k · H_k)

As in PixelCAM's code w_k is the probability itself (softmax; sigmoid for several labels
an image), not the increase over a black image, and the normalised channels are summed.
Nothing is negative, so that the ReLU has nothing to do.

One pass of the encoder a channel: slow, run in batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn import functional
from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import RerunMethod, own_taps, run_again, weighted
from napari_wsol.methods.heads import scaled

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.base import NetworkInput
    from napari_wsol.methods.model import Model

MOST_GROUPS, STEPS, TINY = 40, 20, 1e-3


@register
class ScoreCam(RerunMethod):
    """Channels weighed by what the classifier says of the part that each shows."""

    name: ClassVar[str] = "scorecam"
    title: ClassVar[str] = "Score-CAM"

    @override
    def map_again(
        self, model: Model, features: Features, target: int, image: NetworkInput
    ) -> Tensor:
        masks = scaled(features.maps[self.index(model, features)].float())
        # A constant channel shows nothing and adds nothing, whatever its weight.
        parts = [self.parts(item[item.flatten(1).amax(-1) > 0]) for item in masks]
        x, own = image.pixels(), own_taps(model, features)
        maps = torch.zeros_like(masks[:, 0])
        for index, part in self.batches(image, [len(shown) for shown, _ in parts]):
            shown, added = (item[part] for item in parts[index])
            weights = _probability(model, x[index], shown, own, target)
            maps[index] += weighted(weights[None], added[None])[0]
        return features.straight(maps, self.index(model, features))

    def parts(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Of (C, h, w) masks what is shown, and what is added with its weight."""
        return masks, masks


@register
class ScoreCamGroups(ScoreCam):
    """Nearly: k-means' 40 means are shown, and channels weigh as those at d, by d⁻⁶."""

    name: ClassVar[str] = "scorecam_groups"
    title: ClassVar[str] = "Score-CAM in groups"

    @override
    def parts(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        if len(masks) <= MOST_GROUPS:
            return masks, masks
        points = masks.flatten(1)
        draw, centres = torch.Generator(points.device).manual_seed(0), points[:1]
        while len(centres) < MOST_GROUPS:  # k-means++
            far = torch.cdist(points, centres).amin(1) ** 2 + TINY
            centres = torch.cat([centres, points[far.multinomial(1, generator=draw)]])
        for _ in range(STEPS):
            nearest = torch.cdist(points, centres).argmin(1)
            belongs = functional.one_hot(nearest, len(centres)).to(points)
            belongs = belongs[:, belongs.any(0)]
            centres = (belongs / belongs.sum(0)).mT @ points
        shown = scaled(centres.reshape(-1, *masks.shape[1:]))
        near = torch.cdist(points, shown.flatten(1)).clamp_min(TINY) ** -6
        return shown, torch.einsum("kg,khw->ghw", functional.normalize(near, 1), masks)


def _probability(
    model: Model, pixels: Tensor, masks: Tensor, own: Features, target: int
) -> Tensor:
    """(n,) probability of a class for (C, H, W) pixels under (n, h, w) masks."""
    size = [int(pixels.shape[-2]), int(pixels.shape[-1])]
    shown = functional.interpolate(
        masks[:, None], size, mode="bilinear", align_corners=False
    )
    found = run_again(model, pixels * shown.to(pixels), own, None)
    with torch.no_grad():
        return model.probabilities(found, by_cut=False)[:, target]
