"""What a slide will cost, from three of its tiles: before anybody waits for hours."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_wsol.slides.localize import SlideWork

PROBES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """An estimate for what is left of a slide.

    Attributes:
        tiles: to encode.
        seconds: for all of them.
        disk_bytes: for the maps of all tiles; kept features come on top.
        memory_bytes: that the windows and the network's output of one tile take; the
            network's own layers need several times as much while it runs.
    """

    tiles: int
    seconds: float
    disk_bytes: int
    memory_bytes: int

    def of(self, tiles: int) -> Cost:
        """The same for another number of tiles."""
        if tiles == self.tiles or not self.tiles:
            return self
        times = tiles / self.tiles
        return replace(
            self,
            tiles=tiles,
            seconds=self.seconds * times,
            disk_bytes=round(self.disk_bytes * times),
        )


def probe(work: SlideWork) -> Cost:
    """Times three tiles of a slide; they count as finished.

    The first one is left out of the time, since networks are slow to start.

    Args:
        work: what is to be done; nothing else may run it meanwhile.
    """
    seconds: list[float] = []
    before, start = work.log.size, time.perf_counter()
    running = work.tiles()
    for _ in running:
        seconds.append(time.perf_counter() - start)
        if len(seconds) == PROBES:
            break
        start = time.perf_counter()
    running.close()
    left = work.count - work.done
    timed = seconds[1:] or seconds or [0.0]
    a_tile = (work.log.size - before) / max(1, len(seconds))
    tile = work.plan.grid[0]
    window = 3 * tile.window_height * tile.window_width
    return Cost(
        tiles=left,
        seconds=statistics.median(timed) * left,
        disk_bytes=round(a_tile * left),
        memory_bytes=(4 + 4) * window,
    )
