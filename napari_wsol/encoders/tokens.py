"""What transformers share: tokens on a grid, behind a class token and registers.

An image goes through whole, at any size that the network takes, or, where images may be
large, in *windows* of the size that it was trained at: each for itself, so that memory
is linear and tiles of whole windows give what the image gives in one piece. There is
then a class token a window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.nn import functional
from typing_extensions import override

from napari_wsol.encoders.base import Encoder
from napari_wsol.encoders.features import nominal_offset
from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from napari_wsol.encoders.features import Features

CLS, PATCHES = "cls", "patches"
POOLINGS = ("cls", "cls_mean", "mean")
WINDOWS_A_BATCH = 16
ALL = 2**30


class TokenEncoder(Encoder):
    """A transformer: subclasses build it, call ``arrange`` and give ``maps``.

    Its maps are "cls", the class token (a cell an image or window), those of its
    blocks, and "patches", the patch tokens after the last norm.

    Attributes:
        pooling: what stands for a tile: the class token, that and the mean of the
            patches, or the mean.
        prefix: tokens before the patches; the class token is the first.
        resizes: whether it takes other sides than the one that it was trained at.
    """

    one_cell: ClassVar[tuple[str, ...]] = (CLS,)
    is_traced = True
    pooling: str = "mean"
    prefix: int = 1

    def arrange(
        self,
        side: int,
        strides: Mapping[str, int],
        channels: Mapping[str, int],
        taps: Iterable[str] | None,
    ) -> None:
        """Says where the maps lie and chooses among them.

        Args:
            side: of the images that it was trained on.
            strides: of all maps but "cls".
            channels: of all maps in order, "cls" before the others.
            taps: which to give.
        """
        self._steps = dict(strides)
        step = max(self._steps.values())
        self.fixed_size = side // step * step
        self.choose(taps, dict(channels))

    @override
    def geometry(self) -> dict[str, tuple[int, float, int]]:
        steps = {**self._steps, CLS: self.fixed_size or 1}
        return {name: (step, nominal_offset(step), 0) for name, step in steps.items()}

    @override
    def by_windows(self) -> None:
        # As context: what is mirrored at the rim reaches into the window before.
        self.window = self.halo = self.fixed_size or 0

    @override
    def pool_by(self, pooling: str) -> None:
        known = POOLINGS if CLS in self.layers else ("mean",)
        if pooling not in known:
            raise ConfigError(
                f"The tokens of this transformer are pooled by {' or '.join(known)}, "
                f"not {pooling}."
            )
        self.pooling = pooling

    @property
    @override
    def pooled_channels(self) -> int:
        sizes = {"cls": self.layers.get(CLS, 0), "mean": self.channels[-1]}
        return sum(sizes[part] for part in self.pooling.split("_"))

    @override
    def pooled(self, x: Tensor) -> Tensor:
        parts = self.pooling.split("_")
        with self.also([CLS] if CLS in parts else []):
            found = self(x)
        maps = {CLS: found.maps[0], "mean": found.last}
        return torch.cat([maps[part].mean((-2, -1)) for part in parts], 1)

    @override
    def cells(self, length: int) -> tuple[int, ...]:
        sides = zip(self.taps, self.strides, strict=True)
        whole = self.window is None
        return tuple(
            1 if name == CLS and whole else -(-length // step) for name, step in sides
        )

    @property
    @override
    def readable_layers(self) -> tuple[str, ...]:
        return tuple(name for name in self.layers if "." in name or name == PATCHES)

    @property
    @override
    def gradient_layer(self) -> str | None:
        """The last whose patches still reach the class token, where that is read."""
        blocks = [name for name in self.layers if "." in name]
        return blocks[-2] if CLS in self.taps and len(blocks) > 1 else None

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """The taps of images or windows (n, C, H, W), each (n, C, h, w)."""
        raise NotImplementedError

    def resume(self, layer: str, x: Tensor) -> Features:
        """The patches' map as it is.

        Raises:
            ConfigError: another layer; other tokens, which are in no map, go on, too.
        """
        if layer != PATCHES:
            raise ConfigError(
                f"A transformer cannot go on from {layer}, which has not all of its "
                f"tokens, but from {PATCHES} only."
            )
        return self.gather({layer: x})

    def module_of(self, layer: str) -> nn.Module:
        """What gives the tokens of a layer."""
        return self.get_submodule(layer)

    def forward(self, x: Tensor) -> Features:
        """Runs the network.

        Args:
            x: (N, C, H, W) float, normalised with ``mean`` and ``std``.

        Raises:
            ConfigError: a size that it does not take.
        """
        return self._run(x, WINDOWS_A_BATCH if self.window else len(x))

    def _run(self, x: Tensor, batch: int) -> Features:
        parts = self._windows(x)
        found = [self.maps(part) for part in parts.split(batch)]
        joined: dict[str, Tensor] = {}
        for index, name in enumerate(self.taps):
            values = self._join(torch.cat([item[name] for item in found]), x)
            rows, columns = (self.cells(int(side))[index] for side in x.shape[-2:])
            joined[name] = values[..., :rows, :columns]
        return self.gather(joined)

    def trace(self, x: Tensor, layer: str) -> tuple[Tensor, Features]:
        """A layer's map, (N, C, h, w), and the features that autograd saw made of it.

        Args:
            x: (N, C, H, W) network input.
            layer: one of ``readable_layers``.
        """
        if layer == PATCHES:
            with self.also([PATCHES]):
                found = self._run(x, ALL)
            return found.last, found.select(self.taps)
        kept: list[Tensor] = []
        step = self._steps[layer]
        rows, columns = (-(-int(side) // step) for side in x.shape[-2:])

        def catch(_module: nn.Module, _inputs: object, output: Any) -> object:  # noqa: ANN401
            tokens, *rest = output if isinstance(output, tuple) else (output,)
            whole = self._join(self._on_grid(tokens, x, step), x)
            leaf = whole[..., :rows, :columns].detach().requires_grad_()
            kept.append(leaf)
            # Nothing is added but a way for the gradient.
            rim = (0, whole.shape[-1] - columns, 0, whole.shape[-2] - rows)
            way = cut(functional.pad(leaf - leaf.detach(), rim), *self._grid(x))
            way = way.permute(0, 2, 3, 1)
            if tokens.ndim == 3:
                way = way.flatten(1, 2)
                behind = tokens.shape[1] - self.prefix - way.shape[1]
                way = functional.pad(way, (0, 0, self.prefix, behind))
            return (tokens + way, *rest) if rest else tokens + way

        handle = self.module_of(layer).register_forward_hook(catch)
        try:
            found = self._run(x, ALL)
            return kept[0], found
        finally:
            handle.remove()

    def attended(self, x: Tensor) -> tuple[list[Tensor], Features]:
        """Each block's attention, (n, H, T, T), and the features, all in one graph.

        Args:
            x: (N, C, H, W) network input that requires a gradient.
        """
        kept: list[Tensor] = []
        blocks: list[Any] = [m for m in self.modules() if hasattr(m, "attn_drop")]
        fused = [item for item in blocks if getattr(item, "fused_attn", False)]
        handles = [
            item.attn_drop.register_forward_hook(lambda *given: kept.append(given[-1]))
            for item in blocks
        ]
        try:
            for item in fused:  # would show no attention
                item.fused_attn = False
            return kept, self._run(x, ALL)
        finally:
            for item in fused:
                item.fused_attn = True
            for handle in handles:
                handle.remove()

    def on_image(self, values: Tensor, x: Tensor) -> Tensor:
        """What windows give of an input, a value a token: (n, T) → (N, h, w)."""
        step = self._steps[PATCHES]
        joined = self._join(self._on_grid(values[..., None], x, step), x)
        rows, columns = (-(-int(side) // step) for side in x.shape[-2:])
        return joined[:, 0, :rows, :columns]

    def _on_grid(self, tokens: Tensor, x: Tensor, step: int) -> Tensor:
        """(n, T, C) or (n, h, w, C) → (n, C, h, w), the patches' of windows of x."""
        if tokens.ndim == 3:
            rows, columns = (
                (self.window or int(side)) // step for side in x.shape[-2:]
            )
            patches = tokens[:, self.prefix : self.prefix + rows * columns]
            tokens = patches.unflatten(1, (rows, columns))
        return tokens.permute(0, 3, 1, 2)

    def _grid(self, x: Tensor) -> tuple[int, int]:
        """Rows and columns of windows on an input."""
        if self.window is None:
            return 1, 1
        rows, columns = (-(-int(side) // self.window) for side in x.shape[-2:])
        return rows, columns

    def _join(self, values: Tensor, x: Tensor) -> Tensor:
        """(n, C, h, w) maps of all windows of an input → (N, C, rows, columns)."""
        rows, columns = self._grid(x)
        grid = values.unflatten(0, (-1, rows, columns)).permute(0, 3, 1, 4, 2, 5)
        return grid.flatten(4, 5).flatten(2, 3)

    def _windows(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (n, C, S, S), mirrored at the rim; the image without."""
        height, width = (int(side) for side in x.shape[-2:])
        side = self.fixed_size or 0
        if self.window is not None:
            for dim, (length, count) in enumerate(
                zip((height, width), self._grid(x), strict=True), 2
            ):
                at = torch.arange(count * side, device=x.device) % (2 * length)
                x = x.index_select(dim, torch.minimum(at, 2 * length - 1 - at))
            return cut(x, x.shape[-2] // side, x.shape[-1] // side)
        step = min(self._steps.values())
        if not self.resizes and (height, width) != (side, side):
            raise ConfigError(
                f"This transformer takes inputs of {side} × {side} pixels only, not "
                f"{height} × {width}: set the preprocessing's size to {side}."
            )
        if height % step or width % step:
            low = max(step, min(height, width) // step * step)
            raise ConfigError(
                f"This transformer reads whole patches of {step} pixels, and "
                f"{height} × {width} are none: set the preprocessing's size to {low} "
                f"or {low + step}."
            )
        return x


def cut(x: Tensor, rows: int, columns: int) -> Tensor:
    """(N, C, H, W) in equal pieces, row by row → (n, C, H / rows, W / columns)."""
    grid = x.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
