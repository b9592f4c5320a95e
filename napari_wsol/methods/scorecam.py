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

LARGEST_BATCH = 64
BATCH_BYTES = 10_000_000
"""Of masked copies: 16 of 224 × 224 RGB. More are hardly faster on a CPU, the layers
within the encoder take many times as much memory, and Cancel waits for a batch."""


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
        total, done = int(used.sum()), 0
        x = image.pixels()
        own = own_taps(model, features)
        fits = BATCH_BYTES // (x[0].numel() * x.element_size())
        step = max(1, min(LARGEST_BATCH, fits))
        maps: list[Tensor] = []
        for pixels, mask, chosen in zip(x, masks, used, strict=True):
            summed = torch.zeros_like(mask[0])
            for batch in torch.split(mask[chosen], step):
                image.check()
                weights = _probability(model, pixels, batch, own, target)
                summed += weighted(weights[None], batch[None])[0]
                done += len(batch)
                image.report(done, total, self.title)
            maps.append(summed)
        return features.straight(torch.stack(maps), self.index(model, features))


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
