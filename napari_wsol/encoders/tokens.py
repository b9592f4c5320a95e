"""What transformers share: tokens on a grid, behind a class token and registers.

An image goes through whole, at any size that the network takes, or, where images may be
large, in *windows* of the size that it was trained at: each for itself, so that memory
is linear and tiles of whole windows give what the image gives. There is then a class
token a window. What is no larger than a window goes through whole.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from typing_extensions import override

from napari_wsol.encoders.base import CLS, Encoder, nominal_places
from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from torch import Tensor, nn

    from napari_wsol.encoders.features import Features

PATCHES = "patches"
_T = TypeVar("_T")


class TokenEncoder(Encoder):
    """A transformer: subclasses build it, call ``arrange`` and give ``tokens``.

    Its maps are "cls", the class token (a cell an image or window), those of its
    blocks, and "patches", the patch tokens after the last norm. ``prefix`` tokens come
    before the patches, the class token first.
    """

    one_cell: ClassVar[tuple[str, ...]] = (CLS,)
    prefix: int = 1

    def arrange(
        self, maps: Mapping[str, tuple[int, int]], taps: Iterable[str] | None
    ) -> None:
        """Chooses taps among all maps: name, channels and stride of each, in order."""
        self._strides = {name: stride for name, (_, stride) in maps.items()}
        self.choose(taps, {name: channels for name, (channels, _) in maps.items()})

    @override
    def places(self) -> dict[str, tuple[int, float, int]]:
        return nominal_places(self._strides)

    def by_windows(self) -> None:
        """Reads windows from now on, and their neighbours, to which mirrors reach."""
        self.window = self.halo = self.fixed_size or 0

    @property
    @override
    def readable_layers(self) -> tuple[str, ...]:
        return tuple(name for name in self.layers if "." in name or name == PATCHES)

    @property
    @override
    def gradient_layer(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        # The last whose patches still reach the class token, where that is read.
        blocks = [name for name in self.layers if "." in name]
        return blocks[-2] if CLS in self.taps and len(blocks) > 1 else None

    def tokens(self, x: Tensor) -> dict[str, Tensor]:
        """The taps of windows (n, C, H, W), each (n, T, D) or (n, h, w, D)."""
        raise NotImplementedError

    @override
    def forward(self, x: Tensor) -> Features:
        return self._features(self.tokens(self._windows(x)), x)

    @override
    def trace(self, x: Tensor, layer: str) -> tuple[Tensor, Features]:
        with self.also([layer]):
            given = self.tokens(self._windows(x))
        return given[layer], self._features(given, x)

    def attended(self, x: Tensor) -> tuple[list[Tensor], Features]:
        """Each block's attention, (n, H, T, T), and the features that come of it.

        Args:
            x: (N, C, H, W) network input that requires gradients.
        """
        blocks: list[Any] = [m for m in self.modules() if hasattr(m, "attn_drop")]
        fused = [item for item in blocks if getattr(item, "fused_attn", False)]
        try:
            for item in fused:  # would show none
                item.fused_attn = False
            return caught([item.attn_drop for item in blocks], lambda: self(x))
        finally:
            for item in fused:
                item.fused_attn = True

    @override
    def placed(self, values: Tensor, x: Tensor, layer: str) -> Tensor:
        step, (rows, columns) = self._strides[layer], self._grid(x)
        if values.ndim == 3:
            sides = [self._side(x) or int(side) for side in x.shape[-2:]]
            shape = (sides[0] // step, sides[1] // step)
            patches = values[:, self.prefix : self.prefix + shape[0] * shape[1]]
            values = patches.reshape(len(patches), *shape, -1)  # (n, h, w, D)
        windows = values.reshape(-1, rows, columns, *values.shape[1:])
        windows = windows.permute(0, 5, 1, 3, 2, 4)  # (N, D, rows, h, columns, w)
        whole = windows.flatten(4, 5).flatten(2, 3)
        return whole[..., : -(-x.shape[-2] // step), : -(-x.shape[-1] // step)]

    def _features(self, given: Mapping[str, Tensor], x: Tensor) -> Features:
        return self.gather({at: self.placed(given[at], x, at) for at in self.taps})

    def _grid(self, x: Tensor) -> tuple[int, int]:
        """Rows and columns of windows on an input."""
        side = self._side(x)
        return (-(-x.shape[-2] // side), -(-x.shape[-1] // side)) if side else (1, 1)

    def _side(self, x: Tensor) -> int | None:
        """Of the windows of an input; None where it goes through whole."""
        fits = self.resizes and max(x.shape[-2:]) <= (self.window or 0)
        return None if fits else self.window

    def _windows(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (n, C, S, S), mirrored at the rim; itself without windows."""
        side = self._side(x)
        if side is None:
            self.check_size(int(x.shape[-2]), int(x.shape[-1]))
            return x
        rows, columns = self._grid(x)
        for dim, count in ((2, rows), (3, columns)):
            length = int(x.shape[dim])
            at = torch.arange(count * side, device=x.device) % (2 * length)
            x = x.index_select(dim, torch.minimum(at, 2 * length - 1 - at))
        grid = x.reshape(*x.shape[:2], rows, side, columns, side)
        return grid.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)

    @override
    def check_size(self, height: int, width: int) -> None:
        super().check_size(height, width)
        step = min(self._strides.values())
        if height % step or width % step:
            raise ConfigError(
                f"This transformer takes whole patches of {step} pixels, not {height}×"
                f"{width}: set size = {self.fixed_size} in the model's preprocessing."
            )


def caught(
    modules: Iterable[nn.Module], run: Callable[[], _T]
) -> tuple[list[Tensor], _T]:
    """What modules give while something runs, and what that gives."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        kept.append(output)

    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(keep))
        return kept, run()
