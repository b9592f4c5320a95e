"""DeiT, and DeiT with a spatial-aware token.

Touvron, Cord, Douze, Massa, Sablayrolles, Jégou: Training data-efficient image
transformers & distillation through attention, ICML 2021, arXiv 2012.12877: an image of
224 × 224 pixels is cut into 14 × 14 patches, each becomes a token; a class token goes
before them, learnt positions are added, and 12 blocks of self-attention follow.

Wu, Zhai, Cao, Luo, Zha: Spatial-Aware Token for Weakly Supervised Object Localization,
ICCV 2023, arXiv 2303.10438: one more token, behind the patches, learns where to look.
With q, k, v the queries, keys and values, d their channels and H heads::

    m = σ(1/H · Σ_h q_loc · kᵀ / √d)      A = softmax(q · kᵀ / √d) ⊙ m

The gate m weighs what every token takes from each other one, and A is not normalised
again; this is so in the last three blocks. The gate there is SAT's map.

State-dict names are timm's, which both papers' code uses.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.encoders.attention import mix
from napari_wsol.encoders.base import CLS
from napari_wsol.encoders.registry import register_encoder
from napari_wsol.encoders.tokens import PATCHES, TokenEncoder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

SIZES, PATCH, DEPTH, HEAD_CHANNELS = (224, 384), 16, 12, 64
GATED = 3
"""Blocks, the last ones, whose attention the spatial-aware token gates."""

SMOOTHING = (0.05127, 0.89746, 0.05127)
"""One axis of the kernel that smooths the gate for SAT's normalization loss."""


class Attention(nn.Module):
    """Multi-head self-attention, with a gate where there is a token for it."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.attn_drop = nn.Identity()
        self.proj = nn.Linear(channels, channels)

    def forward(
        self, x: Tensor, *, gated: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What each token takes from the others.

        Args:
            x: (N, T, D) tokens.
            gated: whether the last token gates the attention.

        Returns:
            (N, T, D) tokens; (N, H, T, T) attention, its rows the tokens that look;
            (N, T) gate in [0, 1], where there is one.
        """
        count, tokens, channels = x.shape
        split = (count, tokens, 3, self.heads, channels // self.heads)
        q, k, v = self.qkv(x).reshape(split).permute(2, 0, 3, 1, 4)  # (N, H, T, d)
        scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # (N, H, T, T)
        attention, gate = scores.softmax(-1), None
        if gated:
            gate = scores[:, :, -1].mean(1).sigmoid()  # (N, T)
            attention = attention * gate[:, None, None]
        attention = self.attn_drop(attention)
        mixed = (attention @ v).transpose(1, 2).reshape(x.shape)
        return self.proj(mixed), attention, gate


class Block(nn.Module):
    """Attention and MLP, each normalised before and added to its input."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        layers = ("fc1", nn.Linear(channels, 4 * channels)), ("act", nn.GELU())
        last = ("fc2", nn.Linear(4 * channels, channels))
        self.mlp = nn.Sequential(OrderedDict([*layers, last]))

    def forward(
        self, x: Tensor, *, gated: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tokens, attention and gate; shapes as in :class:`Attention`."""
        mixed, attention, gate = self.attn(self.norm1(x), gated=gated)
        x = x + mixed
        return x + self.mlp(self.norm2(x)), attention, gate


class DeiT(TokenEncoder):
    """A data-efficient image transformer; on 224 × 224 pixels 14 × 14 patches.

    It has more maps than its base, computed only when asked for: "attention", what the
    class token takes from each patch in each block, mean of the heads; "rollout", the
    same through all blocks (see :func:`napari_wsol.encoders.attention.mix`); and
    "mask", the gate of the spatial-aware token in the last three blocks.

    Args:
        channels: of a token; a head has 64 of them.
        depth: how many blocks.
        size: side of the images that it is trained on.
        spatial_token: whether there is a spatial-aware token.
        output_stride, taps, in_channels: as of ``build_encoder``.

    Raises:
        ConfigError: another output stride, or a tap that it has not.
    """

    output_strides: ClassVar[tuple[int, ...]] = (PATCH,)
    resizes: bool = True

    def __init__(
        self,
        channels: int,
        *,
        depth: int = DEPTH,
        size: int = SIZES[0],
        spatial_token: bool = False,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.checked_stride(output_stride)
        self.cls_token = _learnt(1, channels)
        self.fixed_size = size
        self.pos_embed = _learnt(1 + (size // PATCH) ** 2, channels)
        self.loc_token: nn.Parameter | None = None
        self.loc_embed: nn.Parameter | None = None
        if spatial_token:
            self.loc_token = _learnt(1, channels)
            self.loc_embed = _learnt(1, channels)
            axis = torch.tensor(SMOOTHING)
            self.register_buffer("weight", torch.outer(axis, axis)[None, None])
        proj = nn.Conv2d(in_channels, channels, PATCH, PATCH)
        self.patch_embed = nn.Sequential(OrderedDict(proj=proj, rows=nn.Flatten(2)))
        heads = channels // HEAD_CHANNELS
        self.blocks = nn.ModuleList(Block(channels, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        plain = {"attention": depth, "rollout": 1}
        if spatial_token:
            plain["mask"] = GATED
        plain |= {f"blocks.{index}": channels for index in range(depth)}
        plain[PATCHES] = channels
        maps = {name: (count, PATCH) for name, count in plain.items()}
        self.arrange({CLS: (channels, size), **maps}, taps)

    @override
    def tokens(self, x: Tensor) -> dict[str, Tensor]:
        tokens, rollout = self._tokens(x), None
        found: dict[str, Tensor] = {}
        looks: list[Tensor] = []
        gates: list[Tensor] = []
        first_gated = len(self.blocks) - GATED * (self.loc_token is not None)
        for index, item in enumerate(self.blocks):
            block = cast("Block", item)
            tokens, attention, gate = block(tokens, gated=index >= first_gated)
            found[f"blocks.{index}"] = tokens
            if found.keys() >= set(self.taps):
                return found  # deeper blocks are never read
            if {"attention", "rollout"} & set(self.taps):
                mean = attention.mean(1)
                looks.append(mean[:, 0])
                rollout = mix(mean, rollout)
            if gate is not None:
                gates.append(gate)
        if rollout is not None:
            found["attention"] = torch.stack(looks, 2)
            found["rollout"] = rollout[:, 0, :, None]
        if gates:
            found["mask"] = torch.stack(gates, 2)
        found[PATCHES] = self.norm(tokens)
        found[CLS] = found[PATCHES][:, :1, None]
        return found

    def _tokens(self, x: Tensor) -> Tensor:
        """(N, T, D): class token, patches and, with SAT, the spatial-aware token."""
        count, patches = x.shape[0], self.patch_embed(x).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(count, -1, -1), patches], dim=1)
        tokens = tokens + self._positions(*(int(side) for side in x.shape[-2:]))
        if self.loc_token is None or self.loc_embed is None:
            return tokens
        where = (self.loc_token + self.loc_embed).expand(count, -1, -1)
        return torch.cat([tokens, where], dim=1)

    def _positions(self, height: int, width: int) -> Tensor:
        """(1, T, D) as learnt, or as timm interpolates them for another size."""
        if (height, width) == (self.fixed_size, self.fixed_size):
            return self.pos_embed
        side = math.isqrt(self.pos_embed.shape[1])
        learnt = self.pos_embed[:, 1:].float().transpose(1, 2)
        learnt, size = (
            learnt.reshape(1, -1, side, side),
            (height // PATCH, width // PATCH),
        )
        placed = functional.interpolate(learnt, size, mode="bicubic", antialias=True)
        rest = placed.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)
        return torch.cat([self.pos_embed[:, :1], rest], dim=1)


def _learnt(tokens: int, channels: int) -> nn.Parameter:
    """(1, T, D) tokens or positions: small, but not all the same."""
    return nn.Parameter(0.02 * torch.randn(1, tokens, channels))


_CHANNELS = {"tiny": 192, "small": 384, "base": 768}


for _width, _channels in _CHANNELS.items():
    for _form, _token in (("deit", False), ("deit_sat", True)):
        register_encoder(f"{_form}_{_width}")(
            partial(DeiT, _channels, spatial_token=_token)
        )
    register_encoder(f"deit_{_width}_384")(partial(DeiT, _channels, size=SIZES[1]))
