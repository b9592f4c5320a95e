"""Smooth Grad-CAM++.

Omeiza, Speakman, Cintas, Weldemariam: Smooth Grad-CAM++: An Enhanced Inference Level
Visualization Technique for Deep Convolutional Neural Network Models, 2019,
arXiv 1908.01224.

Grad-CAM++ whose second and third derivatives are means E over noisy copies of the
image. With g the gradient of the class's logit, A the activations of the image, and
g' and A' those of the last copy::

    a = E[g²] / (2 E[g²] + Σ A · E[g³])        w_k = Σ_ij a · ReLU(g'_k)
    M_c = ReLU(Σ_k w_k · A'_k)

a is 0 where no copy has a gradient. g' and A' are what PixelCAM's code takes, whose
numbers are ours; the paper averages the first derivative too, E[g] for g', and weighs
the image's own activations, A for A'. Behind a global average and a linear layer g is
the same for every copy, so that there only A' makes a difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import (
    RerunMethod,
    activation_and_gradient,
    per_cell,
    run_again,
    weighted,
)

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.base import NetworkInput
    from napari_wsol.methods.model import Model

COPIES = 4
SIGMA = 0.3
"""Of the noise, in units of the network's normalised input."""


@register
class SmoothGradCamPlusPlus(RerunMethod):
    """Grad-CAM++ with derivatives averaged over noisy copies of the image."""

    name: ClassVar[str] = "smoothgradcam++"
    title: ClassVar[str] = "Smooth Grad-CAM++"
    rectified: ClassVar[bool] = True

    @override
    def map_again(
        self, model: Model, features: Features, target: int, image: NetworkInput
    ) -> Tensor:
        x = image.pixels()
        generator = torch.Generator().manual_seed(0)
        clean = features.maps[self.index(model, features)].float()
        activation, gradient = clean, torch.zeros_like(clean)
        second, third = torch.zeros_like(clean), torch.zeros_like(clean)
        for index in range(COPIES):
            image.check()
            # The same noise for every image of a batch: none depends on the others.
            noise = torch.randn(1, *x.shape[1:], generator=generator) * SIGMA
            noisy, place, seen = x + noise.to(x), self.place(model), features
            if not model.encoder.is_traced:
                seen = run_again(model, noisy, features, place)
            activation, gradient = activation_and_gradient(
                model, seen, target, place, noisy
            )
            second += gradient**2 / COPIES
            third += gradient**3 / COPIES
            image.report(index + 1, COPIES, self.title)
        active = clean.sum((-2, -1), keepdim=True)
        shares = per_cell(second, 2 * second + active * third)
        weights = (shares * gradient.relu()).sum((-2, -1))
        values = weighted(weights, activation).relu()
        return features.straight(values, self.index(model, features))
