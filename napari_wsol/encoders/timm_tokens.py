"""Any vision transformer of timm, with its class token, registers and last norm.

The network is timm's own without a classifier: state-dict names are timm's, under
"backbone.". Weights are random until a model's own are loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn
from typing_extensions import override

from napari_wsol.encoders.base import CLS
from napari_wsol.encoders.registry import register_family
from napari_wsol.encoders.timm_backbone import TimmBackbone, create, file_of
from napari_wsol.encoders.tokens import PATCHES, TokenEncoder, caught
from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from napari_wsol.encoders.base import Encoder

FILES = (
    *("beit", "deit", "eva", "hiera", "swin_transformer", "swin_transformer_v2"),
    *("vision_transformer", "vision_transformer_hybrid"),
)
"""Modules of timm whose networks are transformers on patches."""


class TimmTokens(TokenEncoder):
    """A vision transformer of timm with random weights.

    Args:
        name: as timm lists it.
        options: more keywords of timm's ``create_model``.
        pooling: as of ``pool_by``; the class token by default, where there is one.
        mean, std, size: of the images that it was trained on; timm's by default.
        output_stride, taps, in_channels: as of ``build_encoder``; "patches" by default.

    Raises:
        ConfigError: as of :class:`TimmBackbone`.
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
        options = {"num_classes": 0, **(options or {})}
        try:
            network: Any = create(name, in_channels, dynamic_img_size=True, **options)
            self.resizes = True
        except ConfigError as error:
            if "dynamic_img_size" not in str(error.__cause__):
                raise
            network = create(name, in_channels, **options)
        network.fc_norm = nn.Identity()  # a part of the classifier, which has its own
        self.backbone: nn.Module = network
        settings: dict[str, Any] = network.pretrained_cfg
        self.mean = tuple(mean or settings["mean"])
        self.std = tuple(std or settings["std"])
        self.prefix = int(getattr(network, "num_prefix_tokens", 0))
        maps: dict[str, tuple[int, int]] = {
            str(at["module"]): (int(at["num_chs"]), int(at["reduction"]))
            for at in network.feature_info
        }
        channels, stride = maps[PATCHES] = list(maps.values())[-1]
        self.output_strides = (stride,)  # type: ignore[misc]
        self.checked_stride(output_stride)
        known = getattr(network.patch_embed, "img_size", None) or settings["input_size"]
        self.fixed_size = (size or int(known[-1])) // stride * stride
        has_class = getattr(network, "cls_token", None) is not None
        if has_class:
            maps = {CLS: (channels, self.fixed_size), **maps}
        self.arrange(maps, taps)
        self.pool_by(pooling or ("cls" if has_class else "mean"))

    @override
    def tokens(self, x: Tensor) -> dict[str, Tensor]:
        network: Any = self.backbone
        names = [name for name in self.taps if "." in name]
        blocks = [self.backbone.get_submodule(name) for name in names]
        between, last = caught(blocks, lambda: network.forward_features(x))
        return {CLS: last[:, :1, None], PATCHES: last} | dict(
            zip(names, between, strict=True)
        )


@register_family("timm")
def timm_encoder(name: str, **how: Any) -> Encoder:  # noqa: ANN401
    """A transformer of timm, or else a backbone, as their classes say."""
    return (TimmTokens if file_of(name) in FILES else TimmBackbone)(name, **how)
