"""What the read-outs of any classifier share: activations, gradients, a second run.

Published code hangs hooks into the network and runs it forwards and backwards. Here
the features are there already: the map A of the chosen layer becomes a leaf, what lies
between it and the logit runs again (nothing for the deepest layer), and autograd gives
g = ∂logit/∂A. Networks in evaluation mode treat the images of a batch one by one, so
the gradient of the sum of their logits is that of each.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from typing_extensions import override

from napari_wsol.encoders import Features
from napari_wsol.errors import MethodUnavailableError
from napari_wsol.methods.base import Method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from napari_wsol.methods.base import NetworkInput
    from napari_wsol.methods.model import Model


NO_IMAGE = (
    "This read-out runs the network on the image again, so features alone are not "
    "enough: use localize(), or give map() the image."
)

LARGEST_BATCH = 64
BATCH_BYTES = 10_000_000
"""Of changed copies: 16 of 224 × 224 RGB. More are hardly faster on a CPU, the layers
within the encoder take many times as much memory, and Cancel waits for a batch."""


class LayerMethod(Method):
    """A read-out of the features of one layer, the deepest by default."""

    reads_layers: ClassVar[bool] = True
    follows_verdict: ClassVar[bool] = False

    @override
    def unavailable(self, model: Model) -> str | None:
        layers = model.encoder.readable_layers
        if self.layer is None or self.layer in layers:
            return None
        return (
            f"{self.title} cannot be read at {self.layer}: the layers of this model "
            f"are {', '.join(layers)}."
        )


class ClassifierMethod(LayerMethod):
    """A read-out of how the image-level classifier uses a layer."""

    follows_verdict: ClassVar[bool] = True

    @override
    def place(self, model: Model) -> str | None:
        return self.layer or model.encoder.gradient_layer

    @override
    def unavailable(self, model: Model) -> str | None:
        if model.classifier is None:
            return (
                f"{self.title} asks an image-level classifier what it looked at, and "
                "this model has none. Choose a method of its own heads."
            )
        return super().unavailable(model)


class RerunMethod(ClassifierMethod):
    """A read-out that runs the encoder again on changed copies of the image."""

    reruns: ClassVar[bool] = True
    slow: ClassVar[bool] = True

    def map(
        self,
        model: Model,
        features: Features,
        target: int,
        image: NetworkInput | None = None,
    ) -> Tensor:
        """The map of class ``target``.

        Args:
            model: gives heads and encoder.
            features: of the image as it is.
            target: index of the class.
            image: the network's input.

        Raises:
            MethodUnavailableError: the image was not given.
        """
        if image is None:
            raise MethodUnavailableError(NO_IMAGE)
        return self.map_again(model, features, target, image)

    @abstractmethod
    def map_again(
        self, model: Model, features: Features, target: int, image: NetworkInput
    ) -> Tensor:
        """(N, h, w) float32 on the nominal grid, with the image at hand."""

    def batches(
        self, image: NetworkInput, counts: Sequence[int]
    ) -> Iterator[tuple[int, slice]]:
        """Which image and which of its changed copies run at once; reports between."""
        x = image.pixels()
        step = min(LARGEST_BATCH, BATCH_BYTES // (x[0].numel() * x.element_size())) or 1
        done, total = 0, sum(counts)
        for index, count in enumerate(counts):
            for start in range(0, count, step):
                image.check()
                yield index, slice(start, start + step)
                done += min(step, count - start)
                image.report(done, total, self.title)


def map_of(
    method: Method, model: Model, features: Features, target: int, image: NetworkInput
) -> Tensor:
    """The map of any method; those that run the encoder again are given the image."""
    if isinstance(method, RerunMethod | GradientMethod):
        return method.map(model, features, target, image)
    return method.map(model, features, target)


class GradientMethod(ClassifierMethod):
    """A read-out made from activations and the gradient of the class's logit."""

    @override
    def map(
        self,
        model: Model,
        features: Features,
        target: int,
        image: NetworkInput | None = None,
    ) -> Tensor:
        x = image.pixels() if image is not None and model.encoder.is_traced else None
        activation, gradient = activation_and_gradient(
            model, features, target, self.place(model), x, score_of=self.score
        )
        values = self.combine(activation, gradient)
        return features.straight(values, self.index(model, features))

    def score(self, model: Model, features: Features, target: int) -> Tensor:
        """(N,): what the gradient is of; the class's logit."""
        return class_logit(model, features, target)

    @abstractmethod
    def combine(self, activation: Tensor, gradient: Tensor) -> Tensor:
        """The map, from both.

        Args:
            activation: (N, C, h, w) float32.
            gradient: (N, C, h, w) float32, of ``score``.

        Returns:
            (N, h, w) float32 on the grid of the layer.
        """


def activation_and_gradient(
    model: Model,
    features: Features,
    target: int,
    layer: str | None,
    image: Tensor | None = None,
    *,
    score_of: Callable[[Model, Features, int], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """A layer's map, and the gradient of a class's score at each of its cells.

    Works where gradients are switched off and in inference mode. Autocast is left
    aside: in half precision gradients of large images vanish.

    Args:
        model: in evaluation mode.
        features: the model's taps and, if one is named, the layer.
        target: index of the class.
        layer: of the encoder; the deepest tap by default.
        image: (N, C, H, W) network input, where the encoder is traced.
        score_of: gives (N,) scores; by default :func:`class_logit`.

    Returns:
        Both (N, C, h, w) float32.

    Raises:
        MethodUnavailableError: the classifier does not read what comes of the layer,
            or the image is needed and was not given.
    """
    name = model.encoder.taps[-1] if layer is None else layer
    dtype = next(model.parameters()).dtype
    with (
        torch.inference_mode(mode=False),
        torch.enable_grad(),
        full_precision(features.last),
    ):
        if model.encoder.is_traced:
            if image is None:
                raise MethodUnavailableError(NO_IMAGE)
            x = _outside_inference(image, dtype).requires_grad_()
            leaf, read = model.encoder.trace(x, name)
        else:
            leaf, read = _resumed(model, features, name, dtype)
        score = (score_of or class_logit)(model, read, target).sum()
        gradient = None
        if score.requires_grad:
            found = torch.autograd.grad(score, leaf, allow_unused=True)
            gradient = cast("Tensor | None", found[0])
    if gradient is None:
        raise MethodUnavailableError(
            f"The classifier of this model does not read {name}; choose another layer."
        )
    kept, slope, encoder = leaf.detach().float(), gradient.float(), model.encoder
    if image is None:
        return kept, slope
    return encoder.placed(kept, image, name), encoder.placed(slope, image, name)


def _resumed(
    model: Model, features: Features, name: str, dtype: torch.dtype
) -> tuple[Tensor, Features]:
    """A layer's map as a leaf, and the taps' maps that come of it."""
    own = own_taps(model, features)
    kept = [_outside_inference(item, dtype) for item in own.maps]
    if name == model.encoder.taps[-1]:
        leaf = kept[-1].requires_grad_()
    else:
        picked = features.maps[features.names.index(name)]
        leaf = _outside_inference(picked, dtype).requires_grad_()
        behind = model.encoder.resume(name, leaf).maps
        kept[len(kept) - len(behind) :] = behind
    return leaf, Features(tuple(kept), own.strides, own.offsets, own.names)


def class_logit(model: Model, features: Features, target: int) -> Tensor:
    """(N,): the logit of a class.

    One logit for two classes is that of the second, and its negative the first's; for
    one class it is its own.
    """
    logits = model.image_logits(features)
    if logits.shape[1] > 1:
        return logits[:, target]
    return -logits[:, 0] if target < len(model.classes) - 1 else logits[:, 0]


def full_precision(values: Tensor) -> torch.autocast:
    """Leaves autocast aside for a while: sums over thousands of cells need float32."""
    return torch.autocast(values.device.type, enabled=False)


def weighted(weights: Tensor, activation: Tensor) -> Tensor:
    """(N, h, w) Σ_k w_k A_k, from (N, C) and (N, C, h, w)."""
    with full_precision(activation):
        return torch.einsum("nc,nchw->nhw", weights, activation)


def per_cell(numerator: Tensor, denominator: Tensor) -> Tensor:
    """A quotient that is 0 where the denominator is: what has no weight adds none."""
    empty = denominator == 0
    return (numerator / denominator.masked_fill(empty, 1)).masked_fill(empty, 0)


def own_taps(model: Model, features: Features) -> Features:
    """The maps that the model's heads read, without layers asked for besides."""
    return features.select(model.encoder.taps) if features.names else features


def run_again(model: Model, x: Tensor, like: Features, layer: str | None) -> Features:
    """The features of another input: the model's taps and, if one is named, a layer.

    Args:
        model: gives the encoder.
        x: (N, C, H, W) network input, of the size that gave ``like``.
        like: features of the image itself, which say where their cells lie.
        layer: of the encoder, beside its taps.
    """
    with model.encoder.also(() if layer is None else (layer,)), torch.no_grad():
        found: Features = model.encoder(x)
    placed = like.select(found.names) if like.names else like
    return Features(found.maps, placed.strides, placed.offsets, found.names)


def _outside_inference(values: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor that autograd may save, on the same memory where that is possible."""
    values = values.clone() if values.is_inference() else values.detach()
    return values.to(dtype)
