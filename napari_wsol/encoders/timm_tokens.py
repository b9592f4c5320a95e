"""Any vision transformer of timm, with its class token, registers and last norm.

The network is timm's own, built without a classifier: state-dict names are timm's,
under "backbone.". Weights are random until a model's own are loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from typing_extensions import override

from napari_wsol.encoders.registry import register_family
from napari_wsol.encoders.timm_backbone import TimmBackbone, create, file_of
from napari_wsol.encoders.tokens import CLS, PATCHES, TokenEncoder
from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from napari_wsol.encoders.base import Encoder

FILES = ("beit", "deit", "eva", "hiera", "swin_transformer", "swin_transformer_v2")
FILES += ("vision_transformer", "vision_transformer_hybrid")
"""Modules of timm whose networks are transformers on patches."""


class TimmTokens(TokenEncoder):
    """A vision transformer of timm with random weights.

    Args:
        name: as timm lists it.
        options: keywords of timm's ``create_model``.
        pooling: one of ``POOLINGS``; the class token by default, if there is one.
        mean: per channel, on the scale [0, 1]; what timm says by default.
        std: likewise.
        size: side of the images that it was trained on, likewise.
        output_stride: that of its patches, or None.
        taps: names of timm's blocks, "cls" or "patches", which is the default.
        in_channels: of the image.

    Raises:
        ConfigError: timm is not there, does not import, or cannot build this.
    """

    def __init__(
        self,
        name: str,
        *,
        options: Mapping[str, object] | None = None,
        pooling: str | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        size: int | None = None,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        options = {"num_classes": 0, "dynamic_img_size": True, **(options or {})}
        try:
            self.backbone = create(name, in_channels, **options)
        except ConfigError as error:
            if "dynamic_img_size" not in str(error.__cause__):
                raise
            del options["dynamic_img_size"]
            self.backbone = create(name, in_channels, **options)
        self.resizes = bool(options.get("dynamic_img_size"))
        network: Any = self.backbone
        network.fc_norm = nn.Identity()  # a part of the classifier, which has its own
        settings: dict[str, Any] = network.pretrained_cfg
        self.mean = tuple(mean or settings["mean"])
        self.std = tuple(std or settings["std"])
        trained: tuple[int, ...] | None = getattr(network.patch_embed, "img_size", None)
        self.prefix = int(getattr(network, "num_prefix_tokens", 0))
        self._blocks = [str(item["module"]) for item in network.feature_info]
        channels = {
            at: int(item["num_chs"])
            for at, item in zip(self._blocks, network.feature_info, strict=True)
        }
        steps = {
            at: int(item["reduction"])
            for at, item in zip(self._blocks, network.feature_info, strict=True)
        }
        deepest = self._blocks[-1]
        channels[PATCHES], steps[PATCHES] = channels[deepest], steps[deepest]
        if output_stride not in (None, steps[deepest]):
            raise ConfigError(f"timm's {name} has no output stride {output_stride}.")
        if getattr(network, "cls_token", None) is not None:
            channels = {CLS: channels[deepest], **channels}
        self.arrange(
            size or (trained or settings["input_size"])[-1], steps, channels, taps
        )
        self.pool_by(pooling or ("cls" if CLS in channels else "mean"))

    @override
    def module_of(self, layer: str) -> nn.Module:
        return self.backbone.get_submodule(layer)

    @override
    def maps(self, x: Tensor) -> dict[str, Tensor]:
        network: Any = self.backbone
        wanted = [at for at, name in enumerate(self._blocks) if name in self.taps]
        ends = bool({CLS, PATCHES} & set(self.taps))
        last, between = network.forward_intermediates(
            x, indices=wanted or 1, stop_early=not ends
        )
        names = [self._blocks[at] for at in wanted]
        found: dict[str, Tensor] = dict(zip(names, between, strict=False))
        if ends:
            found[PATCHES] = self._on_grid(last, x, self._steps[PATCHES])
            if CLS in self.taps:
                found[CLS] = last[:, 0, :, None, None]
        return found


@register_family("timm")
def timm_encoder(
    name: str,
    *,
    output_stride: int | None = None,
    taps: Iterable[str] | None = None,
    in_channels: int = 3,
) -> Encoder:
    """A transformer of timm, or else a backbone, as their classes say."""
    kind = TimmTokens if file_of(name) in FILES else TimmBackbone
    return kind(name, output_stride=output_stride, taps=taps, in_channels=in_channels)
