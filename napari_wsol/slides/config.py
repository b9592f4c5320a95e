"""How slides go through a network."""

from __future__ import annotations

from dataclasses import dataclass

from napari_wsol.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideConfig:
    """How a slide is cut, read and encoded.

    Attributes:
        core: side of a tile's own part, in pixels of the network's input. Larger cores
            pay less for the halo and need more memory.
        halo: context around a core, likewise; None for as much as the network sees, so
            that the maps do not depend on the cut. Less is faster and wrong at the
            borders of tiles.
        tissue_only: whether tiles without tissue are left out.
        batch: tiles that go through the network together on a GPU, at most; found by
            trying if None. A CPU takes one at a time.
        readers: threads that read and decode windows.
        ahead: windows that are read ahead.
        memory_bytes: budget of the features that are held in memory.
        disk_bytes: budget of those that are kept on the disk, of all slides together.
    """

    core: int = 1024
    halo: int | None = None
    tissue_only: bool = True
    batch: int | None = None
    readers: int = 2
    ahead: int = 3
    memory_bytes: int = 256_000_000
    disk_bytes: int = 20_000_000_000

    def __post_init__(self) -> None:
        if self.core < 32:
            raise ConfigError(f"The tile core must be at least 32, not {self.core}.")
        if self.halo is not None and self.halo < 0:
            raise ConfigError(f"A halo cannot be {self.halo} pixels.")
        if min(self.readers, self.ahead) < 1 or (self.batch or 1) < 1:
            raise ConfigError("Batch, readers and windows ahead count from 1.")
        if min(self.memory_bytes, self.disk_bytes) < 0:
            raise ConfigError("A budget for features cannot be negative; 0 keeps none.")
