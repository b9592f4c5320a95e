"""Features that were computed once, kept under a budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch

from napari_wsol.encoders import Features

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from torch import Tensor

    from napari_wsol.images.tiling import Tile

T = TypeVar("T")

MOST_DERIVED = 2
"""Images of which what follows from them is kept: the open one, read by two models."""

SMALL_BYTES = 512_000_000
"""Up to here features are kept as float32; beyond, as bfloat16 (float16 is many times
slower on CPUs)."""


class EncodedImage:
    """The features of one image, filled tile by tile.

    Args:
        sizes: rows and columns of each map; empty for an image that is filled at once.
        channels: of each map.
        strides: input pixels a cell of each map.
        offsets: input pixel under the centre of cell 0 of each map.
        names: of the layers that gave the maps.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        channels: Sequence[int],
        strides: Sequence[float],
        offsets: Sequence[float],
        names: Sequence[str] = (),
    ) -> None:
        cells = sum(c * h * w for c, (h, w) in zip(channels, sizes, strict=False))
        dtype = torch.float32 if 4 * cells <= SMALL_BYTES else torch.bfloat16
        self.strides = tuple(strides)
        self.offsets = tuple(offsets)
        self.names = tuple(names)
        self.done: set[int] = set()
        self.maps = [
            torch.zeros(1, count, *size, dtype=dtype)
            for count, size in zip(channels, sizes, strict=False)
        ]

    @property
    def nbytes(self) -> int:
        """Memory that the maps take."""
        return sum(item.nbytes for item in self.maps)

    def store(self, tile: Tile, cores: Sequence[Tensor]) -> None:
        """Puts the maps of a tile's core, each (C, h, w), in their place."""
        for values, stride, core in zip(self.maps, self.strides, cores, strict=True):
            top, left = int(tile.y // stride), int(tile.x // stride)
            rows, columns = core.shape[-2:]
            values[0, :, top : top + rows, left : left + columns] = core
        self.done.add(tile.index)

    def part(self, top: int, left: int, height: int, width: int) -> Features:
        """As :meth:`Features.part`, each (1, C, h, w) float32."""
        kept = Features(tuple(self.maps), self.strides, self.offsets, self.names)
        found = kept.part(top, left, height, width)
        return replace(found, maps=tuple(item.float() for item in found.maps))

    def fill(self, features: Features) -> None:
        """Takes the features of an image that is encoded in one piece."""
        self.maps = list(features.maps)
        self.strides, self.offsets = features.strides, features.offsets
        self.names = features.names
        self.done.add(0)

    def features(self) -> Features:
        """The maps as float32, each (1, C, h, w)."""
        maps = tuple(item.float() for item in self.maps)
        return Features(maps, self.strides, self.offsets, self.names)


class FeatureCache:
    """Encoded images by key; the longest unused go first when the budget is spent.

    Args:
        budget_bytes: for all images together. One image that is larger by itself is
            kept alone.
    """

    def __init__(self, budget_bytes: int = 2_000_000_000) -> None:
        self.budget_bytes = budget_bytes
        self._items: OrderedDict[Hashable, EncodedImage] = OrderedDict()
        self._derived: OrderedDict[Hashable, object] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> EncodedImage | None:
        """What is kept under a key, finished or not."""
        with self._lock:
            item = self._items.get(key)
            if item is not None:
                self._items.move_to_end(key)
            return item

    def put(self, key: Hashable, image: EncodedImage) -> None:
        """Keeps an image and drops the longest unused ones beyond the budget."""
        with self._lock:
            self._items[key] = image
            self._items.move_to_end(key)
            while len(self._items) > 1 and self._used() > self.budget_bytes:
                self._items.popitem(last=False)

    def derived(self, key: Hashable, kind: type[T], make: Callable[[], T]) -> T:
        """What follows from an image and a model alone, made once.

        The last two are kept, whatever the budget: they take a few bytes a cell.

        Args:
            key: says of what, with all that decides about it.
            kind: of the answer.
            make: gives it, where it is not kept.
        """
        with self._lock:
            found = self._derived.get(key)
            if isinstance(found, kind):
                self._derived.move_to_end(key)
                return found
        made = make()
        with self._lock:
            self._derived[key] = made
            while len(self._derived) > MOST_DERIVED:
                self._derived.popitem(last=False)
        return made

    @property
    def nbytes(self) -> int:
        """Memory that all images take."""
        with self._lock:
            return self._used()

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._items.clear()
            self._derived.clear()

    def _used(self) -> int:
        return sum(item.nbytes for item in self._items.values())
