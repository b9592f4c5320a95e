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

from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.encoders.attention import AttentionTrace
from napari_wsol.encoders.registry import register_encoder
from napari_wsol.encoders.tokens import CLS, PATCHES, TokenEncoder
from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

SIZE, PATCH, DEPTH, HEAD_CHANNELS = 224, 16, 12, 64
SIDE = SIZE // PATCH
GATED = 3
"""Blocks, the last ones, whose attention the spatial-aware token gates."""

SMOOTHING = (0.05127, 0.89746, 0.05127)
"""One axis of the kernel that smooths the gate for SAT's normalization loss."""


class Attention(nn.Module):
    """Multi-head self-attention, with a gate where there is a token for it.

    Args:
        channels: of a token.
        heads: how many.
    """

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


class Mlp(nn.Module):
    """Two linear layers, applied to each token by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    @override
    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class Block(nn.Module):
    """Attention and MLP, each normalised before and added to its input."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = Attention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = Mlp(channels)

    def forward(
        self, x: Tensor, *, gated: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Tokens, attention and gate; shapes as in :class:`Attention`."""
        mixed, attention, gate = self.attn(self.norm1(x), gated=gated)
        x = x + mixed
        return x + self.mlp(self.norm2(x)), attention, gate


class PatchEmbed(nn.Module):
    """One token a patch."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, channels, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, T, D), row by row."""
        return self.proj(x).flatten(2).transpose(1, 2)


class DeiT(TokenEncoder):
    """A data-efficient image transformer; on 224 × 224 pixels 14 × 14 patches.

    "patches" are the patch tokens after the last norm, "cls" the class token; "blocks.i"
    are those that a block gives. Computed only when asked for: "attention", what the
    class token takes from each patch in each block, mean of the heads; "rollout", the
    same through all blocks (see :func:`napari_wsol.encoders.attention.mix`); and
    "mask", the gate of the spatial-aware token in the last three blocks.

    Args:
        channels: of a token; a head has 64 of them.
        depth: how many blocks.
        spatial_token: whether there is a spatial-aware token.
        output_stride: 16, or None.
        taps: which maps to give.
        in_channels: of the image.

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
        spatial_token: bool = False,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if output_stride not in (None, PATCH):
            raise ConfigError(
                f"A DeiT has an output stride of {PATCH}, not {output_stride}: its "
                "patches are that large. Leave the output stride out."
            )
        self.cls_token = _learnt(1, channels)
        self.pos_embed = _learnt(1 + SIDE**2, channels)
        self.loc_token: nn.Parameter | None = None
        self.loc_embed: nn.Parameter | None = None
        if spatial_token:
            self.loc_token = _learnt(1, channels)
            self.loc_embed = _learnt(1, channels)
            axis = torch.tensor(SMOOTHING)
            self.register_buffer("weight", torch.outer(axis, axis)[None, None])
        self.patch_embed = PatchEmbed(in_channels, channels)
        heads = channels // HEAD_CHANNELS
        self.blocks = nn.ModuleList(Block(channels, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        found = {CLS: channels, "attention": depth, "rollout": 1}
        if spatial_token:
            found["mask"] = GATED
        found |= {f"blocks.{index}": channels for index in range(depth)}
        found[PATCHES] = channels
        self.arrange(SIZE, dict.fromkeys(found, PATCH), found, taps)

    @override
    def maps(self, x: Tensor) -> dict[str, Tensor]:
        tokens = self._tokens(x)
        found: dict[str, Tensor] = {}
        trace = AttentionTrace(rolls="rollout" in self.taps)
        depth = len(self.blocks)
        first_gated = depth - GATED if self.loc_token is not None else depth
        for index, item in enumerate(self.blocks[: self._depth()]):
            block, gated = cast("Block", item), index >= first_gated
            tokens, attention, gate = block(tokens, gated=gated)
            if self._traces:
                trace.add(attention, gate)
            if f"blocks.{index}" in self.taps:
                found[f"blocks.{index}"] = self._on_grid(tokens, x, PATCH)
        if self._traces:
            for name, values in trace.maps().items():
                found[name] = self._on_grid(values.transpose(1, 2), x, PATCH)
        if {CLS, PATCHES} & set(self.taps):
            tokens = self.norm(tokens)
            found[PATCHES] = self._on_grid(tokens, x, PATCH)
            found[CLS] = tokens[:, 0, :, None, None]
        return found

    def _tokens(self, x: Tensor) -> Tensor:
        """(N, T, D): class token, patches and, with SAT, the spatial-aware token."""
        count = x.shape[0]
        tokens = torch.cat(
            [self.cls_token.expand(count, -1, -1), self.patch_embed(x)], dim=1
        )
        tokens = tokens + self._positions(*(int(side) for side in x.shape[-2:]))
        if self.loc_token is None or self.loc_embed is None:
            return tokens
        where = (self.loc_token + self.loc_embed).expand(count, -1, -1)
        return torch.cat([tokens, where], dim=1)

    def _positions(self, height: int, width: int) -> Tensor:
        """(1, T, D) as learnt, or as timm interpolates them for another size."""
        if (height, width) == (SIZE, SIZE):
            return self.pos_embed
        learnt = self.pos_embed[:, 1:].float().unflatten(1, (SIDE, SIDE))
        placed = functional.interpolate(
            learnt.permute(0, 3, 1, 2),
            (height // PATCH, width // PATCH),
            mode="bicubic",
            antialias=True,
        )
        rest = placed.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)
        return torch.cat([self.pos_embed[:, :1], rest], dim=1)

    @property
    def _traces(self) -> bool:
        return any(name in self.taps for name in ("attention", "rollout", "mask"))

    def _depth(self) -> int:
        """How many blocks the taps need: deeper ones are never read."""
        if self._traces or {CLS, PATCHES} & set(self.taps):
            return len(self.blocks)
        return int(self.taps[-1].removeprefix("blocks.")) + 1


def _learnt(tokens: int, channels: int) -> nn.Parameter:
    """(1, T, D) tokens or positions: small, but not all the same."""
    return nn.Parameter(0.02 * torch.randn(1, tokens, channels))


_CHANNELS = {"tiny": 192, "small": 384, "base": 768}


for _size, _channels in _CHANNELS.items():
    for _form, _token in (("deit", False), ("deit_sat", True)):
        register_encoder(f"{_form}_{_size}")(
            partial(DeiT, _channels, spatial_token=_token)
        )
