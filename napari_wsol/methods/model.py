"""A model: one encoder and the heads that read it."""

from __future__ import annotations

import copy
import hashlib
import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import nn

from napari_wsol.encoders import (
    TileEncoder,
    TokenEncoder,
    VectorEncoder,
    build_encoder,
)
from napari_wsol.errors import ConfigError, MethodUnavailableError, UnknownNameError
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.methods.heads import Head, build_head

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from torch import Tensor

    from napari_wsol.encoders import Encoder, Features
    from napari_wsol.methods.card import Card
    from napari_wsol.methods.spec import ModelSpec

BAG_AXES = 5
"""Axes of a bag: batch, tile, channel, row, column."""

_H = TypeVar("_H", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Raw:
    """A network's own outputs, before any activation.

    Attributes:
        logits: (N, K) image logits.
        maps: (N, K, h, w) class logit maps, or (N, 2, h, w) pixel logits; for a bag of
            n tiles (n, 1) attention scores; (N, 0, 0, 0) where cells have no logit.
    """

    logits: Tensor
    maps: Tensor


class Model(nn.Module):
    """An encoder and its heads.

    Args:
        spec: what to build.
        encoder: built already, where it is no entry of the table.
    """

    def __init__(self, spec: ModelSpec, encoder: Encoder | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.card: Card | None = None
        self._encoder_sha: str | None = None
        self.encoder = encoder or build_encoder(
            spec.encoder,
            output_stride=spec.output_stride,
            taps=spec.taps,
            in_channels=spec.preprocessing.channels if spec.preprocessing else 3,
        )
        if spec.pooling is not None:
            self.encoder.pool_by(spec.pooling)
        if isinstance(self.encoder, VectorEncoder):
            self.encoder.side = spec.tile or self.encoder.side
        elif spec.tile is not None:
            self.encoder = TileEncoder(self.encoder, spec.tile)
            size = spec.preprocessing.size if spec.preprocessing else None
            if size is not None and size % spec.tile:
                raise ConfigError(
                    f"An input of {size} pixels is no whole number of tiles of "
                    f"{spec.tile}: choose a multiple, or no size."
                )
        if spec.offsets is not None:
            if len(spec.offsets) != len(self.encoder.taps):
                raise ConfigError(
                    f"There are {len(spec.offsets)} offsets for "
                    f"{len(self.encoder.taps)} taps; give one each."
                )
            self.encoder.offsets = spec.offsets
        self.heads = nn.ModuleDict(
            {
                name: build_head(
                    name, self.encoder, len(spec.classes), spec.options.get(name, {})
                )
                for name in spec.heads
            }
        )
        self.preprocessing = spec.preprocessing or Preprocessing(
            mean=self.encoder.mean,
            std=self.encoder.std,
            size=self.encoder.fixed_size,
        )
        if self.preprocessing.size is None and isinstance(self.encoder, TokenEncoder):
            self.encoder.by_windows()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.spec.classes

    @property
    def name(self) -> str:
        """That of its card, or else of its encoder."""
        return self.spec.encoder if self.card is None else self.card.name

    @property
    def finds(self) -> str:
        """What its maps find, in words: “a gland”."""
        return self.card.finds if self.card is not None else "what you look for"

    @property
    def in_one_piece(self) -> bool:
        """Whether all of an image goes through at once: never in tiles."""
        return self.preprocessing.size is not None or self.encoder.in_one_piece

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def encoder_fingerprint(self) -> str:
        """sha256 of the encoder's weights and layout: features are kept under it."""
        if self._encoder_sha is None:
            encoder = self.encoder
            layout = repr((encoder.taps, encoder.strides, encoder.offsets))
            if isinstance(encoder, TileEncoder):  # its vectors depend on it
                layout += self.spec.pooling or ""
            self._encoder_sha = digest_of(encoder, layout.encode())
        return self._encoder_sha

    def heads_fingerprint(self) -> str:
        """sha256 of the heads' weights, which a few strokes may change."""
        return digest_of(self.heads)

    def head(self, kind: type[_H], name: str) -> _H:
        """A head by name, typed.

        Raises:
            MethodUnavailableError: the model has no such head.
        """
        if name not in self.heads:
            raise MethodUnavailableError(
                f"This model has no {name} head; its heads are "
                f"{', '.join(self.heads.keys())}."
            )
        module = self.heads[name]
        if not isinstance(module, kind):
            raise TypeError(f"Head {name} is a {type(module).__name__}.")
        return module

    def with_encoder(self, encoder: Encoder) -> Model:
        """This model with another encoder of the same form; all else is shared.

        Args:
            encoder: on the model's device.
        """
        other = copy.copy(self)
        other._modules = {**self._modules, "encoder": encoder}  # noqa: SLF001
        other._encoder_sha = None  # noqa: SLF001 - its features are others
        return other

    def with_head(self, name: str, head: Head) -> Model:
        """This model with another head; all else is shared, not copied.

        Args:
            name: of the head that is replaced or added.
            head: on the model's device.
        """
        other = copy.copy(self)
        other._modules = dict(self._modules)  # noqa: SLF001 - a copy shares the table
        other.heads = nn.ModuleDict({**dict(self.heads.items()), name: head})
        return other

    @property
    def classifier(self) -> Head | None:
        """The head that gives the image's logits: the first that can."""
        for head in self.heads.values():
            if isinstance(head, Head) and head.classifies:
                return head
        return None

    def image_logits(self, features: Features) -> Tensor:
        """(N, K) logits of the image-level head (the first if there are several).

        Raises:
            MethodUnavailableError: there is none.
        """
        head = self.classifier
        if head is None:
            raise MethodUnavailableError(
                "This model has no image-level classifier, so it cannot say which "
                "class an image shows. Choose the class yourself."
            )
        return head(features)

    def probabilities(self, features: Features, *, by_cut: bool = True) -> Tensor:
        """(N, K) softmax or, for several labels an image, sigmoid.

        One logit for two classes is that of the second.
        """
        logits = self.image_logits(features).float()
        return self.to_probabilities(logits, by_cut=by_cut)

    def to_probabilities(self, logits: Tensor, *, by_cut: bool = True) -> Tensor:
        """(N, K) probabilities of (N, K) image logits, or of one for two classes.

        Args:
            logits: of the image-level head.
            by_cut: whether the model's cut lies at one half, as people are told;
                otherwise as the network gives them, as published methods read them.
        """
        if by_cut and self.spec.cut is not None:
            moved = logits[:, -1:] - math.log(self.spec.cut / (1 - self.spec.cut))
            logits = torch.cat([logits[:, :-1], moved], dim=1)
        if logits.shape[1] == 1 and len(self.classes) == 2:
            positive = logits.sigmoid()
            return torch.cat([1 - positive, positive], dim=1)
        return logits.sigmoid() if self.spec.multi_label else logits.softmax(-1)

    def class_index(self, name: str) -> int:
        """The index of a class.

        Raises:
            UnknownNameError: no such class; names the choices.
        """
        if name not in self.classes:
            raise UnknownNameError(
                f"This model knows no class “{name}”; "
                f"its classes are {', '.join(self.classes)}."
            )
        return self.classes.index(name)

    @torch.inference_mode()
    def raw(self, x: Tensor) -> Raw:
        """The network's own outputs.

        Args:
            x: (N, C, H, W) preprocessed, on the model's device; for attention MIL
                also a bag of tiles (1, n, C, S, S).

        Returns:
            Image logits, and pixel logits where there is a pixel head, else the class
            maps of the image-level head. For a bag, the attention scores (n, 1).

        Raises:
            ConfigError: a bag for a model that does not read tiles.
        """
        if x.ndim == BAG_AXES:
            return self._raw_bag(x)
        features: Features = self.encoder(x)
        logits = self.image_logits(features)
        for pixels in self.heads.values():
            if isinstance(pixels, Head) and pixels.gives_pixels:
                return Raw(logits, pixels(features))
        head = cast("Head", self.classifier)  # there is one: it gave the logits
        if not head.has_maps:
            return Raw(logits, logits.new_zeros(len(logits), 0, 0, 0))
        return Raw(logits, head.class_maps(features))

    def _raw_bag(self, bag: Tensor) -> Raw:
        if not isinstance(self.encoder, TileEncoder):
            raise ConfigError(
                "This model does not read bags of tiles: give (N, C, H, W)."
            )
        features = self.encoder.bag(bag)
        logits = self.image_logits(features)
        scores = cast("Head", self.classifier).class_maps(features)
        return Raw(logits, scores[0, 0].reshape(-1, 1))


def checked(model: object) -> Model:
    """A model as it was given.

    Raises:
        ConfigError: it is a bare network; says how it becomes a model.
    """
    if isinstance(model, Model):
        return model
    raise ConfigError(
        f"A {type(model).__name__} is no model of napari-wsol. Wrap your network, and "
        'give what that returns: napari_wsol.wrap(module, layer="layer4", '
        'classes=["normal", "tumor"], mean=[…], std=[…]).'
    )


def digest_of(module: nn.Module, start: bytes = b"") -> str:
    """sha256 of a module's state."""
    digest = hashlib.sha256(start)
    for part in weight_bytes(module):
        digest.update(part)
    return digest.hexdigest()


def weight_bytes(module: nn.Module) -> Iterator[bytes]:
    """Names and values of a module's state, for a digest."""
    for key, value in module.state_dict().items():
        yield key.encode()
        yield value.detach().cpu().contiguous().numpy().tobytes()


@contextmanager
def evaluating(module: nn.Module) -> Generator[None]:
    """Puts a module in evaluation mode and restores what each of its parts was."""
    before = [(item, item.training) for item in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for item, was_training in before:
            item.training = was_training
