"""A model: one encoder and the heads that read it."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from napari_wsol.encoders import build_encoder
from napari_wsol.errors import ConfigError, MethodUnavailableError, UnknownNameError
from napari_wsol.methods.cam import GapHead
from napari_wsol.methods.pcam import PcamHead
from napari_wsol.methods.pixelcam import PixelHead

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.card import Card

HEADS = ("cam", "pcam", "pixelcam")
"""Parts that a model may have; a method names the one that it reads."""

_H = TypeVar("_H", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """All that is needed to build a model, before its weights.

    Attributes:
        encoder: name in the encoder table.
        output_stride: input pixels a cell of the deepest map.
        taps: maps of the encoder, finest first; image-level heads read the last.
        classes: names, in the order of the logits.
        heads: which of ``HEADS`` it has.
        multi_label: whether an image may show several classes (sigmoid), or exactly
            one (softmax).
        standardize: whether the pixel head standardises its features.
        background_row: whether the linear classifier has a background row 0.
        offsets: where cell 0 of each tap looks, in input pixels, if that was measured;
            by the padding otherwise.
        mpp: µm a pixel of the network's input; None where it takes images as they are.
        native_mpp: µm a pixel assumed for images that do not say theirs.
    """

    encoder: str
    classes: tuple[str, ...]
    heads: tuple[str, ...] = ("cam",)
    output_stride: int = 32
    taps: tuple[str, ...] | None = None
    multi_label: bool = False
    standardize: bool = False
    background_row: bool = False
    offsets: tuple[float, ...] | None = None
    mpp: float | None = None
    native_mpp: float | None = None

    def __post_init__(self) -> None:
        if not self.classes:
            raise ConfigError("A model needs at least one class.")
        if not self.heads or any(name not in HEADS for name in self.heads):
            raise ConfigError(
                f"The heads of a model are among {', '.join(HEADS)}, "
                f"not {', '.join(self.heads) or 'none'}."
            )

    def to_dict(self) -> dict[str, object]:
        """As plain values, for a card."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Raw:
    """A network's own outputs, before any activation.

    Attributes:
        logits: (N, K) image logits.
        maps: (N, K, h, w) class logit maps, or (N, 2, h, w) pixel logits.
    """

    logits: Tensor
    maps: Tensor


class Model(nn.Module):
    """An encoder and its heads.

    Args:
        spec: what to build.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.card: Card | None = None
        self._encoder_sha: str | None = None
        self.encoder = build_encoder(
            spec.encoder, output_stride=spec.output_stride, taps=spec.taps
        )
        if spec.offsets is not None:
            if len(spec.offsets) != len(self.encoder.taps):
                raise ConfigError(
                    f"There are {len(spec.offsets)} offsets for "
                    f"{len(self.encoder.taps)} taps; give one each."
                )
            self.encoder.offsets = spec.offsets
        deepest, count = self.encoder.channels[-1], len(spec.classes)
        self.heads = nn.ModuleDict()
        if "cam" in spec.heads:
            self.heads["cam"] = GapHead(deepest, count, background=spec.background_row)
        if "pcam" in spec.heads:
            self.heads["pcam"] = PcamHead(deepest, count)
        if "pixelcam" in spec.heads:
            self.heads["pixelcam"] = PixelHead(
                self.encoder.channels, standardize=spec.standardize
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.spec.classes

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def encoder_fingerprint(self) -> str:
        """sha256 of the encoder's weights and layout: features are kept under it."""
        if self._encoder_sha is None:
            encoder = self.encoder
            layout = (encoder.taps, encoder.strides, encoder.offsets)
            digest = hashlib.sha256(repr(layout).encode())
            for key, value in self.encoder.state_dict().items():
                digest.update(key.encode())
                digest.update(value.detach().cpu().contiguous().numpy().tobytes())
            self._encoder_sha = digest.hexdigest()
        return self._encoder_sha

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

    def image_logits(self, features: Features) -> Tensor:
        """(N, K) logits of the image-level head (CAM's if there are several)."""
        for name in ("cam", "pcam"):
            if name in self.heads:
                return self.heads[name](features)
        raise MethodUnavailableError(
            "This model has no image-level classifier, so it cannot say which class "
            "an image shows. Choose the class yourself."
        )

    def probabilities(self, features: Features) -> Tensor:
        """(N, K) softmax or, for several labels an image, sigmoid."""
        logits = self.image_logits(features).float()
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
            x: (N, C, H, W) preprocessed, on the model's device.

        Returns:
            Image logits, and pixel logits where there is a pixel head, else the class
            logit maps of the image-level head.
        """
        features: Features = self.encoder(x)
        logits = self.image_logits(features)
        if "pixelcam" in self.heads:
            return Raw(logits, self.head(PixelHead, "pixelcam")(features))
        if "cam" in self.heads:
            return Raw(logits, self.head(GapHead, "cam").class_maps(features))
        return Raw(logits, self.head(PcamHead, "pcam").class_maps(features))


@contextmanager
def evaluating(module: nn.Module) -> Generator[None]:
    """Puts a module in evaluation mode and restores what it was."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
