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
from scipy.cluster.vq import kmeans2
from torch.nn import functional
from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import (
    RerunMethod,
    own_taps,
    run_again,
    weighted,
)
from napari_wsol.methods.heads import scaled

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.base import NetworkInput
    from napari_wsol.methods.model import Model

MOST_GROUPS = 40


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
        used = masks.flatten(2).amax(-1) > 0
        x, own = image.pixels(), own_taps(model, features)
        pairs = zip(masks, used, strict=True)
        parts = [self.parts(mask[chosen]) for mask, chosen in pairs]
        maps = torch.zeros_like(masks[:, 0])
        for index, part in self.batches(image, [len(shown) for shown, _ in parts]):
            shown, added = (item[part] for item in parts[index])
            weights = _probability(model, x[index], shown, own, target)
            maps[index] += weighted(weights[None], added[None])[0]
        return features.straight(maps, self.index(model, features))

    def parts(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """What is shown to the classifier, and what is added with its weight.

        Args:
            masks: (C, h, w) channels in [0, 1], none constant.

        Returns:
            Both (n, h, w), in [0, 1] and not below 0.
        """
        return masks, masks


@register
class ScoreCamGroups(ScoreCam):
    """Score-CAM with one weight for the channels that are bright in the same places."""

    name: ClassVar[str] = "scorecam_groups"
    title: ClassVar[str] = "Score-CAM in groups"

    @override
    def parts(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        if len(masks) <= MOST_GROUPS:
            return masks, masks
        groups = _groups(masks)
        belongs = torch.nn.functional.one_hot(groups).to(masks)
        together = torch.einsum("kg,khw->ghw", belongs, masks)
        return scaled(together), together


def _groups(masks: Tensor) -> Tensor:
    """(C,) group of each of (C, h, w) channels: 40-means of the maps."""
    points = masks.flatten(1).cpu().double().numpy()
    _, groups = kmeans2(points, MOST_GROUPS, minit="++", seed=0)
    return torch.from_numpy(groups).long().to(masks.device)


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
